import Wire

// Reports as text for a terminal: lines and words of iproute2 where it has them.

extension Report.FDBEntry: CustomStringConvertible {
  /// A line of `bridge fdb show`.
  public var description: String {
    var words = [mac.description, "dev", ifname]
    if let dst { words += ["dst", dst.description] }
    words += ["vni", "\(vni)"] + flags
    if state != .learned { words.append(state.rawValue) }
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
    case .stats(let stats): stats.description
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
    let rows = vteps.map { vtep in
      [
        vtep.address.description, vtep.state.rawValue, vtep.via?.description ?? "-", vtep.mac?.description ?? "-", vtep.dev,
        vtep.listed ? "yes" : "no", "\(vtep.learned)", vtep.reason ?? "",
      ]
    }
    return Table(rows: [["ADDRESS", "STATE", "VIA", "MAC", "DEV", "LISTED", "LEARNED"]] + rows, numbers: [6])
  }
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
    lines += traffic.description.split(separator: "\n").map { "    " + $0 }
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
        ["in", "\(`in`)"], ["replicated", "\(replicated)"], ["out", "\(out)"], ["dropped", "\(dropped)"],
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
