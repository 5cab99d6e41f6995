import Datapath
import PacketIO
import Wire

// `vxgw vni` and `vxgw link`: segments and local ports come and go while frames of the others pass.

extension ControlPlane {
  mutating func changeSegment(_ verb: ControlChange.ListVerb, _ segment: ControlChange.VNI) throws {
    switch verb {
    case .add: try addSegment(segment)
    case .del:
      guard let index = overlay.segment(segment.vni) else { throw ChangeError.noSegment(segment.vni, overlay.vnis) }
      try removeEnds(overlay.ends(of: index))
      removeSegment(index)
    }
  }

  private mutating func addSegment(_ new: ControlChange.VNI) throws {
    if overlay.segment(new.vni) != nil { throw ChangeError.segmentExists }
    let texts = new.ports.isEmpty ? ["tap:vxgw\(new.vni)"] : new.ports
    let ports = try texts.map { try Configuration.LocalPort(parsing: $0) }
    for port in ports { try check(port) }
    if Set(ports).count < ports.count { throw ChangeError.invalid("a port is named twice") }
    let port = assembly.plan.configuration.destinationPort
    var remotes = try new.remotes.map { try remote(Remote($0, port: port)) }
    if let group = new.group {
      remotes.append(try remote(Remote(group, port: port)))
    } else if remotes.isEmpty {
      remotes = commonRemotes
    }
    let segment = overlay.addSegment(
      .init(vni: new.vni, remotes: remotes, options: assembly.plan.configuration.segmentOptions))
    for remote in remotes { noteNaming(remote) }
    do {
      try followGroups()
      try addEnds(ports.map { ($0, segment) })
    } catch {
      removeSegment(segment)
      throw error
    }
  }

  /// Remotes that every segment has: those that were given for all.
  private var commonRemotes: [Int] {
    let lists = overlay.segments.compactMap { $0?.remotes }
    guard let first = lists.first else { return [] }
    return first.filter { remote in lists.allSatisfy { $0.contains(remote) } }
  }

  /// Its local ports have gone. Workers stop to use it before what the FDB has of it goes.
  private mutating func removeSegment(_ index: Int) {
    removeNeighbours(of: index)
    let before = overlay
    let remotes = overlay.segments[index]?.remotes ?? []
    overlay.removeSegment(index)
    applyTopology()
    purge(before: before) { key, _ in Int(key >> 48) == index }
    for remote in remotes { noteNaming(remote) }
    do { try followGroups() } catch { log.warning("\(error)") }
  }

  mutating func changeLink(_ verb: ControlChange.ListVerb, _ link: ControlChange.Link) throws {
    switch verb {
    case .add:
      let mappings = try Configuration.mappings(link.map)
      for (_, port) in mappings { try check(port) }
      try addEnds(
        mappings.map { vni, port in
          guard let segment = overlay.segment(vni) else { throw ChangeError.noSegment(vni, overlay.vnis) }
          return (port, segment)
        })
    case .del:
      let text = link.map.split(separator: "=", maxSplits: 1).last.map(String.init) ?? ""
      let ports = try link.map.contains("=") ? Configuration.mappings(link.map).map(\.port) : [Configuration.LocalPort(parsing: text)]
      try removeEnds(
        ports.map { port in
          guard let end = overlay.end(port) else { throw ChangeError.noPort(overlay.ends.compactMap { $0?.port.description }) }
          return end
        })
    }
  }

  /// What is against a new local port.
  private func check(_ port: Configuration.LocalPort) throws(ChangeError) {
    if let end = overlay.end(port), let segment = overlay.ends[end]?.segment {
      throw .portInUse(port.description, vni: overlay.segments[segment]?.vni ?? 0)
    }
    if overlay.ends.compactMap({ $0 }).count >= LocalPort.limit - 1 {
      throw .invalid("one process has at most \(LocalPort.limit - 1) local ports")
    }
    let device = overlay.device(named: port.name)
    if device == nil, overlay.devices.compactMap({ $0 }).count >= Topology.portLimit {
      throw .invalid("one process uses at most \(Topology.portLimit - 1) devices as local ports")
    }
    if device == Topology.underlay {
      guard case .tagged(let id, _) = port.vlan, id != assembly.plan.configuration.underlayVLAN else {
        throw .invalid("\(port.name) is the underlay; it can be a local port only with a VLAN of its own")
      }
    }
    let others = overlay.ends.compactMap { $0?.port }.filter { $0.name == port.name }
    if let other = others.first, port.vlan == .trunk || other.vlan == .trunk {
      throw .invalid("\(port) and \(other): a trunk takes all frames of its NIC; vxgw link del \(other) takes the other out")
    }
  }

  /// Adds local ports; either all of them or none.
  private mutating func addEnds(_ new: [(port: Configuration.LocalPort, segment: Int)]) throws {
    var added: [Int] = []
    do {
      for (port, segment) in new {
        let device: Int
        if let known = overlay.device(named: port.name) {
          device = known
        } else {
          device = try openDevice(port)
        }
        added.append(overlay.addEnd(.init(port: port, device: device, segment: segment)))
        if port.vlan != .untagged, assembly.losesTags(device, overlay) {
          log.warning("\(port): \(Plan.tagsBesideReason): \(Plan.tagsBesideAdvice), or use --io raw")
        }
        try assembly.updateRole(of: device, overlay)
      }
      applyTopology()
      // Up only now, or its first frames would find no segment.
      for number in added { try prepareTAP(ofEnd: number) }
    } catch {
      try removeEnds(added)
      throw error
    }
  }

  /// Opens the device that a local port names, and gives every worker its end of it.
  private mutating func openDevice(_ port: Configuration.LocalPort) throws -> Int {
    switch port.device {
    case .tap(let name):
      if try netlink.link(named: name) != nil { throw ChangeError.invalid("an interface \(name) exists; choose another name") }
      let device = overlay.addDevice(.init(name: name, kind: .tap))
      do { try assembly.openTAP(name, at: device, overlay) } catch {
        overlay.removeDevice(device)
        throw error
      }
      return device
    case .nic(let name):
      var problems: [String] = []
      guard let link = Plan.find(name, "port", try netlink.links(), &problems) else { throw ChangeError.invalid(problems[0]) }
      let nic = try Plan.describe(link, netlink)
      // The number is taken before the NIC is known by its own.
      let device = overlay.addDevice(.init(name: name, kind: .tap))
      do {
        let index = try assembly.openNIC(nic, port, at: device, overlay)
        overlay.setDevice(device, .init(name: name, kind: .nic(index)))
      } catch {
        overlay.removeDevice(device)
        throw error
      }
      return device
    }
  }

  /// Takes local ports out: first the workers stop to use them, then their FDB entries go, then devices that nobody uses.
  private mutating func removeEnds(_ numbers: [Int]) throws {
    let leaving = numbers.compactMap { number in overlay.ends[number].map { (number: number, end: $0) } }
    let before = overlay
    for (number, _) in leaving { overlay.removeEnd(number) }
    applyTopology()
    purge(before: before) { _, entry in entry.destination.isPort && numbers.contains(entry.destination.index) }
    for device in Set(leaving.map(\.end.device)) {
      if overlay.isUsed(device) {
        try assembly.updateRole(of: device, overlay)
      } else {
        let nic: Int? = if case .nic(let index)? = overlay.devices[device]?.kind { index } else { nil }
        if let failure = assembly.close(device, nic: nic, overlay) { log.warning("\(failure)") }
        overlay.removeDevice(device)
      }
    }
  }

  /// Takes every FDB entry out for which `isOver` holds.
  private mutating func purge(before: Overlay, _ isOver: (FDBKey, FDBEntry) -> Bool) {
    var leaving: [FDBKey] = []
    forwarding.fdb.forEach { key, entry in
      if isOver(key, entry) { leaving.append(key) }
    }
    for key in leaving { removeEntry(key, before: before) }
  }
}
