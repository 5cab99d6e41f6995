import CLinux
import Datapath
import Logging
import PacketIO
import Wire

/// Everything that is not per packet, on one thread: ways to VTEPs, ageing, changes that the operator asks for, events, the end.
///
/// `ControlPlane+FDB.swift`, `+Segments.swift` and `+Neighbours.swift` make changes, `+Events.swift` follows the kernel and the
/// workers.
struct ControlPlane: ~Copyable {
  let assembly: Assembly
  let forwarding: Forwarding
  /// Segments and local ports as they are now; `applyTopology` makes the workers go by it.
  var overlay: Overlay
  var neighbours: [NeighbourKey: NeighbourEntry] = [:]
  var resolver: Resolver
  let events: ControlEvents
  let netlink: NetlinkSocket
  let monitor: NetlinkMonitor
  let log: Logger
  let reporter: Reporter
  let changes: ChangeQueue
  let discovered: Doorbell
  let pathMTU: PathMTUSocket
  var memberships = Memberships()
  /// Of the underlay's interface, in bytes; and whether it had a carrier when it was last heard of.
  var underlayMTU: Int
  var wasUp: Bool
  /// What who listens was told of the ways to VTEPs; events that the workers lost so far.
  var toldWays: [Int: Resolver.Way] = [:]
  /// Of the resolver, when others were last shown its ways; and whether neighbours have changed since.
  var shownVersion = -1
  var neighboursChanged = false
  var lostEvents = 0
  /// Seconds; 0: never.
  let ageing: UInt32
  /// Milliseconds of the monotonic clock.
  var nextSweep: UInt64
  /// Milliseconds; the next look at what the fast path depends on.
  var nextBeat: UInt64 = .max
  /// When all workers were alive, and whether the fast path goes on.
  var lastAlive: UInt64 = 0
  var isGoingOn = true
  let features: XDPFeatures?
  private let server: ControlServer

  init(
    _ assembly: Assembly, _ overlay: Overlay, _ forwarding: Forwarding, _ discovered: Doorbell, _ netlink: consuming NetlinkSocket,
    _ log: Logger
  ) throws {
    let configuration = assembly.plan.configuration
    // Subscribed before the first look, so that nothing changes unseen in between.
    let monitor = try NetlinkMonitor()
    let plan = assembly.plan
    var resolver = Resolver(
      forwarding, underlay: Underlay(configuration, interface: plan.routing.name, vlan: plan.underlayVLAN, local: plan.local),
      interface: plan.routing, log: log)
    resolver.work(netlink, now: Tick.now)
    let changes = try ChangeQueue()
    // A listener that comes or goes makes the workers report what they learn, or stop it.
    let events = try ControlEvents { _ in changes.bell.ring() }
    let reporter = Reporter(assembly, forwarding, .init(overlay: overlay, ways: resolver.ways), changes)
    let server = try ControlServer(path: configuration.socket, responder: reporter, events: events, log: log)
    let pathMTU = try PathMTUSocket(isIPv6: !plan.local.isIPv4)
    features = try Self.features(assembly, log)
    self.server = server
    self.pathMTU = pathMTU
    ageing = UInt32(configuration.ageing)
    underlayMTU = plan.routing.mtu
    wasUp = plan.routing.isUp && plan.routing.hasCarrier
    nextSweep = Tick.now.milliseconds + UInt64(configuration.ageing) * 1000
    self.assembly = assembly
    self.overlay = overlay
    self.forwarding = forwarding
    self.discovered = discovered
    self.netlink = netlink
    self.monitor = monitor
    self.log = log
    self.resolver = resolver
    self.reporter = reporter
    self.events = events
    self.changes = changes
  }

  /// Starts the workers, says so, and serves until a signal comes.
  mutating func run(until signals: borrowing SignalDescriptor) throws {
    do {
      let poller = Poller([
        signals.descriptor, monitor.descriptor, discovered.descriptor, changes.bell.descriptor, pathMTU.descriptor,
      ])
      for end in overlay.ends.indices { try prepareTAP(ofEnd: end) }
      try followGroups()
      try assembly.start()
      // Ready means ready: a worker answers after its first round, in which its sockets got memory to receive into.
      _ = assembly.snapshots()
      try awaitCarriers()
      startFastPath()
      try server.start()
      sayReady()
      var signal: Int32?
      while signal == nil {
        poller.wait(milliseconds: timeout())
        signal = signals.next()
        try follow()
      }
      log.info("stopping on \(signal == SIGINT ? "SIGINT" : "SIGTERM")")
    } catch {
      // The NICs get back what would outlive us, whatever happened.
      stop()
      throw error
    }
    stop()
    log.notice("stopped: \(reporter.totals)")
  }

  private func sayReady() {
    log.notice("ready: \(reporter.readyLine)")
    for (vtep, way) in resolver.ways.sorted(by: { $0.key < $1.key }) {
      if case .resolved = way.state { continue }
      // Nobody answers for a group; if it can't be sent to, the resolver has said why.
      if forwarding.vteps.address(vtep).isMulticast { continue }
      log.warning("VTEP \(forwarding.vteps.address(vtep)) does not answer yet; its frames wait a second, then are dropped")
    }
  }

  /// Some drivers (igb) take the link down when a program or a socket comes. Ready means that it is up again.
  private func awaitCarriers() throws {
    let deadline = Tick.now.milliseconds + 10_000
    for nic in assembly.plan.nics where nic.link.hasCarrier {
      while try netlink.link(index: nic.link.index)?.hasCarrier == false {
        guard Tick.now.milliseconds < deadline else {
          log.warning("\(nic.name): the link went down when vxgw took the NIC, and is not back after 10 s")
          break
        }
        Tick.pause(microseconds: 50_000)
      }
    }
  }

  /// Milliseconds until something is due.
  private func timeout() -> Int32 {
    let now = Tick.now.milliseconds
    let first = min(resolver.nextDeadline, ageing > 0 ? nextSweep : .max, nextBeat)
    if first == .max { return -1 }
    // The coarse clock may be 10 ms behind: better late by that than awake twice.
    return Int32(clamping: first > now ? first - now + 10 : 0)
  }

  private func stop() {
    changes.close()
    server.stop()
    assembly.stop()
    for failure in assembly.restore() { log.error("\(failure)") }
  }

  /// Makes every worker go by the overlay as it is now, and others see it. Returns when all do.
  func applyTopology() {
    assembly.apply(overlay)
    showView()
  }

  func showView() {
    let neighbours = self.neighbours.map { report($0.key, $0.value) }.sorted {
      ($0.vni, $0.dst.high, $0.dst.low) < ($1.vni, $1.dst.high, $1.dst.low)
    }
    reporter.view.withLock { $0 = .init(overlay: overlay, ways: resolver.ways, neighbours: neighbours) }
  }
}
