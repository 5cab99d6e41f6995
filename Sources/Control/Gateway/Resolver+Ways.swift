import Datapath
import Logging
import PacketIO
import Wire

extension Resolver {
  /// Asks the kernel for the route to a VTEP.
  mutating func route(_ vtep: Int, _ netlink: borrowing NetlinkSocket, _ now: Tick) {
    let remote = forwarding.vteps.remote(vtep)
    let old = ways[vtep]
    if old == nil { indexes[remote.address, default: []].append(vtep) }
    let way = Way(route: obstacle.map { .nowhere($0.reason) } ?? find(remote, netlink), state: old?.state)
    ways[vtep] = way
    if way.nextHop != old?.nextHop {
      pathMTUs.forget(remote.address)
      hops.move(vtep, from: old?.nextHop, to: way.nextHop)
    }
    // A next hop that nothing is known of is looked at in a moment. Until then packets go where they went.
    if way.nextHop.map({ hops[$0]?.isKnown == false }) != true { settle(vtep, now) }
  }

  private func find(_ remote: Remote, _ netlink: borrowing NetlinkSocket) -> Way.Route {
    guard remote.address.isIPv4 == underlay.local.isIPv4 else {
      return .nowhere("it is not of the IP version of \(underlay.local), this VTEP's address")
    }
    if remote.address.isMulticast { return .group }
    do {
      guard let route = try chosen(remote, netlink), route.kind == .unicast, route.interfaceIndex == interface.index else {
        return .nowhere(try objection(remote, netlink))
      }
      return .through(
        route.gateway ?? remote.address, mtu: min(route.mtu ?? interface.mtu, interface.mtu), isMTULocked: route.isMTULocked)
    } catch {
      return .nowhere("\(error)")
    }
  }

  /// The route of packets through our interface: rules and VRFs look at it. But with it, the kernel takes the first leg of
  /// an IPv4 ECMP route for everybody; so the leg is that of the look-up without, where both find the same table.
  private func chosen(_ remote: Remote, _ netlink: borrowing NetlinkSocket) throws(SystemError) -> Route? {
    let bound = try netlink.route(to: remote.address, from: underlay.local, through: interface.index, port: remote.port)
    guard let bound, bound.gateway != nil, remote.address.isIPv4,
      let hashed = try netlink.route(to: remote.address, from: underlay.local, port: remote.port)
    else { return bound }
    return hashed.kind == .unicast && hashed.interfaceIndex == bound.interfaceIndex && hashed.table == bound.table ? hashed : bound
  }

  /// Why there is no route through our interface.
  private func objection(_ remote: Remote, _ netlink: borrowing NetlinkSocket) throws(SystemError) -> String {
    guard let route = try netlink.route(to: remote.address, from: underlay.local, port: remote.port) else { return "no route" }
    switch route.kind {
    case .unicast:
      let other = try netlink.link(index: route.interfaceIndex)?.name ?? "interface \(route.interfaceIndex)"
      return "its route leaves through \(other), not \(interface.name)"
    case .local: return "it is an address of this host"
    case .broadcast, .multicast, .unreachable, .blackhole, .prohibit: return "its route is \(route.kind)"
    }
  }

  /// Makes the header of what is known of the way, and publishes it.
  mutating func settle(_ vtep: Int, _ now: Tick) {
    guard let way = ways[vtep] else { return }
    let remote = forwarding.vteps.remote(vtep)
    let state = state(way.route, remote)
    guard state != way.state else { return }
    ways[vtep]?.state = state
    if case .resolved(let header) = state {
      forwarding.vteps.publish(header, at: vtep)
    } else {
      forwarding.vteps.publish(nil, at: vtep)
    }
    tell(remote.address, way, state, now)
  }

  private mutating func tell(_ address: IPAddress, _ way: Way, _ state: Way.State, _ now: Tick) {
    // What stops all has been told of once.
    if let obstacle, case .nowhere(obstacle.reason) = way.route { return }
    let line = line(address, state, way.nextHop)
    if let old = way.state, line == self.line(address, old, way.nextHop) { return }
    let isProblem = if case .unreachable = state { true } else { false }
    vtepLog.write(isProblem ? .warning : .info, address, line, now: now)
  }

  private func line(_ address: IPAddress, _ state: Way.State, _ nextHop: IPAddress?) -> String {
    let subject = (address.isMulticast ? "group " : "VTEP ") + "\(address)"
    return switch state {
    case .resolved(let header): "\(subject) is reached through \(header.nextHop)"
    case .incomplete: "\(subject): waiting for \(nextHop.map(String.init) ?? "") to answer on \(interface.name)"
    case .unreachable(let reason): "\(subject) can't be reached: \(reason)"
    }
  }

  private func state(_ route: Way.Route, _ remote: Remote) -> Way.State {
    switch route {
    case .nowhere(let reason): return .unreachable(reason)
    case .group:
      let mac = OuterHeader.groupMAC(remote.address)
      return .resolved(underlay.header(to: remote, nextHop: mac, from: interface.mac, mtu: interface.mtu))
    case .through(let hop, let mtu, _):
      guard let mac = hops[hop]?.mac else { return .incomplete }
      return .resolved(underlay.header(to: remote, nextHop: mac, from: interface.mac, mtu: min(mtu, pathMTUs[remote.address] ?? mtu)))
    }
  }
}
