/// What a port counts. Frames are counted as the data path sees them: a super-frame counts as its segments.
public enum PortCounter: Int, CaseIterable, Sendable {
  case rxFrames, rxBytes, txFrames, txBytes
  /// Frames received (and counted so) but not handed on, because the port itself had to drop them.
  case rxDropped
  /// Frames that the port was given to transmit and dropped: ring or socket buffer full, or refused by the kernel.
  case txDropped
  /// Super-frames (GSO) received and cut into segments.
  case superFrames
  /// System calls made to receive and to transmit.
  case rxCalls, txCalls
}

/// One worker's end of a network interface. Everything here is called once per batch; what happens per packet is
/// concrete code inside the cases. Boxed, because a call takes the value out of the enum and puts it back: with batches of one frame
/// copying ports was a third of all instructions.
public enum Port: ~Copyable, Sendable {
  /// AF_XDP sockets on one or more queues of a NIC.
  case xsk(Box<XSKPort>)
  /// AF_PACKET socket on a NIC.
  case raw(Box<RawPort>)
  /// One queue of a TAP device.
  case tap(Box<TAPPort>)
  /// None any more: receives nothing, and drops what it is given.
  case closed(ClosedPort)
  /// Frames in memory, for tests.
  case memory(Box<MemoryPort>)
  /// Frames in memory that arrive again and again, for benchmarks.
  case replay(Box<ReplayPort>)
}

extension Port {
  /// Appends what has arrived to `batch`, at most until it is full. The frames' chunks come from `umem`.
  public mutating func receive(into batch: inout Batch, umem: inout UMEM) {
    switch consume self {
    case .xsk(var port): port.value.receive(into: &batch, umem: &umem); self = .xsk(port)
    case .raw(var port): port.value.receive(into: &batch, umem: &umem); self = .raw(port)
    case .tap(var port): port.value.receive(into: &batch, umem: &umem); self = .tap(port)
    case .closed(let port): self = .closed(port)
    case .memory(var port): port.value.receive(into: &batch, umem: &umem); self = .memory(port)
    case .replay(var port): port.value.receive(into: &batch, umem: &umem); self = .replay(port)
    }
  }

  /// Sends every frame of `batch` and leaves it empty. A frame that can't be sent is dropped, counted (`txDropped`), and
  /// its chunk goes back to `umem`; so do the chunks of those that were sent, now or later by `replenish`.
  public mutating func transmit(_ batch: inout Batch, umem: inout UMEM) {
    switch consume self {
    case .xsk(var port): port.value.transmit(&batch, umem: &umem); self = .xsk(port)
    case .raw(var port): port.value.transmit(&batch, umem: &umem); self = .raw(port)
    case .tap(var port): port.value.transmit(&batch, umem: &umem); self = .tap(port)
    case .closed(let port): port.transmit(&batch, umem: &umem); self = .closed(port)
    case .memory(var port): port.value.transmit(&batch, umem: &umem); self = .memory(port)
    case .replay(var port): port.value.transmit(&batch, umem: &umem); self = .replay(port)
    }
  }
}

extension Port {
  /// Takes back chunks that the kernel has finished sending and gives it free ones to receive into.
  public mutating func replenish(umem: inout UMEM) {
    switch consume self {
    case .xsk(var port): port.value.replenish(umem: &umem); self = .xsk(port)
    case .raw(let port): self = .raw(port)
    case .tap(let port): self = .tap(port)
    case .closed(let port): self = .closed(port)
    case .memory(let port): self = .memory(port)
    case .replay(let port): self = .replay(port)
    }
  }

  /// Chunks of the worker's UMEM that the kernel holds for this port, in fill, RX, TX and completion rings.
  public var heldChunks: Int {
    switch self {
    case .xsk(let port): port.value.heldChunks
    case .raw: 0
    case .tap: 0
    case .closed: 0
    case .memory: 0
    case .replay: 0
    }
  }

  /// Whether frames are on their way out that the kernel may need to be reminded of: call `replenish` again soon.
  public var isSending: Bool {
    switch self {
    case .xsk(let port): port.value.isSending
    case .raw: false
    case .tap: false
    case .closed: false
    case .memory: false
    case .replay: false
    }
  }

  /// What to wait on for the next frame to receive: file descriptors that poll readable.
  public var descriptors: [Int32] {
    switch self {
    case .xsk(let port): port.value.descriptors
    case .raw(let port): port.value.descriptors
    case .tap(let port): port.value.descriptors
    case .closed: []
    case .memory: []
    case .replay: []
    }
  }

  /// See `PortCounter`.
  public var counters: Counters {
    switch self {
    case .xsk(let port): port.value.counters
    case .raw(let port): port.value.counters
    case .tap(let port): port.value.counters
    case .closed(let port): port.counters
    case .memory(let port): port.value.counters
    case .replay(let port): port.value.counters
    }
  }
}

extension Port {
  /// Closes the port: its sockets end, and every chunk that it holds goes back to `umem`. Its counters stay as they were.
  public mutating func close(umem: inout UMEM) {
    let counters = self.counters
    switch consume self {
    case .xsk(var port): port.value.close(umem: &umem)
    case .raw(var port): port.value.close()
    case .tap: break
    case .closed: break
    case .memory(var port): port.value.close(umem: &umem)
    case .replay: break
    }
    self = .closed(ClosedPort(counters: counters))
  }
}

/// Where a port was.
public struct ClosedPort: Sendable {
  let counters: Counters

  init(counters: Counters) { self.counters = counters }

  public init() { counters = Counters(count: PortCounter.allCases.count) }

  func transmit(_ batch: inout Batch, umem: inout UMEM) {
    counters.add(batch.count, to: PortCounter.txDropped.rawValue)
    for index in 0..<batch.count { umem.release(batch[index]) }
    batch.removeAll()
  }
}
