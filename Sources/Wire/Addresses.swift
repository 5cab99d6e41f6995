/// An IEEE 802 MAC address: 48 bits, the first octet on the wire in bits 47…40.
public struct MACAddress: Hashable, BitwiseCopyable, Sendable {
  /// The 48 bits as a number. The upper 16 bits are zero.
  public let value: UInt64

  @inlinable @inline(__always)
  public init(_ value: UInt64) {
    self.value = value & 0xffff_ffff_ffff
  }

  /// ff:ff:ff:ff:ff:ff.
  public static let broadcast = MACAddress(0xffff_ffff_ffff)

  /// The group bit of the first octet (IEEE 802-2014, 8.2.2): broadcast and multicast.
  @inlinable public var isMulticast: Bool { value & 0x0100_0000_0000 != 0 }

  @inlinable public var isZero: Bool { value == 0 }

  /// 01-80-C2-00-00-00…0F, which no bridge forwards (IEEE 802.1Q-2018, table 8-1).
  @inlinable public var isLinkLocalGroup: Bool { value & ~0xf == 0x0180_c200_0000 }
}

extension MACAddress: CustomStringConvertible, LosslessStringConvertible {
  public var description: String {
    stride(from: 40, through: 0, by: -8).map { shift in
      let octet = String(UInt8(truncatingIfNeeded: value >> UInt64(shift)), radix: 16)
      return octet.count == 1 ? "0" + octet : octet
    }.joined(separator: ":")
  }

  /// Six hexadecimal octets separated by colons or hyphens; nil for anything else.
  public init?(_ text: String) {
    let octets = text.split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "-" }
    guard octets.count == 6 else { return nil }
    var value: UInt64 = 0
    for octet in octets {
      guard (1...2).contains(octet.count), octet.allSatisfy(\.isHexDigit), let byte = UInt8(octet, radix: 16) else { return nil }
      value = value << 8 | UInt64(byte)
    }
    self.init(value)
  }
}

/// An IPv4 or IPv6 address. IPv4 is kept as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2), so one 128-bit key serves both.
public struct IPAddress: Hashable, BitwiseCopyable, Sendable {
  /// The first and the last eight octets on the wire, as numbers in host order.
  public let high: UInt64
  public let low: UInt64

  @inlinable @inline(__always)
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// From 32 bits in host order: 192.0.2.1 is 0xc0000201.
  @inlinable @inline(__always)
  public init(v4: UInt32) {
    self.init(high: 0, low: 0xffff_0000_0000 | UInt64(v4))
  }

  @inlinable public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

  /// The 32 bits in host order. Only meaningful for IPv4.
  @inlinable public var v4: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 section 2.7).
  @inlinable public var isMulticast: Bool { isIPv4 ? v4 >> 28 == 0xe : high >> 56 == 0xff }

  @inlinable public var isUnspecified: Bool { isIPv4 ? v4 == 0 : high == 0 && low == 0 }

  /// What can never be the source of a packet that arrived (RFC 6890): 0.0.0.0/8, 127.0.0.0/8, class D and E with
  /// broadcast; `::`, `::1`, ff00::/8.
  @inlinable public var isMartianSource: Bool {
    if isIPv4 {
      let first = v4 >> 24
      return first == 0 || first == 127 || first >= 224
    }
    return (high == 0 && low <= 1) || high >> 56 == 0xff
  }
}
