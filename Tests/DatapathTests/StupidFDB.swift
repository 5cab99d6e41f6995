import Synchronization
import Wire

@testable import Datapath

/// What the FDB should do, as a dictionary that is never full.
struct StupidFDB {
  struct Entry: Equatable {
    var destination: Destination
    var state: FDBEntry.State
    var seen: UInt32
  }

  var entries: [FDBKey: Entry] = [:]

  mutating func learn(_ key: FDBKey, at destination: Destination, tick: UInt32) -> FDB.Verdict {
    let old = entries[key]
    if let old, old.state != .learned {
      if old.destination == destination { return .known }
      return old.state == .permanent && old.destination.isPort ? .ours : .conflict
    }
    entries[key] = Entry(destination: destination, state: .learned, seen: tick)
    guard let old else { return .added }
    return old.destination == destination ? .known : .moved
  }

  mutating func set(_ key: FDBKey, to destination: Destination, _ state: FDBEntry.State, tick: UInt32) {
    entries[key] = Entry(destination: destination, state: state, seen: tick)
  }

  /// Takes out what is too old. Returns its keys, and when the next is due.
  mutating func age(tick: UInt32, ageing: UInt32) -> (aged: Set<FDBKey>, due: UInt32?) {
    let aged = entries.filter { $0.value.state == .learned && tick > $0.value.seen + ageing }
    for key in aged.keys { entries[key] = nil }
    let due = entries.values.filter { $0.state == .learned }.map { $0.seen + ageing + 1 }.min()
    return (Set(aged.keys), due)
  }

  func count(of destination: Destination) -> Int {
    entries.values.count { $0.state == .learned && $0.destination == destination }
  }
}

extension FDB {
  /// All entries as a dictionary; nil when a key is there twice.
  var listing: [FDBKey: StupidFDB.Entry]? {
    var listing: [FDBKey: StupidFDB.Entry] = [:]
    var isTwice = false
    forEach { key, entry in
      isTwice = isTwice || listing[key] != nil
      listing[key] = StupidFDB.Entry(destination: entry.destination, state: entry.state, seen: entry.lastSeen)
    }
    return isTwice ? nil : listing
  }

  /// What the buckets' headers count together: entries, each as often as it passed a bucket by.
  var passed: UInt64 {
    stride(from: 0, to: words.count, by: 8).reduce(0) { $0 + words[$1].load(ordering: .relaxed) }
  }

  /// Different keys whose home is among the first `homes` buckets.
  func keys(_ count: Int, homes: Int) -> [FDBKey] {
    var keys: [FDBKey] = []
    var address: UInt64 = 0x0200_0000_0000
    while keys.count < count {
      address += 1
      let key = fdbKey(0, MACAddress(address))
      if home(key) < homes { keys.append(key) }
    }
    return keys
  }
}
