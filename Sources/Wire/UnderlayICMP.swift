/// A router of the underlay says that one of our VXLAN packets was too big for its next hop: ICMP "fragmentation needed"
/// (RFC 792, RFC 1191) or ICMPv6 "packet too big" (RFC 4443 section 3.2).
///
/// Nobody authenticates these. So one counts only if it quotes enough to show that its sender has seen a packet of ours: IP,
/// UDP and VXLAN headers with a valid VNI, as `vxlan_err_lookup` in the kernel wants it. Whether source, port and VNI are
/// ours, the caller knows.
public struct UnderlayICMP: Equatable, Sendable {
  /// Of the packet that was too big: the local VTEP, and the remote one.
  public let source: IPAddress
  public let destination: IPAddress
  /// UDP destination port, host order.
  public let port: UInt16
  public let vni: UInt32
  /// Bytes of the largest IP packet that the next hop takes: at least 68 (RFC 1191 section 3) or 1280 (RFC 8201 section 4).
  /// Less than that, as routers without RFC 1191 send it and attackers would, does not count.
  public let mtu: Int

  /// From an IPv4 packet with its header, as raw sockets receive it. Nil for everything else. Checks the ICMP checksum,
  /// which the kernel has not done yet.
  public init?(ipv4 packet: RawSpan) {
    guard let (icmp, end) = Self.payload(ofIPv4: packet, at: 0, IPProtocol.icmp), icmp + 8 <= end, end <= packet.byteCount,
      packet.big16(at: icmp) == 0x0304, Checksum.fold(Checksum.sum(packet, icmp..<end)) == 0xffff,
      let (udp, _) = Self.payload(ofIPv4: packet.extracting(0..<end), at: icmp + 8, IPProtocol.udp)
    else { return nil }
    let (ip, mtu) = (icmp + 8, Int(packet.big16(at: icmp + 6)))
    guard mtu >= 68 else { return nil }
    self.init(packet, udp..<end, source: packet.ipv4(at: ip + 12), destination: packet.ipv4(at: ip + 16), mtu: mtu)
  }

  /// From an ICMPv6 message without IPv6 header, as raw sockets receive it. Nil for everything else. The kernel has checked
  /// the checksum.
  public init?(ipv6 message: RawSpan) {
    let (ip, udp) = (8, 48)
    guard message.byteCount >= udp, message.big16(at: 0) == 0x0200, message.byte(at: ip) >> 4 == 6,
      message.byte(at: ip + 6) == IPProtocol.udp, case let mtu = Int(message.big32(at: 4)), mtu >= 1280,
      let source = message.ipv6(at: ip + 8), let destination = message.ipv6(at: ip + 24)
    else { return nil }
    self.init(message, udp..<message.byteCount, source: source, destination: destination, mtu: mtu)
  }

  /// - Parameter quote: from the UDP header on.
  private init?(_ bytes: RawSpan, _ quote: Range<Int>, source: IPAddress, destination: IPAddress, mtu: Int) {
    let vxlan = quote.lowerBound + 8
    guard quote.count >= 8 + VXLAN.headerLength, bytes.big32(at: vxlan) & VXLAN.validVNI != 0 else { return nil }
    self.source = source
    self.destination = destination
    port = bytes.big16(at: quote.lowerBound + 2)
    vni = bytes.big32(at: vxlan + 4) >> 8
    self.mtu = mtu
  }

  /// What follows the header of the IPv4 packet at `ip`, if that is of `number` and no fragment but the first. The end is what
  /// the header says; only the header is known to be there.
  private static func payload(ofIPv4 bytes: RawSpan, at ip: Int, _ number: UInt8) -> (start: Int, end: Int)? {
    guard ip + 20 <= bytes.byteCount, bytes.byte(at: ip) >> 4 == 4, bytes.byte(at: ip + 9) == number,
      bytes.big16(at: ip + 6) & 0x1fff == 0
    else { return nil }
    let headerLength = Int(bytes.byte(at: ip) & 0xf) * 4
    guard headerLength >= 20, ip + headerLength <= bytes.byteCount else { return nil }
    return (ip + headerLength, ip + Int(bytes.big16(at: ip + 2)))
  }
}
