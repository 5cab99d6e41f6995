import PacketIO
import Wire

/// A worker: one thread's memory, its end of every port, and the loop that takes packets through.
///
///     a change:        new tables, ports that come and go
///     waiting frames:  their neighbour is known now, or they are given up
///     for each port:   receive a batch  →  underlay: decapsulate; others: encapsulate  →  batches for other ports
///     for each port:   transmit its batch, take back what was sent, refill
///     nothing to do:   sleep until a port, or another thread, has something
///
/// Workers share the FDB and the VTEP table and nothing else. The control plane never makes one wait: it publishes outer
/// headers, hands over changes, and asks for a snapshot of the counters through `WorkerControl`.
public struct Worker: ~Copyable, Sendable {
  public enum Polling: String, Sendable, CaseIterable {
    /// Goes on for a moment when idle, then sleeps: see `PollWindow`.
    case adaptive
    /// Never sleeps.
    case busy
    /// Sleeps as soon as there is nothing to do.
    case interrupt
  }

  var egress: Egress
  private var topology: Topology
  private let forwarding: Forwarding
  private var decapsulator: Decapsulator
  private var encapsulator: Encapsulator
  private var batch: Batch
  /// Frames for the segments that came in through the underlay's NIC (one-armed).
  private var localBatch: Batch
  private var poller: Poller
  private let control: WorkerControl

  /// - Parameters:
  ///   - batch: frames per receive.
  ///   - egress: memory and ports; port 0 is the underlay, the rest as `topology` has them.
  public init(
    egress: consuming Egress, topology: consuming Topology, forwarding: Forwarding, settings: TunnelSettings, batch: Int,
    control: WorkerControl
  ) throws(SystemError) {
    poller = Self.poller(control, egress)
    self.egress = egress
    self.topology = topology
    self.forwarding = forwarding
    self.control = control
    decapsulator = Decapsulator(settings: settings, batch: batch)
    encapsulator = Encapsulator(settings: settings, batch: batch)
    self.batch = Batch(capacity: batch)
    localBatch = Batch(capacity: batch)
  }

  /// Runs until the control plane stops it, then gives back what it holds.
  public mutating func run(polling: Polling) {
    var window = PollWindow()
    while !control.isStopping {
      if let change = control.pendingChange() { make(change) }
      let received = round(Tick.now)
      control.serve(egress, encapsulator.waiting.count)
      if received > 0 {
        window.reset()
        continue
      }
      if polling == .busy || (polling == .adaptive && !window.isOver(Tick.nanoseconds)) { continue }
      egress.count(.sleeps)
      poller.wait(milliseconds: hasUnfinishedBusiness ? 2 : -1)
      control.wake.clear()
      if polling == .adaptive { window.adjust(Tick.nanoseconds) }
    }
    finish()
  }

  /// Whether something is due without a descriptor telling: a header that is published for a waiting frame rings no
  /// bell, nor does a ring that the kernel has sent.
  private var hasUnfinishedBusiness: Bool {
    if encapsulator.waiting.count > 0 { return true }
    for port in 0..<egress.ports.count where egress.ports[port].isSending { return true }
    return false
  }

  /// One pass over all ports. Returns how many frames it received.
  @discardableResult
  public mutating func round(_ now: Tick) -> Int {
    var received = 0
    // Before anything new: frames of a flow stay in order.
    if encapsulator.waiting.count > 0 { encapsulator.retryWaiting(now, forwarding, topology, &egress) }
    for port in 0..<egress.ports.count {
      egress.ports[port].receive(into: &batch, umem: &egress.umem)
      if batch.isEmpty { continue }
      received += batch.count
      if port == Topology.underlay {
        if topology.isOneArmed { bridgeOneArmed(now) }
        decapsulator.process(&batch, tick: now.seconds, forwarding, topology, &egress)
      } else {
        encapsulator.process(&batch, from: port, now: now, forwarding, topology, &egress)
      }
    }
    for port in 0..<egress.ports.count {
      if !egress.outgoing[port].isEmpty { egress.flush(port) }
      egress.ports[port].replenish(umem: &egress.umem)
    }
    if decapsulator.discovered {
      decapsulator.discovered = false
      control.discovered.ring()
    }
    egress.count(.rounds)
    if received == 0 { egress.count(.emptyRounds) }
    return received
  }

  /// Takes the frames of local ports out of a batch from the underlay's NIC: those with one of their tags.
  private mutating func bridgeOneArmed(_ now: Tick) {
    var kept = 0
    for index in 0..<batch.count {
      let frame = batch[index]
      if isLocal(frame) {
        localBatch.append(frame)
      } else {
        batch[kept] = frame
        kept += 1
      }
    }
    batch.removeLast(batch.count - kept)
    encapsulator.process(&localBatch, from: Topology.underlay, now: now, forwarding, topology, &egress)
  }

  private func isLocal(_ frame: Frame) -> Bool {
    let bytes = egress.umem.bytes(frame)
    guard bytes.byteCount >= Ethernet.headerLength + 4, EtherType.isTag(bytes.big16(at: 12)) else { return false }
    return topology.localPort(of: Topology.underlay, type: bytes.big16(at: 12), vid: bytes.big16(at: 14)) >= 0
  }

  /// Called by the thread that runs the worker, or, before there is one, by who made it.
  mutating func make(_ change: WorkerChange) {
    if let topology = change.takeTopology() { self.topology = topology }
    decapsulator.forget()
    for index in change.closed { egress.close(index) }
    while change.opened.count > 0 { open(change.opened.removeLast()) }
    poller = Self.poller(control, egress)
    control.finishChange()
  }

  private mutating func open(_ opened: consuming WorkerChange.OpenedPort) { egress.open(opened.port, at: opened.index) }

  private static func poller(_ control: WorkerControl, _ egress: borrowing Egress) -> Poller {
    var descriptors = [control.wake.descriptor]
    for index in 0..<egress.ports.count { descriptors += egress.ports[index].descriptors }
    return Poller(descriptors)
  }

  /// What waits is dropped with a reason, and the last counters are left for the control plane.
  private mutating func finish() {
    encapsulator.abandonWaiting(&egress)
    control.leaveSnapshot(egress, waiting: 0)
  }
}
