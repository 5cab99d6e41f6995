import PacketIO

/// Frames whose VTEP has no outer header yet, in order of arrival. Small: the kernel resolves a neighbour in less time
/// than it takes to fill, and who does not answer must not hold memory.
struct WaitingRoom: ~Copyable, Sendable {
  /// Milliseconds that a frame waits at most.
  static let patience: UInt64 = 1000
  static let capacity = 128
  /// Of one VTEP, so that one that is down leaves room for others.
  static let perVTEP = 32

  struct Entry: BitwiseCopyable {
    var frame: Frame
    var vtep: Int
    var vni: UInt32
    /// Local port that it came from.
    var local: Int
    /// Milliseconds of the monotonic clock.
    var deadline: UInt64
  }

  private var entries = FixedBuffer(
    repeating: Entry(frame: Frame(start: 0, length: 0), vtep: 0, vni: 0, local: 0, deadline: 0), count: capacity)
  private var first = 0
  private(set) var count = 0

  /// False: no room.
  mutating func add(_ entry: Entry) -> Bool {
    var same = 0
    for offset in 0..<count where entries[(first + offset) % Self.capacity].vtep == entry.vtep { same += 1 }
    guard count < Self.capacity, same < Self.perVTEP else { return false }
    putBack(entry)
    return true
  }

  mutating func removeFirst() -> Entry? {
    guard count > 0 else { return nil }
    let entry = entries[first]
    first = (first + 1) % Self.capacity
    count -= 1
    return entry
  }

  /// At the end; there is room, since the entry has just been taken out.
  mutating func putBack(_ entry: Entry) {
    entries[(first + count) % Self.capacity] = entry
    count += 1
  }
}
