import Datapath
import Logging
import PacketIO
import Wire

/// Keeps every VTEP's outer header what the kernel's routes and neighbours make it: the one place that decides where a
/// packet to a VTEP goes. It runs on the control plane's thread, which passes kernel events on to `note` and then calls
/// `work`, also when `nextDeadline` has come.
///
/// A way is found in two steps: the kernel's route to the VTEP names the next hop (`Resolver+Ways.swift`), the kernel's
/// neighbour table its MAC address (`Resolver+NextHops.swift`). Changes of links, addresses and routes begin with the first
/// for all VTEPs, as nothing tells whom they concern; changes of neighbours with the second, for those behind them.
///
/// There is one way to a VTEP. The kernel's vxlan device hashes source ports, too, where fib_multipath_hash_policy is 1; by
/// default (0) it takes, as we do, one leg of an ECMP route per pair of addresses.
struct Resolver: ~Copyable {
  /// What is known of the way to a VTEP.
  struct Way: Equatable, Sendable {
    enum State: Equatable, Sendable {
      case resolved(OuterHeader)
      /// The next hop has not answered yet.
      case incomplete
      /// There is no way: the reason in words.
      case unreachable(String)
    }
    enum Route: Equatable, Sendable {
      /// The VTEP itself, or the router towards it. The MTU is of the outer IP packet, in bytes; locked: routers can't lower it.
      case through(IPAddress, mtu: Int, isMTULocked: Bool)
      /// A multicast group needs nobody's answer.
      case group
      /// The reason in words.
      case nowhere(String)
    }
    var route: Route
    /// Nil for a moment: not looked at yet.
    var state: State?

    var nextHop: IPAddress? {
      if case .through(let address, _, _) = route { address } else { nil }
    }
  }

  /// Why nothing can be sent to anybody.
  struct Obstacle: Equatable {
    var reason: String
    /// It will not go by itself.
    var isError = false
  }

  let forwarding: Forwarding
  let underlay: Underlay
  let log: Logger
  var vtepLog: VTEPLog
  /// The kernel's interface, as last seen.
  var interface: Link
  var obstacle: Obstacle?

  /// By index in the `VTEPTable`.
  var ways: [Int: Way] = [:] {
    didSet { version &+= 1 }
  }
  /// Another number after `ways` has changed, so that nobody copies thousands of them for nothing.
  private(set) var version = 0
  /// Indexes in the `VTEPTable`: an address may be there with several ports and VNIs.
  var indexes: [IPAddress: [Int]] = [:]
  var hops = NextHops()
  var pathMTUs = PathMTUs()
  /// Of VTEPs that nobody has named: asking for all that spoofed packets make up would fill the kernel's neighbour table.
  var solicitations = RateLimit(perSecond: 64)

  private var isStale = true
  private var lastPass: Tick?
  var nextRetry = Tick(milliseconds: 0)

  /// Milliseconds between two looks at all routes: a routing daemon that starts changes thousands of them.
  private static let shortestPause: UInt64 = 250
  /// Some changes come without an event: redirects and path MTUs that the kernel itself learned, settings (sysctl).
  private static let longestPause: UInt64 = 60_000

  init(_ forwarding: Forwarding, underlay: Underlay, interface: Link, log: Logger) {
    self.forwarding = forwarding
    self.underlay = underlay
    self.interface = interface
    self.log = log
    vtepLog = VTEPLog(log)
  }

  /// Takes note of what the kernel tells; `work` acts on it.
  mutating func note(_ event: KernelEvent) {
    switch event {
    case .neighbour(let neighbour), .neighbourGone(let neighbour):
      if neighbour.interfaceIndex == interface.index { hops.noteChange(of: neighbour.address) }
    case .link(interface): break
    case .link, .linkGone, .addressesChanged, .routesChanged, .overrun:
      // Also of other links: IPv4 routes come and go with them without a word (see `KernelEvent.link`).
      isStale = true
    }
  }

  /// Does all that is due: follows what was noted, and looks for VTEPs that the data path has added.
  mutating func work(_ netlink: borrowing NetlinkSocket, now: Tick) {
    if now.milliseconds >= passDue {
      pass(netlink, now)
    } else if ways.count != forwarding.vteps.count {
      for vtep in forwarding.vteps.indexes where ways[vtep] == nil { route(vtep, netlink, now) }
    }
    followNextHops(netlink, now)
    for address in pathMTUs.expire(now) {
      for vtep in indexes[address] ?? [] { settle(vtep, now) }
    }
    vtepLog.flush(now)
  }

  /// When `work` is to be called although nothing happens, in milliseconds of the monotonic clock.
  var nextDeadline: UInt64 {
    let retry = hops.pending.isEmpty ? nil : nextRetry
    return [retry, pathMTUs.nextExpiry, vtepLog.due].reduce(passDue) { min($0, $1?.milliseconds ?? .max) }
  }

  /// A router has said that no packet larger than `mtu` bytes (outer IP packet) gets through to `remote`.
  mutating func pathMTUReported(for remote: IPAddress, mtu: Int, now: Tick) {
    guard let vteps = indexes[remote], case .through(_, let routeMTU, false) = ways[vteps[0]]?.route,
      pathMTUs.report(mtu, for: remote, routeMTU: routeMTU, now: now)
    else { return }
    let line = "VTEP \(remote): a router on the way says that no packet above \(pathMTUs[remote] ?? mtu) bytes gets through"
    vtepLog.write(.info, remote, line, now: now)
    for vtep in vteps { settle(vtep, now) }
  }

  private var passDue: UInt64 {
    guard let lastPass else { return 0 }
    return lastPass.milliseconds + (isStale ? Self.shortestPause : Self.longestPause)
  }

  /// Looks at everything again.
  private mutating func pass(_ netlink: borrowing NetlinkSocket, _ now: Tick) {
    lastPass = now
    isStale = false
    do {
      announce(try inspect(netlink))
    } catch {
      isStale = true
      announce(Obstacle(reason: "\(error)"))
    }
    for vtep in forwarding.vteps.indexes { route(vtep, netlink, now) }
    hops.noteAll()
  }

  /// Why nothing can be sent. Without carrier headers are withdrawn rather than kept: the NIC would drop the frames unseen or
  /// send them late, and the next carrier may be another network. The kernel forgets its neighbours for the same reason
  /// (neigh_carrier_down, net/core/neighbour.c).
  private mutating func inspect(_ netlink: borrowing NetlinkSocket) throws(SystemError) -> Obstacle? {
    // A VLAN interface that was deleted and made again has another index.
    var current = try netlink.link(index: interface.index)
    if current == nil { current = try netlink.link(named: underlay.interface) }
    guard let link = current else { return Obstacle(reason: "\(underlay.interface) is gone", isError: true) }
    interface = link
    guard link.isUp else { return Obstacle(reason: "\(link.name) is down") }
    guard link.hasCarrier else { return Obstacle(reason: "\(link.name) has no carrier") }
    // Of any interface: a routed VTEP has it on lo.
    guard let own = try netlink.addresses(of: 0).first(where: { $0.address == underlay.local }) else {
      return Obstacle(reason: "\(underlay.local), this VTEP's address, is gone from \(link.name)", isError: true)
    }
    if own.isDuplicate { return Obstacle(reason: "\(own.address), this VTEP's address, is another host's as well", isError: true) }
    return own.isTentative ? Obstacle(reason: "\(own.address) waits for duplicate address detection") : nil
  }

  private mutating func announce(_ obstacle: Obstacle?) {
    guard obstacle != self.obstacle else { return }
    self.obstacle = obstacle
    guard let obstacle else { return log.notice("\(interface.name): VTEPs can be reached again") }
    log.log(level: obstacle.isError ? .error : .warning, "\(obstacle.reason): no VTEP can be reached until that changes")
  }
}
