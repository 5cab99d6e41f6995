/// The UDP checksum of a VXLAN packet (RFC 768, RFC 8200 section 8.1), which covers the whole inner frame.
public enum OuterChecksum {
  /// The running sum of an inner frame. Goes with `OuterHeader.udpPartialSum`.
  ///
  /// Where the inner TCP or UDP checksum is complete, what it covers sums up to the complement of its pseudo-header's sum, so
  /// the headers alone are read ("local checksum offload", Documentation/networking/checksum-offloads.rst). The addresses are
  /// in the IP header, too, and cancel out.
  ///
  /// A frame whose inner checksum is wrong gets a wrong outer one, and is dropped one layer earlier. A partial checksum must
  /// have been completed before.
  ///
  /// - Parameter transport: of the same frame.
  @inlinable @inline(__always)
  public static func innerSum(_ frame: RawSpan, _ transport: TransportHeader?) -> UInt64 {
    guard let header = transport, isSummedUp(frame, header) else { return Checksum.sum(frame, 0..<frame.byteCount) }
    var sum = UInt64(frame.big16(at: header.ip &- 2)) &+ UInt64(frame.big32(at: header.ip)) &+ UInt64(frame.big32(at: header.ip &+ 4))
    if !header.isIPv6 { sum &+= UInt64(frame.big32(at: header.ip &+ 8)) }
    var offset = 0
    while offset < header.ip &- 2 {
      sum &+= UInt64(frame.big32(at: offset))
      offset &+= 4
    }
    let segment = UInt64(header.protocolNumber) &+ UInt64(truncatingIfNeeded: header.end &- header.start)
    sum &+= UInt64(~Checksum.fold(segment))
    return header.end == frame.byteCount ? sum : sum &+ padding(frame, from: header.end)
  }

  /// Whether the transport checksum covers all from its header to the end of the IP packet, and the addresses in the IP
  /// header: UDP may have none or be shorter, and an IPv4 source route makes the destination another (RFC 1122 section
  /// 3.2.1.8).
  @inlinable @inline(__always)
  static func isSummedUp(_ frame: RawSpan, _ header: TransportHeader) -> Bool {
    guard header.isIPv6 || header.start &- header.ip == 20 else { return false }
    return header.isTCP
      || frame.big16(at: header.checksum) != 0 && Int(frame.big16(at: header.start &+ 4)) == header.end &- header.start
  }

  /// The running sum of what follows `start`, swapped when that is odd (RFC 1071 section 2 (B)).
  @usableFromInline
  static func padding(_ frame: RawSpan, from start: Int) -> UInt64 {
    let sum = Checksum.fold(Checksum.sum(frame, start..<frame.byteCount))
    return UInt64(start % 2 == 0 ? sum : sum.byteSwapped)
  }

  /// Whether the UDP checksum of a received packet is partial (see `PartialChecksum`): nobody can say whether it was right.
  public static func isPartial(_ packet: RawSpan, ip: Int, isIPv6: Bool, datagram: Range<Int>) -> Bool {
    packet.big16(at: datagram.lowerBound + 6) == Checksum.fold(pseudoHeader(packet, ip, isIPv6, datagram))
  }

  private static func pseudoHeader(_ packet: RawSpan, _ ip: Int, _ isIPv6: Bool, _ datagram: Range<Int>) -> UInt64 {
    isIPv6
      ? Checksum.pseudoHeader(ipv6: packet, at: ip, protocol: IPProtocol.udp, length: datagram.count)
      : Checksum.pseudoHeader(ipv4: packet, at: ip, protocol: IPProtocol.udp, length: datagram.count)
  }

  /// Whether the UDP checksum of a received packet is right. Reads the whole datagram. A field of zero means that
  /// there is none: ask for that before. Traps when something lies outside.
  ///
  /// - Parameters:
  ///   - ip: offset of the IP header.
  ///   - datagram: UDP header and data, by the UDP header's length field.
  public static func isRight(_ packet: RawSpan, ip: Int, isIPv6: Bool, datagram: Range<Int>) -> Bool {
    Checksum.fold(pseudoHeader(packet, ip, isIPv6, datagram) &+ Checksum.sum(packet, datagram)) == 0xffff
  }
}
