import Wire

// Reports as text for a terminal: lines and words of iproute2 where it has them.

extension Report.FDBEntry: CustomStringConvertible {
  /// A line of `bridge fdb show`.
  public var description: String {
    var words = [mac.description, "dev", ifname]
    if let dst { words += ["dst", "\(dst)"] }
    if let port { words += ["port", "\(port)"] }
    words += ["vni", "\(vni)"]
    if let srcVNI { words += ["src_vni", "\(srcVNI)"] }
    words += flags
    if state != .learned { words.append(state.rawValue) }
    return words.joined(separator: " ")
  }
}

extension Report.Neighbour: CustomStringConvertible {
  /// A line of `ip neigh show`, with the VNI.
  public var description: String {
    let words = ["\(dst)", "dev", dev, "lladdr", "\(lladdr)", "vni", "\(vni)"] + (router ? ["router"] : []) + state.map(\.rawValue)
    return words.joined(separator: " ")
  }
}

extension ControlResponse {
  /// Without a newline at the end; empty when there is nothing to show.
  public var text: String {
    switch self {
    case .fdb(let entries): entries.map(\.description).joined(separator: "\n")
    case .vni(let segments): Report.VNI.table(segments).description
    case .vtep(let vteps): Report.VTEP.table(vteps).description
    case .link(let links): links.map(\.description).joined(separator: "\n")
    case .neigh(let neighbours): neighbours.map(\.description).joined(separator: "\n")
    case .config(let text): text
    case .stats(let stats): stats.description
    case .done: ""
    case .error(let message): message
    }
  }
}

extension Report.VNI {
  static func table(_ segments: [Self]) -> Table {
    let heading = ["VNI", "LEARNED", "STATIC", "PERMANENT", "PORTS", "REMOTES"]
    let rows = segments.map { segment in
      ["\(segment.vni)", "\(segment.fdb.learned)", "\(segment.fdb.static)", "\(segment.fdb.permanent)"]
        + [list(segment.ports), list(segment.remotes.map(\.description))]
    }
    return Table(rows: [heading] + rows, numbers: Set(0...3))
  }

  private static func list(_ items: [String]) -> String { items.isEmpty ? "-" : items.joined(separator: ",") }
}

extension Report.VTEP {
  static func table(_ vteps: [Self]) -> Table {
    let heading = ["ADDRESS", "PORT", "VNI", "STATE", "VIA", "MAC", "DEV", "MTU", "UDPCSUM", "LISTED", "LEARNED"]
    let rows = vteps.map { vtep in
      [
        "\(vtep.address)", cell(vtep.port), cell(vtep.vni), vtep.state.rawValue, cell(vtep.via), cell(vtep.mac), vtep.dev,
        cell(vtep.mtu), vtep.udpcsum ? "on" : "off", vtep.listed ? "yes" : "no", "\(vtep.learned)", vtep.reason ?? "",
      ]
    }
    return Table(rows: [heading] + rows, numbers: [1, 2, 7, 10])
  }

  private static func cell(_ value: (some CustomStringConvertible)?) -> String { value?.description ?? "-" }
}

extension Report.Link: CustomStringConvertible {
  /// A paragraph as of `ip -s link`.
  public var description: String {
    var words = [role.rawValue]
    if let driver { words += ["driver", driver] }
    words += ["mode", mode.rawValue]
    if mode == .native || mode == .generic { words.append(zerocopy ? "zero-copy" : "copy") }
    words += ["queues", "\(queues)", "mtu", "\(mtu)", "address", address.description]
    if promiscuous { words.append("promiscuous") }
    let traffic = Table(
      rows: [
        ["", "FRAMES", "BYTES"], ["rx", "\(rx.frames)", "\(rx.bytes)"], ["tx", "\(tx.frames)", "\(tx.bytes)"],
      ], numbers: [1, 2])
    var lines = ["\(ifname): " + words.joined(separator: " ")]
    if !ports.isEmpty { lines.append("    ports " + ports.joined(separator: " ")) }
    lines += traffic.description.split(separator: "\n").map { "    " + $0 }
    if let fastpath {
      let state = fastpath.on ? "on" : "off (\(fastpath.reason ?? ""))"
      lines.append("    fastpath \(state) rx \(fastpath.rx.frames) tx \(fastpath.tx.frames)")
    }
    if !dropped.isEmpty { lines.append("    dropped " + Self.words(dropped)) }
    if !xdp.isEmpty { lines.append("    xdp " + Self.words(xdp)) }
    return lines.joined(separator: "\n")
  }

  private static func words(_ counters: [String: UInt64]) -> String {
    counters.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: " ")
  }
}

extension Report.Stats: CustomStringConvertible {
  public var description: String {
    let dropped = drops.reduce(0) { $0 + $1.count }
    let totals = Table(
      rows: [
        ["in", "\(`in`)", fastpath == 0 ? "" : "\(fastpath) of them the XDP programs took by themselves"], ["replicated", "\(replicated)"],
        ["out", "\(out)"], ["dropped", "\(dropped)"],
        ["waiting", "\(waiting)"], ["balanced", balanced ? "yes" : "no", "in + replicated = out + dropped + waiting"],
      ], numbers: [1])
    let memory = Table(
      rows: [
        ["chunks", "\(frames.total)"], ["in the pool", "\(frames.pool)"], ["in kernel rings", "\(frames.held)"],
        ["waiting", "\(frames.waiting)"],
        ["balanced", frames.balanced ? "yes" : "no", "chunks = in the pool + in kernel rings + waiting"],
      ], numbers: [1])
    let reasons = Table(
      rows: [["DROPPED", "FRAMES", "WHY"]] + drops.map { [$0.reason, "\($0.count)", $0.sentence] }, numbers: [1])
    let threads = Table(
      rows: [["WORKER", "CPU", "IN", "OUT", "DROPPED", "ROUNDS", "EMPTY", "SLEEPS"]]
        + workers.map { worker in
          [
            "\(worker.worker)", worker.cpu.map { "\($0)" } ?? "any", "\(worker.in)", "\(worker.out)", "\(worker.drops)",
            "\(worker.rounds)", "\(worker.empty)", "\(worker.sleeps)",
          ]
        }, numbers: Set(0...7))
    let parts = [totals] + (drops.isEmpty ? [] : [reasons]) + [memory, threads]
    return parts.map(\.description).joined(separator: "\n\n")
  }
}

extension MonitorEvent: CustomStringConvertible {
  /// A line of `bridge monitor fdb` or of `ip monitor`.
  public var description: String {
    switch self {
    case .fdb(.learned, let entry), .fdb(.moved, let entry), .fdb(.added, let entry): "\(entry)"
    // The kernel calls what has aged stale.
    case .fdb(.aged, let entry): "Deleted \(entry) stale"
    case .fdb(.deleted, let entry): "Deleted \(entry)"
    case .l2miss(let miss): "miss dev \(miss.ifname) lladdr \(miss.mac) vni \(miss.vni) STALE"
    case .l3miss(let miss): "miss \(miss.dst) dev \(miss.dev) vni \(miss.vni) STALE"
    case .neigh(.deleted, let neighbour): "Deleted \(neighbour)"
    case .neigh(_, let neighbour): "\(neighbour)"
    case .vtep(let verb, let vtep): (verb == .deleted ? "Deleted vtep " : "vtep ") + vtep.line
    case .link(let verb, let link):
      (verb == .deleted ? "Deleted " : "") + "\(link.ifname): mtu \(link.mtu) state \(link.up ? "UP" : "DOWN")"
    case .lost(let count): "lost \(count) events, which came faster than they could be told"
    }
  }
}

extension Report.VTEP {
  /// On one line, for events.
  var line: String {
    var words = ["\(address)"]
    if let port { words += ["port", "\(port)"] }
    if let vni { words += ["vni", "\(vni)"] }
    words += ["dev", dev]
    if let via, via != address { words += ["via", "\(via)"] }
    if let mac { words += ["lladdr", "\(mac)"] }
    if let mtu { words += ["mtu", "\(mtu)"] }
    words.append(state.rawValue)
    if let reason { words.append("(\(reason))") }
    return words.joined(separator: " ")
  }
}
