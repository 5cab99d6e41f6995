/// Lowers the maximum segment size that TCP offers (RFC 9293 section 3.7.1) to what fits into the tunnel, so that connections
/// need not find out by losing packets.
public enum TCPSegmentSize {
  /// Lowers the option in a SYN, with or without ACK, and mends the TCP checksum, which must be complete. A SYN without the
  /// option stays as it is: that means 536 or 1220 bytes.
  ///
  /// - Parameters:
  ///   - header: of the same frame.
  ///   - mtu: bytes of the largest IP packet that fits in a frame without tags; those of this frame are subtracted.
  ///   - limit: bytes that the segment size does not exceed in any case.
  /// - Returns: whether the frame has changed.
  @inlinable @inline(__always)
  public static func lower(_ frame: inout MutableRawSpan, _ header: TransportHeader, mtu: Int, limit: UInt16 = .max) -> Bool {
    guard header.isTCP, frame.bytes.byte(at: header.start &+ 13) & 0x02 != 0 else { return false }
    return lowerOption(&frame, header, mtu, limit)
  }

  @usableFromInline
  static func lowerOption(_ frame: inout MutableRawSpan, _ header: TransportHeader, _ mtu: Int, _ limit: UInt16) -> Bool {
    // The segment size does not count options (RFC 6691): 20 bytes of TCP, and the fixed part of the IP header.
    let fitting = mtu - (header.ip - Ethernet.headerLength) - 20 - (header.isIPv6 ? 40 : 20)
    let limit = min(limit, UInt16(clamping: fitting))
    guard let offset = option(frame.bytes, header), case let old = frame.bytes.big16(at: offset), old > limit else { return false }
    // At an odd offset its bytes belong to two words, each in the other's place: the sum of swapped words (RFC 1071 section 2
    // (B)).
    let isOdd = (offset - header.start) % 2 == 1
    let checksum = Checksum.updated(
      frame.bytes.big16(at: header.checksum), from: isOdd ? old.byteSwapped : old, to: isOdd ? limit.byteSwapped : limit)
    frame.store(big16: limit, at: offset)
    frame.store(big16: checksum, at: header.checksum)
    return true
  }

  /// Where the option's value is; nil when there is none, or when what is in front of it can't be understood.
  private static func option(_ bytes: RawSpan, _ header: TransportHeader) -> Int? {
    let end = min(header.start + Int(bytes.byte(at: header.start + 12) >> 4) * 4, header.end)
    var offset = header.start + 20
    while offset < end {
      let kind = bytes.byte(at: offset)
      if kind == 0 { return nil }  // End of options
      if kind == 1 {  // No operation
        offset += 1
        continue
      }
      guard offset + 1 < end, case let length = Int(bytes.byte(at: offset + 1)), length >= 2, offset + length <= end else { return nil }
      if kind == 2 { return length == 4 ? offset + 2 : nil }
      offset += length
    }
    return nil
  }
}
