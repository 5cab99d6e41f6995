import Datapath
import Wire

extension Configuration: CustomStringConvertible {
  /// What would run, one option a line, defaults included: what `--check` prints.
  public var description: String {
    let remoteText = remotes.isEmpty ? "none" : remotes.map(\.description).joined(separator: ",")
    var rows = [["iface", iface]]
    rows += segments.map { ["vni", "\($0.vni)=" + $0.ports.map(\.description).joined(separator: ",")] }
    rows += [
      ["local", local?.description ?? "the primary address of \(iface)"], ["remote", remoteText],
      ["dstport", "\(destinationPort)"], ["srcport", "\(sourcePorts.lowerBound)-\(sourcePorts.upperBound)"],
      ["ttl", "\(ttl)"], ["tos", tos.description], ["df", df.rawValue],
      ["learning", learning ? "on" : "off"], ["ageing", ageing == 0 ? "never" : "\(ageing) s"], ["max-fdb", "\(maxFDB)"],
      ["vteps", vteps.rawValue],
      ["io", io.rawValue], ["zero-copy", zeroCopy.rawValue], ["workers", workers?.description ?? "one per queue pair"],
      ["cpus", cpus.isEmpty ? "any" : cpus.map(\.description).joined(separator: ",")],
      ["batch", "\(batch)"], ["ring", "\(ring)"], ["frames", frames?.description ?? "what the rings need"],
      ["frame-size", frameSize?.description ?? "what the MTU needs"], ["poll", poll.rawValue],
      ["socket", socket], ["log-level", logLevel.rawValue],
    ]
    return Table(rows: rows).description
  }
}

extension Configuration.LocalPort: CustomStringConvertible {
  /// As in `--map`.
  public var description: String {
    switch self {
    case .nic(let name): name
    case .tap(let name): "tap:\(name)"
    }
  }
}

extension Configuration.TOS: CustomStringConvertible {
  public var description: String {
    switch self {
    case .value(let value): "\(value)"
    case .inherit: "inherit"
    }
  }
}
