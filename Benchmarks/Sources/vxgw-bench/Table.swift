import Datapath
import PacketIO

/// Operations of the FDB alone: over all its keys, a batch at a time, first the prefetches and then the rest, as the data path
/// does it.
struct Table: Workload, ~Copyable {
  private static let ageing: UInt32 = 300
  /// Look-ups in one pass, at least.
  private static let leastLookUps = 4096

  let operations: Int
  private(set) var succeeded = 0
  private let name: Setup.Case
  private let batch: Int
  private let forwarding: Forwarding
  private var keys: FixedBuffer<FDBKey>
  private var homes: FixedBuffer<UInt32>
  private var tick: UInt32 = 0
  private var vtep = 0

  init(_ setup: Setup, _ forwarding: Forwarding) {
    let found = Self.keys(setup, forwarding.fdb)
    let looksUp = setup.name == .lookUp || setup.name == .miss || setup.name == .readers
    let count = looksUp ? max(found.count, Self.leastLookUps) : found.count
    var keys = FixedBuffer<FDBKey>(repeating: 0, count: count)
    for index in 0..<count { keys[index] = found[index % found.count] }
    name = setup.name
    batch = setup.batch
    operations = count
    self.forwarding = forwarding
    self.keys = keys
    homes = FixedBuffer(repeating: 0, count: setup.batch)
  }

  /// Those that found a place in the FDB: of as many as it may hold, one in some hundreds does not. Or, to miss, as many others.
  private static func keys(_ setup: Setup, _ fdb: borrowing FDB) -> [FDBKey] {
    var random = SplitMix64()
    var keys: [FDBKey] = []
    for index in 0..<setup.macs {
      let key = fdbKey(0, Frames.address(Frames.knownBlock, index, &random))
      if fdb.learn(key, at: .vtep(0), tick: 0) == .added { keys.append(key) }
    }
    if setup.name == .learn { for key in keys { fdb.remove(key) } }
    if setup.name == .miss { keys = keys.indices.map { fdbKey(0, Frames.address(Frames.unknownBlock, $0, &random)) } }
    return keys
  }

  @inline(never)
  mutating func measured() {
    switch name {
    case .miss: lookUpAll(isThere: false)
    case .learn: learnAll(.added)
    case .refresh:
      tick &+= 1
      learnAll(.known)
    case .move:
      vtep ^= 1
      learnAll(.moved)
    case .age:
      var aged = 0
      _ = forwarding.fdb.age(tick: tick &+ Self.ageing &+ 1, ageing: Self.ageing) { _, _ in aged &+= 1 }
      succeeded &+= aged
    default: lookUpAll(isThere: true)
    }
  }

  mutating func reset() {
    let before = succeeded
    if name == .learn { for index in 0..<operations { forwarding.fdb.remove(keys[index]) } }
    if name == .age { learnAll(.added) }
    succeeded = before
  }

  @inline(__always)
  private mutating func learnAll(_ expected: FDB.Verdict) {
    let destination = Destination.vtep(vtep)
    for first in stride(from: 0, to: operations, by: batch) {
      let last = min(first &+ batch, operations)
      for index in first..<last { homes[index &- first] = forwarding.fdb.prefetch(keys[index]) }
      for index in first..<last {
        let verdict = forwarding.fdb.learn(keys[index], from: homes[index &- first], at: destination, tick: tick)
        succeeded &+= verdict == expected ? 1 : 0
      }
    }
  }

  @inline(__always)
  private mutating func lookUpAll(isThere expected: Bool) {
    for first in stride(from: 0, to: operations, by: batch) {
      let last = min(first &+ batch, operations)
      for index in first..<last { homes[index &- first] = forwarding.fdb.prefetch(keys[index]) }
      for index in first..<last {
        let isThere = forwarding.fdb.lookUp(keys[index], from: homes[index &- first]) != nil
        succeeded &+= isThere == expected ? 1 : 0
      }
    }
  }
}
