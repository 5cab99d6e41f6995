import TestSupport
import Testing

import struct Wire.MACAddress

@testable import Datapath

/// The FDB in one thread, against a dictionary.
@Suite struct FDBOracleTests {
  static let operations = 1_000_000
  static let places: [Destination] = [.port(1), .port(2), .port(63), .vtep(0), .vtep(7), .vtep(VTEPTable.capacity - 1)]

  /// Nothing is learned there.
  static let lists: [Destination] = [.list(0), .list(63), .list(Destination.listLimit - 1)]

  /// Mostly learning and looking up, with everything else in between.
  @Test func agreesWithDictionary() throws {
    let fdb = try FDB(limit: 16384, seed: 1)
    var stupid = StupidFDB()
    var random = Seeded(1)
    var tick: UInt32 = 1000
    var disagreements = 0
    func check(_ isRight: Bool) { disagreements += isRight ? 0 : 1 }
    for operation in 0..<Self.operations {
      // 4096 addresses in each of three segments: keys come back often enough to move and to conflict.
      let key = fdbKey(random.below(3), MACAddress(0x0200_0000_0000 | UInt64(random.below(4096) &+ 1)))
      let place = Self.places[random.below(Self.places.count)]
      switch random.below(100) {
      case 0..<40:
        check(fdb.learn(key, at: place, tick: tick) == stupid.learn(key, at: place, tick: tick))
      case 40..<85:
        let entry = fdb.lookUp(key)
        let expected = stupid.entries[key]
        check(entry?.destination == expected?.destination && entry?.state == expected?.state && entry?.lastSeen == expected?.seen)
      case 85..<87:
        let state: FDBEntry.State = random.below(2) == 0 ? .static : .permanent
        let place = random.below(4) == 0 ? Self.lists[random.below(Self.lists.count)] : place
        check(fdb.set(key, to: place, state, tick: tick))
        stupid.set(key, to: place, state, tick: tick)
      case 87..<97:
        let removed = fdb.remove(key)
        let expected = stupid.entries.removeValue(forKey: key)
        check(removed?.destination == expected?.destination && removed?.state == expected?.state)
      case 97..<99:
        tick += UInt32(random.below(2) * random.below(2))
      default:
        check(fdb.count == stupid.entries.count)
      }
      if operation % 20_000 == 0 {
        var aged: Set<FDBKey> = []
        let due = fdb.age(tick: tick, ageing: 300) { key, _ in aged.insert(key) }
        check((aged, due) == stupid.age(tick: tick, ageing: 300))
        check(fdb.listing == stupid.entries)
        for place in Self.places { check(fdb.count(of: place) == stupid.count(of: place)) }
      }
    }
    #expect(disagreements == 0)
    #expect(fdb.listing == stupid.entries)
    for key in stupid.entries.keys { fdb.remove(key) }
    #expect(fdb.count == 0)
    #expect(fdb.passed == 0)
  }

  /// Room for few, many of them with the same home bucket, so that slots run out before the limit is reached: after every
  /// step the table differs from the dictionary by what was evicted, and that was fair.
  @Test(arguments: [(limit: 1, homes: 16), (8, 16), (24, 1), (40, 2), (64, 32)])
  func evictsFromWhoHoldsMost(limit: Int, homes: Int) throws {
    let fdb = try FDB(limit: limit, seed: 2)
    let keys = fdb.keys(160, homes: homes)
    var stupid = StupidFDB()
    var random = Seeded(2)
    var unfair: [String] = []
    for step in 0..<4000 {
      let key = keys[random.below(keys.count)]
      // The last place learns most.
      let place = Self.places[max(random.below(Self.places.count), random.below(Self.places.count))]
      switch random.below(10) {
      case 0:
        fdb.remove(key)
        stupid.entries[key] = nil
      case 1 where step % 50 == 1:
        if fdb.set(key, to: place, .static, tick: 0) { stupid.set(key, to: place, .static, tick: 0) }
      default:
        let before = stupid
        let expected = stupid.learn(key, at: place, tick: 0)
        let verdict = fdb.learn(key, at: place, tick: 0)
        if verdict == .full && expected == .added { stupid = before } else if verdict != expected { unfair.append("\(step): \(verdict)") }
        for (lost, entry) in stupid.entries where fdb.lookUp(lost) == nil {
          let isFair = entry.state == .learned && before.count(of: entry.destination) > before.count(of: place)
          if !isFair { unfair.append("\(step): \(entry) was evicted") }
          stupid.entries[lost] = nil
        }
      }
      if fdb.listing != stupid.entries { unfair.append("\(step): listing") }
    }
    #expect(unfair == [])
    for key in keys { fdb.remove(key) }
    #expect(fdb.count == 0 && fdb.passed == 0)
    for place in Self.places { #expect(fdb.count(of: place) == 0) }
  }

  /// A VTEP that makes up addresses fills what is free, and then pushes out nothing but its own.
  @Test func floodTakesNothingFromSmallerHolders() throws {
    let fdb = try FDB(limit: 1000, seed: 3)
    let hosts = fdb.keys(200, homes: .max)
    for (index, key) in hosts.enumerated() { #expect(fdb.learn(key, at: .port(1 + index % 4), tick: 0) == .added) }
    for address in 0..<100_000 { _ = fdb.learn(fdbKey(1, MACAddress(0x0a00_0000_0000 | UInt64(address))), at: .vtep(0), tick: 0) }
    #expect(hosts.allSatisfy { fdb.lookUp($0)?.destination.isVTEP == false })
    #expect(fdb.count == 1000)
    #expect(fdb.count(of: .vtep(0)) == 800)
  }
}
