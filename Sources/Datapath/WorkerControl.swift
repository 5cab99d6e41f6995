import PacketIO
import Synchronization

/// What changes for a worker while it runs. Made by the control plane, used up by one worker.
public final class WorkerChange: @unchecked Sendable {
  fileprivate(set) var topology: Topology?
  /// Ports that come, in order, at these indexes; and ports that go.
  var opened: Slots<OpenedPort>
  let closed: [Int]

  public struct OpenedPort: ~Copyable, Sendable {
    let index: Int
    var port: Port

    public init(index: Int, port: consuming Port) {
      self.index = index
      self.port = port
    }
  }

  /// - Parameters:
  ///   - opened: ports at indexes behind all others, or that were closed.
  ///   - closed: no local port of `topology` may use them.
  public init(topology: consuming Topology, opened: consuming Slots<OpenedPort> = Slots(capacity: 0), closed: [Int] = []) {
    self.topology = consume topology
    self.opened = opened
    self.closed = closed
  }

  func takeTopology() -> Topology? { topology.take() }
}

/// What a worker and the control plane say to each other.
public final class WorkerControl: Sendable {
  /// Rung to make the worker look at what is asked of it.
  public let wake: Doorbell
  /// Rung by the worker when a VTEP was added that needs an outer header, or when there are events.
  public let discovered: Doorbell
  public let events: EventRing
  private let stopping = Atomic(false)
  private let requested = Atomic(0)
  private let answered = Atomic(0)
  private let pinged = Atomic(0)
  private let ponged = Atomic(0)
  private let copy: Counters
  private let change = Mutex<WorkerChange?>(nil)
  private let changesAsked = Atomic(0)
  private let changesDone = Atomic(0)

  public init(discovered: Doorbell) throws(SystemError) {
    wake = try Doorbell()
    self.discovered = discovered
    events = try EventRing(bell: discovered)
    copy = Counters(count: WorkerCounter.blockSize + (Topology.portLimit + 1) * PortCounter.allCases.count)
  }

  public func stop() {
    stopping.store(true, ordering: .releasing)
    wake.ring()
  }

  var isStopping: Bool { stopping.load(ordering: .acquiring) }

  // MARK: Changes

  /// Gives the worker a change, to be made between two rounds; does not wait for it. One at a time.
  public func ask(for change: WorkerChange) {
    self.change.withLock { $0 = change }
    changesAsked.add(1, ordering: .releasing)
    wake.ring()
  }

  /// Waits until the worker has made the change that was asked for last, or has ended.
  public func awaitChange() {
    let number = changesAsked.load(ordering: .relaxed)
    while changesDone.load(ordering: .acquiring) < number && answered.load(ordering: .acquiring) != .max {
      Tick.pause(microseconds: 50)
    }
  }

  /// The worker's side: the change that is asked for, or nil.
  @inline(__always)
  func pendingChange() -> WorkerChange? {
    if changesAsked.load(ordering: .relaxed) == changesDone.load(ordering: .relaxed) { return nil }
    return takeChange()
  }

  private func takeChange() -> WorkerChange? { change.withLock { $0.take() } }

  func finishChange() { changesDone.store(changesAsked.load(ordering: .acquiring), ordering: .releasing) }

  // MARK: Life

  /// Asks the worker to show that it is alive; does not wait for it.
  public func ping() {
    pinged.add(1, ordering: .relaxed)
    wake.ring()
  }

  /// Whether it has shown so since it was asked last.
  public var hasAnswered: Bool { ponged.load(ordering: .relaxed) == pinged.load(ordering: .relaxed) }

  // MARK: Counters

  /// Asks the worker for its counters as they are between two rounds, and waits for them. After the worker has ended,
  /// its last ones. One thread at a time may ask.
  public func snapshot() -> Snapshot {
    let number = requested.add(1, ordering: .acquiringAndReleasing).newValue
    wake.ring()
    while answered.load(ordering: .acquiring) < number { Tick.pause(microseconds: 50) }
    return Snapshot(values: (0..<copy.count).map { copy[$0] })
  }

  /// The worker's side: called between rounds.
  func serve(_ egress: borrowing Egress, _ waiting: Int) {
    let ping = pinged.load(ordering: .relaxed)
    if ponged.load(ordering: .relaxed) != ping { ponged.store(ping, ordering: .relaxed) }
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
    for port in 0..<egress.ports.count { put(egress.ports[port].counters, at: port) }
    put(egress.retired, at: Topology.portLimit)
    answered.store(answer, ordering: .releasing)
  }

  private func put(_ counters: Counters, at place: Int) {
    for index in 0..<counters.count { copy.set(WorkerCounter.blockSize + place * counters.count + index, to: counters[index]) }
  }
}

/// A worker's counters at one moment between two rounds, so that sums hold exactly.
public struct Snapshot: Sendable {
  private let values: [UInt64]

  init(values: [UInt64]) { self.values = values }

  public subscript(reason: DropReason) -> UInt64 { values[reason.rawValue] }
  public subscript(counter: WorkerCounter) -> UInt64 { values[counter.index] }
  public subscript(counter: PortCounter, port: Int) -> UInt64 {
    values[WorkerCounter.blockSize + port * PortCounter.allCases.count + counter.rawValue]
  }

  /// Over all ports, those that were closed included.
  public func sum(_ counter: PortCounter) -> UInt64 { (0...Topology.portLimit).reduce(0) { $0 + self[counter, $1] } }
}
