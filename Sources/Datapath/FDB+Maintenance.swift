import PacketIO
import Synchronization

extension FDB {
  /// Takes `key` out: what was learned as well as what is kept by hand, should a worker just be inserting it beside.
  ///
  /// - Returns: the entry that was there; of both the one that was kept by hand.
  @discardableResult
  public func remove(_ key: FDBKey) -> FDBEntry? {
    var removed: FDBEntry?
    while let place = find(key) {
      if take(place), removed?.isLearned ?? true { removed = place.entry }
    }
    return removed
  }

  /// Empties a slot. False when its value has changed since it was found.
  @discardableResult
  func take(_ place: Place) -> Bool {
    // Whoever ends the value owns the removal: nobody else touches the key until it is 0.
    let ended = ((place.word | FDBEntry.anyState) &+ 1) & FDBEntry.generation
    guard exchange(place.slot + 1, place.word, ended) else { return false }
    words[place.slot].store(0, ordering: .releasing)
    uncountPassing(from: home(place.key) * 8, to: place.bucket)
    countAll(by: -1)
    count(place.entry, by: -1)
    return true
  }

  /// Takes out every learned entry that was last seen more than `ageing` seconds before `tick`, and tells `aged` of each.
  ///
  /// - Returns: the tick at which the next entry can be due, or nil when none ages.
  public func age(tick: UInt32, ageing: UInt32, aged: (FDBKey, FDBEntry) -> Void = { _, _ in }) -> UInt32? {
    var earliest: UInt32?
    forEachPlace { place in
      let entry = place.entry
      guard entry.isLearned else { return }
      let age = Int64(Int32(bitPattern: tick &- entry.lastSeen))
      if age > Int64(ageing) {
        if take(place) { aged(place.key, entry) }
      } else {
        let due = entry.lastSeen &+ ageing &+ 1
        if earliest.map({ Int32(bitPattern: due &- $0) < 0 }) ?? true { earliest = due }
      }
    }
    return earliest
  }

  /// Every entry, in no order. Entries that come or go meanwhile may be missed.
  public func forEach(_ body: (FDBKey, FDBEntry) -> Void) {
    forEachPlace { body($0.key, $0.entry) }
  }

  private func forEachPlace(_ body: (Place) -> Void) {
    for bucket in stride(from: 0, to: words.count, by: 8) {
      for slot in Self.slotIndexes {
        if let place = place(bucket, bucket + slot) { body(place) }
      }
    }
  }

  /// What is in a slot.
  func place(_ bucket: Int, _ slot: Int) -> Place? {
    let key = words[slot].load(ordering: .acquiring)
    guard key != 0, let word = value(slot, of: key) else { return nil }
    return Place(bucket: bucket, slot: slot, key: key, word: word)
  }
}
