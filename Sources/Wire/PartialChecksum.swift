/// Completes TCP and UDP checksums that the kernel left to a NIC that is not there (CHECKSUM_PARTIAL in
/// linux/skbuff.h: veth, TAP, virtio). The field then holds the folded sum of the pseudo-header, not complemented; a
/// receiver on a real wire would drop the frame.
public enum PartialChecksum {
  /// Completes the checksum if it is partial, and says whether it was. Looks at the headers alone in the common case.
  ///
  /// A complete checksum equals the pseudo-header's sum once in 65536 frames; computing it anew gives the same value. A
  /// UDP checksum of zero (none, RFC 768) never does, since the protocol number is part of the sum.
  ///
  /// Frames that are no TCP or UDP, are fragments, or are shorter than their headers say, stay as they are.
  @inlinable @inline(__always)
  public static func complete(_ frame: inout MutableRawSpan) -> Bool {
    guard let header = TransportHeader(frame.bytes) else { return false }
    return complete(&frame, header)
  }

  /// The same for a frame whose transport header is known.
  @inlinable @inline(__always)
  public static func complete(_ frame: inout MutableRawSpan, _ header: TransportHeader) -> Bool {
    let pseudoHeader = Checksum.fold(header.pseudoHeader(frame.bytes, length: header.end &- header.start))
    guard frame.bytes.big16(at: header.checksum) == pseudoHeader else { return false }
    complete(&frame, header.start..<header.end, at: header.checksum)
    return true
  }

  /// Completes the checksum that a virtio-net header with VIRTIO_NET_HDR_F_NEEDS_CSUM announces: it covers what follows
  /// `start`, and is `offset` bytes behind that. Does nothing when that is outside the frame.
  public static func complete(_ frame: inout MutableRawSpan, start: Int, offset: Int) {
    var end = frame.byteCount
    // The receiver does not sum up Ethernet padding.
    if let header = TransportHeader(frame.bytes), header.start == start { end = header.end }
    guard start >= 0, offset >= 0, start &+ offset &+ 2 <= end else { return }
    complete(&frame, start..<end, at: start &+ offset)
  }

  /// Replaces the pseudo-header's sum at `field` by the checksum over it and the rest of `range`. Only UDP has its field at
  /// 6, and only there a zero is to be avoided: in TCP 0xffff is the same number, but no sender writes it (tshark reports it).
  @usableFromInline
  static func complete(_ frame: inout MutableRawSpan, _ range: Range<Int>, at field: Int) {
    let sum = Checksum.sum(frame.bytes, range)
    frame.store(big16: field == range.lowerBound &+ 6 ? Checksum.udp(sum) : Checksum.tcp(sum), at: field)
  }
}
