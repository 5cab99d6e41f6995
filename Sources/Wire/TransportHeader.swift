/// Where an Ethernet frame's TCP or UDP header is: behind at most two VLAN tags (IEEE 802.1Q, 802.1ad) and IPv4, or IPv6
/// without extension headers. Fragments have none.
///
/// Everything was checked against the frame's real length: the fixed part of the transport header lies before `end`, and
/// `end` inside the frame. Offsets are in bytes from the frame's first.
public struct TransportHeader: BitwiseCopyable, Sendable {
  /// The IP header.
  public let ip: Int
  public let isIPv6: Bool
  public let isTCP: Bool
  /// The transport header.
  public let start: Int
  /// The end of the IP packet, which Ethernet padding may follow.
  public let end: Int

  /// Nil for everything else, and for frames that are shorter than their headers say. `ethernet` is where the destination
  /// MAC address is.
  @inlinable @inline(__always)
  public init?(_ bytes: RawSpan, ethernet: Int = 0) {
    var ip = ethernet &+ Ethernet.headerLength
    guard ip &+ 20 <= bytes.byteCount else { return nil }
    var type = bytes.big16(at: ip &- 2)
    var tags = 0
    while EtherType.isTag(type) {
      tags &+= 1
      ip &+= 4
      guard tags <= 2, ip &+ 20 <= bytes.byteCount else { return nil }
      type = bytes.big16(at: ip &- 2)
    }
    let version = bytes.byte(at: ip)
    let number: UInt8
    if type == EtherType.ipv4 {
      let header = Int(version & 0xf) &* 4
      // 0x3fff: more fragments, and the offset (RFC 791).
      guard version >> 4 == 4, header >= 20, bytes.big16(at: ip &+ 6) & 0x3fff == 0 else { return nil }
      isIPv6 = false
      start = ip &+ header
      end = ip &+ Int(bytes.big16(at: ip &+ 2))
      number = bytes.byte(at: ip &+ 9)
    } else if type == EtherType.ipv6 {
      guard version >> 4 == 6 else { return nil }
      isIPv6 = true
      start = ip &+ 40
      end = start &+ Int(bytes.big16(at: ip &+ 4))
      number = bytes.byte(at: ip &+ 6)
    } else {
      return nil
    }
    isTCP = number == IPProtocol.tcp
    guard isTCP || number == IPProtocol.udp, start &+ (isTCP ? 20 : 8) <= end, end <= bytes.byteCount else { return nil }
    self.ip = ip
  }

  /// Where the checksum is (RFC 9293 section 3.1, RFC 768).
  @inlinable @inline(__always)
  public var checksum: Int { start &+ (isTCP ? 16 : 6) }

  @inlinable @inline(__always)
  public var protocolNumber: UInt8 { isTCP ? IPProtocol.tcp : IPProtocol.udp }

  /// The running sum of the pseudo-header for `length` bytes of transport header and data.
  @inlinable @inline(__always)
  public func pseudoHeader(_ bytes: RawSpan, length: Int) -> UInt64 {
    isIPv6
      ? Checksum.pseudoHeader(ipv6: bytes, at: ip, protocol: protocolNumber, length: length)
      : Checksum.pseudoHeader(ipv4: bytes, at: ip, protocol: protocolNumber, length: length)
  }
}
