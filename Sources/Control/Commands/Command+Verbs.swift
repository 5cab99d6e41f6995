import Wire

/// One row of the table of commands: its words, and what they mean.
struct Verb: Sendable {
  var name: String
  var grammar = Grammar()
  /// Where the words have mistakes, what this returns is not used.
  var read: @Sendable (inout Words) -> Command
}

extension Command.Object {
  var verbs: [Verb] {
    switch self {
    case .fdb: [.fdbShow] + ControlChange.FDBVerb.allCases.map(Verb.fdb) + [.fdbFlush]
    case .neigh: [.neighShow] + ControlChange.NeighbourVerb.allCases.map(Verb.neigh)
    case .vtep: [.vtepShow] + ControlChange.ListVerb.allCases.map(Verb.vtep)
    case .vni: [.vniShow, .vniAdd, .vniDel]
    case .link: [.linkShow] + ControlChange.ListVerb.allCases.map(Verb.link)
    case .config: [Verb(name: "show") { _ in .query(.configShow, ReportFilter()) }]
    case .stats: [Verb(name: "show") { _ in .query(.stats, ReportFilter()) }]
    case .monitor: [.monitor]
    }
  }
}

// bridge-fdb(8).

extension Verb {
  static let fdbShow = Verb(name: "show", grammar: Grammar(leading: ["MAC"], values: ["dev", "vni", "dst"], flags: ["self"])) { words in
    .query(.fdbShow, ReportFilter(dev: words.text("dev"), vni: words.vni("vni"), mac: words.mac("MAC"), address: words.address("dst")))
  }

  static func fdb(_ verb: ControlChange.FDBVerb) -> Verb {
    let grammar = Grammar(
      leading: ["MAC"], required: ["MAC"], values: ["dev", "dst", "port", "vni", "src_vni"],
      flags: ["self", "permanent", "local", "static", "temp", "dynamic"], refused: bridgeWords, refusedValues: bridgeWordsWithValue)
    return Verb(name: verb.rawValue, grammar: grammar) { words in
      let state = words.choice([
        "permanent": ControlChange.FDB.State.permanent, "local": .permanent, "static": .static, "temp": .static, "dynamic": .dynamic,
      ])
      return .change(
        .fdb(
          verb,
          .init(
            mac: words.mac("MAC") ?? MACAddress(0), dst: words.address("dst"), port: words.port("port"),
            vni: words.vni("vni"), srcVNI: words.vni("src_vni"), dev: words.text("dev"), state: state ?? .permanent)))
    }
  }

  static let fdbFlush = Verb(
    name: "flush",
    grammar: Grammar(
      values: ["dev", "src_vni", "vni", "port", "dst"],
      flags: ["self"] + ControlChange.FDB.State.allCases.flatMap { [$0.rawValue, "no" + $0.rawValue] },
      refused: bridgeWords, refusedValues: bridgeWordsWithValue)
  ) { words in
    .change(
      .fdbFlush(
        .init(
          dev: words.text("dev"), srcVNI: words.vni("src_vni"), vni: words.vni("vni"), port: words.port("port"),
          dst: words.address("dst"), states: flushedStates(&words))))
  }

  /// From "static", "nodynamic" and their like: those that are named, or else all that are not excluded.
  private static func flushedStates(_ words: inout Words) -> [ControlChange.FDB.State]? {
    let named = ControlChange.FDB.State.allCases.filter { words.has($0.rawValue) }
    let excluded = ControlChange.FDB.State.allCases.filter { words.has("no" + $0.rawValue) }
    for state in named where excluded.contains(state) { words.mistake("\(state) and no\(state) exclude each other") }
    if !named.isEmpty { return named }
    return excluded.isEmpty ? nil : ControlChange.FDB.State.allCases.filter { !excluded.contains($0) }
  }

  private static let bridgeWords = [
    "master": "there is one FDB, not a bridge's beside that of the device. Leave it out",
    "via": "the route to dst decides on the interface. Leave it out",
    "nhid": "there are no nexthop groups. Give each VTEP as dst",
    "use": "only traffic refreshes an entry. Say static for one that does not age",
    "extern_learn": "entries by hand are told apart by their state. Say static for one that does not age",
    "sticky": "say static: such an entry does not move",
    "router": "frames are bridged, never routed (the kernel's rsc)",
    "vlan": "the VLAN belongs to the port, and the port to a segment. Say dev or src_vni",
    "vid": "the VLAN belongs to the port, and the port to a segment. Say dev or src_vni",
  ]
  private static let bridgeWordsWithValue: Set = ["via", "nhid", "vlan", "vid"]
}

// ip-neighbour(8).

extension Verb {
  static let neighShow = Verb(name: "show", grammar: Grammar(leading: ["IP"], values: ["dev", "vni"])) { words in
    .query(.neighShow, ReportFilter(dev: words.text("dev"), vni: words.vni("vni"), address: words.address("IP")))
  }

  static func neigh(_ verb: ControlChange.NeighbourVerb) -> Verb {
    let grammar = Grammar(
      leading: ["IP"], required: verb == .del ? ["IP"] : ["IP", "lladdr"], values: ["lladdr", "dev", "vni", "nud"], flags: ["router"],
      refused: [
        "proxy": "run --proxy answers for every neighbour. Give lladdr", "use": "an entry by hand is never checked",
        "managed": "an entry by hand is never checked", "extern_learn": "an entry by hand is permanent",
      ])
    return Verb(name: verb.rawValue, grammar: grammar) { words in
      if let state = words.text("nud"), state != "permanent" { words.mistake("nud \(state): an entry by hand is permanent") }
      return .change(
        .neigh(
          verb,
          .init(
            ip: words.address("IP") ?? IPAddress(v4: 0),
            lladdr: words.mac("lladdr"), dev: words.text("dev"),
            vni: words.vni("vni"), router: words.has("router"))))
    }
  }
}

// Segments, their replication lists and their ports.

extension Verb {
  static let vtepShow = Verb(name: "show", grammar: Grammar(leading: ["ADDRESS"])) { words in
    .query(.vtepShow, ReportFilter(address: words.address("ADDRESS")))
  }

  static func vtep(_ verb: ControlChange.ListVerb) -> Verb {
    Verb(name: verb.rawValue, grammar: Grammar(leading: ["ADDRESS"], required: ["ADDRESS"], values: ["vni"])) { words in
      .change(.vtep(verb, .init(address: words.address("ADDRESS") ?? IPAddress(v4: 0), vni: words.vni("vni"))))
    }
  }

  static let vniShow = Verb(name: "show", grammar: Grammar(leading: ["VNI"])) { words in
    .query(.vniShow, ReportFilter(vni: words.vni("VNI")))
  }

  static let vniAdd = Verb(name: "add", grammar: Grammar(leading: ["VNI"], required: ["VNI"], rest: "PORT", values: ["remote", "group"])) {
    words in
    let group = words.address("group")
    if let group, !group.isMulticast { words.mistake("group \(group): not a multicast address. VTEPs are named with remote") }
    return .change(
      .vni(
        .add,
        .init(vni: words.vni("VNI") ?? 0, ports: words.rest, remotes: words.addresses("remote"), group: group)))
  }

  static let vniDel = Verb(name: "del", grammar: Grammar(leading: ["VNI"], required: ["VNI"])) { words in
    .change(.vni(.del, .init(vni: words.vni("VNI") ?? 0)))
  }

  static let linkShow = Verb(name: "show", grammar: Grammar(leading: ["DEV"], values: ["dev"])) { words in
    .query(.linkShow, ReportFilter(dev: words.text("dev") ?? words.text("DEV")))
  }

  static func link(_ verb: ControlChange.ListVerb) -> Verb {
    Verb(name: verb.rawValue, grammar: Grammar(leading: ["VNI=PORT"], required: ["VNI=PORT"])) { words in
      let map = words.text("VNI=PORT") ?? ""
      if verb == .add && !map.isEmpty && !map.contains("=") { words.mistake("\(map): which VNI? Say VNI=\(map)") }
      return .change(.link(verb, .init(map: map)))
    }
  }

  static let monitor = Verb(
    name: "show", grammar: Grammar(flags: ["all"] + MonitorTopic.allCases.map(\.rawValue))
  ) { words in
    let topics = MonitorTopic.allCases.filter { words.has($0.rawValue) }
    return .monitor(Set(topics.isEmpty || words.has("all") ? MonitorTopic.allCases : topics))
  }
}
