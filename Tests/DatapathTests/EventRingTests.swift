import PacketIO
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Datapath

@Suite struct EventRingTests {
  static func event(_ number: Int) -> Event { Event(.learned, segment: number & 0xffff, mac: MACAddress(UInt64(number))) }

  @Test(arguments: [
    Event(.learned, segment: 0, mac: .host1, at: .port(LocalPort.limit - 1)),
    Event(.moved, segment: 65535, mac: .broadcast, at: .vtep(VTEPTable.capacity - 1)),
    Event(.l2Miss, segment: 1, mac: .remote1), Event(.l3Miss, segment: 2, address: .local6),
    Event(.neighbour, segment: 3, mac: .host2, at: .vtep(5), address: IPAddress(high: .max, low: .max - 1)),
  ])
  func tellsWhatWasPosted(_ event: Event) throws {
    let ring = try EventRing(bell: try Doorbell())
    ring.post(event)
    #expect(ring.take() == event && ring.take() == nil)
  }

  /// Against an array, many times round.
  @Test func keepsTheOrderAndCountsWhatIsLost() throws {
    let bell = try Doorbell()
    let ring = try EventRing(bell: bell)
    var waiting: [Event] = []
    var lost = 0
    var random = Seeded(1)
    for round in 0..<100 {
      for number in 0..<random.below(900) {
        let event = Self.event(round * 1000 + number)
        ring.post(event)
        if waiting.count < 1024 { waiting.append(event) } else { lost += 1 }
      }
      let taken = (0..<random.below(1000)).compactMap { _ in ring.take() }
      #expect(taken == Array(waiting.prefix(taken.count)) && ring.lostCount == lost)
      waiting.removeFirst(taken.count)
    }
    #expect(lost > 0)
  }

  /// The bell is rung for the first event after there was none.
  @Test func ringsOnce() throws {
    let bell = try Doorbell()
    let ring = try EventRing(bell: bell)
    for _ in 0..<3 {
      ring.post(Self.event(1))
      #expect(bell.clear())
      ring.post(Self.event(2))
      #expect(!bell.clear())
      while ring.take() != nil {}
    }
  }

  @Test func tellsAMissOnceASecond() throws {
    let ring = try EventRing(bell: try Doorbell())
    let misses = [
      Event(.l2Miss, segment: 0, mac: .host1), Event(.l2Miss, segment: 0, mac: .host2), Event(.l2Miss, segment: 1, mac: .host1),
      Event(.l3Miss, segment: 0, address: .local), Event(.l3Miss, segment: 0, address: .remote),
      Event(.l3Miss, segment: 1, address: .local6),
    ]
    for tick in [0, 1, 1, 2, 0xffff_ffff] as [UInt32] {
      for miss in misses + misses { ring.postMiss(miss, tick: tick) }
    }
    var told: [Event] = []
    while let event = ring.take() { told.append(event) }
    #expect(told == misses + misses + misses + misses)
  }

  // MARK: In two threads

  final class Shared: Sendable {
    let bell: Doorbell
    let ring: EventRing
    let disorder = Atomic(0)
    let overslept = Atomic(0)
    let taken = Atomic(0)

    init() throws {
      bell = try Doorbell()
      ring = try EventRing(bell: bell)
    }
  }

  #if TSAN
    static let count = 20_000
  #else
    static let count = 300_000
  #endif

  /// One posts, the other sleeps until the bell rings and takes all there is: in order, and it never sleeps over an event.
  @Test func wakesWhoTakes() throws {
    let shared = try Shared()
    let poller = Poller([shared.bell.descriptor])
    inThreads(2) { thread in
      if thread == 0 {
        var random = Seeded(1)
        for number in 0..<Self.count {
          shared.ring.post(Self.event(number))
          for _ in 0..<random.below(100) { shared.disorder.add(0, ordering: .relaxed) }
        }
      } else {
        var last = -1
        while shared.taken.load(ordering: .relaxed) + shared.ring.lostCount < Self.count {
          poller.wait(milliseconds: 1000)
          let hasRung = shared.bell.clear()
          while let event = shared.ring.take() {
            if Int(event.mac.value) <= last { shared.disorder.add(1, ordering: .relaxed) }
            if !hasRung { shared.overslept.add(1, ordering: .relaxed) }
            last = Int(event.mac.value)
            shared.taken.add(1, ordering: .relaxed)
          }
        }
      }
    }
    #expect(shared.disorder.load(ordering: .relaxed) == 0 && shared.overslept.load(ordering: .relaxed) == 0)
    #expect(shared.taken.load(ordering: .relaxed) > 0)
  }
}
