import CLinux
import PacketIO
import Wire

/// An IP address of an interface (RTM_NEWADDR).
public struct InterfaceAddress: Sendable, Equatable {
  /// The interface's own; with a point-to-point address, not the peer's.
  public let address: IPAddress
  public let prefixLength: Int
  /// IPv4: another address of the same subnet comes first. IPv6: a temporary address (RFC 8981).
  public let isSecondary: Bool
  /// IPv6: duplicate address detection has not finished, or has found a duplicate. Nothing can be sent from it.
  public let isTentative: Bool
  /// IPv6: another host has it.
  public let isDuplicate: Bool
  /// Its preferred lifetime is over: for what is under way, not for anything new (RFC 4862 section 5.5.4).
  public let isDeprecated: Bool
  public let scope: Scope

  /// Where the address is valid (rt_scope_t of linux/rtnetlink.h).
  public struct Scope: RawRepresentable, Sendable, Equatable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let global = Scope(rawValue: 0)
    public static let site = Scope(rawValue: 200)
    public static let link = Scope(rawValue: 253)
    public static let host = Scope(rawValue: 254)
  }
}

extension InterfaceAddress {
  init?(_ message: NetlinkMessage) {
    guard let header = message.payload.load(ifaddrmsg.self) else { return nil }
    let attributes = message.attributes(after: ifaddrmsg.self)
    guard let address = attributes.address(IFA_LOCAL) ?? attributes.address(IFA_ADDRESS) else { return nil }
    let flags = attributes.integer(IFA_FLAGS) ?? UInt32(header.ifa_flags)
    self.address = address
    prefixLength = Int(header.ifa_prefixlen)
    isSecondary = flags & UInt32(IFA_F_SECONDARY) != 0
    isTentative = flags & UInt32(IFA_F_TENTATIVE) != 0
    isDuplicate = flags & UInt32(IFA_F_DADFAILED) != 0
    isDeprecated = flags & UInt32(IFA_F_DEPRECATED) != 0
    scope = Scope(rawValue: header.ifa_scope)
  }
}

extension [InterfaceAddress] {
  /// The address of this family that a VTEP takes when none is named: global and meant to last. Of these the first, but one
  /// that can be used now before one that is still tentative. IPv4 makes do with other scopes; IPv6's link-local addresses
  /// reach nobody behind a router, and every interface has one.
  public func primary(isIPv4: Bool) -> IPAddress? {
    let ofFamily = filter { $0.address.isIPv4 == isIPv4 && $0.scope != .host && !$0.isDuplicate }
    let lasting = ofFamily.filter { $0.scope == .global && !$0.isSecondary && !$0.isDeprecated }
    return (lasting.first { !$0.isTentative } ?? lasting.first ?? (isIPv4 ? ofFamily.first : nil))?.address
  }
}

extension NetlinkSocket {
  /// The addresses of the interface of this index (0: of all interfaces), in the kernel's order: IPv4 first, and primary
  /// addresses before the secondary ones of their subnet.
  /// - Throws: `SystemError`; ENODEV when the interface does not exist.
  public func addresses(of index: UInt32) throws(SystemError) -> [InterfaceAddress] {
    var header = ifaddrmsg()
    header.ifa_index = index
    let request = NetlinkRequest(RTM_GETADDR, flags: NLM_F_DUMP, header: header)
    return try self.request(request, "listing addresses of interface \(index)").compactMap(InterfaceAddress.init)
  }
}
