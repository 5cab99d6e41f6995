import Datapath
import Logging
import Wire

/// Everything that `vxgw run` needs to know, checked as far as that is possible without asking the kernel.
public struct Configuration: Sendable, Equatable {
  /// Network interface of the underlay.
  public internal(set) var iface = ""
  /// 802.1Q VLAN whose tag the outer packets carry on `iface`; nil: none.
  public internal(set) var underlayVLAN: UInt16?
  /// At least one, no VNI twice.
  public internal(set) var segments: [Segment] = []
  /// What others than vxgw do by default, taken as defaults here.
  public internal(set) var preset: Preset?

  /// Outer source address; nil: the primary address of `iface`. All remotes and groups have its IP version.
  public internal(set) var local: IPAddress?
  /// UDP port, host order.
  public internal(set) var destinationPort: UInt16 = 4789
  /// UDP ports, host order, from which a hash of the inner flow chooses.
  public internal(set) var sourcePorts: ClosedRange<UInt16> = 49152...65535
  public internal(set) var ttl = TTL.automatic
  public internal(set) var tos = TOS.value(0)
  public internal(set) var df = DF.unset
  public internal(set) var flowLabel = FlowLabel.value(0)

  /// Whether outer UDP checksums are sent over IPv4. Over IPv6 `udp6ZeroChecksum` decides.
  public internal(set) var udpChecksum = UDPChecksum.auto
  /// The same for single VTEPs, over IPv4 and IPv6.
  public internal(set) var udpChecksumOf: [IPAddress: Bool] = [:]
  public internal(set) var udp6ZeroChecksum = UDP6ZeroChecksum()
  /// Whether received outer UDP checksums other than zero are verified.
  public internal(set) var verifiesUDPChecksum = false
  /// Bits of the received VXLAN header, its first octet uppermost, that must be zero.
  public internal(set) var reservedBits: UInt64 = 0

  public internal(set) var innerVLAN = InnerVLAN.drop
  /// Bytes of the largest IP packet through a TAP device; nil: what fits through the underlay.
  public internal(set) var mtu: Int?
  public internal(set) var mssClamp = MSSClamp.auto

  public internal(set) var learning = true
  /// Seconds after which a learned entry that nobody used goes; 0: never.
  public internal(set) var ageing = 300
  /// Most entries of the FDB.
  public internal(set) var maxFDB = 1_048_576
  public internal(set) var vteps = VTEPs.any

  /// Whether ARP requests and neighbour solicitations are answered from what the operator entered, and never sent on.
  public internal(set) var proxy = false
  /// Whether they are answered where the answer is known, and sent on where it is not. Not together with `proxy`.
  public internal(set) var suppress = false
  /// Whether destinations without FDB entry are reported.
  public internal(set) var l2miss = false
  /// Whether neighbours that nobody knows are reported.
  public internal(set) var l3miss = false

  public internal(set) var io = IO.auto
  public internal(set) var zeroCopy = ZeroCopy.auto
  public internal(set) var fastPath = FastPath.auto
  /// Nil: one per queue pair.
  public internal(set) var workers: Int?
  /// CPUs that workers are bound to, in order; none: any. Not fewer than `workers`.
  public internal(set) var cpus: [Int] = []
  /// Frames per round of the worker's loop, at most `ring`.
  public internal(set) var batch = 64
  /// Entries of each AF_XDP ring, and of the ring of each raw socket: a power of two.
  public internal(set) var ring = 2048
  /// Chunks of packet memory per worker; nil: what the rings need.
  public internal(set) var frames: Int?
  /// Bytes per chunk: 2048 or 4096; nil: what the MTU needs.
  public internal(set) var frameSize: Int?
  public internal(set) var poll = Worker.Polling.adaptive

  /// Path of the control socket.
  public internal(set) var socket = ""
  public internal(set) var logLevel = Logger.Level.info
}

extension Configuration {
  /// A virtual layer-2 network and what is connected to it here.
  public struct Segment: Sendable, Equatable {
    /// 24 bits.
    public let vni: UInt32
    public internal(set) var ports: [LocalPort]
    /// Remote VTEPs that get a copy of BUM frames: its own, or else those of all VNIs.
    public internal(set) var remotes: [IPAddress] = []
    /// Multicast group that gets a copy.
    public internal(set) var group: IPAddress?
  }

  /// Every remote VTEP of any segment, once.
  public var remotes: [IPAddress] {
    var seen: Set<IPAddress> = []
    return segments.flatMap(\.remotes).filter { seen.insert($0).inserted }
  }

  /// Every multicast group of any segment, once.
  public var groups: [IPAddress] {
    var seen: Set<IPAddress> = []
    return segments.compactMap(\.group).filter { seen.insert($0).inserted }
  }

  /// Whether the underlay is IPv6; nil when no address says so, and it follows from the addresses of `iface`.
  public var isIPv6: Bool? { anyAddress.map { !$0.isIPv4 } }

  /// One of the underlay's addresses, if there is any; all have its IP version.
  var anyAddress: IPAddress? { local ?? segments.lazy.compactMap { $0.remotes.first ?? $0.group }.first }

  /// Whether frames of the segment keep VLAN tags of their own. A trunk would be pointless otherwise.
  public func keepsInnerVLAN(_ segment: Segment) -> Bool {
    innerVLAN == .keep || segment.ports.contains { $0.vlan == .trunk }
  }

  /// The outer TTL of packets to an address, unless the inner packet has one to inherit.
  public func ttl(to address: IPAddress) -> UInt8 {
    switch ttl {
    case .value(let value): value
    case .automatic, .inherit: address.isMulticast ? 1 : 64
    }
  }

  /// What the operator should know although it is no mistake.
  public var warnings: [String] {
    var warnings: [String] = []
    if vteps == .listed, remotes.isEmpty {
      warnings.append("--vteps listed: no VTEP is listed, so nothing is accepted until one is (vxgw vtep add, vxgw fdb add)")
    } else if vteps == .listed, !groups.isEmpty {
      warnings.append("--vteps listed: members of the group are heard only if they are listed, too")
    }
    if mtu != nil, !segments.contains(where: { $0.ports.contains { if case .tap = $0.device { true } else { false } } }) {
      warnings.append("--mtu: it is for TAP devices, and there is none yet")
    }
    return warnings
  }
}
