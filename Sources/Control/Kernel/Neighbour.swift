import CLinux
import PacketIO
import SystemPackage
import Wire

/// An entry of the kernel's ARP or NDP table (RTM_NEWNEIGH).
public struct Neighbour: Sendable, Equatable {
  public let address: IPAddress
  public let interfaceIndex: UInt32
  /// Nil as long as it isn't known.
  public let mac: MACAddress?
  public let state: State

  /// NUD_ constants of linux/neighbour.h: one of them, or none for an entry without state.
  public struct State: OptionSet, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let incomplete = State(rawValue: 0x01)
    public static let reachable = State(rawValue: 0x02)
    public static let stale = State(rawValue: 0x04)
    public static let delay = State(rawValue: 0x08)
    public static let probe = State(rawValue: 0x10)
    public static let failed = State(rawValue: 0x20)
    public static let noARP = State(rawValue: 0x40)
    public static let permanent = State(rawValue: 0x80)

    /// The kernel is sure of the MAC address (NUD_CONNECTED, include/net/neighbour.h).
    static let confirmed: State = [.permanent, .noARP, .reachable]
    /// The kernel sends to the MAC address (NUD_VALID).
    static let valid: State = [.permanent, .noARP, .reachable, .stale, .delay, .probe]
  }

  /// True if packets can be sent to `mac` now. It may have to be verified: see `isConfirmed`.
  public var isUsable: Bool { mac != nil && !state.isDisjoint(with: .valid) }

  /// True if nothing is to be done: configured, or heard of within the reachable time (30 s by default).
  public var isConfirmed: Bool { mac != nil && !state.isDisjoint(with: .confirmed) }
}

extension Neighbour {
  /// From RTM_NEWNEIGH or RTM_DELNEIGH. Nil for what isn't an IP neighbour: FDB entries of bridges and VXLAN devices
  /// (AF_BRIDGE) come with the same messages.
  init?(_ message: NetlinkMessage) {
    guard let header = message.payload.load(ndmsg.self), [AF_INET, AF_INET6].contains(Int32(header.ndm_family)) else { return nil }
    let attributes = message.attributes(after: ndmsg.self)
    guard let address = attributes.address(NDA_DST) else { return nil }
    self.address = address
    interfaceIndex = UInt32(bitPattern: header.ndm_ifindex)
    mac = attributes.mac(NDA_LLADDR)
    state = State(rawValue: header.ndm_state)
  }
}

extension NetlinkSocket {
  /// The entry for `address` on the interface of this index; nil when there is none.
  public func neighbour(_ address: IPAddress, on index: UInt32) throws(SystemError) -> Neighbour? {
    let request = neighbourRequest(RTM_GETNEIGH, address, index)
    do {
      return try self.request(request, "neighbour \(address) on interface \(index)").first.flatMap(Neighbour.init)
    } catch {
      if error.errno == .noSuchFileOrDirectory { return nil }
      throw error
    }
  }

  /// Makes the kernel ask for the MAC address of `address` (ARP or NDP), or verify a stale one: as if it had a packet to
  /// send (neigh_add with NTF_USE, net/core/neighbour.c). An unknown or failed address is asked for at once; a stale one
  /// stays usable, and is probed after delay_first_probe_time (5 s) unless it is confirmed before. Returns at once; the
  /// outcome is an event. NDP asks only from a link-local address that has passed duplicate address detection: on a link
  /// that has just come up, ask again.
  public func resolve(_ address: IPAddress, on index: UInt32) throws(SystemError) {
    // NTF_USE would take the permanence from a permanent entry (__neigh_update since Linux 5.16).
    if let known = try neighbour(address, on: index), known.state.contains(.permanent) { return }
    let request = neighbourRequest(RTM_NEWNEIGH, flags: NLM_F_CREATE, entryFlags: UInt8(NTF_USE), address, index)
    _ = try self.request(request, "resolving \(address) on interface \(index)")
  }

  private func neighbourRequest(
    _ type: Int, flags: Int32 = 0, entryFlags: UInt8 = 0, _ address: IPAddress, _ index: UInt32
  ) -> NetlinkRequest {
    var header = ndmsg()
    header.ndm_family = address.family
    header.ndm_ifindex = Int32(bitPattern: index)
    header.ndm_flags = entryFlags
    var request = NetlinkRequest(type, flags: flags, header: header)
    request.append(NDA_DST, octets: address.octets)
    return request
  }
}
