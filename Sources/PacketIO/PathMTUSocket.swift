import CLinux

/// Hears the ICMP errors by which routers of the underlay say that a packet was too big: "fragmentation needed" (RFC 792) or
/// ICMPv6 "packet too big" (RFC 4443). The kernel has no socket that those about our packets could belong to.
public struct PathMTUSocket: ~Copyable, Sendable {
  private let socket: OwnedDescriptor
  /// Enough for what ICMP quotes: 576 bytes, and 1280 over IPv6.
  private static let capacity = 2048

  /// - Throws: `SystemError`: EPERM without CAP_NET_RAW.
  public init(isIPv6: Bool) throws(SystemError) { socket = try Self.open(isIPv6) }

  private static func open(_ isIPv6: Bool) throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let protocolNumber = Int32(isIPv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)
    let socket = OwnedDescriptor(
      try systemCall("opening an ICMP socket") { CLinux.socket(isIPv6 ? AF_INET6 : AF_INET, type, protocolNumber) })
    // A bit that is set blocks a type: all but 2 (RFC 3542 section 3.2, ICMPV6_FILTER of linux/icmpv6.h), or all but 3 (raw(7),
    // ICMP_FILTER of linux/icmp.h).
    if isIPv6 {
      let blocked = (~UInt32(1 << 2), UInt32.max, UInt32.max, UInt32.max, UInt32.max, UInt32.max, UInt32.max, UInt32.max)
      try socket.set(protocolNumber, 1, to: blocked, "filtering ICMPv6")
    } else {
      try socket.set(Int32(SOL_RAW), 1, to: ~UInt32(1 << 3), "filtering ICMP")
    }
    return socket
  }

  /// To wait on.
  public var descriptor: Int32 { socket.number }

  /// The next message: over IPv4 with its IP header, over IPv6 without. Nil: there is none now.
  public func next() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: Self.capacity)
    let number = socket.number
    let length = unsafe recv(number, &buffer, buffer.count, 0)
    return length > 0 ? Array(buffer[..<length]) : nil
  }
}
