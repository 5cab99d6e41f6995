import PacketIO
import Wire

/// The multicast groups that this VTEP has joined.
struct Memberships: ~Copyable {
  private var members = Slots<GroupMembership>(capacity: capacity)
  private(set) var groups: [IPAddress] = []
  /// More than the kernel lets one host join by default (net.ipv4.igmp_max_memberships is 20, by socket).
  private static let capacity = 4096

  func contains(_ group: IPAddress) -> Bool { groups.contains(group) }

  /// - Throws: `GatewayError` with what to do.
  mutating func join(_ group: IPAddress, _ interface: Link) throws {
    guard groups.count < Self.capacity else { throw GatewayError("--group \(group): at most \(Self.capacity) groups") }
    do {
      members.append(try GroupMembership(group, interface: interface.index, name: interface.name))
      groups.append(group)
    } catch {
      throw GatewayError("--group \(group)", error, "See `ip maddr show dev \(interface.name)`")
    }
  }

  mutating func leave(allBut kept: [IPAddress]) {
    for index in groups.indices.reversed() where !kept.contains(groups[index]) {
      groups.swapAt(index, groups.count - 1)
      groups.removeLast()
      members.swapAt(index, members.count - 1)
      _ = members.removeLast()
    }
  }

  /// Reports every membership anew.
  mutating func rejoin() throws(SystemError) {
    for index in 0..<members.count { try members[index].rejoin() }
  }
}
