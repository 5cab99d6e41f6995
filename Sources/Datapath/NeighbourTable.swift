import PacketIO
import Synchronization
import Wire

/// Who has which IP address in each segment: what ARP requests and neighbour solicitations are answered from. All workers read
/// it, without locks; the control plane alone writes.
///
/// Open addressing, slots of four words:
///
///     0  version in bits 47…0: odd while the slot changes, never the same twice; segment in bits 63…48; 0: not used
///     1  IP address, high half     2  IP address, low half
///     3  MAC address in bits 47…0, router flag in bit 48; 0: nobody
public struct NeighbourTable: ~Copyable, Sendable {
  public struct Binding: Sendable, Equatable {
    public var mac: MACAddress
    /// Whether it routes: the R flag of neighbour advertisements (RFC 4861 section 4.4).
    public var isRouter: Bool

    public init(mac: MACAddress, isRouter: Bool = false) {
      self.mac = mac
      self.isRouter = isRouter
    }
  }

  /// Slots. At most three quarters of them are used, removed ones included that a search has to pass.
  private static let capacity = 65536
  public static let limit = capacity / 4 * 3
  private static let routerFlag: UInt64 = 1 << 48
  private let words: AtomicWords
  /// Slots that are used, and the last version given; the writer's.
  private let used = Atomic(0)
  private let lastVersion = Atomic<UInt64>(0)

  /// - Throws: `SystemError` when the address space can't be had.
  public init() throws(SystemError) { words = try AtomicWords(count: Self.capacity * 4) }

  /// Who has `address` in the segment, as far as is known.
  public func lookUp(_ segment: Int, _ address: IPAddress) -> Binding? {
    var slot = home(segment, address)
    while true {
      let base = slot * 4
      let version = words[base].load(ordering: .acquiring)
      if version == 0 { return nil }
      let isAtHome = isAt(base, segment, address)
      let value = words[base + 3].load(ordering: .relaxed)
      atomicMemoryFence(ordering: .acquiring)
      // The writer is at it, and nobody waits for him: a host that asks again gets its answer.
      if version & 1 != 0 { return nil }
      if words[base].load(ordering: .relaxed) != version { continue }
      if isAtHome { return value == 0 ? nil : Binding(mac: MACAddress(value), isRouter: value & Self.routerFlag != 0) }
      slot = (slot + 1) & (Self.capacity - 1)
    }
  }

  /// The writer's side: sets or, with nil, removes a binding. False when the table is full.
  public func set(_ segment: Int, _ address: IPAddress, to binding: Binding?) -> Bool {
    let value = binding.map { $0.mac.value | ($0.isRouter ? Self.routerFlag : 0) } ?? 0
    var slot = home(segment, address)
    var reusable: Int?
    while words[slot * 4].load(ordering: .relaxed) != 0, !isAt(slot * 4, segment, address) {
      if words[slot * 4 + 3].load(ordering: .relaxed) == 0 { reusable = reusable ?? slot }
      slot = (slot + 1) & (Self.capacity - 1)
    }
    if words[slot * 4].load(ordering: .relaxed) == 0 {
      if value == 0 { return true }
      if let reusable {
        slot = reusable
      } else {
        guard used.load(ordering: .relaxed) < Self.limit else { return false }
        used.add(1, ordering: .relaxed)
      }
    }
    write(slot * 4, segment, address, value)
    if value == 0 { giveBack(slot) }
    return true
  }

  /// Makes removed slots that no search has to pass unused again, so that bindings that come and go don't fill the table.
  private func giveBack(_ last: Int) {
    var slot = last
    while isRemoved(slot), words[(slot + 1) % Self.capacity * 4].load(ordering: .relaxed) == 0 {
      words[slot * 4].store(0, ordering: .releasing)
      used.subtract(1, ordering: .relaxed)
      slot = (slot + Self.capacity - 1) % Self.capacity
    }
  }

  private func isRemoved(_ slot: Int) -> Bool {
    words[slot * 4].load(ordering: .relaxed) != 0 && words[slot * 4 + 3].load(ordering: .relaxed) == 0
  }

  private func write(_ base: Int, _ segment: Int, _ address: IPAddress, _ value: UInt64) {
    let version = lastVersion.add(2, ordering: .relaxed).newValue
    let tag = UInt64(segment) << 48
    words[base].store(tag | version - 1, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    words[base + 1].store(address.high, ordering: .relaxed)
    words[base + 2].store(address.low, ordering: .relaxed)
    words[base + 3].store(value, ordering: .relaxed)
    words[base].store(tag | version, ordering: .releasing)
  }

  private func isAt(_ base: Int, _ segment: Int, _ address: IPAddress) -> Bool {
    words[base].load(ordering: .relaxed) >> 48 == UInt64(segment) && words[base + 1].load(ordering: .relaxed) == address.high
      && words[base + 2].load(ordering: .relaxed) == address.low
  }

  private func home(_ segment: Int, _ address: IPAddress) -> Int {
    let hash = ((address.high ^ UInt64(segment)) &* 0xd6e8_feb8_6659_fd93 ^ address.low) &* 0x9e37_79b9_7f4a_7c15
    return Int(truncatingIfNeeded: hash >> 40) & (Self.capacity - 1)
  }
}
