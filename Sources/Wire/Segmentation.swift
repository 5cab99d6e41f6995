/// How a super-frame is cut into frames that fit the wire: what a NIC with TSO or USO would do, and what the kernel's
/// net/ipv4/{tcp,udp}_offload.c do where there is none.
///
/// The super-frame is TCP, or UDP sent with UDP_SEGMENT, over IPv4 or IPv6; or such a frame inside VXLAN, as a kernel VTEP
/// hands it to an underlay without offloads. Headers are read once; then the segments can be written in any order and at
/// any time, from the same bytes.
public struct Segmentation: BitwiseCopyable, Sendable {
  /// Segments that the super-frame makes, at least one.
  public let count: Int

  /// The header whose payload is cut, and the UDP header of the VXLAN packet around it.
  private let inner: TransportHeader
  private let outer: TransportHeader?
  /// Bytes of all headers; the payload follows.
  private let headerLength: Int
  /// Bytes of payload per segment.
  private let size: Int

  /// Nil when the frame can't be cut: shorter than its headers say, of another protocol, or without payload.
  ///
  /// - Parameters:
  ///   - size: bytes of payload per segment, `gso_size` of the virtio-net header.
  ///   - transport: offset of the TCP or UDP header to cut behind, `csum_start` of the virtio-net header; nil for the first.
  public init?(_ frame: RawSpan, size: Int, transport: Int?) {
    guard let first = TransportHeader(frame) else { return nil }
    if let transport, transport != first.start {
      guard let inner = Self.header(inside: first, frame), inner.start == transport else { return nil }
      self.init(frame, inner, outer: first) { _ in size }
    } else {
      self.init(frame, first, outer: nil) { _ in size }
    }
  }

  /// For a super-frame that nobody says more about than its bytes. TCP may be cut anywhere; nil for UDP, where the cuts
  /// mean something and are not known.
  ///
  /// - Parameters:
  ///   - mtu: bytes of the largest IP packet, for VXLAN of the largest inner one.
  ///   - isVXLAN: the frame is a VXLAN packet, and what is inside gets cut.
  public init?(_ frame: RawSpan, mtu: Int, isVXLAN: Bool) {
    guard let first = TransportHeader(frame), let cut = isVXLAN ? Self.header(inside: first, frame) : first, cut.isTCP else {
      return nil
    }
    self.init(frame, cut, outer: isVXLAN ? first : nil) { headerLength in cut.ip + mtu - headerLength }
  }

  /// - Parameter size: bytes of payload per segment, from those of all headers.
  private init?(_ frame: RawSpan, _ inner: TransportHeader, outer: TransportHeader?, size: (Int) -> Int) {
    let dataOffset = inner.isTCP ? Int(frame.byte(at: inner.start + 12) >> 4) * 4 : 8
    headerLength = inner.start + dataOffset
    self.size = size(headerLength)
    guard dataOffset >= (inner.isTCP ? 20 : 8), headerLength < inner.end, self.size > 0 else { return nil }
    self.inner = inner
    self.outer = outer
    count = (inner.end - headerLength + self.size - 1) / self.size
  }

  /// The transport header of the frame in a VXLAN packet; nil unless both end together.
  private static func header(inside outer: TransportHeader, _ frame: RawSpan) -> TransportHeader? {
    let ethernet = outer.start + 8 + VXLAN.headerLength
    guard !outer.isTCP, let inner = TransportHeader(frame, ethernet: ethernet), inner.end == outer.end else { return nil }
    return inner
  }

  /// The length of a segment with all headers, in bytes.
  public func length(of index: Int) -> Int {
    precondition(index >= 0 && index < count)
    return headerLength + min(size, inner.end - headerLength - index * size)
  }

  /// Writes a segment, all its checksums complete. Traps unless `segment` has `length(of: index)` bytes and `frame` is the
  /// super-frame.
  public func write(_ index: Int, of frame: RawSpan, to segment: inout MutableRawSpan) {
    let length = length(of: index)
    precondition(segment.byteCount == length)
    let start = headerLength + index * size
    segment.copy(0..<headerLength, of: frame, to: 0)
    segment.copy(start..<start + length - headerLength, of: frame, to: headerLength)
    shorten(inner, to: length, index, &segment)
    if inner.isTCP { patchTCP(index, &segment) }
    // The pseudo-header's sum goes into the field first: that is a partial checksum.
    let pseudoHeader = Checksum.fold(inner.pseudoHeader(frame, length: length - inner.start))
    segment.store(big16: pseudoHeader, at: inner.checksum)
    PartialChecksum.complete(&segment, inner.start..<length, at: inner.checksum)
    if let outer {
      shorten(outer, to: length, index, &segment)
      updateOuterChecksum(outer, pseudoHeader, &segment)
    }
  }

  /// Patches the lengths of IP and UDP, IPv4's identification (one more per segment) and IPv4's checksum.
  private func shorten(_ header: TransportHeader, to end: Int, _ index: Int, _ segment: inout MutableRawSpan) {
    if !header.isTCP { segment.store(big16: UInt16(end - header.start), at: header.start + 4) }
    if header.isIPv6 {
      segment.store(big16: UInt16(end - header.start), at: header.ip + 4)
      return
    }
    let (oldLength, oldIdentification) = (segment.bytes.big16(at: header.ip + 2), segment.bytes.big16(at: header.ip + 4))
    let length = UInt16(end - header.ip)
    let identification = oldIdentification &+ UInt16(truncatingIfNeeded: index)
    var checksum = segment.bytes.big16(at: header.ip + 10)
    checksum = Checksum.updated(checksum, from: oldLength, to: length)
    checksum = Checksum.updated(checksum, from: oldIdentification, to: identification)
    segment.store(big16: length, at: header.ip + 2)
    segment.store(big16: identification, at: header.ip + 4)
    segment.store(big16: checksum, at: header.ip + 10)
  }

  /// Patches TCP's sequence number and flags: FIN and PSH belong to the last segment alone, CWR to the first (RFC 3168
  /// section 6.1.2 wants one answer per window).
  private func patchTCP(_ index: Int, _ segment: inout MutableRawSpan) {
    let sequence = segment.bytes.big32(at: inner.start + 4) &+ UInt32(truncatingIfNeeded: index * size)
    segment.store(big32: sequence, at: inner.start + 4)
    var flags = segment.bytes.byte(at: inner.start + 13)
    if index < count - 1 { flags &= ~0x09 }
    if index > 0 { flags &= ~0x80 }
    segment.store(flags, at: inner.start + 13)
  }

  /// Computes the VXLAN packet's UDP checksum, unless it has none, without another pass over the payload: the inner
  /// checksum is complete, so everything it covers sums up to the complement of its pseudo-header ("local checksum
  /// offload", Documentation/networking/checksum-offloads.rst).
  private func updateOuterChecksum(_ outer: TransportHeader, _ innerPseudoHeader: UInt16, _ segment: inout MutableRawSpan) {
    guard segment.bytes.big16(at: outer.checksum) != 0 else { return }
    segment.store(big16: 0, at: outer.checksum)
    let sum =
      outer.pseudoHeader(segment.bytes, length: segment.byteCount - outer.start)
      + Checksum.sum(segment.bytes, outer.start..<inner.start) + UInt64(~innerPseudoHeader)
    segment.store(big16: Checksum.udp(sum), at: outer.checksum)
  }
}
