import PacketIO
import Synchronization

/// The forwarding database: where each MAC address of each segment is. All workers share it; look-ups take no lock and
/// write nothing, learning is a compare-and-swap.
///
/// Storage is a table of cache-line buckets: one header word, one to spare, and three slots of two words, key and value.
/// A key lives in its home bucket or, when that is full, in one of the next `reach - 1`. The header counts how many
/// entries passed its bucket by, so a miss ends where no key can have gone further.
///
/// An entry comes by claiming an empty key word, then storing the value; it goes by ending the value (whoever does that
/// owns the removal), then clearing the key. A slot whose value has no state is empty to readers. Each removal moves the
/// generation on that is part of the value: a reader who finds the same one before and after he looked at the key knows
/// that the value belongs to it, and a compare-and-swap on the value fails once the slot has changed hands. (A version in
/// the bucket's header is not enough: a reader who comes between its step and the clearing of the key sees neither.)
///
/// Two threads that insert the same key at once may succeed in two places: each looks again afterwards, and one of both
/// entries goes.
///
/// `FDB+Learning.swift` has learning and eviction, `FDB+Maintenance.swift` removal, ageing and listing.
public struct FDB: ~Copyable, Sendable {
  /// Most entries it takes.
  public let limit: Int
  let words: AtomicWords
  let shift: UInt64
  let seed: UInt64
  /// Learned entries per destination (`Destination.slot`), for fair eviction; the last word counts all entries.
  let holders: AtomicWords

  /// Buckets that a key may live in, from its home on.
  static let reach = 8
  static let slotIndexes = stride(from: 2, to: 8, by: 2)

  /// An empty table. Memory is taken as it fills: 64 bytes for every two entries of the limit, rounded up to a power of
  /// two, so it is at most two thirds full.
  ///
  /// - Parameter isShared: whether BPF programs read it as well (`bpf/fastpath.h`); then all its memory is taken at once.
  /// - Throws: `SystemError` when the memory can't be had.
  public init(limit: Int, seed: UInt64 = .random(in: .min ... .max), isShared: Bool = false) throws(SystemError) {
    precondition(limit > 0)
    var buckets = 16
    while buckets * 2 < limit { buckets *= 2 }
    let count = (buckets + Self.reach) * 8
    let words = isShared ? try AtomicWords(sharedAs: "vxgw_fdb", count: count, record: 8) : try AtomicWords(count: count)
    let holders = try AtomicWords(count: Destination.slotCount + 1)
    self.limit = limit
    self.seed = seed
    self.words = words
    self.holders = holders
    shift = UInt64(64 - buckets.trailingZeroBitCount)
  }

  /// Entries in the table now. For a moment wrong by what other threads are just adding and taking out.
  public var count: Int { held(Destination.slotCount) }

  /// Learned entries that point to `destination`; see `count`.
  public func count(of destination: Destination) -> Int { held(destination.slot) }

  /// An entry may be taken out before the thread that put it in has counted it.
  private func held(_ slot: Int) -> Int { max(0, Int(truncatingIfNeeded: holders[slot].load(ordering: .relaxed))) }

  @inline(__always)
  func home(_ key: FDBKey) -> Int {
    var hash = (key ^ seed) &* 0x9e37_79b9_7f4a_7c15
    hash ^= hash >> 32
    return Int(truncatingIfNeeded: (hash &* 0xd6e8_feb8_6659_fd93) &>> shift)
  }

  /// Starts loading the home bucket of `key`.
  @inline(__always)
  ///
  /// - Returns: the bucket's first word, for `lookUp` and `learn`: hashing once is enough.
  @discardableResult
  public func prefetch(_ key: FDBKey) -> UInt32 {
    let bucket = home(key) &* 8
    words.prefetch(bucket)
    return UInt32(truncatingIfNeeded: bucket)
  }

  /// The entry of `key`, or nil.
  ///
  /// - Complexity: one cache line, rarely two.
  @inline(__always)
  public func lookUp(_ key: FDBKey) -> FDBEntry? { lookUp(key, from: UInt32(truncatingIfNeeded: home(key) &* 8)) }

  /// The same where `prefetch` has told the home bucket's first word.
  @inline(__always)
  public func lookUp(_ key: FDBKey, from home: UInt32) -> FDBEntry? {
    var bucket = Int(home)
    let end = bucket &+ Self.reach &* 8
    while bucket < end {
      let line = words.line(at: bucket)
      let passedBy = line[0].load(ordering: .acquiring)
      let slot = Self.likelySlot(of: key, in: line)
      if line[slot].load(ordering: .acquiring) == key {
        guard let word = Self.value(in: line, slot, of: key) else { return lookUpAgain(key) }
        return FDBEntry(word: word & ~FDBEntry.generation)
      }
      if passedBy == 0 { return nil }
      bucket &+= 8
    }
    return nil
  }

  /// The first slot that has `key`; the last when none has. Without a branch: which one it is can't be foreseen, and a wrong guess
  /// costs more than all the rest of a look-up.
  @inline(__always)
  private static func likelySlot(of key: FDBKey, in line: borrowing AtomicWords.Line) -> Int {
    let behind = line[4].load(ordering: .acquiring) == key ? 4 : 6
    return line[2].load(ordering: .acquiring) == key ? 2 : behind
  }

  /// The slot that has the key is just being filled or emptied.
  @inline(never)
  private func lookUpAgain(_ key: FDBKey) -> FDBEntry? { find(key)?.entry }

  /// The value word of a slot whose key word was `key` a moment ago; nil when it has no entry (any more).
  func value(_ slot: Int, of key: FDBKey) -> UInt64? { Self.value(in: words.line(at: slot & ~7), slot & 7, of: key) }

  @inline(__always)
  static func value(in line: borrowing AtomicWords.Line, _ slot: Int, of key: FDBKey) -> UInt64? {
    let word = line[slot &+ 1].load(ordering: .acquiring)
    guard word & FDBEntry.anyState != 0, line[slot].load(ordering: .acquiring) == key else { return nil }
    return (line[slot &+ 1].load(ordering: .acquiring) ^ word) & FDBEntry.generation == 0 ? word : nil
  }
}

/// What the table is asked for: segment index in bits 63…48, MAC address in bits 47…0. Never 0: nobody learns the MAC
/// address zero.
public typealias FDBKey = UInt64

/// One entry's value, as read in one go.
public struct FDBEntry: BitwiseCopyable, Sendable, Equatable {
  public enum State: UInt8, Sendable {
    /// Learned from traffic; ages.
    case learned = 1
    /// Kept by hand; neither learning nor ageing touches it.
    case `static` = 2
    /// The same; on a local port it is the address of an interface of our own.
    case permanent = 3
  }

  /// Whether the address is that of an interface of our own.
  public var isOurs: Bool { state == .permanent && destination.isPort }

  /// Last-seen tick in bits 63…32 (seconds), destination in bits 31…16, state in bits 1…0; 0 is no entry. In the table the
  /// slot's generation is in bits 15…2: it would have to come round within one compare-and-swap to deceive anybody.
  let word: UInt64
  static let generation: UInt64 = 0xfffc
  static let anyState: UInt64 = 3

  init(word: UInt64) { self.word = word }

  public init(_ destination: Destination, _ state: State, seen tick: UInt32) {
    word = UInt64(tick) << 32 | UInt64(destination.code) << 16 | UInt64(state.rawValue)
  }

  public var destination: Destination { Destination(code: UInt16(truncatingIfNeeded: word >> 16)) }
  public var isLearned: Bool { word & Self.anyState == UInt64(State.learned.rawValue) }
  public var state: State { State(rawValue: UInt8(truncatingIfNeeded: word & Self.anyState)) ?? .learned }
  /// Seconds of the monotonic clock.
  public var lastSeen: UInt32 { UInt32(truncatingIfNeeded: word >> 32) }
}

/// Where frames for a MAC address go: a local port by its number, a remote by its index in the `VTEPTable`, or several remotes
/// by the number of their list in the `Topology`.
public struct Destination: Hashable, BitwiseCopyable, Sendable {
  /// Bit 15 tells remotes from local ports, bit 14 lists from single remotes.
  let code: UInt16

  init(code: UInt16) { self.code = code }

  public static func port(_ index: Int) -> Destination { Destination(code: UInt16(truncatingIfNeeded: index)) }
  public static func vtep(_ index: Int) -> Destination { Destination(code: 0x8000 | UInt16(truncatingIfNeeded: index)) }
  public static func list(_ number: Int) -> Destination { Destination(code: 0xc000 | UInt16(truncatingIfNeeded: number)) }

  public var isPort: Bool { code & 0x8000 == 0 }
  public var isVTEP: Bool { code & 0xc000 == 0x8000 }
  public var isList: Bool { code & 0xc000 == 0xc000 }
  /// Of the local port, the remote or the list.
  public var index: Int { Int(code & 0x3fff) }

  /// Most lists.
  public static let listLimit = 0x4000
  static let slotCount = LocalPort.limit + VTEPTable.capacity
  /// Its place among the counts of `FDB.holders`. Nothing is ever learned behind a list.
  var slot: Int { isVTEP ? LocalPort.limit + index : index }
}
