import CLinux

/// AF_XDP sockets on some queues of one NIC, as one port. Frames leave through the first.
public struct XSKPort: ~Copyable, Sendable {
  private var sockets: Slots<XSKSocket>
  public let counters = Counters(count: PortCounter.allCases.count)
  private let reserve: Int

  /// - Parameters:
  ///   - role: says how super-frames are cut.
  ///   - queues: of the NIC, at least one.
  ///   - isFirst: whether this is the first port on `memory`.
  ///   - reserve: chunks that refilling leaves in the pool for copies.
  /// - Throws: `SystemError`: EBUSY when another socket has the queue, EOPNOTSUPP or EINVAL when the driver can't do what
  ///   `XSKSettings` asks for.
  public init(
    _ memory: XSKMemory, interface: String, role: NICRole, queues: [Int], isFirst: Bool, reserve: Int
  ) throws(SystemError) {
    var sockets = Slots<XSKSocket>(capacity: queues.count)
    for (index, queue) in queues.enumerated() {
      sockets.append(try XSKSocket(memory, interface: interface, role: role, queue: queue, isFirst: isFirst && index == 0))
    }
    self.sockets = sockets
    self.reserve = reserve
  }

  public mutating func receive(into batch: inout Batch, umem: inout UMEM) {
    for index in 0..<sockets.count where !batch.isFull { sockets[index].receive(into: &batch, &umem, counters) }
  }

  public mutating func transmit(_ batch: inout Batch, umem: inout UMEM) {
    // A flood fills batch after batch: what has left serves the next ones, still warm.
    sockets[0].reclaim(&umem)
    var sent = sockets[0].submit(batch, from: 0)
    counters.add(sockets[0].kick(), to: PortCounter.txCalls.rawValue)
    if sent < batch.count {
      // The ring was full; the call may have emptied it.
      sockets[0].reclaim(&umem)
      sent += sockets[0].submit(batch, from: sent)
      counters.add(sockets[0].kick(), to: PortCounter.txCalls.rawValue)
    }
    var bytes = 0
    for index in 0..<sent { bytes &+= Int(batch[index].length) }
    for index in sent..<batch.count { umem.release(batch[index]) }
    counters.add(sent, to: PortCounter.txFrames.rawValue)
    counters.add(bytes, to: PortCounter.txBytes.rawValue)
    counters.add(batch.count - sent, to: PortCounter.txDropped.rawValue)
    batch.removeAll()
  }

  public mutating func replenish(umem: inout UMEM) {
    for index in 0..<sockets.count {
      sockets[index].reclaim(&umem)
      counters.add(sockets[index].refill(&umem, reserve: reserve), to: PortCounter.rxCalls.rawValue)
    }
    // Frames that an earlier call left in the ring.
    if isSending { counters.add(sockets[0].kick(), to: PortCounter.txCalls.rawValue) }
  }

  /// Closes the sockets and gives back all their chunks. What is on its way out gets a moment to leave.
  public mutating func close(umem: inout UMEM) {
    for _ in 0..<50 where isSending {
      replenish(umem: &umem)
      Tick.pause(microseconds: 1000)
    }
    for index in 0..<sockets.count { sockets[index].close(&umem) }
  }

  public var isSending: Bool { sockets[0].sending > 0 }

  public var heldChunks: Int {
    var held = 0
    for index in 0..<sockets.count { held += sockets[index].receiving + sockets[index].sending }
    return held
  }

  /// One socket per queue, in the order in which they were given.
  public var descriptors: [Int32] { (0..<sockets.count).map { sockets[$0].descriptor } }
}

/// What the kernel counts for an AF_XDP socket (XDP_STATISTICS in linux/if_xdp.h): losses that no other counter shows.
public struct XSKStatistics: Sendable {
  /// Packets for the socket that found no chunk in the fill ring, or were too long.
  public var rxDropped: UInt64
  /// Packets that found the RX ring full.
  public var rxRingFull: UInt64
  /// Descriptors of ours that the kernel refused.
  public var invalidDescriptors: UInt64

  public init(descriptor: Int32) throws(SystemError) {
    var statistics = xdp_statistics()
    var length = socklen_t(MemoryLayout<xdp_statistics>.size)
    try systemCall("reading XDP_STATISTICS") { unsafe getsockopt(descriptor, SOL_XDP, XDP_STATISTICS, &statistics, &length) }
    rxDropped = statistics.rx_dropped
    rxRingFull = statistics.rx_ring_full
    invalidDescriptors = statistics.rx_invalid_descs + statistics.tx_invalid_descs
  }

  /// Whether the socket got zero-copy (XDP_OPTIONS).
  public static func isZeroCopy(descriptor: Int32) throws(SystemError) -> Bool {
    var options = xdp_options()
    var length = socklen_t(MemoryLayout<xdp_options>.size)
    try systemCall("reading XDP_OPTIONS") { unsafe getsockopt(descriptor, SOL_XDP, XDP_OPTIONS, &options, &length) }
    return options.flags & UInt32(XDP_OPTIONS_ZEROCOPY) != 0
  }
}
