import Datapath
import Dispatch
import PacketIO
import Synchronization

/// What two threads cost each other. The second one runs beside the first for as long as that takes, so that both measurements
/// of a ratio find the machine alike.
enum Threads {
  /// A worker that any thread may run.
  private final class Lane: Sendable {
    private let gateway: Mutex<Gateway>

    init(_ gateway: consuming sending Gateway) { self.gateway = Mutex(gateway) }

    func run(_ passes: Int) { gateway.withLock { for _ in 0..<passes { $0.measured() } } }
  }

  /// Frames per second of two workers that share the tables, over those of one. Of each the fastest sample: a processor that shares its
  /// core with somebody else's is slower by half for seconds, and what the workers cost each other is in the fastest, too.
  static func workers(_ setup: Setup) throws -> Double {
    let forwarding = try Forwarding(maximumEntries: setup.limit, seed: Gateway.seed)
    let lanes = [Lane(try Gateway(setup, forwarding)), Lane(try Gateway(setup, forwarding))]
    for lane in lanes { lane.run(1) }
    var (alone, both) = (Duration.seconds(60), Duration.seconds(60))
    for _ in 0..<20 * setup.samples {
      alone = min(alone, ContinuousClock().measure { lanes[0].run(setup.passes) })
      both = min(both, together { lanes[$0].run(setup.passes) })
    }
    return 2 * (alone / both)
  }

  /// Runs `body` with 0 and 1 on a thread each, from the same moment on. Returns how long both took. The second thread is that of a
  /// queue of its own: `concurrentPerform` may run one after the other, and they wait for each other.
  private static func together(_ body: @Sendable (Int) -> Void) -> Duration {
    let ready = Atomic(0)
    let start = Mutex(ContinuousClock.now)
    let run = { @Sendable (number: Int) in
      if ready.add(1, ordering: .acquiringAndReleasing).newValue == 2 { start.withLock { $0 = .now } }
      while ready.load(ordering: .acquiring) < 2 {}
      body(number)
    }
    withoutActuallyEscaping(run) { run in
      let second = DispatchGroup()
      DispatchQueue(label: "second").async(group: second) { run(1) }
      run(0)
      second.wait()
    }
    return ContinuousClock.now - start.withLock { $0 }
  }

  /// Look-ups per second while another thread learns 100 000 new addresses a second, and takes as many out, over those without.
  static func readers(_ setup: Setup) throws -> Double {
    let forwarding = try Forwarding(maximumEntries: 4 * setup.limit, seed: Gateway.seed)
    let table = Mutex(Table(setup, forwarding))
    let learns = Atomic(false)
    let isOver = Atomic(false)
    let ratio = Mutex(0.0)
    _ = together { number in
      if number == 1 { return churn(forwarding, while: learns, until: isOver) }
      let ratios = (0..<setup.samples).map { _ in
        let times = [false, true].map { learning in
          learns.store(learning, ordering: .releasing)
          return table.withLock { table in
            var sum = 0.0
            for _ in 0..<setup.passes { sum += table.timedPass() }
            return sum
          }
        }
        return times[0] / times[1]
      }
      ratio.withLock { $0 = median(ratios) }
      isOver.store(true, ordering: .releasing)
    }
    return ratio.withLock { $0 }
  }

  /// Ten addresses every 100 microseconds.
  private static func churn(_ forwarding: Forwarding, while learns: borrowing Atomic<Bool>, until isOver: borrowing Atomic<Bool>) {
    var due = ContinuousClock.now
    var next: FDBKey = 0
    while !isOver.load(ordering: .acquiring) {
      guard ContinuousClock.now >= due else { continue }
      due += .microseconds(100)
      guard learns.load(ordering: .acquiring) else { continue }
      for _ in 0..<10 {
        let verdict = forwarding.fdb.learn(Frames.unknownBlock | next, at: .vtep(1), tick: 0)
        precondition(verdict == .added, "learning a new address came to \(verdict)")
        if next >= 1000 { forwarding.fdb.remove(Frames.unknownBlock | (next - 1000)) }
        next += 1
      }
    }
  }

  /// The longest round of a worker, in microseconds, while another thread ages `macs` entries, all of them due.
  static func pause(_ setup: Setup) throws -> Double {
    guard let gatewaySetup = Setup(["decapsulate", "batch=\(setup.batch)"]) else { preconditionFailure("there is such a case") }
    let forwarding = try Forwarding(maximumEntries: 2 * setup.limit, seed: Gateway.seed)
    let gateway = Mutex(try Gateway(gatewaySetup, forwarding))
    let samples = (0..<setup.samples).map { _ in
      for index in 0..<setup.macs { _ = forwarding.fdb.learn(Frames.unknownBlock | FDBKey(index), at: .vtep(1), tick: 0) }
      let isOver = Atomic(false)
      let longest = Mutex(Duration.zero)
      _ = together { number in
        if number == 1 {
          _ = forwarding.fdb.age(tick: Gateway.now.seconds, ageing: Gateway.now.seconds - 1)
          return isOver.store(true, ordering: .releasing)
        }
        gateway.withLock { gateway in
          while !isOver.load(ordering: .acquiring) {
            let round = ContinuousClock().measure { gateway.round() }
            longest.withLock { $0 = max($0, round) }
          }
        }
      }
      return longest.withLock { $0 } / .microseconds(1)
    }
    return median(samples)
  }
}
