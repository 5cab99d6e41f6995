/// A port without a kernel that hands out the same frames again and again and forgets what it transmits, for about the
/// cost of a ring: for benchmarks of the data path, which must leave the frames' bytes as they were.
public struct ReplayPort: ~Copyable, Sendable {
  public let counters = Counters(count: PortCounter.allCases.count)
  private var frames: FixedBuffer<Frame>
  private var next = 0
  private let end: UInt32

  /// - Parameters:
  ///   - frames: what arrives, in a circle; may be empty.
  ///   - end: offset in the UMEM, in bytes, where the chunks end that this or another port replays. They never go back
  ///     into the pool when they are transmitted; others do.
  public init(_ frames: [Frame], replayedBefore end: UInt32) {
    self.frames = FixedBuffer(repeating: Frame(start: 0, length: 0), count: frames.count)
    for (index, frame) in frames.enumerated() { self.frames[index] = frame }
    self.end = end
  }

  public mutating func receive(into batch: inout Batch, umem: inout UMEM) {
    guard frames.count > 0 else { return }
    let before = batch.count
    var bytes = 0
    while !batch.isFull {
      let frame = frames[next]
      next = next &+ 1 == frames.count ? 0 : next &+ 1
      batch.append(frame)
      bytes &+= Int(frame.length)
    }
    counters.add(batch.count &- before, to: PortCounter.rxFrames.rawValue)
    counters.add(bytes, to: PortCounter.rxBytes.rawValue)
  }

  public mutating func transmit(_ batch: inout Batch, umem: inout UMEM) {
    var bytes = 0
    for index in 0..<batch.count {
      bytes &+= Int(batch[index].length)
      if batch[index].start >= end { umem.release(batch[index]) }
    }
    counters.add(batch.count, to: PortCounter.txFrames.rawValue)
    counters.add(bytes, to: PortCounter.txBytes.rawValue)
    batch.removeAll()
  }
}
