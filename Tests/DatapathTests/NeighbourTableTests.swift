import Synchronization
import TestSupport
import Testing
import Wire

@testable import Datapath

@Suite struct NeighbourTableTests {
  typealias Binding = NeighbourTable.Binding

  struct Key: Hashable {
    var segment: Int
    var address: IPAddress
  }

  static func address(_ number: Int) -> IPAddress {
    number % 2 == 0 ? IPAddress(v4: 0xc612_0000 | UInt32(number)) : IPAddress(high: 0x2001_0db8 << 32, low: UInt64(number))
  }

  @Test func agreesWithDictionary() throws {
    let table = try NeighbourTable()
    var stupid: [Key: Binding] = [:]
    var random = Seeded(1)
    var disagreements = 0
    for _ in 0..<300_000 {
      // The first and the last segment, and one between: the same addresses in each.
      let key = Key(segment: [0, 1, 65535][random.below(3)], address: Self.address(random.below(2000)))
      switch random.below(4) {
      case 0:
        let binding = Binding(mac: MACAddress(random.next() | 1), isRouter: random.below(2) == 0)
        if !table.set(key.segment, key.address, to: binding) { disagreements += 1 }
        stupid[key] = binding
      case 1:
        if !table.set(key.segment, key.address, to: nil) { disagreements += 1 }
        stupid[key] = nil
      default: if table.lookUp(key.segment, key.address) != stupid[key] { disagreements += 1 }
      }
    }
    for (key, binding) in stupid where table.lookUp(key.segment, key.address) != binding { disagreements += 1 }
    #expect(disagreements == 0)
  }

  static func fill(_ table: borrowing NeighbourTable, _ numbers: Range<Int>, isThere: Bool = true) -> Int {
    numbers.count { table.set($0 % 3, address($0), to: isThere ? Binding(mac: MACAddress(UInt64($0 + 1))) : nil) }
  }

  @Test func takesAsManyAsItSays() throws {
    let table = try NeighbourTable()
    let limit = NeighbourTable.limit
    let added = Self.fill(table, 0..<limit + 100)
    let found = (0..<limit).count { table.lookUp($0 % 3, Self.address($0)) == Binding(mac: MACAddress(UInt64($0 + 1))) }
    #expect(added == limit && found == limit)
    let changed = Self.fill(table, 0..<1000)
    #expect(changed == 1000)
  }

  /// Hosts come and go for ever: what went leaves its place to others.
  @Test func takesAsManyAgain() throws {
    let table = try NeighbourTable()
    let limit = NeighbourTable.limit
    for round in 0..<3 {
      let numbers = round * limit..<(round + 1) * limit
      let added = Self.fill(table, numbers)
      // Not in the order in which they came.
      let middle = numbers.lowerBound + limit / 3
      let removed =
        Self.fill(table, middle..<numbers.upperBound, isThere: false) + Self.fill(table, numbers.lowerBound..<middle, isThere: false)
      #expect(added == limit && removed == limit)
    }
  }

  final class Shared: Sendable {
    let table: NeighbourTable
    let wrong = Atomic(0)
    let found = Atomic(0)
    let isOver = Atomic(false)
    init() throws { table = try NeighbourTable() }
  }

  #if TSAN
    static let rounds = 20_000
  #else
    static let rounds = 200_000
  #endif

  /// While bindings come, change and go, readers see the old one, the new one or none, and nobody else's: both halves of a MAC
  /// address say whose it is.
  @Test func neverMixesBindings() throws {
    let shared = try Shared()
    inThreads(4) { thread in
      var random = Seeded(UInt64(thread))
      if thread == 0 {
        var round = 0
        while round < Self.rounds || (shared.found.load(ordering: .relaxed) < 1000 && round < 50 * Self.rounds) {
          let number = random.below(64)
          let stamp = UInt64(round & 0xff)
          let binding = Binding(mac: MACAddress(UInt64(number + 1) << 24 | stamp << 16 | UInt64(number + 1)), isRouter: number % 2 == 0)
          _ = shared.table.set(number % 3, Self.address(number), to: random.below(3) == 0 ? nil : binding)
          round += 1
        }
        shared.isOver.store(true, ordering: .relaxed)
      } else {
        while !shared.isOver.load(ordering: .relaxed) {
          let number = random.below(64)
          guard let binding = shared.table.lookUp(number % 3, Self.address(number)) else { continue }
          shared.found.add(1, ordering: .relaxed)
          let isOwn = Int(binding.mac.value >> 24) == number + 1 && Int(binding.mac.value & 0xffff) == number + 1
          if !isOwn || binding.isRouter != (number % 2 == 0) { shared.wrong.add(1, ordering: .relaxed) }
        }
      }
    }
    #expect(shared.wrong.load(ordering: .relaxed) == 0 && shared.found.load(ordering: .relaxed) > 0)
  }
}
