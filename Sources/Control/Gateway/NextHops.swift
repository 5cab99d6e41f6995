import PacketIO
import Wire

/// The neighbours that ways lead through, and which VTEPs are behind each: thousands may be behind one router, and what is
/// heard of a neighbour concerns only those behind it.
struct NextHops {
  struct Hop {
    /// Indexes in the `VTEPTable`.
    var vteps: Set<Int> = []
    /// The kernel has been asked about it.
    var isKnown = false
    /// Nil: it has not answered.
    var mac: MACAddress?
    /// How often in a row it was asked for in vain.
    var attempts = 0
    /// Not to be asked for before.
    var earliest = Tick(milliseconds: 0)
  }

  private var hops: [IPAddress: Hop] = [:]
  /// Of which the kernel has told something.
  private var changed: Set<IPAddress> = []
  /// Of which nothing is known yet.
  private var fresh: Set<IPAddress> = []
  /// That have no MAC address, or one that the kernel is not sure of.
  private(set) var pending: Set<IPAddress> = []

  subscript(address: IPAddress) -> Hop? { hops[address] }

  /// Puts a VTEP behind another next hop, or behind none.
  mutating func move(_ vtep: Int, from old: IPAddress?, to new: IPAddress?) {
    guard old != new else { return }
    if let old, hops[old]?.vteps.remove(vtep) != nil, hops[old]?.vteps.isEmpty == true {
      hops[old] = nil
      changed.remove(old)
      fresh.remove(old)
      pending.remove(old)
    }
    guard let new else { return }
    if hops[new] == nil { fresh.insert(new) }
    hops[new, default: Hop()].vteps.insert(vtep)
  }

  mutating func noteChange(of address: IPAddress) {
    if hops[address] != nil { changed.insert(address) }
  }

  mutating func takeChanged() -> Set<IPAddress> {
    defer { changed = [] }
    return changed
  }

  /// Every next hop is to be looked at again.
  mutating func noteAll() { fresh = Set(hops.keys) }

  mutating func takeFresh() -> Set<IPAddress> {
    defer { fresh = [] }
    return fresh
  }

  /// What the kernel says of a next hop. True when that is news for the VTEPs behind it.
  mutating func set(_ mac: MACAddress?, isPending: Bool, of address: IPAddress) -> Bool {
    guard var hop = hops[address] else { return false }
    let isNews = !hop.isKnown || hop.mac != mac
    hop.isKnown = true
    hop.mac = mac
    if mac != nil { hop.attempts = 0 }
    hops[address] = hop
    if isPending { pending.insert(address) } else { pending.remove(address) }
    return isNews
  }

  /// When the first of the pending may be asked for that may not be yet, in milliseconds of the monotonic clock.
  func postponed(after now: Tick) -> UInt64? {
    pending.lazy.compactMap { hops[$0]?.earliest.milliseconds }.filter { $0 > now.milliseconds }.min()
  }

  /// It is not to be asked for before `earliest`.
  mutating func postpone(_ address: IPAddress, until earliest: Tick) { hops[address]?.earliest = earliest }

  /// The kernel asks for it now, and shall not again before `earliest`.
  mutating func noteAttempt(_ address: IPAddress, until earliest: Tick) {
    hops[address]?.attempts += 1
    hops[address]?.earliest = earliest
  }
}
