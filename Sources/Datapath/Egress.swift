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
  /// What ports that were closed have counted (`PortCounter`).
  let retired = Counters(count: PortCounter.allCases.count)
  let events: EventRing
  private let batch: Int

  /// - Parameters:
  ///   - ports: a buffer with room for more.
  ///   - batch: frames per call of `Port.transmit`.
  public init(umem: consuming UMEM, ports: consuming Slots<Port>, batch: Int, events: EventRing) {
    self.umem = umem
    outgoing = Slots(capacity: Topology.portLimit)
    for _ in 0..<ports.count { outgoing.append(Batch(capacity: batch)) }
    self.ports = ports
    self.events = events
    self.batch = batch
  }

  /// Puts a port where one was closed, or behind the last.
  mutating func open(_ port: consuming Port, at index: Int) {
    if index == ports.count {
      ports.append(port)
      outgoing.append(Batch(capacity: batch))
    } else {
      ports[index] = port
    }
  }

  /// Sends what is due for a port and closes it; what it has counted stays in the sums.
  mutating func close(_ index: Int) {
    if !outgoing[index].isEmpty { flush(index) }
    ports[index].close(umem: &umem)
    let counters = ports[index].counters
    for counter in 0..<counters.count { retired.add(Int(counters[counter]), to: counter) }
    ports[index] = .closed(ClosedPort())
  }

  @inline(__always)
  mutating func send(_ frame: Frame, to port: Int) {
    if outgoing[port].appendIfRoom(frame) { return }
    flush(port)
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
  ///
  /// - Returns: whether the frame is a TCP SYN; nil when it has no transport header.
  @inline(__always)
  mutating func completeChecksum(_ frame: inout Frame) -> Bool? {
    let counters = self.counters
    var bytes = umem.mutableBytes(frame)
    guard let transport = TransportHeader(bytes.bytes) else { return nil }
    return Self.completeChecksum(&frame, &bytes, transport, counters)
  }

  @inline(__always)
  private static func completeChecksum(
    _ frame: inout Frame, _ bytes: inout MutableRawSpan, _ transport: TransportHeader, _ counters: Counters
  ) -> Bool {
    if !frame.checksumIsComplete {
      if PartialChecksum.complete(&bytes, transport) { counters.add(1, to: WorkerCounter.checksumsCompleted.index) }
      frame.checksumIsComplete = true
    }
    return transport.isTCP && bytes.bytes.byte(at: transport.start &+ 13) & 0x02 != 0
  }

  /// The same, and what the outer header follows from.
  @inline(__always)
  mutating func completeChecksum(_ frame: inout Frame, hashKey: UInt64) -> (inner: FrameHeaders, isSYN: Bool) {
    let counters = self.counters
    var bytes = umem.mutableBytes(frame)
    guard let transport = TransportHeader(bytes.bytes) else { return (readOther(frame, hashKey: hashKey), false) }
    let isSYN = Self.completeChecksum(&frame, &bytes, transport, counters)
    return (FrameHeaders(bytes.bytes, transport, key: hashKey), isSYN)
  }

  /// What the outer header follows from, of a frame that is no whole TCP or UDP.
  @inline(never)
  mutating func readOther(_ frame: Frame, hashKey: UInt64) -> FrameHeaders { FrameHeaders(umem.bytes(frame), key: hashKey) }

  /// Makes a TCP SYN that goes to a VTEP, or comes from it, offer no more than fits on the way.
  @inline(never)
  mutating func lowerSegmentSize(_ frame: Frame, to vtep: Int, _ limit: UInt16, _ forwarding: borrowing Forwarding) {
    // A VTEP without header: the SYN waits, or the way back is not known yet; packet too big will do.
    guard let info = forwarding.vteps.headerInfo(vtep) else { return }
    var bytes = umem.mutableBytes(frame)
    guard let transport = TransportHeader(bytes.bytes) else { return }
    if TCPSegmentSize.lower(&bytes, transport, mtu: info.innerMTU, limit: limit) { count(.segmentSizesLowered) }
  }

  /// Tells the control plane who has which IP address, if the frame says so and that is news.
  @inline(never)
  mutating func snoop(_ frame: Frame, _ segment: Int, at destination: Destination, _ forwarding: borrowing Forwarding) {
    guard let (address, mac) = NeighbourMessage(umem.bytes(frame))?.binding,
      forwarding.neighbours.lookUp(segment, address)?.mac != mac
    else { return }
    events.post(Event(.neighbour, segment: segment, mac: mac, at: destination, address: address))
  }

  /// Sends an Ethernet frame to a local port: with its tag, and on a wire with at least 60 bytes, zeros at the end (IEEE 802.3
  /// pad).
  @inline(__always)
  mutating func deliver(_ frame: Frame, to local: Topology.LocalPortRecord) {
    var frame = frame
    if local.tag != 0 { umem.pushTag(local.tag, &frame) }
    if local.isWire && frame.length < Ethernet.minimumLength && umem.room(frame) >= Ethernet.minimumLength {
      let length = Int(frame.length)
      frame.length = UInt16(Ethernet.minimumLength)
      var bytes = umem.mutableBytes(frame)
      for offset in length..<Ethernet.minimumLength { bytes.store(0, at: offset) }
    }
    send(frame, to: Int(local.port))
  }

  /// Sends a copy to every local port of the segment but `ingress`, and the frame itself to the last of them. There must be one.
  mutating func deliver(_ frame: Frame, toAll segment: Topology.SegmentRecord, but ingress: Int = -1, _ topology: borrowing Topology) {
    var last = -1
    for index in segment.localPorts.range {
      let number = Int(topology.members[index])
      if number == ingress { continue }
      if last >= 0, let copy = replicate(frame) { deliver(copy, to: topology.localPorts[last]) }
      last = number
    }
    deliver(frame, to: topology.localPorts[last])
  }

  /// A copy of the frame. When there is no memory for it, the copy is counted as made and dropped.
  mutating func replicate(_ frame: Frame) -> Frame? {
    count(.replicated)
    if let copy = umem.copy(frame) { return copy }
    counters.add(1, to: DropReason.noMemory.rawValue)
    return nil
  }
}

extension UMEM {
  /// Puts a VLAN tag behind the frame's addresses, which move back into the headroom.
  @inline(never)
  mutating func pushTag(_ tag: UInt32, _ frame: inout Frame) {
    frame.prepend(VLAN.tagLength)
    var bytes = mutableBytes(frame)
    bytes.insertVLANTag(tag)
  }

  /// Takes the outermost VLAN tag out of a frame that has one: its addresses move forward.
  mutating func popTag(_ frame: inout Frame) {
    var bytes = mutableBytes(frame)
    bytes.removeVLANTag()
    frame.removeFirst(VLAN.tagLength)
  }
}
