import Datapath
import PacketIO
import Wire

// What happens: in the kernel, in the workers, on the control socket, and when time has passed.

extension ControlPlane {
  mutating func follow() throws {
    if discovered.clear() { takeEvents() }
    for event in try monitor.events() { try follow(event) }
    followICMP()
    makeChanges()
    let now = Tick.now
    resolver.work(netlink, now: now)
    if ageing > 0 && now.milliseconds >= nextSweep { sweep(now) }
    if now.milliseconds >= nextBeat { beat(now) }
    guard resolver.version != shownVersion || neighboursChanged else { return }
    tellWays()
    showView()
    (shownVersion, neighboursChanged) = (resolver.version, false)
  }

  private mutating func follow(_ event: KernelEvent) throws {
    resolver.note(event)
    switch event {
    case .link(let link): try linkChanged(link)
    case .linkGone(let index, let name):
      if isOurs(index) { throw GatewayError("\(name): the interface is gone") }
    case .neighbour, .neighbourGone, .routesChanged, .addressesChanged, .overrun: break
    }
  }

  private func isOurs(_ index: UInt32) -> Bool {
    index == assembly.plan.routing.index
      || overlay.devices.contains { device in
        if case .nic(let nic)? = device?.kind { assembly.description(ofNIC: nic)?.index == index } else { false }
      }
  }

  private mutating func linkChanged(_ link: Link) throws {
    if overlay.devices.contains(where: { $0?.name == link.name }) {
      events.publish(.link(.changed, .init(ifname: link.name, mtu: link.mtu, up: link.isUp && link.hasCarrier)))
    }
    for end in overlay.ends.indices where overlay.ends[end]?.port == .init(.tap(link.name)) { followMAC(end, link.mac) }
    guard link.index == assembly.plan.routing.index else { return }
    // Whoever forwards multicast forgets a link that went down: it has to be told again.
    let isUp = link.isUp && link.hasCarrier
    if isUp && !wasUp { rejoinGroups() }
    wasUp = isUp
    if link.mtu != underlayMTU {
      underlayMTU = link.mtu
      try followTAPs()
    }
  }

  /// Tells who listens what changed on the ways to VTEPs.
  private mutating func tellWays() {
    guard events.hasListeners else { return toldWays.removeAll() }
    for (vtep, way) in resolver.ways where toldWays[vtep] != way { events.publish(.vtep(.changed, reporter.report(vtep, way))) }
    toldWays = resolver.ways
  }

  // MARK: TAP devices

  /// A TAP device comes up with the MTU that fits through the tunnel, as the kernel gives it to a vxlan device. Its MAC address is
  /// ours: a frame from the underlay that claims it is a loop.
  func prepareTAP(ofEnd number: Int) throws {
    guard let end = overlay.ends[number], case .tap(let name) = end.port.device else { return }
    guard let link = try netlink.link(named: name) else { throw GatewayError("\(name): the TAP device is gone") }
    try netlink.setLink(index: link.index, up: true, mtu: tapMTU)
    followMAC(number, link.mac)
  }

  /// Bytes.
  private var tapMTU: Int {
    assembly.plan.configuration.mtu ?? Underlay.overlayMTU(underlayMTU: underlayMTU, local: assembly.plan.local)
  }

  /// TAP devices follow the underlay's MTU, unless the operator has chosen one.
  func followTAPs() throws {
    guard assembly.plan.configuration.mtu == nil else { return }
    for case let device? in overlay.devices where device.kind == .tap {
      if let link = try netlink.link(named: device.name), link.mtu != tapMTU {
        log.notice("\(device.name): MTU \(tapMTU), since \(assembly.plan.routing.name) has \(underlayMTU)")
        try netlink.setLink(index: link.index, up: link.isUp, mtu: tapMTU)
      }
    }
  }

  /// A TAP's MAC address may change at any time: a bridge above it, or the operator.
  private func followMAC(_ number: Int, _ mac: MACAddress) {
    guard let segment = overlay.ends[number]?.segment else { return }
    var outdated: [FDBKey] = []
    forwarding.fdb.forEach { key, entry in
      if entry.isOurs && entry.destination == .port(number) && key != fdbKey(segment, mac) { outdated.append(key) }
    }
    for key in outdated { forwarding.fdb.remove(key) }
    _ = forwarding.fdb.set(fdbKey(segment, mac), to: .port(number), .permanent, tick: Tick.now.seconds)
  }

  // MARK: Multicast groups

  /// Joins the groups of the replication lists, and leaves others, through the kernel: it reports memberships (IGMP, MLD) and
  /// opens the NIC's filter.
  mutating func followGroups() throws {
    memberships.leave(allBut: overlay.groups)
    for group in overlay.groups where !memberships.contains(group) { try memberships.join(group, assembly.plan.routing) }
    try assembly.updateRole(of: Topology.underlay, overlay)
  }

  private mutating func rejoinGroups() {
    do throws(SystemError) { try memberships.rejoin() } catch { log.warning("\(error)") }
  }

  // MARK: Path MTU

  /// ICMP errors about packets of ours: a router on the way has a smaller MTU. The kernel knows no socket that they could be for.
  private mutating func followICMP() {
    while let packet = pathMTU.next() {
      let report = unsafe assembly.plan.local.isIPv4 ? UnderlayICMP(ipv4: packet.span.bytes) : UnderlayICMP(ipv6: packet.span.bytes)
      guard let report, report.source == assembly.plan.local, isOurs(report) else { continue }
      resolver.pathMTUReported(for: report.destination, mtu: report.mtu, now: Tick.now)
    }
  }

  /// Whether the packet that the ICMP error quotes can have been ours: anybody can send one (kernel: vxlan_err_lookup in
  /// drivers/net/vxlan/vxlan_core.c).
  private func isOurs(_ report: UnderlayICMP) -> Bool {
    resolver.indexes[report.destination]?.contains { index in
      let remote = forwarding.vteps.remote(index)
      return remote.port == report.port && (remote.vni.map { $0 == report.vni } ?? (overlay.segment(report.vni) != nil))
    } ?? false
  }

  // MARK: Workers

  private mutating func takeEvents() {
    var lost = 0
    for control in assembly.controls {
      while let event = control.events.take() { handle(event) }
      lost += control.events.lostCount
    }
    if lost > lostEvents { events.publish(.lost(lost - lostEvents)) }
    lostEvents = lost
  }

  private mutating func handle(_ event: Event) {
    guard overlay.segments.indices.contains(event.segment), let vni = overlay.segments[event.segment]?.vni else { return }
    switch event.kind {
    case .learned, .moved:
      let key = fdbKey(event.segment, event.mac)
      tell(event.kind == .learned ? .learned : .moved, key, FDBEntry(event.destination, .learned, seen: Tick.now.seconds))
    case .l2Miss: events.publish(.l2miss(.init(mac: event.mac, ifname: overlay.name(of: event.segment), vni: vni)))
    case .l3Miss: events.publish(.l3miss(.init(dst: event.address, dev: overlay.name(of: event.segment), vni: vni)))
    case .neighbour: snooped(event)
    }
  }

  /// Tells who listens of an FDB entry.
  ///
  /// - Parameter before: where its names are, if what it refers to has gone.
  func tell(_ verb: MonitorEvent.FDBVerb, _ key: FDBKey, _ entry: FDBEntry?, before: Overlay? = nil) {
    guard events.hasListeners, let entry else { return }
    for row in reporter.entries(key, entry, before ?? overlay) { events.publish(.fdb(verb, row)) }
  }

  // MARK: The operator

  private mutating func makeChanges() {
    for job in changes.take() { job.finish(make(job.change)) }
    if overlay.reportsLearning != events.hasListeners {
      overlay.reportsLearning = events.hasListeners
      applyTopology()
    }
  }

  private mutating func make(_ change: ControlChange) -> ControlResponse {
    do {
      switch change {
      case .fdb(let verb, let entry): try changeFDB(verb, entry)
      case .fdbFlush(let filter): try flushFDB(filter)
      case .neigh(let verb, let neighbour): try changeNeighbour(verb, neighbour)
      case .vtep(let verb, let vtep): try changeVTEP(verb, vtep)
      case .vni(let verb, let segment): try changeSegment(verb, segment)
      case .link(let verb, let link): try changeLink(verb, link)
      }
      // The way to a new VTEP is looked for before the answer.
      resolver.work(netlink, now: Tick.now)
      showView()
      return .done
    } catch {
      showView()
      return ControlResponse(performing: change) { throw error }
    }
  }

  // MARK: Time

  /// Ages the FDB. Nothing can be due before the tick that the sweep returns, nor within an ageing time from now.
  private mutating func sweep(_ now: Tick) {
    var aged: [(FDBKey, FDBEntry)] = []
    let isHeard = events.hasListeners
    let due = forwarding.fdb.age(tick: now.seconds, ageing: ageing) { key, entry in
      if isHeard { aged.append((key, entry)) }
    }
    for (key, entry) in aged { tell(.aged, key, entry) }
    ageNeighbours(now)
    nextSweep = UInt64(due ?? now.seconds + ageing + 1) * 1000
    if let snooped = neighbours.values.compactMap(\.snooped).min() { nextSweep = min(nextSweep, UInt64(snooped + ageing + 1) * 1000) }
  }
}
