import Datapath
import PacketIO
import Wire

extension Resolver {
  /// Looks at next hops that are new, or of which the kernel has told something, and once a second at those that nothing is
  /// sure of.
  mutating func followNextHops(_ netlink: borrowing NetlinkSocket, _ now: Tick) {
    for hop in hops.takeChanged() where look(at: hop, hasChanged: true, netlink, now) {
      // Dead for the kernel: another leg of an ECMP route may be the way now (fib_multipath_use_neigh, and always for IPv6).
      for vtep in hops[hop]?.vteps ?? [] { route(vtep, netlink, now) }
    }
    for hop in hops.takeFresh() { _ = look(at: hop, netlink, now) }
    guard !hops.pending.isEmpty, now.milliseconds >= nextRetry.milliseconds else { return }
    for hop in hops.pending where mayAsk(for: hop, now) { _ = look(at: hop, netlink, now) }
    // Those that were lost just now wait for less than the others; but there may be thousands, each with a time of its own.
    let soonest = max(now.milliseconds + 100, hops.postponed(after: now) ?? .max)
    nextRetry = Tick(milliseconds: min(now.milliseconds + 1000, soonest))
  }

  /// Takes over what the kernel knows of a next hop, and makes it find out what it doesn't. True when the kernel has given it up.
  private mutating func look(at hop: IPAddress, hasChanged: Bool = false, _ netlink: borrowing NetlinkSocket, _ now: Tick) -> Bool {
    do {
      let neighbour = try netlink.neighbour(hop, on: interface.index)
      let mac = neighbour.flatMap { $0.isUsable ? $0.mac : nil }
      if hasChanged && mac == nil { wait(before: hop, now) }
      let isAsked = try isOpen(neighbour) && mayAsk(for: hop, now) && ask(for: hop, netlink, now)
      adopt(mac, isPending: mac == nil || (isOpen(neighbour) && !isAsked), of: hop, now)
      return neighbour?.state.contains(.failed) ?? false
    } catch {
      vtepLog.write(.warning, hop, "next hop \(hop): \(error)", now: now)
      adopt(nil, isPending: true, of: hop, now)
      return false
    }
  }

  /// Whether the kernel does not work on it by itself. Nobody in the kernel sends to our next hops, so nobody but us has one
  /// verified that is stale: one unicast probe about every 30 s. In the states in between (incomplete, delay, probe) the kernel is at it.
  private func isOpen(_ neighbour: Neighbour?) -> Bool {
    guard let neighbour else { return true }
    return neighbour.state.isDisjoint(with: [.incomplete, .delay, .probe]) && !neighbour.isConfirmed
  }

  /// A neighbour that is lost is not asked for at once: `ip neigh flush` goes on until the table stays empty.
  private mutating func wait(before hop: IPAddress, _ now: Tick) {
    let soon = Tick(milliseconds: now.milliseconds + 100)
    hops.postpone(hop, until: soon)
    if soon.milliseconds < nextRetry.milliseconds { nextRetry = soon }
  }

  private mutating func adopt(_ mac: MACAddress?, isPending: Bool, of hop: IPAddress, _ now: Tick) {
    guard hops.set(mac, isPending: isPending, of: hop) else { return }
    for vtep in hops[hop]?.vteps ?? [] { settle(vtep, now) }
  }

  /// Whether a next hop is worth asking for: once when it is new, and then as long as somebody has use for a VTEP behind it.
  private func mayAsk(for hop: IPAddress, _ now: Tick) -> Bool {
    guard let known = hops[hop], now.milliseconds >= known.earliest.milliseconds else { return false }
    return (known.mac == nil && known.attempts == 0) || known.vteps.contains { isListed($0) || forwarding.fdb.count(of: .vtep($0)) > 0 }
  }

  /// Makes the kernel find a neighbour, or verify it. False: too many were asked for in this second.
  private mutating func ask(for hop: IPAddress, _ netlink: borrowing NetlinkSocket, _ now: Tick) throws(SystemError) -> Bool {
    guard let known = hops[hop] else { return false }
    // The operator's own are asked for every second; others that don't answer ever less often, down to once in a minute.
    let isNamed = known.vteps.contains { isListed($0) }
    guard isNamed || solicitations.take(now) else { return false }
    hops.noteAttempt(hop, until: Tick(milliseconds: now.milliseconds + (isNamed ? 1000 : 1000 << UInt64(min(known.attempts, 6)))))
    try netlink.resolve(hop, on: interface.index)
    return true
  }

  private func isListed(_ vtep: Int) -> Bool { forwarding.vteps.isListed(vtep) }
}
