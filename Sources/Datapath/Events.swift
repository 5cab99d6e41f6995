import PacketIO
import Synchronization
import Wire

/// What a worker tells the control plane about a frame that it saw.
public struct Event: Sendable, Equatable {
  public enum Kind: UInt8, Sendable {
    /// A source address was learned, or moved to another place: `mac` at `destination`.
    case learned = 1, moved
    /// Nobody knows where `mac` is (kernel: vxlan_fdb_miss in drivers/net/vxlan/vxlan_core.c).
    case l2Miss
    /// Nobody knows who has `address` (vxlan_ip_miss).
    case l3Miss
    /// A host said that `address` is at `mac`, at `destination`.
    case neighbour
  }

  public var kind: Kind
  /// Index of the segment.
  public var segment: Int
  public var mac = MACAddress(0)
  public var destination = Destination.port(0)
  public var address = IPAddress(high: 0, low: 0)

  public init(
    _ kind: Kind, segment: Int, mac: MACAddress = MACAddress(0), at destination: Destination = .port(0),
    address: IPAddress = IPAddress(high: 0, low: 0)
  ) {
    self.kind = kind
    self.segment = segment
    self.mac = mac
    self.destination = destination
    self.address = address
  }
}

/// A worker's events on their way to the control plane: one thread posts, one takes, neither waits. What finds the ring full is
/// counted and lost.
public final class EventRing: Sendable {
  /// Events of four words: kind (bits 63…56), destination (47…32) and segment (15…0); MAC address; IP address.
  private static let capacity = 1024
  private let words: AtomicWords
  private let posted = Atomic(0)
  private let taken = Atomic(0)
  private let lost = Atomic(0)
  /// Misses of this second, by a hash: each is told once. A collision hides one until the next second.
  private let recent: AtomicWords
  private static let recentCount = 1024
  /// Rung when there is something to take.
  private let bell: Doorbell

  public init(bell: Doorbell) throws(SystemError) {
    words = try AtomicWords(count: Self.capacity * 4)
    recent = try AtomicWords(count: Self.recentCount)
    self.bell = bell
  }

  /// The worker's side.
  @inline(never)
  func post(_ event: Event) {
    let number = posted.load(ordering: .relaxed)
    guard number - taken.load(ordering: .acquiring) < Self.capacity else {
      lost.add(1, ordering: .relaxed)
      return
    }
    let base = number % Self.capacity * 4
    words[base].store(
      UInt64(event.kind.rawValue) << 56 | UInt64(event.destination.code) << 32 | UInt64(event.segment), ordering: .relaxed)
    words[base + 1].store(event.mac.value, ordering: .relaxed)
    words[base + 2].store(event.address.high, ordering: .relaxed)
    words[base + 3].store(event.address.low, ordering: .relaxed)
    posted.store(number + 1, ordering: .releasing)
    // Each side stores its own number, then looks at the other's. Without a fence between on both sides, both may see the old one,
    // and the event stays where it is with nobody awake.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if number == taken.load(ordering: .relaxed) { bell.ring() }
  }

  /// The worker's side: posts a miss unless it was posted in this second.
  @inline(never)
  func postMiss(_ event: Event, tick: UInt32) {
    var hash = (event.mac.value ^ event.address.low) &* 0x9e37_79b9_7f4a_7c15 ^ event.address.high ^ UInt64(event.segment) << 48
    hash = (hash ^ hash >> 32) &* 0xd6e8_feb8_6659_fd93
    // Hash and second in one word: the upper half of one, the lower of the other.
    let mark = hash & ~0xffff_ffff | UInt64(tick)
    let slot = Int(hash >> 8 & UInt64(Self.recentCount - 1))
    guard recent[slot].load(ordering: .relaxed) != mark else { return }
    recent[slot].store(mark, ordering: .relaxed)
    post(event)
  }

  /// The control plane's side: the oldest event, or nil.
  public func take() -> Event? {
    let number = taken.load(ordering: .relaxed)
    if number == posted.load(ordering: .acquiring) {
      // See `post`.
      atomicMemoryFence(ordering: .sequentiallyConsistent)
      if number == posted.load(ordering: .acquiring) { return nil }
    }
    let base = number % Self.capacity * 4
    let word = words[base].load(ordering: .relaxed)
    let event = Event(
      Event.Kind(rawValue: UInt8(truncatingIfNeeded: word >> 56)) ?? .learned, segment: Int(word & 0xffff),
      mac: MACAddress(words[base + 1].load(ordering: .relaxed)),
      at: Destination(code: UInt16(truncatingIfNeeded: word >> 32)),
      address: IPAddress(high: words[base + 2].load(ordering: .relaxed), low: words[base + 3].load(ordering: .relaxed)))
    taken.store(number + 1, ordering: .releasing)
    return event
  }

  /// Events lost so far because the ring was full.
  public var lostCount: Int { lost.load(ordering: .relaxed) }
}
