import CLinux
import Wire

/// Membership in a multicast group on one interface, through the kernel: it sends the reports (IGMP, MLD), answers queries, and
/// opens the NIC's filter. The socket itself receives nothing.
public struct GroupMembership: ~Copyable, Sendable {
  private let socket: OwnedDescriptor
  private let group: IPAddress
  private let interface: UInt32
  private let name: String

  /// - Parameter name: the interface's, for error messages.
  /// - Throws: `SystemError`: ENODEV without the interface, ENOBUFS when net.ipv4.igmp_max_memberships groups are joined.
  public init(_ group: IPAddress, interface: UInt32, name: String) throws(SystemError) {
    let socket = try Self.open(group)
    try Self.change(socket, group, interface, name, IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP, "joining")
    self.socket = socket
    self.group = group
    self.interface = interface
    self.name = name
  }

  private static func open(_ group: IPAddress) throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(
      try systemCall("opening a UDP socket") { CLinux.socket(group.isIPv4 ? AF_INET : AF_INET6, type, 0) })
    try SocketFilter.nothing.attach(to: socket.number)
    return socket
  }

  /// Leaves and joins, which reports the membership anew: a switch forgets it when the link goes down.
  public func rejoin() throws(SystemError) {
    // Not a member any more if the interface was without addresses in between.
    do { try Self.change(socket, group, interface, name, IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, "leaving") } catch
      where error.errno == .addressNotAvailable
    {}
    try Self.change(socket, group, interface, name, IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP, "joining")
  }

  private static func change(
    _ socket: borrowing OwnedDescriptor, _ group: IPAddress, _ interface: UInt32, _ name: String, _ v4: Int32, _ v6: Int32, _ verb: String
  ) throws(SystemError) {
    let what = "\(name): \(verb) a multicast group"
    if group.isIPv4 {
      var request = ip_mreqn()
      request.imr_multiaddr.s_addr = group.v4.bigEndian
      request.imr_ifindex = Int32(bitPattern: interface)
      try socket.set(Int32(IPPROTO_IP), v4, to: request, what)
    } else {
      // `struct ipv6_mreq` of linux/in6.h: the group's 16 octets, the interface's index.
      try socket.set(Int32(IPPROTO_IPV6), v6, to: (vxgw_address(group).words, interface), what)
    }
  }
}
