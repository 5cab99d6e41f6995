import Wire

/// What a running gateway tells about itself through the control socket. Keys are iproute2's where it has them.
public enum Report {
  /// An entry of the FDB, as `bridge fdb show` has it. The entries of 00:00:00:00:00:00 are the replication list.
  public struct FDBEntry: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable {
      /// By traffic, or by hand as dynamic: what ages. bridge(8) has no word for it.
      case learned = ""
      case `static`, permanent
    }
    public var mac: MACAddress
    /// The local port; for an entry that points to a VTEP, the interface that stands for the segment.
    public var ifname: String
    /// The VTEP; nil for an entry that points to a local port. An entry with several has a row for each.
    public var dst: IPAddress?
    /// The VTEP's UDP port; nil: the gateway's.
    public var port: UInt16?
    /// On the wire.
    public var vni: UInt32
    /// The segment's, where another is on the wire.
    public var srcVNI: UInt32?
    public var state: State
    /// "self" for an entry that points to a VTEP, as the kernel's vxlan device has it.
    public var flags: [String]
    /// Seconds since it was last seen; nil for an entry that does not age.
    public var age: UInt32?

    public init(
      mac: MACAddress, ifname: String, dst: IPAddress? = nil, port: UInt16? = nil, vni: UInt32, srcVNI: UInt32? = nil,
      state: State, flags: [String] = [], age: UInt32? = nil
    ) {
      self.mac = mac
      self.ifname = ifname
      self.dst = dst
      self.port = port
      self.vni = vni
      self.srcVNI = srcVNI
      self.state = state
      self.flags = flags
      self.age = age
    }

    private enum CodingKeys: String, CodingKey { case mac, ifname, dst, port, vni, srcVNI = "src_vni", state, flags, age }
  }

  /// A neighbour for which ARP and ND are answered, as `ip neigh show` has it.
  public struct Neighbour: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable {
      /// By hand.
      case permanent = "PERMANENT"
      /// Snooped.
      case reachable = "REACHABLE"
    }
    public var dst: IPAddress
    /// The interface that stands for the segment.
    public var dev: String
    public var lladdr: MACAddress
    public var vni: UInt32
    public var router: Bool
    /// One; ip(8) has a list.
    public var state: [State]

    public init(dst: IPAddress, dev: String, lladdr: MACAddress, vni: UInt32, router: Bool = false, state: State) {
      self.dst = dst
      self.dev = dev
      self.lladdr = lladdr
      self.vni = vni
      self.router = router
      self.state = [state]
    }
  }

  /// Frames and their bytes, without FCS.
  public struct Traffic: Codable, Sendable, Equatable {
    public var frames: UInt64
    public var bytes: UInt64

    public init(frames: UInt64, bytes: UInt64) {
      self.frames = frames
      self.bytes = bytes
    }

    static func + (a: Traffic, b: Traffic) -> Traffic { Traffic(frames: a.frames + b.frames, bytes: a.bytes + b.bytes) }
  }

  /// A segment.
  public struct VNI: Codable, Sendable, Equatable {
    /// FDB entries by state.
    public struct Entries: Codable, Sendable, Equatable {
      public var learned: Int
      public var `static`: Int
      public var permanent: Int

      public init(learned: Int, static: Int, permanent: Int) {
        self.learned = learned
        self.static = `static`
        self.permanent = permanent
      }
    }
    public var vni: UInt32
    public var ports: [String]
    /// The replication list.
    public var remotes: [IPAddress]
    public var fdb: Entries

    public init(vni: UInt32, ports: [String], remotes: [IPAddress], fdb: Entries) {
      self.vni = vni
      self.ports = ports
      self.remotes = remotes
      self.fdb = fdb
    }
  }

  /// A remote VTEP, or a group of them.
  public struct VTEP: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable { case vtep, group }
    public enum State: String, Codable, Sendable { case resolved, unresolved, unreachable }
    public var address: IPAddress
    /// UDP port; nil: the gateway's.
    public var port: UInt16?
    /// On the wire; nil: the segment's.
    public var vni: UInt32?
    public var kind: Kind
    public var state: State
    /// Why it is unreachable.
    public var reason: String?
    /// The next hop: the VTEP itself or a router.
    public var via: IPAddress?
    /// The next hop's, or the group's.
    public var mac: MACAddress?
    public var dev: String
    /// Bytes of the largest outer packet that gets there; nil: not known.
    public var mtu: Int?
    /// Whether outer UDP checksums are sent.
    public var udpcsum: Bool
    /// Whether it is in a replication list.
    public var listed: Bool
    /// Learned FDB entries that point to it.
    public var learned: Int

    public init(
      address: IPAddress, port: UInt16? = nil, vni: UInt32? = nil, kind: Kind = .vtep, state: State, reason: String? = nil,
      via: IPAddress? = nil, mac: MACAddress? = nil, dev: String, mtu: Int? = nil, udpcsum: Bool = false, listed: Bool, learned: Int
    ) {
      self.address = address
      self.port = port
      self.vni = vni
      self.kind = kind
      self.state = state
      self.reason = reason
      self.via = via
      self.mac = mac
      self.dev = dev
      self.mtu = mtu
      self.udpcsum = udpcsum
      self.listed = listed
      self.learned = learned
    }
  }
}

extension Report {
  /// A network interface that the gateway uses.
  public struct Link: Codable, Sendable, Equatable {
    public enum Role: String, Codable, Sendable { case underlay, lan, tap }
    /// How frames get in and out.
    public enum Mode: String, Codable, Sendable { case native, generic, raw, tap }
    public var ifname: String
    public var role: Role
    public var driver: String?
    public var mode: Mode
    public var zerocopy: Bool
    public var queues: Int
    public var mtu: Int
    public var address: MACAddress
    public var promiscuous: Bool
    /// Its local ports with their VNIs and VLANs, as `--map` has them: "4100=eth1:100".
    public var ports: [String]
    public var rx: Traffic
    public var tx: Traffic
    /// Frames that the kernel or the port dropped, by the name of the kernel's counter (XDP_STATISTICS in if_xdp.h,
    /// PACKET_STATISTICS in if_packet.h).
    public var dropped: [String: UInt64]
    /// Frames by the XDP program's verdict; empty without one.
    public var xdp: [String: UInt64]
    /// Nil where there is no XDP program.
    public var fastpath: FastPath?

    /// What the XDP programs forward by themselves.
    public struct FastPath: Codable, Sendable, Equatable {
      /// Whether other NICs' programs send frames here, and why not.
      public var on: Bool
      public var reason: String?
      /// Part of the link's `rx` and `tx`.
      public var rx: Traffic
      public var tx: Traffic

      public init(on: Bool, reason: String? = nil, rx: Traffic, tx: Traffic) {
        self.on = on
        self.reason = reason
        self.rx = rx
        self.tx = tx
      }
    }

    public init(
      ifname: String, role: Role, driver: String?, mode: Mode, zerocopy: Bool, queues: Int, mtu: Int, address: MACAddress,
      promiscuous: Bool, ports: [String] = [], rx: Traffic, tx: Traffic, dropped: [String: UInt64], xdp: [String: UInt64],
      fastpath: FastPath? = nil
    ) {
      self.ifname = ifname
      self.role = role
      self.driver = driver
      self.mode = mode
      self.zerocopy = zerocopy
      self.queues = queues
      self.mtu = mtu
      self.address = address
      self.promiscuous = promiscuous
      self.ports = ports
      self.rx = rx
      self.tx = tx
      self.dropped = dropped
      self.xdp = xdp
      self.fastpath = fastpath
    }
  }
}

extension MACAddress: Codable {}
extension IPAddress: Codable {}

/// Addresses are text in JSON.
extension Decodable where Self: LosslessStringConvertible {
  fileprivate static func parse(_ decoder: any Decoder) throws -> Self {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let value = Self(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an address: \(text)")
    }
    return value
  }
}

extension MACAddress {
  public init(from decoder: any Decoder) throws { self = try Self.parse(decoder) }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension IPAddress {
  public init(from decoder: any Decoder) throws { self = try Self.parse(decoder) }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
