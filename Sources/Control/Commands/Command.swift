import Wire

/// A command for a running gateway, as it is typed: `vxgw fdb append 00:00:00:00:00:00 dst 192.0.2.3`.
public enum Command: Sendable, Equatable {
  /// A question, and which rows of the answer are shown.
  case query(ControlQuery, ReportFilter)
  case change(ControlChange)
  case monitor(Set<MonitorTopic>)

  /// What commands are about: their first word.
  public enum Object: String, CaseIterable, Sendable { case fdb, vni, vtep, link, neigh, config, stats, monitor }

  /// - Parameter words: what follows the object, without options such as -j. None: show.
  public init(_ object: Object, _ words: [String]) throws(UsageError) {
    var words = words
    // These have one verb, and so it is not said.
    if object == .monitor || object == .stats { words.insert("show", at: 0) }
    let name = words.isEmpty ? "show" : Self.synonyms[words[0]] ?? words[0]
    guard let verb = object.verbs.first(where: { $0.name == name }) else {
      let names = object.verbs.map(\.name)
      let hint = nearestWord(to: name, among: names).map { "Did you mean \($0)?" } ?? "There are \(names.joined(separator: ", "))"
      throw UsageError(mistakes: ["\(object) \(name): no such command. \(hint)"])
    }
    let command = object == .monitor || object == .stats ? "\(object)" : "\(object) \(name)"
    var rest = Words(Array(words.dropFirst()), of: command, verb.grammar)
    self = verb.read(&rest)
    guard rest.mistakes.isEmpty else { throw UsageError(mistakes: rest.mistakes) }
  }

  /// As iproute2 has them.
  private static let synonyms = ["list": "show", "lst": "show", "ls": "show", "delete": "del"]
}

/// Which rows of a report are shown: those for which everything holds that is given.
public struct ReportFilter: Sendable, Equatable {
  public var dev: String?
  public var vni: UInt32?
  public var mac: MACAddress?
  public var address: IPAddress?

  public init(dev: String? = nil, vni: UInt32? = nil, mac: MACAddress? = nil, address: IPAddress? = nil) {
    self.dev = dev
    self.vni = vni
    self.mac = mac
    self.address = address
  }

  public func callAsFunction(_ response: ControlResponse) -> ControlResponse {
    switch response {
    case .fdb(let entries):
      .fdb(entries.filter { holds(dev, $0.ifname) && hasVNI($0) && holds(mac, $0.mac) && holds(address, $0.dst) })
    case .vni(let segments): .vni(segments.filter { holds(vni, $0.vni) })
    case .vtep(let vteps): .vtep(vteps.filter { holds(address, $0.address) })
    case .link(let links): .link(links.filter { holds(dev, $0.ifname) })
    case .neigh(let neighbours):
      .neigh(neighbours.filter { holds(dev, $0.dev) && holds(vni, $0.vni) && holds(mac, $0.lladdr) && holds(address, $0.dst) })
    case .config, .stats, .done, .error: response
    }
  }

  private func holds<Value: Equatable>(_ wanted: Value?, _ value: Value?) -> Bool { wanted == nil || wanted == value }

  /// The VNI on the wire or the segment's: either may be meant.
  private func hasVNI(_ entry: Report.FDBEntry) -> Bool { holds(vni, entry.vni) || holds(vni, entry.srcVNI) }
}
