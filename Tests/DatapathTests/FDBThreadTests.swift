import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Datapath

/// The FDB under learners, movers, an ager, an operator and readers at once, on few slots, so that they meet.
@Suite struct FDBThreadTests {
  /// What the threads share. Key i may be at place i or i + 1 (of eight), so that keys have values in common, and yet a
  /// value that belongs to another key shows.
  final class Shared: Sendable {
    static let places = 8
    let fdb: FDB
    let keys: [FDBKey]
    let wrongPlaces = Atomic(0)
    let lostSettings = Atomic(0)
    let lostRemovals = Atomic(0)

    init(keys count: Int, limit: Int, homes: Int) throws {
      let fdb = try FDB(limit: limit, seed: 4)
      keys = fdb.keys(count, homes: homes)
      self.fdb = fdb
    }

    static func place(_ index: Int) -> Destination { index % 2 == 0 ? .port(1 + index % places) : .vtep(index % places) }

    func read(_ index: Int) {
      guard let entry = fdb.lookUp(keys[index]) else { return }
      if entry.destination != Self.place(index) && entry.destination != Self.place(index + 1) {
        wrongPlaces.add(1, ordering: .relaxed)
      }
    }

    func learn(_ index: Int, moved: Int, tick: Int) {
      _ = fdb.learn(keys[index], at: Self.place(index + moved), tick: UInt32(tick))
    }

    /// What an operator sets is there until he removes it, whatever workers learn, and gone then. (A worker that is just inserting
    /// the same key may be seen for a moment: for as long as its thread has to wait for a processor.)
    func setAndRemove(_ index: Int, tick: Int) {
      guard fdb.set(keys[index], to: Self.place(index), .static, tick: UInt32(tick)) else { return }
      let deadline = ContinuousClock.now + .seconds(30)
      while fdb.lookUp(keys[index])?.state != .static {
        if ContinuousClock.now > deadline {
          lostSettings.add(1, ordering: .relaxed)
          break
        }
        sched_yield()
      }
      fdb.remove(keys[index])
      if fdb.lookUp(keys[index])?.state == .static { lostRemovals.add(1, ordering: .relaxed) }
    }
  }

  #if TSAN
    // scripts/test-tsan: every access takes its time.
    static let rounds = 15_000
  #elseif DEBUG
    static let rounds = 40_000
  #else
    static let rounds = 400_000
  #endif

  /// Few keys make threads meet on one key, many on one slot.
  @Test(arguments: [(keys: 2, limit: 24, homes: 1), (30, 24, 1), (48, 32, 4), (500, 400, 256)])
  func survivesThreads(keys: Int, limit: Int, homes: Int) throws {
    let shared = try Shared(keys: keys, limit: limit, homes: homes)
    inThreads(6) { role in
      var random = Seeded(UInt64(role))
      for round in 0..<Self.rounds {
        let index = random.below(shared.keys.count)
        switch role {
        case 0, 1: shared.learn(index, moved: 0, tick: round / 1000)
        case 2: shared.learn(index, moved: random.below(2), tick: round / 1000)
        case 3 where round % 16 == 0: _ = shared.fdb.age(tick: UInt32(round / 1000), ageing: 0)
        case 3 where index % 2 == 0: shared.fdb.remove(shared.keys[index])
        case 4 where round % 4 == 0 && index % 2 == 1: shared.setAndRemove(index, tick: round / 1000)
        default: shared.read(index)
        }
      }
    }
    #expect(shared.wrongPlaces.load(ordering: .relaxed) == 0)
    #expect(shared.lostSettings.load(ordering: .relaxed) == 0)
    #expect(shared.lostRemovals.load(ordering: .relaxed) == 0)
    try expectConsistent(shared)
  }

  /// Once all is quiet: no key twice, counts that fit, and nothing left of them when the table is emptied.
  private func expectConsistent(_ shared: Shared) throws {
    let listed = shared.fdb.listing
    let listing = StupidFDB(entries: try #require(listed, "a key is there twice"))
    #expect(shared.fdb.count == listing.entries.count)
    for (key, entry) in listing.entries { #expect(shared.fdb.lookUp(key)?.destination == entry.destination) }
    for index in 0..<Shared.places { #expect(shared.fdb.count(of: Shared.place(index)) == listing.count(of: Shared.place(index))) }
    for key in shared.keys { shared.fdb.remove(key) }
    #expect(shared.fdb.count == 0)
    #expect(shared.fdb.passed == 0)
    for index in 0..<Shared.places { #expect(shared.fdb.count(of: Shared.place(index)) == 0) }
  }
}
