import Datapath
import Logging
import PacketIO
import Wire

/// Keeps every VTEP's outer header what the kernel's routes and neighbours make it: the one place that decides where a
/// packet to a VTEP goes. It runs on the control plane's thread and follows netlink events.
struct Resolver: ~Copyable {
  /// What is known of the way to a VTEP.
  struct Way: Equatable {
    enum State: Equatable {
      case resolved(OuterHeader)
      /// The next hop has not answered yet.
      case incomplete
      /// There is no way: the reason in words.
      case unreachable(String)
    }
    var state: State
    /// The VTEP itself, or the router towards it.
    var nextHop: IPAddress?
  }

  private let forwarding: Forwarding
  private let local: IPAddress
  private let ttl: UInt8
  private(set) var underlay: Link
  private(set) var ways: [Int: Way] = [:]
  private let log: Logger

  init(_ forwarding: Forwarding, underlay: Link, local: IPAddress, ttl: UInt8, log: Logger) {
    self.forwarding = forwarding
    self.underlay = underlay
    self.local = local
    self.ttl = ttl
    self.log = log
  }

  /// VTEPs that the data path has added since the last call get their first look-up.
  mutating func adopt(_ netlink: borrowing NetlinkSocket) throws(SystemError) {
    for vtep in forwarding.vteps.indexes where ways[vtep] == nil { try resolve(vtep, netlink) }
  }

  /// The underlay NIC, a route or an address changed: every way may have.
  mutating func resolveAll(underlay link: Link, _ netlink: borrowing NetlinkSocket) throws(SystemError) {
    underlay = link
    for vtep in forwarding.vteps.indexes { try resolve(vtep, netlink) }
  }

  /// Asks again for next hops that have not answered, and for routes that did not exist. Once a second.
  mutating func retry(_ netlink: borrowing NetlinkSocket) throws(SystemError) {
    for (vtep, way) in ways {
      if case .resolved = way.state { continue }
      try resolve(vtep, netlink)
    }
  }

  var hasUnresolved: Bool {
    ways.values.contains { way in
      if case .resolved = way.state { false } else { true }
    }
  }

  /// A neighbour changed: the ways through it change with it.
  mutating func neighbourChanged(_ neighbour: Neighbour, _ netlink: borrowing NetlinkSocket) throws(SystemError) {
    guard neighbour.interfaceIndex == underlay.index else { return }
    for (vtep, way) in ways where way.nextHop == neighbour.address { try resolve(vtep, netlink) }
  }

  /// A neighbour was deleted, or did not answer: the ways through it have to wait for it to be found again (`retry`). True if there are any.
  mutating func neighbourGone(_ neighbour: Neighbour) -> Bool {
    guard neighbour.interfaceIndex == underlay.index else { return false }
    let lost = ways.filter { $0.value.nextHop == neighbour.address }
    for vtep in lost.keys { adopt(Way(state: .incomplete, nextHop: neighbour.address), of: vtep) }
    return !lost.isEmpty
  }

  private mutating func resolve(_ vtep: Int, _ netlink: borrowing NetlinkSocket) throws(SystemError) {
    adopt(try look(forwarding.vteps.remote(vtep), netlink), of: vtep)
  }

  private mutating func adopt(_ way: Way, of vtep: Int) {
    guard way != ways[vtep] else { return }
    tell(vtep, way)
    ways[vtep] = way
    if case .resolved(let header) = way.state {
      forwarding.vteps.publish(header, at: vtep)
    } else {
      forwarding.vteps.publish(nil, at: vtep)
    }
  }

  /// Route, next hop, its MAC address; asks the kernel to find or to verify the last if it is not sure of it.
  private func look(_ remote: Remote, _ netlink: borrowing NetlinkSocket) throws(SystemError) -> Way {
    let address = remote.address
    guard underlay.isUp else { return Way(state: .unreachable("\(underlay.name) is down"), nextHop: nil) }
    guard let route = try netlink.route(to: address, from: local) else {
      return Way(state: .unreachable("no route"), nextHop: nil)
    }
    guard route.kind == .unicast else { return Way(state: .unreachable("its route is \(route.kind)"), nextHop: nil) }
    guard route.interfaceIndex == underlay.index else {
      let other = try netlink.link(index: route.interfaceIndex)?.name ?? "interface \(route.interfaceIndex)"
      return Way(state: .unreachable("its route leaves through \(other), not \(underlay.name)"), nextHop: nil)
    }
    let nextHop = route.gateway ?? address
    let neighbour = try netlink.neighbour(nextHop, on: underlay.index)
    // Nobody in the kernel sends to this neighbour, so nobody but us keeps it fresh.
    if !(neighbour?.isConfirmed ?? false) { try netlink.resolve(nextHop, on: underlay.index) }
    guard let neighbour, neighbour.isUsable, let mac = neighbour.mac else { return Way(state: .incomplete, nextHop: nextHop) }
    let header = OuterHeader(
      nextHop: mac, sourceMAC: underlay.mac, source: local, destination: address, ttl: ttl, destinationPort: remote.port,
      mtu: UInt16(clamping: min(route.mtu ?? underlay.mtu, underlay.mtu)))
    return Way(state: .resolved(header), nextHop: nextHop)
  }

  private func tell(_ vtep: Int, _ way: Way) {
    let address = forwarding.vteps.address(vtep)
    switch way.state {
    case .resolved(let header): log.info("VTEP \(address) is reached through \(header.nextHop)")
    case .incomplete: log.info("VTEP \(address): waiting for \(way.nextHop.map(String.init) ?? "") to answer ARP on \(underlay.name)")
    case .unreachable(let reason): log.warning("VTEP \(address) can't be reached: \(reason)")
    }
  }
}
