import Datapath
import PacketIO
import Wire

// `vxgw fdb` and `vxgw vtep`, with the kernel's rules (vxlan_fdb_update and vxlan_fdb_delete in
// drivers/net/vxlan/vxlan_core.c), but for two: `append` to a unicast address and `del` of a destination that is not there are
// errors, where the kernel does nothing and says nothing.

extension ControlPlane {
  mutating func changeFDB(_ verb: ControlChange.FDBVerb, _ entry: ControlChange.FDB) throws {
    let segment = try self.segment(srcVNI: entry.srcVNI, dev: entry.dev, vni: entry.vni)
    if entry.mac.isZero {
      try changeReplicationList(verb, entry, segment)
    } else if entry.mac.isMulticast {
      try changeGroup(verb, entry, segment)
    } else {
      try changeUnicast(verb, entry, segment)
    }
  }

  // MARK: Unicast

  private mutating func changeUnicast(_ verb: ControlChange.FDBVerb, _ entry: ControlChange.FDB, _ segment: Int) throws {
    let key = fdbKey(segment, entry.mac)
    let old = forwarding.fdb.lookUp(key)
    switch verb {
    case .del:
      guard let old, !old.isOurs || entry.state == .permanent, try matches(old.destination, entry, segment) else {
        throw ChangeError.noFDBEntry
      }
      removeEntry(key)
    case .append where old != nil: throw ChangeError.unicastAppended
    case .add where old != nil: throw ChangeError.fdbEntryExists(entry.mac)
    case .add, .append, .replace: try setEntry(key, old, entry, segment)
    }
  }

  private mutating func setEntry(_ key: FDBKey, _ old: FDBEntry?, _ entry: ControlChange.FDB, _ segment: Int) throws {
    if old == nil, forwarding.fdb.count >= forwarding.fdb.limit { throw ChangeError.fdbFull(forwarding.fdb.limit) }
    let destination: Destination
    if entry.dst != nil {
      destination = .vtep(try remote(entry, segment))
    } else {
      guard let name = entry.dev, let end = overlay.end(named: name, in: segment) else { throw ChangeError.noDestination }
      destination = .port(end)
    }
    let state: FDBEntry.State =
      switch entry.state {
      case .dynamic: .learned
      case .static: .static
      case .permanent: .permanent
      }
    if old != nil { forgetEntry(key) }
    guard forwarding.fdb.set(key, to: destination, state, tick: Tick.now.seconds) else {
      throw ChangeError.fdbFull(forwarding.fdb.limit)
    }
    // A learned entry comes and goes without anybody counting, so it names nobody.
    if state != .learned && destination.isVTEP { refer(to: destination.index) }
    tell(.added, key, forwarding.fdb.lookUp(key))
  }

  /// Whether a `del` means this destination: one that is not given matches all.
  private func matches(_ destination: Destination, _ entry: ControlChange.FDB, _ segment: Int) throws -> Bool {
    guard let dst = entry.dst else {
      guard let name = entry.dev, destination.isPort else { return true }
      return overlay.end(named: name, in: segment) == destination.index || overlay.name(of: segment) == name
    }
    guard destination.isVTEP else { return false }
    return matches(forwarding.vteps.remote(destination.index), dst, entry.port, entry.vni, segment)
  }

  private func matches(_ remote: Remote, _ dst: IPAddress?, _ port: UInt16?, _ vni: UInt32?, _ segment: Int) -> Bool {
    (dst == nil || remote.address == dst) && (port == nil || remote.port == port)
      && (vni == nil || remote.vni ?? overlay.segments[segment]?.vni == vni)
  }

  /// Takes an entry out, and what it was the last to name.
  mutating func removeEntry(_ key: FDBKey, before: Overlay? = nil) {
    let old = forwarding.fdb.lookUp(key)
    forgetEntry(key)
    forwarding.fdb.remove(key)
    tell(.deleted, key, old, before: before)
  }

  private mutating func forgetEntry(_ key: FDBKey) {
    guard let old = forwarding.fdb.lookUp(key), !old.isLearned, old.destination.isVTEP else { return }
    forget(old.destination.index)
  }

  // MARK: Groups

  private mutating func changeReplicationList(_ verb: ControlChange.FDBVerb, _ entry: ControlChange.FDB, _ segment: Int) throws {
    let list = overlay.segments[segment]?.remotes ?? []
    switch verb {
    case .replace: throw ChangeError.groupReplaced
    case .add where !list.isEmpty: throw ChangeError.fdbEntryExists(entry.mac)
    case .add, .append:
      guard entry.dst != nil else { throw ChangeError.groupOnLocalPort }
      let new = try remote(entry, segment)
      if list.contains(new) { return }
      overlay.addRemote(new, to: segment)
      noteNaming(new)
    case .del:
      let leaving = list.filter { matches(forwarding.vteps.remote($0), entry.dst, entry.port, entry.vni, segment) }
      if leaving.isEmpty { throw ChangeError.noFDBEntry }
      for remote in leaving {
        overlay.removeRemote(remote, from: segment)
        noteNaming(remote)
      }
    }
    try followGroups()
    applyTopology()
  }

  /// Entries of multicast addresses and of broadcast are lists.
  private mutating func changeGroup(_ verb: ControlChange.FDBVerb, _ entry: ControlChange.FDB, _ segment: Int) throws {
    let key = fdbKey(segment, entry.mac)
    let number = forwarding.fdb.lookUp(key)?.destination.index
    switch verb {
    case .replace: throw ChangeError.groupReplaced
    case .add where number != nil: throw ChangeError.fdbEntryExists(entry.mac)
    case .add, .append:
      guard entry.dst != nil else { throw ChangeError.groupOnLocalPort }
      if number == nil, forwarding.fdb.count >= forwarding.fdb.limit { throw ChangeError.fdbFull(forwarding.fdb.limit) }
      let new = try remote(entry, segment)
      if let number {
        if overlay.lists[number]?.contains(new) ?? false { return }
        overlay.append(new, toList: number)
        noteNaming(new)
        return applyTopology()
      }
      // Workers know the list before an entry names it.
      let list = overlay.addList(new, for: segment)
      noteNaming(new)
      applyTopology()
      guard forwarding.fdb.set(key, to: .list(list), entry.state == .permanent ? .permanent : .static, tick: Tick.now.seconds) else {
        _ = overlay.remove(new, fromList: list)
        throw ChangeError.fdbFull(forwarding.fdb.limit)
      }
    case .del:
      guard let number else { throw ChangeError.noFDBEntry }
      let leaving = (overlay.lists[number] ?? []).filter {
        matches(forwarding.vteps.remote($0), entry.dst, entry.port, entry.vni, segment)
      }
      if leaving.isEmpty { throw ChangeError.noFDBEntry }
      removeFromGroup(key, number, leaving)
      applyTopology()
    }
  }

  /// The entry goes before its list.
  private mutating func removeFromGroup(_ key: FDBKey, _ number: Int, _ leaving: [Int]) {
    if leaving.count == overlay.lists[number]?.count { forwarding.fdb.remove(key) }
    for remote in leaving {
      _ = overlay.remove(remote, fromList: number)
      noteNaming(remote)
    }
  }

  // MARK: Flush

  mutating func flushFDB(_ filter: ControlChange.FDBFilter) throws {
    let only: Int? =
      if filter.srcVNI != nil || filter.dev != nil { try segment(srcVNI: filter.srcVNI, dev: filter.dev, vni: nil) } else { nil }
    let end = only.flatMap { segment in filter.dev.flatMap { overlay.end(named: $0, in: segment) } }
    let isAboutRemotes = filter.dst != nil || filter.port != nil || filter.vni != nil
    var leaving: [(FDBKey, FDBEntry)] = []
    forwarding.fdb.forEach { key, entry in
      let segment = Int(key >> 48)
      if let only, segment != only { return }
      if !isWanted(entry, filter.states) { return }
      // A device stands for the segment's remote entries, and for its own.
      if entry.destination.isPort && (isAboutRemotes || (end != nil && entry.destination.index != end)) { return }
      if entry.destination.isVTEP,
        !matches(forwarding.vteps.remote(entry.destination.index), filter.dst, filter.port, filter.vni, segment)
      {
        return
      }
      leaving.append((key, entry))
    }
    for (key, entry) in leaving {
      if entry.destination.isList {
        let remotes = (overlay.lists[entry.destination.index] ?? []).filter {
          matches(forwarding.vteps.remote($0), filter.dst, filter.port, filter.vni, Int(key >> 48))
        }
        removeFromGroup(key, entry.destination.index, remotes)
      } else {
        removeEntry(key)
      }
    }
    if filter.states?.contains(.permanent) ?? true { flushReplicationLists(filter, only) }
    try followGroups()
    applyTopology()
  }

  private mutating func flushReplicationLists(_ filter: ControlChange.FDBFilter, _ only: Int?) {
    for (index, segment) in overlay.segments.enumerated() where only ?? index == index {
      for remote in segment?.remotes ?? [] where matches(forwarding.vteps.remote(remote), filter.dst, filter.port, filter.vni, index) {
        overlay.removeRemote(remote, from: index)
        noteNaming(remote)
      }
    }
  }

  private func isWanted(_ entry: FDBEntry, _ states: [ControlChange.FDB.State]?) -> Bool {
    guard let states else { return !entry.isOurs }
    switch entry.state {
    case .learned: return states.contains(.dynamic)
    case .static: return states.contains(.static)
    case .permanent: return states.contains(.permanent) && !entry.isOurs
    }
  }

  // MARK: Replication lists

  /// `vxgw vtep add|del`: in the replication list of one segment, or of all.
  mutating func changeVTEP(_ verb: ControlChange.ListVerb, _ vtep: ControlChange.VTEP) throws {
    let segments =
      try vtep.vni.map { [try segment(srcVNI: $0, dev: nil, vni: nil)] } ?? overlay.segments.indices.filter { overlay.segments[$0] != nil }
    let remote = try remote(Remote(vtep.address, port: assembly.plan.configuration.destinationPort))
    let having = segments.filter { overlay.segments[$0]?.remotes.contains(remote) ?? false }
    switch verb {
    case .add:
      if having.count == segments.count { throw ChangeError.vtepListed }
      for segment in segments where !having.contains(segment) { overlay.addRemote(remote, to: segment) }
    case .del:
      if having.isEmpty { throw ChangeError.vtepNotListed }
      for segment in having { overlay.removeRemote(remote, from: segment) }
    }
    noteNaming(remote)
    try followGroups()
    applyTopology()
  }

  // MARK: Names to numbers

  /// The segment of `srcVNI` if given, else that of `dev`, else the only one, else that of `vni`.
  func segment(srcVNI: UInt32?, dev: String?, vni: UInt32?) throws(ChangeError) -> Int {
    if let srcVNI {
      guard let segment = overlay.segment(srcVNI) else { throw .noSegment(srcVNI, overlay.vnis) }
      if let dev, !overlay.segments(of: dev).contains(segment) { throw .segmentMismatch(dev: dev, srcVNI) }
      return segment
    }
    if let dev {
      let segments = overlay.segments(of: dev)
      if segments.count == 1 { return segments[0] }
      if let vni, let segment = segments.first(where: { overlay.segments[$0]?.vni == vni }) { return segment }
      if segments.isEmpty { throw .noDevice(dev, overlay.ends.compactMap { $0?.port.description }) }
      throw .segmentMissing(segments.compactMap { overlay.segments[$0]?.vni })
    }
    let all = overlay.segments.indices.filter { overlay.segments[$0] != nil }
    if all.count == 1 { return all[0] }
    guard let vni else { throw .segmentMissing(overlay.vnis) }
    guard let segment = overlay.segment(vni) else { throw .noSegment(vni, overlay.vnis) }
    return segment
  }

  private mutating func remote(_ entry: ControlChange.FDB, _ segment: Int) throws(ChangeError) -> Int {
    guard let dst = entry.dst else { throw .noDestination }
    let vni = entry.vni == overlay.segments[segment]?.vni ? nil : entry.vni
    return try remote(Remote(dst, port: entry.port ?? assembly.plan.configuration.destinationPort, vni: vni))
  }

  /// The remote's index in the VTEP table.
  mutating func remote(_ remote: Remote) throws(ChangeError) -> Int {
    let local = assembly.plan.local
    if remote.address.isIPv4 != local.isIPv4 { throw .family(remote.address, local: local) }
    if remote.address == local { throw .invalid("\(local) is this VTEP itself") }
    if !remote.address.isMulticast && remote.address.isMartianSource {
      throw .invalid("no VTEP can have the address \(remote.address) (RFC 6890)")
    }
    // Nobody else adds the same address at the same moment twice in a row.
    for _ in 0..<100 {
      if let (index, _) = forwarding.vteps.add(remote) {
        overlay.note(index, at: remote.address)
        return index
      }
      if forwarding.vteps.count >= VTEPTable.limit { break }
      Tick.pause(microseconds: 10)
    }
    throw .vtepTableFull(VTEPTable.limit)
  }

  private mutating func refer(to remote: Int) {
    overlay.refer(to: remote)
    noteNaming(remote)
  }

  private mutating func forget(_ remote: Int) {
    overlay.forget(remote)
    noteNaming(remote)
  }

  /// Makes the VTEP table say whether the operator names the VTEP. Packets come from its address whatever port and VNI it gets,
  /// so what holds for one remote of that address holds for the plain one.
  func noteNaming(_ remote: Int) {
    let address = forwarding.vteps.address(remote)
    let isNamed = overlay.references.keys.contains { forwarding.vteps.address($0) == address }
    forwarding.vteps.setListed(remote, to: isNamed)
    let plain = forwarding.vteps.add(Remote(address, port: assembly.plan.configuration.destinationPort))
    if let plain { forwarding.vteps.setListed(plain.index, to: isNamed) }
  }
}
