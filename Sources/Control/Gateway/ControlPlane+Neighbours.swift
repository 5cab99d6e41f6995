import Datapath
import PacketIO
import Wire

// `vxgw neigh`: who has which IP address. Entered by hand, or snooped from ARP and neighbour discovery (--suppress).

extension ControlPlane {
  struct NeighbourKey: Hashable {
    let segment: Int
    let address: IPAddress
  }

  struct NeighbourEntry: Equatable {
    var binding: NeighbourTable.Binding
    /// When it was snooped, in seconds of the monotonic clock; nil: entered by hand.
    var snooped: UInt32?
  }

  mutating func changeNeighbour(_ verb: ControlChange.NeighbourVerb, _ neighbour: ControlChange.Neighbour) throws {
    let segment = try segment(srcVNI: neighbour.vni, dev: neighbour.dev, vni: nil)
    let key = NeighbourKey(segment: segment, address: neighbour.ip)
    let isByHand = neighbours[key].map { $0.snooped == nil } ?? false
    switch verb {
    case .del:
      if neighbours[key] == nil { throw ChangeError.noNeighbour }
      forgetNeighbour(key)
    case .add where isByHand: throw ChangeError.neighbourExists
    case .add, .replace:
      guard let mac = neighbour.lladdr else { throw ChangeError.invalid("no lladdr") }
      let entry = NeighbourEntry(binding: .init(mac: mac, isRouter: neighbour.router), snooped: nil)
      guard setNeighbour(key, entry, .added) else {
        throw ChangeError.invalid("the neighbour table holds its \(NeighbourTable.limit) entries; del some")
      }
    }
  }

  /// A worker saw who has the address. What was entered by hand stays.
  mutating func snooped(_ event: Event) {
    let key = NeighbourKey(segment: event.segment, address: event.address)
    if let known = neighbours[key], known.snooped == nil { return }
    _ = setNeighbour(key, .init(binding: .init(mac: event.mac), snooped: Tick.now.seconds), .snooped)
  }

  private mutating func setNeighbour(_ key: NeighbourKey, _ entry: NeighbourEntry, _ verb: MonitorEvent.NeighbourVerb) -> Bool {
    guard forwarding.neighbours.set(key.segment, key.address, to: entry.binding) else { return false }
    let isNews = neighbours[key]?.binding != entry.binding
    neighbours[key] = entry
    neighboursChanged = true
    if isNews { events.publish(.neigh(verb, report(key, entry))) }
    return true
  }

  private mutating func forgetNeighbour(_ key: NeighbourKey) {
    guard let entry = neighbours.removeValue(forKey: key) else { return }
    neighboursChanged = true
    _ = forwarding.neighbours.set(key.segment, key.address, to: nil)
    events.publish(.neigh(.deleted, report(key, entry)))
  }

  mutating func removeNeighbours(of segment: Int) {
    for key in neighbours.keys where key.segment == segment { forgetNeighbour(key) }
  }

  /// Snooped bindings age as the FDB does: the next ARP request brings one back that is still right.
  mutating func ageNeighbours(_ now: Tick) {
    guard ageing > 0 else { return }
    for (key, entry) in neighbours {
      if let snooped = entry.snooped, now.seconds &- snooped > ageing { forgetNeighbour(key) }
    }
  }

  func report(_ key: NeighbourKey, _ entry: NeighbourEntry) -> Report.Neighbour {
    .init(
      dst: key.address, dev: overlay.name(of: key.segment), lladdr: entry.binding.mac, vni: overlay.segments[key.segment]?.vni ?? 0,
      router: entry.binding.isRouter, state: entry.snooped == nil ? .permanent : .reachable)
  }
}
