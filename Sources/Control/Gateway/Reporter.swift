import Datapath
import PacketIO
import Synchronization
import Wire

/// Answers the control socket's questions, on its thread, from what the data path publishes: counters at one moment
/// between two rounds of each worker, and the tables, which anybody may read.
final class Reporter: ControlResponder {
  /// What the control plane knows, replaced by it whenever it changes.
  struct View: Sendable {
    var overlay: Overlay
    var ways: [Int: Resolver.Way]
    var neighbours: [Report.Neighbour] = []
  }

  let assembly: Assembly
  private let forwarding: Forwarding
  let view: Mutex<View>
  private let changes: ChangeQueue
  /// Frames that AF_PACKET sockets lost, by NIC. The kernel forgets its count when asked, so this one remembers.
  private let lost = Mutex<[Int: UInt64]>([:])

  init(_ assembly: Assembly, _ forwarding: Forwarding, _ view: View, _ changes: ChangeQueue) {
    self.assembly = assembly
    self.forwarding = forwarding
    self.view = Mutex(view)
    self.changes = changes
  }

  var plan: Plan { assembly.plan }
  var overlay: Overlay { view.withLock { $0.overlay } }

  func respond(to query: ControlQuery) -> ControlResponse {
    do {
      switch query {
      case .fdbShow: return .fdb(entries())
      case .vniShow: return .vni(segments())
      case .vtepShow: return .vtep(vteps())
      case .linkShow: return .link(try links())
      case .neighShow: return .neigh(view.withLock { $0.neighbours })
      case .configShow: return .config(configuration.yaml)
      case .stats: return .stats(try stats())
      }
    } catch {
      return .error("\(error)")
    }
  }

  func perform(_ change: ControlChange) -> ControlResponse { changes.ask(change) }

  /// What runs now: the segments may be others than at the start.
  private var configuration: Configuration {
    let overlay = overlay
    var configuration = plan.configuration
    configuration.segments = overlay.segments.enumerated().compactMap { index, segment in
      guard let segment else { return nil }
      let addresses = segment.remotes.map { forwarding.vteps.address($0) }
      return .init(
        vni: segment.vni, ports: overlay.ends(of: index).compactMap { overlay.ends[$0]?.port },
        remotes: addresses.filter { !$0.isMulticast }, group: addresses.first(where: \.isMulticast))
    }
    return configuration
  }

  // MARK: Tables

  /// By VNI, then MAC address; the replication list first, as the kernel has it.
  private func entries() -> [Report.FDBEntry] {
    let overlay = overlay
    var entries: [Report.FDBEntry] = []
    for (index, segment) in overlay.segments.enumerated() {
      for remote in segment?.remotes ?? [] {
        entries.append(entry(MACAddress(0), index, at: remote, .permanent, age: nil, overlay))
      }
    }
    forwarding.fdb.forEach { key, entry in entries += self.entries(key, entry, overlay) }
    return entries.sorted { ($0.srcVNI ?? $0.vni, $0.mac.value) < ($1.srcVNI ?? $1.vni, $1.mac.value) }
  }

  /// An entry's rows: one for each destination.
  func entries(_ key: FDBKey, _ entry: FDBEntry, _ overlay: Overlay) -> [Report.FDBEntry] {
    let segment = Int(key >> 48)
    guard overlay.segments.indices.contains(segment), let vni = overlay.segments[segment]?.vni else { return [] }
    let now = Tick.now.seconds
    let age = entry.isLearned ? now &- min(entry.lastSeen, now) : nil
    let state: Report.FDBEntry.State =
      switch entry.state {
      case .learned: .learned
      case .static: .static
      case .permanent: .permanent
      }
    let number = entry.destination.index
    if entry.destination.isPort {
      return [.init(mac: MACAddress(key), ifname: overlay.name(ofEnd: number), vni: vni, state: state, age: age)]
    }
    let remotes = entry.destination.isList ? overlay.lists.indices.contains(number) ? overlay.lists[number] ?? [] : [] : [number]
    return remotes.map { self.entry(MACAddress(key), segment, at: $0, state, age: age, overlay) }
  }

  private func entry(
    _ mac: MACAddress, _ segment: Int, at index: Int, _ state: Report.FDBEntry.State, age: UInt32?, _ overlay: Overlay
  ) -> Report.FDBEntry {
    let remote = forwarding.vteps.remote(index)
    let vni = overlay.segments[segment]?.vni ?? 0
    return .init(
      mac: mac, ifname: overlay.name(of: segment), dst: remote.address,
      port: remote.port == plan.configuration.destinationPort ? nil : remote.port, vni: remote.vni ?? vni,
      srcVNI: remote.vni.flatMap { $0 == vni ? nil : vni }, state: state, flags: ["self"], age: age)
  }

  private func segments() -> [Report.VNI] {
    let overlay = overlay
    var counts = [Report.VNI.Entries](repeating: .init(learned: 0, static: 0, permanent: 0), count: overlay.segments.count)
    forwarding.fdb.forEach { key, entry in
      guard counts.indices.contains(Int(key >> 48)) else { return }
      switch entry.state {
      case .learned: counts[Int(key >> 48)].learned += 1
      case .static: counts[Int(key >> 48)].static += 1
      case .permanent: counts[Int(key >> 48)].permanent += 1
      }
    }
    return overlay.segments.enumerated().compactMap { index, segment in
      segment.map {
        .init(
          vni: $0.vni, ports: overlay.ends(of: index).map(overlay.name(ofEnd:)),
          remotes: $0.remotes.map { forwarding.vteps.address($0) }, fdb: counts[index])
      }
    }
  }

  private func vteps() -> [Report.VTEP] {
    let ways = view.withLock { $0.ways }
    return forwarding.vteps.indexes.map { report($0, ways[$0]) }
      .sorted {
        ($0.address.high, $0.address.low, $0.port ?? 0, $0.vni ?? 0) < ($1.address.high, $1.address.low, $1.port ?? 0, $1.vni ?? 0)
      }
  }

  func report(_ index: Int, _ way: Resolver.Way?) -> Report.VTEP {
    let remote = forwarding.vteps.remote(index)
    var report = Report.VTEP(
      address: remote.address, port: remote.port == plan.configuration.destinationPort ? nil : remote.port, vni: remote.vni,
      kind: remote.address.isMulticast ? .group : .vtep, state: .unresolved, via: way?.nextHop, dev: plan.underlay.name,
      listed: forwarding.vteps.isListed(index), learned: forwarding.fdb.count(of: .vtep(index)))
    switch way?.state {
    case .resolved(let header):
      report.state = .resolved
      report.mac = header.nextHop
      report.mtu = Int(header.mtu)
      report.udpcsum = header.udpChecksum
    case .unreachable(let reason):
      report.state = .unreachable
      report.reason = reason
    case .incomplete, nil: break
    }
    return report
  }

  // MARK: Ports

  private func links() throws -> [Report.Link] {
    let netlink = try NetlinkSocket()
    let overlay = overlay
    let snapshots = assembly.snapshots()
    return try overlay.devices.enumerated().compactMap { port, device in
      guard let device else { return nil }
      let fast = try fastTraffic(port, overlay)
      let rx = Report.Traffic(frames: sum(snapshots, .rxFrames, port), bytes: sum(snapshots, .rxBytes, port)) + fast.rx
      let tx = Report.Traffic(frames: sum(snapshots, .txFrames, port), bytes: sum(snapshots, .txBytes, port)) + fast.tx
      let link = try netlink.link(named: device.name)
      let ports = overlay.ends.compactMap { end in
        end.flatMap { $0.device == port ? "\(overlay.segments[$0.segment]?.vni ?? 0)=\($0.port)" : nil }
      }
      var report = Report.Link(
        ifname: device.name, role: .tap, driver: "tun", mode: .tap, zerocopy: false, queues: plan.workers, mtu: link?.mtu ?? 0,
        address: link?.mac ?? MACAddress(0), promiscuous: false, ports: ports, rx: rx, tx: tx,
        dropped: ["rx_dropped": sum(snapshots, .rxDropped, port), "tx_dropped": sum(snapshots, .txDropped, port) + fast.dropped],
        xdp: [:])
      if case .nic(let index) = device.kind { try describe(index, &report) }
      if report.mode == .native {
        let obstacle = fastPathObstacle(port)
        report.fastpath = .init(on: obstacle == nil, reason: obstacle, rx: fast.rx, tx: fast.tx)
      }
      return report
    }
  }

  private func describe(_ index: Int, _ report: inout Report.Link) throws {
    guard let nic = assembly.description(ofNIC: index) else { return }
    report.role = index == 0 ? .underlay : .lan
    report.driver = nic.driver
    report.mode = Report.Link.Mode(rawValue: nic.mode.rawValue) ?? .raw
    report.zerocopy = nic.mode.isXDP && assembly.isZeroCopy
    report.queues = nic.queues
    report.promiscuous = nic.isPromiscuous
    for (key, count) in try kernelDrops(index, nic) { report.dropped[key] = count }
    for (reason, packets) in try assembly.verdicts(ofNIC: index) where packets > 0 { report.xdp["\(reason.name)"] = packets }
  }

  /// What the kernel lost before we saw it: XDP_STATISTICS or PACKET_STATISTICS, over all sockets of the NIC.
  private func kernelDrops(_ nic: Int, _ description: Assembly.NICDescription) throws -> [String: UInt64] {
    let sockets = description.sockets
    guard description.mode.isXDP else {
      let new = try sockets.reduce(0) { $0 + (try RawPort.takeKernelDrops(descriptor: $1.descriptor)) }
      return [
        "tp_drops": lost.withLock { lost in
          lost[nic, default: 0] += new
          return lost[nic, default: 0]
        }
      ]
    }
    var drops: [String: UInt64] = ["xsk_rx_dropped": 0, "xsk_rx_ring_full": 0, "xsk_invalid_descs": 0]
    for socket in sockets {
      let statistics = try XSKStatistics(descriptor: socket.descriptor)
      drops["xsk_rx_dropped"]! += statistics.rxDropped
      drops["xsk_rx_ring_full"]! += statistics.rxRingFull
      drops["xsk_invalid_descs"]! += statistics.invalidDescriptors
    }
    return drops
  }

  /// What the XDP programs received from and sent to a device, and what the device refused.
  private func fastTraffic(_ port: Int, _ overlay: Overlay) throws -> (rx: Report.Traffic, tx: Report.Traffic, dropped: UInt64) {
    var (rx, tx, dropped) = (Report.Traffic(frames: 0, bytes: 0), Report.Traffic(frames: 0, bytes: 0), UInt64(0))
    guard let fastPath = assembly.fastPath else { return (rx, tx, dropped) }
    for device in overlay.devices.indices where overlay.devices[device] != nil && [device, Topology.underlay].contains(port) {
      let counts = try fastPath.forwarded(device)
      for (from, to, count) in [(Topology.underlay, device, counts.decapsulated), (device, Topology.underlay, counts.encapsulated)] {
        if port == from { rx = rx + .init(frames: count.frames, bytes: count.rxBytes) }
        if port == to {
          tx = tx + .init(frames: count.frames - count.dropped, bytes: count.txBytes)
          dropped += count.dropped
        }
      }
    }
    return (rx, tx, dropped)
  }

  private func sum(_ snapshots: [Snapshot], _ counter: PortCounter, _ port: Int) -> UInt64 {
    snapshots.reduce(0) { $0 + $1[counter, port] }
  }
}
