import Wire

/// What may be changed in a running gateway. The words are bridge(8)'s and ip-neighbour(8)'s, and so is what they mean.
public enum ControlChange: Sendable, Equatable {
  case fdb(FDBVerb, FDB)
  case fdbFlush(FDBFilter)
  case neigh(NeighbourVerb, Neighbour)
  case vtep(ListVerb, VTEP)
  case vni(ListVerb, VNI)
  case link(ListVerb, Link)

  public enum FDBVerb: String, CaseIterable, Sendable { case add, append, replace, del }
  public enum NeighbourVerb: String, CaseIterable, Sendable { case add, replace, del }
  public enum ListVerb: String, CaseIterable, Sendable { case add, del }

  /// An FDB entry. Its segment is that of `srcVNI` if given, else that of `dev`, else the only one, else that of `vni`.
  public struct FDB: Codable, Sendable, Equatable {
    public enum State: String, Codable, CaseIterable, Sendable {
      /// Neither ages nor is it taken over by learning; a local address.
      case permanent
      /// Neither ages nor is it taken over by learning.
      case `static`
      /// As if it had been learned.
      case dynamic
    }
    public var mac: MACAddress
    /// The VTEP. Nil: `dev` is the local port that the address is on; for `del`, every destination.
    public var dst: IPAddress?
    /// UDP port of the VTEP; nil: the gateway's.
    public var port: UInt16?
    /// VNI on the wire; nil: the segment's.
    public var vni: UInt32?
    public var srcVNI: UInt32?
    public var dev: String?
    /// Absent in JSON: permanent, as in bridge(8). `del` does not look at it.
    public var state: State

    public init(
      mac: MACAddress, dst: IPAddress? = nil, port: UInt16? = nil, vni: UInt32? = nil, srcVNI: UInt32? = nil, dev: String? = nil,
      state: State = .permanent
    ) {
      self.mac = mac
      self.dst = dst
      self.port = port
      self.vni = vni
      self.srcVNI = srcVNI
      self.dev = dev
      self.state = state
    }
  }

  /// Which FDB entries are flushed: those for which everything holds that is given.
  public struct FDBFilter: Codable, Sendable, Equatable {
    public var dev: String?
    public var srcVNI: UInt32?
    /// As in `FDB`. Of an entry with several destinations, only those go that match.
    public var vni: UInt32?
    public var port: UInt16?
    public var dst: IPAddress?
    /// Entries in one of these. Nil: all but permanent ones on local ports, which are the gateway's own addresses.
    public var states: [FDB.State]?

    public init(
      dev: String? = nil, srcVNI: UInt32? = nil, vni: UInt32? = nil, port: UInt16? = nil, dst: IPAddress? = nil,
      states: [FDB.State]? = nil
    ) {
      self.dev = dev
      self.srcVNI = srcVNI
      self.vni = vni
      self.port = port
      self.dst = dst
      self.states = states
    }
  }

  /// A neighbour, for which ARP and ND are answered. Its segment is that of `vni` or of `dev`, else the only one.
  public struct Neighbour: Codable, Sendable, Equatable {
    public var ip: IPAddress
    /// Never nil but for `del`.
    public var lladdr: MACAddress?
    public var dev: String?
    public var vni: UInt32?
    /// Whether neighbour advertisements say that it is a router (RFC 4861 section 4.4).
    public var router: Bool

    public init(ip: IPAddress, lladdr: MACAddress? = nil, dev: String? = nil, vni: UInt32? = nil, router: Bool = false) {
      self.ip = ip
      self.lladdr = lladdr
      self.dev = dev
      self.vni = vni
      self.router = router
    }
  }

  /// A VTEP or a group in the replication list.
  public struct VTEP: Codable, Sendable, Equatable {
    public var address: IPAddress
    /// Nil: of every segment.
    public var vni: UInt32?

    public init(address: IPAddress, vni: UInt32? = nil) {
      self.address = address
      self.vni = vni
    }
  }

  /// A segment. `del` looks at the VNI alone.
  public struct VNI: Codable, Sendable, Equatable {
    public var vni: UInt32
    /// As the ports of `--map`. Empty: a TAP device vxgw<VNI>.
    public var ports: [String]
    /// Empty, and no group: those of every segment.
    public var remotes: [IPAddress]
    public var group: IPAddress?

    public init(vni: UInt32, ports: [String] = [], remotes: [IPAddress] = [], group: IPAddress? = nil) {
      self.vni = vni
      self.ports = ports
      self.remotes = remotes
      self.group = group
    }
  }

  /// A local port.
  public struct Link: Codable, Sendable, Equatable {
    /// VNI=PORT as in `--map`, ranges included. For `del`, PORT alone will do.
    public var map: String

    public init(map: String) { self.map = map }
  }
}

extension ControlChange {
  /// The command's first words, which name it in the protocol and on the command line.
  var command: String {
    switch self {
    case .fdb(let verb, _): "fdb \(verb)"
    case .fdbFlush: "fdb flush"
    case .neigh(let verb, _): "neigh \(verb)"
    case .vtep(let verb, _): "vtep \(verb)"
    case .vni(let verb, _): "vni \(verb)"
    case .link(let verb, _): "link \(verb)"
    }
  }

  /// Every `command`.
  static let commands =
    FDBVerb.allCases.map { "fdb \($0)" } + ["fdb flush"] + NeighbourVerb.allCases.map { "neigh \($0)" }
    + ["vtep", "vni", "link"].flatMap { object in ListVerb.allCases.map { "\(object) \($0)" } }

  /// What an error is about: "fdb add 02:aa:00:00:00:01".
  var subject: String {
    switch self {
    case .fdb(_, let entry): "\(command) \(entry.mac)"
    case .fdbFlush: command
    case .neigh(_, let neighbour): "\(command) \(neighbour.ip)"
    case .vtep(_, let vtep): "\(command) \(vtep.address)"
    case .vni(_, let segment): "\(command) \(segment.vni)"
    case .link(_, let link): "\(command) \(link.map)"
    }
  }
}

extension ControlChange {
  /// What no gateway could do.
  var mistake: ChangeError? {
    switch self {
    case .fdb(let verb, let entry): Self.vniMistake(entry.vni, entry.srcVNI) ?? Self.portMistake(entry.port) ?? Self.fdbMistake(verb, entry)
    case .fdbFlush(let filter): Self.vniMistake(filter.vni, filter.srcVNI) ?? Self.portMistake(filter.port)
    case .neigh(let verb, let neighbour): Self.vniMistake(neighbour.vni) ?? Self.neighbourMistake(verb, neighbour)
    case .vtep(_, let vtep): Self.vniMistake(vtep.vni)
    case .vni(_, let segment): Self.vniMistake(segment.vni)
    case .link: nil
    }
  }

  private static func vniMistake(_ vnis: UInt32?...) -> ChangeError? {
    vnis.contains { $0 ?? 0 > VXLAN.maximumVNI } ? .invalid("a VNI is a number from 0 to \(VXLAN.maximumVNI)") : nil
  }

  private static func portMistake(_ port: UInt16?) -> ChangeError? { port == 0 ? .invalid("a UDP port is a number from 1 to 65535") : nil }

  private static func fdbMistake(_ verb: FDBVerb, _ entry: FDB) -> ChangeError? {
    if entry.port != nil && entry.dst == nil { return .invalid("port belongs to a dst") }
    return verb != .del && entry.dst == nil && entry.dev == nil ? .noDestination : nil
  }

  private static func neighbourMistake(_ verb: NeighbourVerb, _ neighbour: Neighbour) -> ChangeError? {
    if neighbour.ip.isMulticast || neighbour.ip.isUnspecified { return .invalid("a neighbour has an address of its own") }
    guard let mac = neighbour.lladdr else { return verb == .del ? nil : .invalid("lladdr is missing") }
    return mac.isMulticast || mac.isZero ? .invalid("lladdr is the MAC address of one host") : nil
  }
}

// In JSON the record's keys stand beside "command", and what has a default may be left out.

extension ControlChange {
  /// Nil: no such command.
  init?(_ command: String, from decoder: any Decoder) throws {
    let words = command.split(separator: " ", maxSplits: 1).map(String.init)
    guard words.count == 2 else { return nil }
    switch (words[0], FDBVerb(rawValue: words[1]), NeighbourVerb(rawValue: words[1]), ListVerb(rawValue: words[1])) {
    case ("fdb", let verb?, _, _): self = .fdb(verb, try FDB(from: decoder))
    case ("fdb", _, _, _) where words[1] == "flush": self = .fdbFlush(try FDBFilter(from: decoder))
    case ("neigh", _, let verb?, _): self = .neigh(verb, try Neighbour(from: decoder))
    case ("vtep", _, _, let verb?): self = .vtep(verb, try VTEP(from: decoder))
    case ("vni", _, _, let verb?): self = .vni(verb, try VNI(from: decoder))
    case ("link", _, _, let verb?): self = .link(verb, try Link(from: decoder))
    default: return nil
    }
  }

  /// The record, without the command.
  func encodeRecord(to encoder: any Encoder) throws {
    switch self {
    case .fdb(_, let entry): try entry.encode(to: encoder)
    case .fdbFlush(let filter): try filter.encode(to: encoder)
    case .neigh(_, let neighbour): try neighbour.encode(to: encoder)
    case .vtep(_, let vtep): try vtep.encode(to: encoder)
    case .vni(_, let segment): try segment.encode(to: encoder)
    case .link(_, let link): try link.encode(to: encoder)
    }
  }
}

extension ControlChange.FDB {
  private enum CodingKeys: String, CodingKey { case mac, dst, port, vni, srcVNI = "src_vni", dev, state }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mac = try container.decode(MACAddress.self, forKey: .mac)
    dst = try container.decodeIfPresent(IPAddress.self, forKey: .dst)
    port = try container.decodeIfPresent(UInt16.self, forKey: .port)
    vni = try container.decodeIfPresent(UInt32.self, forKey: .vni)
    srcVNI = try container.decodeIfPresent(UInt32.self, forKey: .srcVNI)
    dev = try container.decodeIfPresent(String.self, forKey: .dev)
    state = try container.decodeIfPresent(State.self, forKey: .state) ?? .permanent
  }
}

extension ControlChange.FDBFilter {
  private enum CodingKeys: String, CodingKey { case dev, srcVNI = "src_vni", vni, port, dst, states }
}

extension ControlChange.Neighbour {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    ip = try container.decode(IPAddress.self, forKey: .ip)
    lladdr = try container.decodeIfPresent(MACAddress.self, forKey: .lladdr)
    dev = try container.decodeIfPresent(String.self, forKey: .dev)
    vni = try container.decodeIfPresent(UInt32.self, forKey: .vni)
    router = try container.decodeIfPresent(Bool.self, forKey: .router) ?? false
  }
}

extension ControlChange.VNI {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    vni = try container.decode(UInt32.self, forKey: .vni)
    ports = try container.decodeIfPresent([String].self, forKey: .ports) ?? []
    remotes = try container.decodeIfPresent([IPAddress].self, forKey: .remotes) ?? []
    group = try container.decodeIfPresent(IPAddress.self, forKey: .group)
  }
}
