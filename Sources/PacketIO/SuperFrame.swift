import Wire

/// A super-frame on its way out of a receiver's spill memory: its segments leave in chunks of their own, as many at a time
/// as batch and pool have room for.
struct SuperFrame: Sendable {
  /// Bytes that the largest super-frame takes: an IP packet behind Ethernet and two VLAN tags. Longer ones (BIG TCP, off by
  /// default) are dropped.
  static let capacity = 65536 + 64

  private let plan: Segmentation
  /// Where it is in the spill, in bytes.
  let range: Range<Int>
  /// The first segment that has not been handed on.
  private var next = 0

  /// Nil when a segment would not fit a chunk.
  init?(_ plan: Segmentation, at range: Range<Int>, _ umem: borrowing UMEM) {
    guard plan.length(of: 0) <= umem.chunkSize - UMEM.headroom else { return nil }
    self.plan = plan
    self.range = range
  }

  /// Hands segments on, and counts them. True when the last one is.
  ///
  /// - Parameter bytes: what `range` has.
  mutating func handOn(_ bytes: RawSpan, to batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) -> Bool {
    while next < plan.count {
      guard !batch.isFull, var frame = umem.allocate() else { return false }
      frame.length = UInt16(plan.length(of: next))
      var segment = umem.mutableBytes(frame)
      plan.write(next, of: bytes, to: &segment)
      batch.append(received: frame, counters)
      next += 1
    }
    counters.add(1, to: PortCounter.superFrames.rawValue)
    return true
  }
}

extension Batch {
  /// Appends a frame whose checksum is known to be complete, and counts it.
  mutating func append(received frame: Frame, _ counters: Counters) {
    var frame = frame
    frame.checksumIsComplete = true
    append(frame)
    counters.add(1, to: PortCounter.rxFrames.rawValue)
    counters.add(Int(frame.length), to: PortCounter.rxBytes.rawValue)
  }
}

extension Counters {
  /// Counts what was received and is not handed on. A super-frame counts as one frame here.
  func dropReceived(length: Int) {
    add(1, to: PortCounter.rxFrames.rawValue)
    add(length, to: PortCounter.rxBytes.rawValue)
    add(1, to: PortCounter.rxDropped.rawValue)
  }
}
