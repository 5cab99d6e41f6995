/// What a router answers to a frame that does not fit into the tunnel: ICMP "fragmentation needed" (RFC 792, with the MTU of
/// RFC 1191) or ICMPv6 "packet too big" (RFC 4443 section 3.2), as net/ipv4/ip_tunnel_core.c does for bridged frames.
public enum PacketTooBig {
  /// The longest answer, in bytes: MAC addresses, two tags, type, and the smallest MTU of IPv6.
  public static let maximumLength = 22 + minimumMTUOverIPv6

  // The smallest MTUs that are reported, and the lengths of the answers (RFC 1812 section 4.3.2.3, RFC 4443 section 3.2):
  // what is too big is always long enough to fill them.
  private static let minimumMTUOverIPv4 = 576
  private static let minimumMTUOverIPv6 = 1280

  /// Writes the answer to the frame's sender: the original destination tells it, so that it needs no route of ours. Keeps the
  /// frame's VLAN tags. Traps when `reply` has fewer than `maximumLength` bytes.
  ///
  /// - Parameters:
  ///   - mtu: bytes of the largest IP packet that fits in a frame without tags; those of this frame are subtracted.
  ///   - requiresDF: answers IPv4 only if the sender has set DF, as the kernel does. Who can't fragment, like a bridge,
  ///     does better to answer always: senders then fragment themselves.
  /// - Returns: the answer's length in bytes. Nil when none may be sent (RFC 1122 section 3.2.2, RFC 4443 section 2.4): the
  ///   packet fits, is malformed, an ICMP error or redirect, a fragment but the first, or from or to no single host; or the
  ///   MTU would be less than 576 or 1280.
  public static func answer(to frame: RawSpan, mtu: Int, requiresDF: Bool = false, into reply: inout MutableRawSpan) -> Int? {
    precondition(reply.byteCount >= maximumLength)
    let headers = FrameHeaders(frame, key: 0)
    let ip = headers.networkOffset
    guard headers.isIP, !frame.mac(at: 0).isMulticast, !frame.mac(at: 6).isMulticast else { return nil }
    let mtu = mtu - (ip - Ethernet.headerLength)
    let isIPv6 = headers.etherType == EtherType.ipv6
    let length = isIPv6 ? minimumMTUOverIPv6 : minimumMTUOverIPv4
    guard mtu >= length, let end = isIPv6 ? endOfIPv6(frame, ip) : endOfIPv4(frame, ip, requiresDF), end - ip > mtu else { return nil }

    reply.copy(0..<ip, of: frame, to: 0)
    reply.store(frame.mac(at: 6), at: 0)
    reply.store(frame.mac(at: 0), at: 6)
    let headerLength = isIPv6 ? 48 : 28
    reply.copy(ip..<ip + length - headerLength, of: frame, to: ip + headerLength)
    if isIPv6 {
      writeIPv6(&reply, ip, UInt32(clamping: mtu), frame)
    } else {
      writeIPv4(&reply, ip, UInt16(clamping: mtu), frame)
    }
    return ip + length
  }

  private static func writeIPv4(_ reply: inout MutableRawSpan, _ ip: Int, _ mtu: UInt16, _ frame: RawSpan) {
    reply.store(big32: 0x4500_0000 | UInt32(minimumMTUOverIPv4), at: ip)
    // Identification 0, DF: an answer that had to be fragmented would be worth nothing.
    reply.store(big32: 0x4000, at: ip + 4)
    reply.store(big32: 64 << 24 | UInt32(IPProtocol.icmp) << 16, at: ip + 8)
    reply.copy(ip + 16..<ip + 20, of: frame, to: ip + 12)
    reply.copy(ip + 12..<ip + 16, of: frame, to: ip + 16)
    reply.store(big16: ~Checksum.fold(Checksum.sum(reply.bytes, ip..<ip + 20)), at: ip + 10)
    reply.store(big32: 0x0304_0000, at: ip + 20)
    reply.store(big32: UInt32(mtu), at: ip + 24)
    reply.store(big16: ~Checksum.fold(Checksum.sum(reply.bytes, ip + 20..<ip + minimumMTUOverIPv4)), at: ip + 22)
  }

  private static func writeIPv6(_ reply: inout MutableRawSpan, _ ip: Int, _ mtu: UInt32, _ frame: RawSpan) {
    let length = minimumMTUOverIPv6 - 40
    reply.store(big32: 6 << 28, at: ip)
    reply.store(big32: UInt32(length) << 16 | UInt32(IPProtocol.icmpv6) << 8 | 64, at: ip + 4)
    reply.copy(ip + 24..<ip + 40, of: frame, to: ip + 8)
    reply.copy(ip + 8..<ip + 24, of: frame, to: ip + 24)
    reply.store(big32: 0x0200_0000, at: ip + 40)
    reply.store(big32: mtu, at: ip + 44)
    let sum =
      Checksum.pseudoHeader(ipv6: reply.bytes, at: ip, protocol: IPProtocol.icmpv6, length: length)
      + Checksum.sum(reply.bytes, ip + 40..<ip + minimumMTUOverIPv6)
    reply.store(big16: ~Checksum.fold(sum), at: ip + 42)
  }
}

// MARK: What may be answered

extension PacketTooBig {
  /// The end of the IPv4 packet; nil when it may not be answered.
  private static func endOfIPv4(_ frame: RawSpan, _ ip: Int, _ requiresDF: Bool) -> Int? {
    let (version, fragment) = (frame.byte(at: ip), frame.big16(at: ip + 6))
    let headerLength = Int(version & 0xf) * 4
    let end = ip + Int(frame.big16(at: ip + 2))
    guard version >> 4 == 4, headerLength >= 20, ip + headerLength < end, end <= frame.byteCount else { return nil }
    guard fragment & 0x1fff == 0, fragment & 0x4000 != 0 || !requiresDF else { return nil }
    // The destination becomes a source.
    guard !frame.ipv4(at: ip + 12).isMartianSource, !frame.ipv4(at: ip + 16).isMartianSource else { return nil }
    if frame.byte(at: ip + 9) == IPProtocol.icmp {
      // Unreachable, source quench, redirect, time exceeded, parameter problem.
      switch frame.byte(at: ip + headerLength) {
      case 3, 4, 5, 11, 12: return nil
      default: break
      }
    }
    return end
  }

  /// The end of the IPv6 packet; nil when it may not be answered.
  private static func endOfIPv6(_ frame: RawSpan, _ ip: Int) -> Int? {
    let end = ip + 40 + Int(frame.big16(at: ip + 4))
    guard frame.byte(at: ip) >> 4 == 6, end <= frame.byteCount else { return nil }
    guard let source = frame.ipv6(at: ip + 8), let destination = frame.ipv6(at: ip + 24), !source.isMartianSource,
      !destination.isMartianSource
    else { return nil }
    // Extension headers (RFC 8200 section 4) hide what the packet is.
    var (number, offset) = (frame.byte(at: ip + 6), ip + 40)
    while offset + 8 <= end {
      let next = frame.byte(at: offset)
      switch number {
      case 0, 43, 60:  // Hop-by-hop options, routing, destination options
        offset += (Int(frame.byte(at: offset + 1)) + 1) * 8
      case 44:  // Fragment: all but its lowest three bits are the offset
        guard frame.big16(at: offset + 2) & 0xfff8 == 0 else { return nil }
        offset += 8
      case 51:  // Authentication header (RFC 4302)
        offset += (Int(frame.byte(at: offset + 1)) + 2) * 4
      case IPProtocol.icmpv6:
        // Types below 128 are errors (RFC 4443 section 2.1), 137 is redirect (RFC 4861).
        return next >= 128 && next != 137 ? end : nil
      default:
        return end
      }
      number = next
    }
    return nil
  }
}
