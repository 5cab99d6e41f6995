import CLinux
import Datapath
import Logging
import PacketIO
import Wire

/// Everything that is not per packet, on one thread: ways to VTEPs, ageing, the control socket's answers, the end.
struct ControlPlane: ~Copyable {
  private let assembly: Assembly
  private let forwarding: Forwarding
  private let discovered: Doorbell
  private let netlink: NetlinkSocket
  private let monitor: NetlinkMonitor
  private let log: Logger
  private var resolver: Resolver
  private let reporter: Reporter
  private let server: ControlServer
  /// Milliseconds of the monotonic clock.
  private var nextSweep: UInt64
  private let ageing: UInt32

  init(
    _ assembly: Assembly, _ forwarding: Forwarding, _ discovered: Doorbell, _ netlink: consuming NetlinkSocket,
    _ log: Logger
  ) throws {
    let configuration = assembly.plan.configuration
    // Subscribed before the first look, so that nothing changes unseen in between.
    let monitor = try NetlinkMonitor()
    var resolver = Resolver(
      forwarding, underlay: Underlay(configuration, interface: assembly.plan.underlay.name, vlan: nil, local: assembly.plan.local),
      interface: assembly.plan.underlay.link, log: log)
    try Self.prepareTAPs(assembly.plan, forwarding, netlink)
    resolver.work(netlink, now: .now)
    let reporter = Reporter(assembly, forwarding, ways: resolver.ways)
    server = try ControlServer(path: configuration.socket, responder: reporter, events: try ControlEvents(), log: log)
    ageing = UInt32(configuration.ageing)
    nextSweep = Tick.now.milliseconds + UInt64(configuration.ageing) * 1000
    self.assembly = assembly
    self.forwarding = forwarding
    self.discovered = discovered
    self.netlink = netlink
    self.monitor = monitor
    self.log = log
    self.resolver = resolver
    self.reporter = reporter
  }

  /// TAP devices get the MTU that fits through the tunnel, as the kernel gives it to a vxlan device, and come up. Their
  /// MAC addresses are ours: a frame from the underlay that claims one is a loop.
  private static func prepareTAPs(_ plan: Plan, _ forwarding: Forwarding, _ netlink: borrowing NetlinkSocket) throws {
    for (port, kind) in plan.ports.enumerated() {
      guard case .tap(let name) = kind, let segment = plan.segments.firstIndex(where: { $0.ports.contains(port) }) else { continue }
      guard let link = try netlink.link(named: name) else { throw GatewayError("\(name): the TAP device went away while vxgw started") }
      try netlink.setLink(index: link.index, up: true, mtu: Underlay.overlayMTU(underlayMTU: plan.underlay.link.mtu, local: plan.local))
      _ = forwarding.fdb.set(fdbKey(segment, link.mac), to: .port(port), .permanent, tick: Tick.now.seconds)
    }
  }

  /// Starts the workers, says so, and serves until a signal comes.
  mutating func run(until signals: borrowing SignalDescriptor) throws {
    do {
      let poller = try Poller([signals.descriptor, monitor.descriptor, discovered.descriptor])
      try assembly.start()
      try awaitCarriers()
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
    let first = min(resolver.nextDeadline, ageing > 0 ? nextSweep : .max)
    // The coarse clock may be 10 ms behind: better late by that than awake twice.
    return Int32(clamping: first > now ? first - now + 10 : 0)
  }

  private mutating func follow() throws {
    _ = discovered.clear()
    for event in try monitor.events() {
      resolver.note(event)
      switch event {
      case .link(let link): followMAC(link)
      case .linkGone(let index, let name):
        if assembly.plan.nics.contains(where: { $0.link.index == index }) { throw GatewayError("\(name): the interface is gone") }
      default: break
      }
    }
    let now = Tick.now
    resolver.work(netlink, now: now)
    if ageing > 0 && now.milliseconds >= nextSweep { sweep(now) }
    reporter.ways.withLock { $0 = resolver.ways }
  }

  /// Ages the FDB. Nothing can be due before the tick that the sweep returns, nor within an ageing time from now.
  private mutating func sweep(_ now: Tick) {
    let due = forwarding.fdb.age(tick: now.seconds, ageing: ageing)
    nextSweep = UInt64(due ?? now.seconds + ageing + 1) * 1000
  }

  /// A TAP's MAC address may change at any time: a bridge above it, or the operator.
  private func followMAC(_ link: Link) {
    guard let port = assembly.plan.ports.firstIndex(where: { if case .tap(link.name) = $0 { true } else { false } }),
      let segment = assembly.plan.segments.firstIndex(where: { $0.ports.contains(port) })
    else { return }
    var outdated: [FDBKey] = []
    forwarding.fdb.forEach { key, entry in
      if entry.state == .permanent && entry.destination == .port(port) && key != fdbKey(segment, link.mac) { outdated.append(key) }
    }
    for key in outdated { forwarding.fdb.remove(key) }
    _ = forwarding.fdb.set(fdbKey(segment, link.mac), to: .port(port), .permanent, tick: Tick.now.seconds)
  }

  private func stop() {
    server.stop()
    assembly.stop()
    for failure in assembly.restore() { log.error("\(failure)") }
  }
}
