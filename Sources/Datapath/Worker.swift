import PacketIO
import Synchronization
import Wire

/// A worker: one thread's memory, its end of every port, and the loop that takes packets through.
///
///     waiting frames:  their neighbour is known now, or they are given up
///     for each port:   receive a batch  →  underlay: decapsulate; local: encapsulate  →  batches for other ports
///     for each port:   transmit its batch, take back what was sent, refill
///     nothing to do:   sleep until a port, or another thread, has something
///
/// Workers share the FDB and the VTEP table and nothing else. The control plane never makes one wait: it publishes outer
/// headers, and asks for a snapshot of the counters through `WorkerControl`.
public struct Worker: ~Copyable, Sendable {
  public enum Polling: String, Sendable, CaseIterable {
    /// Spins for a moment when idle, then sleeps.
    case adaptive
    /// Never sleeps.
    case busy
    /// Sleeps as soon as there is nothing to do.
    case interrupt
  }

  var egress: Egress
  private let topology: Topology
  private let forwarding: Forwarding
  private var decapsulator: Decapsulator
  private var encapsulator: Encapsulator
  private var batch: Batch
  private let poller: Poller
  private let control: WorkerControl

  /// - Parameters:
  ///   - batch: frames per receive.
  ///   - egress: memory and ports; port 0 is the underlay, the rest as `topology` has them.
  public init(
    egress: consuming Egress, topology: consuming Topology, forwarding: Forwarding, settings: TunnelSettings, batch: Int,
    control: WorkerControl
  ) throws(SystemError) {
    var descriptors = [control.wake.descriptor]
    for index in 0..<egress.ports.count { descriptors += egress.ports[index].descriptors }
    poller = try Poller(descriptors)
    self.egress = egress
    self.topology = topology
    self.forwarding = forwarding
    self.control = control
    decapsulator = Decapsulator(settings: settings, batch: batch)
    encapsulator = Encapsulator(settings: settings, batch: batch)
    self.batch = Batch(capacity: batch)
  }

  /// Empty rounds before an adaptive worker sleeps: about as long as going to sleep and waking up would take.
  private static let spins = 32

  /// Runs until the control plane stops it, then gives back what it holds.
  public mutating func run(polling: Polling) {
    var idle = 0
    while !control.isStopping {
      let now = Tick.now
      idle = round(now) > 0 ? 0 : idle + 1
      control.serve(egress, encapsulator.waiting.count)
      if polling == .busy || (polling == .adaptive && idle < Self.spins) || idle == 0 { continue }
      egress.count(.sleeps)
      poller.wait(milliseconds: hasUnfinishedBusiness ? 2 : -1)
      control.wake.clear()
      idle = 0
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
    if encapsulator.waiting.count > 0 { encapsulator.retryWaiting(now, forwarding, &egress) }
    for port in 0..<egress.ports.count {
      egress.ports[port].receive(into: &batch, umem: &egress.umem)
      if batch.isEmpty { continue }
      received += batch.count
      if port == Topology.underlay {
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

  /// What waits is dropped with a reason, and the last counters are left for the control plane.
  private mutating func finish() {
    encapsulator.abandonWaiting(&egress)
    control.leaveSnapshot(egress, waiting: 0)
  }
}

/// What a worker and the control plane say to each other.
public final class WorkerControl: Sendable {
  /// Rung to make the worker look at `stop` and `requested`.
  public let wake: Doorbell
  /// Rung by the worker when a VTEP was added that needs an outer header.
  public let discovered: Doorbell
  private let stopping = Atomic(false)
  private let requested = Atomic(0)
  private let answered = Atomic(0)
  private let copy: Counters
  private let portCount: Int

  public init(ports: Int, discovered: Doorbell) throws(SystemError) {
    wake = try Doorbell()
    self.discovered = discovered
    portCount = ports
    copy = Counters(count: WorkerCounter.blockSize + ports * PortCounter.allCases.count)
  }

  public func stop() {
    stopping.store(true, ordering: .releasing)
    wake.ring()
  }

  var isStopping: Bool { stopping.load(ordering: .acquiring) }

  /// Asks the worker for its counters as they are between two rounds, and waits for them. After the worker has ended,
  /// its last ones. One thread at a time may ask.
  public func snapshot() -> Snapshot {
    let number = requested.add(1, ordering: .acquiringAndReleasing).newValue
    wake.ring()
    while answered.load(ordering: .acquiring) < number { Tick.pause(microseconds: 50) }
    return Snapshot(values: (0..<copy.count).map { copy[$0] }, ports: portCount)
  }

  /// The worker's side: called between rounds.
  func serve(_ egress: borrowing Egress, _ waiting: Int) {
    if requested.load(ordering: .relaxed) != answered.load(ordering: .relaxed) {
      fill(egress, waiting, answer: requested.load(ordering: .acquiring))
    }
  }

  func leaveSnapshot(_ egress: borrowing Egress, waiting: Int) { fill(egress, waiting, answer: .max) }

  private func fill(_ egress: borrowing Egress, _ waiting: Int, answer: Int) {
    var held = 0
    for port in 0..<egress.ports.count { held += egress.ports[port].heldChunks }
    egress.counters.set(WorkerCounter.poolChunks.index, to: UInt64(egress.umem.freeCount))
    egress.counters.set(WorkerCounter.heldChunks.index, to: UInt64(held))
    for index in 0..<egress.counters.count { copy.set(index, to: egress.counters[index]) }
    for port in 0..<egress.ports.count {
      let counters = egress.ports[port].counters
      for index in 0..<counters.count { copy.set(WorkerCounter.blockSize + port * counters.count + index, to: counters[index]) }
    }
    answered.store(answer, ordering: .releasing)
  }
}

/// A worker's counters at one moment between two rounds, so that sums hold exactly.
public struct Snapshot: Sendable {
  private let values: [UInt64]
  public let ports: Int

  init(values: [UInt64], ports: Int) {
    self.values = values
    self.ports = ports
  }

  public subscript(reason: DropReason) -> UInt64 { values[reason.rawValue] }
  public subscript(counter: WorkerCounter) -> UInt64 { values[counter.index] }
  public subscript(counter: PortCounter, port: Int) -> UInt64 {
    values[WorkerCounter.blockSize + port * PortCounter.allCases.count + counter.rawValue]
  }
}
