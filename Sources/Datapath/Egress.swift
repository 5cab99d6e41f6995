import PacketIO
import Wire

/// Where frames leave the data path: for a port, or back into the pool with a reason. It owns the worker's memory, ports
/// and counters; decapsulator and encapsulator own their tables and get it passed.
public struct Egress: ~Copyable, Sendable {
  public var umem: UMEM
  public var ports: Slots<Port>
  /// Frames on their way to each port; a full batch is sent at once, the rest at the end of the round.
  var outgoing: Slots<Batch>
  /// Drop reasons, then `WorkerCounter`.
  public let counters = Counters(count: WorkerCounter.blockSize)

  /// - Parameter batch: frames per call of `Port.transmit`.
  public init(umem: consuming UMEM, ports: consuming Slots<Port>, batch: Int) {
    self.umem = umem
    outgoing = Slots(capacity: ports.count)
    for _ in 0..<ports.count { outgoing.append(Batch(capacity: batch)) }
    self.ports = ports
  }

  @inline(__always)
  mutating func send(_ frame: Frame, to port: Int) {
    if outgoing[port].isFull { flush(port) }
    outgoing[port].append(frame)
  }

  /// Hands the frames that are due for `port` to it.
  @inline(never)
  mutating func flush(_ port: Int) { ports[port].transmit(&outgoing[port], umem: &umem) }

  @inline(__always)
  mutating func drop(_ frame: Frame, _ reason: DropReason) {
    counters.add(1, to: reason.rawValue)
    umem.release(frame)
  }

  @inline(__always)
  func count(_ counter: WorkerCounter) { counters.add(1, to: counter.index) }

  /// Completes the transport checksum if it is partial.
  @inline(__always)
  mutating func completeChecksum(_ frame: inout Frame) {
    if frame.checksumIsComplete { return }
    var bytes = umem.mutableBytes(frame)
    if PartialChecksum.complete(&bytes) { count(.checksumsCompleted) }
    frame.checksumIsComplete = true
  }

  /// Sends an Ethernet frame to a local port; on a wire it has at least 60 bytes, zeros at the end (IEEE 802.3 pad).
  @inline(__always)
  mutating func deliver(_ frame: Frame, to port: Int, isWire: Bool) {
    var frame = frame
    if isWire && frame.length < Ethernet.minimumLength && umem.room(frame) >= Ethernet.minimumLength {
      let length = Int(frame.length)
      frame.length = UInt16(Ethernet.minimumLength)
      var bytes = umem.mutableBytes(frame)
      for offset in length..<Ethernet.minimumLength { bytes.store(0, at: offset) }
    }
    send(frame, to: port)
  }

  /// Sends a copy to every port of `mask` but one, and the frame itself to that one. `mask` is not 0.
  mutating func deliver(_ frame: Frame, toAll mask: UInt64, _ topology: borrowing Topology) {
    var rest = mask
    while rest & (rest &- 1) != 0 {
      let port = rest.trailingZeroBitCount
      rest &= rest &- 1
      guard let copy = replicate(frame) else { continue }
      deliver(copy, to: port, isWire: topology.isWire[port])
    }
    let port = rest.trailingZeroBitCount
    deliver(frame, to: port, isWire: topology.isWire[port])
  }

  /// A copy of the frame. When there is no memory for it, the copy is counted as made and dropped.
  mutating func replicate(_ frame: Frame) -> Frame? {
    count(.replicated)
    if let copy = umem.copy(frame) { return copy }
    counters.add(1, to: DropReason.noMemory.rawValue)
    return nil
  }
}
