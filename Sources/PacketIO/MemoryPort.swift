/// A port without a kernel: what is put into `arriving` is received, what is transmitted stays in `sent` until it is
/// taken. For tests of the whole data path.
public struct MemoryPort: ~Copyable, Sendable {
  public let counters = Counters(count: PortCounter.allCases.count)
  /// Frames to be received, oldest first. Their chunks belong to the worker's UMEM.
  public var arriving: [Frame] = []
  /// Frames that were transmitted, oldest first. Whoever takes them out releases their chunks.
  public var sent: [Frame] = []

  public init() {}

  public mutating func receive(into batch: inout Batch, umem: inout UMEM) {
    let taken = min(arriving.count, batch.capacity - batch.count)
    for frame in arriving.prefix(taken) {
      batch.append(frame)
      counters.add(Int(frame.length), to: PortCounter.rxBytes.rawValue)
    }
    arriving.removeFirst(taken)
    counters.add(taken, to: PortCounter.rxFrames.rawValue)
  }

  public mutating func transmit(_ batch: inout Batch, umem: inout UMEM) {
    for index in 0..<batch.count {
      sent.append(batch[index])
      counters.add(Int(batch[index].length), to: PortCounter.txBytes.rawValue)
    }
    counters.add(batch.count, to: PortCounter.txFrames.rawValue)
    batch.removeAll()
  }

  /// What nobody took out goes back to the pool.
  mutating func close(umem: inout UMEM) {
    for frame in arriving + sent { umem.release(frame) }
    (arriving, sent) = ([], [])
  }
}
