import Datapath
import PacketIO
import Synchronization
import Wire

/// Answers the control socket's questions, on its thread, from what the data path publishes: counters at one moment
/// between two rounds of each worker, and the tables, which anybody may read.
final class Reporter: ControlResponder {
  let assembly: Assembly
  private let forwarding: Forwarding
  private let remotes: [IPAddress]
  /// The resolver's view, replaced whole by the control plane.
  let ways: Mutex<[Int: Resolver.Way]>
  /// Frames that AF_PACKET sockets lost, by NIC. The kernel forgets its count when asked, so this one remembers.
  private let lost: Mutex<[UInt64]>

  init(_ assembly: Assembly, _ forwarding: Forwarding, ways: [Int: Resolver.Way]) {
    self.assembly = assembly
    self.forwarding = forwarding
    self.ways = Mutex(ways)
    remotes = assembly.plan.configuration.remotes
    lost = Mutex([UInt64](repeating: 0, count: assembly.plan.nics.count))
  }

  var plan: Plan { assembly.plan }

  func respond(to query: ControlQuery) -> ControlResponse {
    do {
      switch query {
      case .fdbShow: return .fdb(entries())
      case .vniShow: return .vni(segments())
      case .vtepShow: return .vtep(vteps())
      case .linkShow: return .link(try links())
      case .neighShow: return .neigh([])
      case .configShow: return .config(plan.configuration.description)
      case .stats: return .stats(stats())
      }
    } catch {
      return .error("\(error)")
    }
  }

  func perform(_ change: ControlChange) -> ControlResponse {
    ControlResponse(performing: change) { throw ChangeError.unsupported("this gateway can't be changed while it runs") }
  }

  // MARK: Tables

  /// By VNI, then MAC address; the replication list first, as the kernel has it.
  private func entries() -> [Report.FDBEntry] {
    var entries: [Report.FDBEntry] = []
    for segment in plan.segments {
      for remote in remotes {
        entries.append(
          .init(mac: MACAddress(0), ifname: device(of: segment), dst: remote, vni: segment.vni, state: .permanent, flags: ["self"]))
      }
    }
    let now = Tick.now.seconds
    forwarding.fdb.forEach { key, entry in
      let segment = plan.segments[Int(key >> 48)]
      let isRemote = entry.destination.isVTEP
      let state: Report.FDBEntry.State =
        switch entry.state {
        case .learned: .learned
        case .static: .static
        case .permanent: .permanent
        }
      entries.append(
        .init(
          mac: MACAddress(key), ifname: isRemote ? device(of: segment) : plan.name(ofPort: entry.destination.index),
          dst: isRemote ? forwarding.vteps.address(entry.destination.index) : nil, vni: segment.vni, state: state,
          flags: isRemote ? ["self"] : [], age: entry.isLearned ? now &- min(entry.lastSeen, now) : nil))
    }
    return entries.sorted { ($0.vni, $0.mac.value) < ($1.vni, $1.mac.value) }
  }

  /// What stands for the kernel's vxlan device in the entries of remote hosts.
  private func device(of segment: (vni: UInt32, ports: [Int])) -> String {
    segment.ports.first.map(plan.name(ofPort:)) ?? "vxgw\(segment.vni)"
  }

  private func segments() -> [Report.VNI] {
    var counts = [Report.VNI.Entries](repeating: .init(learned: 0, static: 0, permanent: 0), count: plan.segments.count)
    forwarding.fdb.forEach { key, entry in
      switch entry.state {
      case .learned: counts[Int(key >> 48)].learned += 1
      case .static: counts[Int(key >> 48)].static += 1
      case .permanent: counts[Int(key >> 48)].permanent += 1
      }
    }
    return plan.segments.enumerated().map { index, segment in
      .init(vni: segment.vni, ports: segment.ports.map(plan.name(ofPort:)), remotes: remotes, fdb: counts[index])
    }
  }

  private func vteps() -> [Report.VTEP] {
    let ways = ways.withLock { $0 }
    return forwarding.vteps.indexes.map { index in
      let way = ways[index]
      var report = Report.VTEP(
        address: forwarding.vteps.address(index), state: .unresolved, via: way?.nextHop, dev: plan.underlay.name,
        listed: forwarding.vteps.isListed(index), learned: forwarding.fdb.count(of: .vtep(index)))
      switch way?.state {
      case .resolved(let header):
        report.state = .resolved
        report.mac = header.nextHop
      case .unreachable(let reason):
        report.state = .unreachable
        report.reason = reason
      case .incomplete, nil: break
      }
      return report
    }.sorted { ($0.address.high, $0.address.low) < ($1.address.high, $1.address.low) }
  }

  // MARK: Ports

  private func links() throws -> [Report.Link] {
    let netlink = try NetlinkSocket()
    let snapshots = assembly.snapshots()
    return try plan.ports.enumerated().map { port, kind in
      let rx = Report.Traffic(frames: sum(snapshots, .rxFrames, port), bytes: sum(snapshots, .rxBytes, port))
      let tx = Report.Traffic(frames: sum(snapshots, .txFrames, port), bytes: sum(snapshots, .txBytes, port))
      let name = plan.name(ofPort: port)
      let link = try netlink.link(named: name)
      var report = Report.Link(
        ifname: name, role: .tap, driver: "tun", mode: .tap, zerocopy: false, queues: plan.workers, mtu: link?.mtu ?? 0,
        address: link?.mac ?? MACAddress(0), promiscuous: false, rx: rx, tx: tx,
        dropped: ["rx_dropped": sum(snapshots, .rxDropped, port), "tx_dropped": sum(snapshots, .txDropped, port)], xdp: [:])
      if case .nic(let index) = kind { try describe(index, &report) }
      return report
    }
  }

  private func describe(_ index: Int, _ report: inout Report.Link) throws {
    let nic = plan.nics[index]
    let mode = assembly.mode(ofNIC: index)
    report.role = nic.isUnderlay ? .underlay : .lan
    report.driver = nic.driver
    report.mode = Report.Link.Mode(rawValue: mode.rawValue) ?? .raw
    report.zerocopy = mode.isXDP && assembly.isZeroCopy
    report.queues = nic.queues
    report.promiscuous = !nic.isUnderlay
    for (key, count) in try kernelDrops(index) { report.dropped[key] = count }
    for (reason, packets) in try assembly.verdicts(ofNIC: index) where packets > 0 { report.xdp["\(reason.name)"] = packets }
  }

  /// What the kernel lost before we saw it: XDP_STATISTICS or PACKET_STATISTICS, over all sockets of the NIC.
  private func kernelDrops(_ nic: Int) throws -> [String: UInt64] {
    let sockets = assembly.sockets[nic]
    guard assembly.mode(ofNIC: nic).isXDP else {
      let new = try sockets.reduce(0) { $0 + (try RawPort.takeKernelDrops(descriptor: $1.descriptor)) }
      return [
        "tp_drops": lost.withLock { lost in
          lost[nic] += new
          return lost[nic]
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

  private func sum(_ snapshots: [Snapshot], _ counter: PortCounter, _ port: Int) -> UInt64 {
    snapshots.reduce(0) { $0 + $1[counter, port] }
  }
}
