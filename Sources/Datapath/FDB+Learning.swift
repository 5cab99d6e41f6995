import PacketIO
import Synchronization

extension FDB {
  /// What learning a source address came to.
  public enum Verdict: UInt8, Sendable {
    /// It was there; its tick is current now.
    case known
    case added
    /// It was learned elsewhere before.
    case moved
    /// A static entry points elsewhere: the frame must not pass (kernel: vxlan_snoop in drivers/net/vxlan/vxlan_core.c).
    case conflict
    /// An interface of our own has this address.
    case ours
    /// Not learned: the table is full, and no one holds more of it than the newcomer's port or VTEP.
    case full
  }

  /// Notes that `key` was seen as a source at `destination`. Writes only when something changes: the tick once a second.
  ///
  /// - Parameter tick: seconds of the monotonic clock.
  @inline(__always)
  public func learn(_ key: FDBKey, at destination: Destination, tick: UInt32) -> Verdict {
    learn(key, from: UInt32(truncatingIfNeeded: home(key) &* 8), at: destination, tick: tick)
  }

  /// The same where `prefetch` has told the home bucket's first word.
  @inline(__always)
  public func learn(_ key: FDBKey, from home: UInt32, at destination: Destination, tick: UInt32) -> Verdict {
    if let entry = lookUp(key, from: home), entry == FDBEntry(destination, .learned, seen: tick) { return .known }
    return update(key, destination, tick)
  }

  @inline(never)
  private func update(_ key: FDBKey, _ destination: Destination, _ tick: UInt32) -> Verdict {
    let new = FDBEntry(destination, .learned, seen: tick)
    while let place = find(key) {
      let old = place.entry
      if !old.isLearned {
        if old.destination == destination { return .known }
        return old.isOurs ? .ours : .conflict
      }
      // Another worker's newer tick stays.
      if old.destination == destination && Int32(bitPattern: old.lastSeen &- tick) >= 0 { return .known }
      if replace(place, by: new) { return old.destination == destination ? .known : .moved }
    }
    if count >= limit && !evict(near: key, for: destination) { return .full }
    if insert(key, new) { return .added }
    return evict(near: key, for: destination) && insert(key, new) ? .added : .full
  }

  /// Sets an entry that is kept by hand, whatever was there. Returns false when there is no room for it.
  public func set(_ key: FDBKey, to destination: Destination, _ state: FDBEntry.State, tick: UInt32) -> Bool {
    let new = FDBEntry(destination, state, seen: tick)
    while let place = find(key) {
      if replace(place, by: new) { return true }
    }
    return insert(key, new)
  }

  /// Where an entry was found: the indexes of its bucket's header and of its key word, its key, and its value then.
  struct Place {
    var bucket: Int
    var slot: Int
    var key: FDBKey
    var word: UInt64
    var entry: FDBEntry { FDBEntry(word: word & ~FDBEntry.generation) }
  }

  /// The first place of `key`, or the first behind the slot `last`.
  func find(_ key: FDBKey, after last: Int = 0) -> Place? {
    let start = home(key) * 8
    for bucket in stride(from: start, to: start + Self.reach * 8, by: 8) {
      let line = words.line(at: bucket)
      let passedBy = line[0].load(ordering: .acquiring)
      for slot in Self.slotIndexes where bucket + slot > last && line[slot].load(ordering: .acquiring) == key {
        if let word = Self.value(in: line, slot, of: key) { return Place(bucket: bucket, slot: bucket + slot, key: key, word: word) }
      }
      if passedBy == 0 { return nil }
    }
    return nil
  }

  func exchange(_ index: Int, _ old: UInt64, _ new: UInt64) -> Bool {
    words[index].compareExchange(expected: old, desired: new, ordering: .acquiringAndReleasing).exchanged
  }

  /// Changes an entry in place. False when another thread was faster.
  private func replace(_ place: Place, by new: FDBEntry) -> Bool {
    guard exchange(place.slot + 1, place.word, new.word | place.word & FDBEntry.generation) else { return false }
    let old = place.entry
    if old.destination != new.destination || old.state != new.state {
      count(old, by: -1)
      count(new, by: 1)
    }
    return true
  }

  /// Counts a learned entry for its destination.
  func count(_ entry: FDBEntry, by change: Int) {
    if entry.isLearned { holders[entry.destination.slot].wrappingAdd(UInt64(bitPattern: Int64(change)), ordering: .relaxed) }
  }

  func countAll(by change: Int) {
    holders[Destination.slotCount].wrappingAdd(UInt64(bitPattern: Int64(change)), ordering: .relaxed)
  }

  /// Puts a new entry into the first free slot of the key's reach. False when there is none.
  private func insert(_ key: FDBKey, _ entry: FDBEntry) -> Bool {
    let start = home(key) * 8
    var bucket = start
    while bucket < start + Self.reach * 8 {
      for slot in Self.slotIndexes where words[bucket + slot].load(ordering: .acquiring) == 0 {
        guard exchange(bucket + slot, 0, key) else { continue }
        // The slot is ours: its value stays as the last removal left it.
        let generation = words[bucket + slot + 1].load(ordering: .acquiring)
        words[bucket + slot + 1].store(entry.word | generation, ordering: .releasing)
        countAll(by: 1)
        count(entry, by: 1)
        removeTwins(of: key)
        return true
      }
      // Passed by: counted before the key can be found further on, so that no reader stops short of it.
      words[bucket].wrappingAdd(1, ordering: .acquiringAndReleasing)
      bucket += 8
    }
    uncountPassing(from: start, to: bucket)
    return false
  }

  /// Another thread may have inserted the same key in another place meanwhile. The later of both to come here sees both; what
  /// was learned gives way to what is kept by hand, else the later in probe order to the earlier.
  private func removeTwins(of key: FDBKey) {
    // Our value is stored before we look for the other's, in one order for all threads.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    while let first = find(key), let second = find(key, after: first.slot) {
      // Twins only if the first is there still: it may have gone before the second came.
      guard words[first.slot + 1].load(ordering: .acquiring) == first.word else { continue }
      take(first.entry.isLearned && !second.entry.isLearned ? first : second)
    }
  }

  func uncountPassing(from start: Int, to end: Int) {
    for bucket in stride(from: start, to: end, by: 8) { words[bucket].wrappingSubtract(1, ordering: .acquiringAndReleasing) }
  }

  /// Makes room in the reach of `key` at the cost of whoever holds most of the table, so that a flood of made-up
  /// addresses from one port or VTEP can't push out somebody else's hosts. False when that is the newcomer itself.
  private func evict(near key: FDBKey, for newcomer: Destination) -> Bool {
    var most = count(of: newcomer)
    var victim: Place?
    let start = home(key) * 8
    for bucket in stride(from: start, to: start + Self.reach * 8, by: 8) {
      for slot in Self.slotIndexes {
        guard let place = place(bucket, bucket + slot), place.entry.isLearned else { continue }
        let holding = count(of: place.entry.destination)
        guard holding > most else { continue }
        most = holding
        victim = place
      }
    }
    guard let victim else { return false }
    return take(victim)
  }
}
