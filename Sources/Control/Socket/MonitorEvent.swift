import Wire

/// What happens in a running gateway.
public enum MonitorEvent: Sendable, Equatable {
  /// An FDB entry came, points elsewhere, or went.
  case fdb(FDBVerb, Report.FDBEntry)
  /// The destination of a unicast frame is not in the FDB.
  case l2miss(FDBMiss)
  /// Nobody has told the address that was asked for with ARP or ND.
  case l3miss(NeighbourMiss)
  case neigh(NeighbourVerb, Report.Neighbour)
  case vtep(VTEPVerb, Report.VTEP)
  case link(LinkVerb, LinkState)
  /// So many events came faster than they could be told.
  case lost(Int)

  public enum FDBVerb: String, CaseIterable, Sendable { case learned, moved, aged, added, deleted }
  public enum NeighbourVerb: String, CaseIterable, Sendable {
    case snooped
    case added = "neigh added"
    case deleted = "neigh deleted"
  }
  public enum VTEPVerb: String, CaseIterable, Sendable {
    /// Its state or its way changed, or it is new.
    case changed = "vtep"
    case deleted = "vtep deleted"
  }
  public enum LinkVerb: String, CaseIterable, Sendable {
    case changed = "link"
    case deleted = "link deleted"
  }

  public struct FDBMiss: Codable, Sendable, Equatable {
    public var mac: MACAddress
    /// What stands for the segment, as in an FDB report.
    public var ifname: String
    public var vni: UInt32

    public init(mac: MACAddress, ifname: String, vni: UInt32) {
      self.mac = mac
      self.ifname = ifname
      self.vni = vni
    }
  }

  public struct NeighbourMiss: Codable, Sendable, Equatable {
    public var dst: IPAddress
    /// What stands for the segment, as in a neighbour report.
    public var dev: String
    public var vni: UInt32

    public init(dst: IPAddress, dev: String, vni: UInt32) {
      self.dst = dst
      self.dev = dev
      self.vni = vni
    }
  }

  /// A network interface that the gateway uses.
  public struct LinkState: Codable, Sendable, Equatable {
    public var ifname: String
    public var mtu: Int
    /// It is up, and there is a carrier.
    public var up: Bool

    public init(ifname: String, mtu: Int, up: Bool) {
      self.ifname = ifname
      self.mtu = mtu
      self.up = up
    }
  }

  /// Whether who asked for these topics is told. A miss in the FDB is among the neighbours too, as `ip monitor neigh`
  /// has it.
  func isAbout(_ topics: Set<MonitorTopic>) -> Bool {
    switch self {
    case .fdb: topics.contains(.fdb)
    case .l2miss: topics.contains(.fdb) || topics.contains(.neigh)
    case .l3miss, .neigh: topics.contains(.neigh)
    case .vtep: topics.contains(.vtep)
    case .link: topics.contains(.link)
    case .lost: true
    }
  }
}

// In JSON "event" stands beside the report's keys.

extension MonitorEvent: Codable {
  private enum Key: String, CodingKey { case event, count }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    let event = try container.decode(String.self, forKey: .event)
    if let verb = FDBVerb(rawValue: event) {
      self = .fdb(verb, try .init(from: decoder))
    } else if let verb = NeighbourVerb(rawValue: event) {
      self = .neigh(verb, try .init(from: decoder))
    } else if let verb = VTEPVerb(rawValue: event) {
      self = .vtep(verb, try .init(from: decoder))
    } else if let verb = LinkVerb(rawValue: event) {
      self = .link(verb, try .init(from: decoder))
    } else {
      switch event {
      case "l2miss": self = .l2miss(try .init(from: decoder))
      case "l3miss": self = .l3miss(try .init(from: decoder))
      case "lost": self = .lost(try container.decode(Int.self, forKey: .count))
      default: throw DecodingError.dataCorruptedError(forKey: .event, in: container, debugDescription: "\(event): unknown event")
      }
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(name, forKey: .event)
    switch self {
    case .fdb(_, let entry): try entry.encode(to: encoder)
    case .l2miss(let miss): try miss.encode(to: encoder)
    case .l3miss(let miss): try miss.encode(to: encoder)
    case .neigh(_, let neighbour): try neighbour.encode(to: encoder)
    case .vtep(_, let vtep): try vtep.encode(to: encoder)
    case .link(_, let link): try link.encode(to: encoder)
    case .lost(let count): try container.encode(count, forKey: .count)
    }
  }

  private var name: String {
    switch self {
    case .fdb(let verb, _): verb.rawValue
    case .l2miss: "l2miss"
    case .l3miss: "l3miss"
    case .neigh(let verb, _): verb.rawValue
    case .vtep(let verb, _): verb.rawValue
    case .link(let verb, _): verb.rawValue
    case .lost: "lost"
    }
  }
}
