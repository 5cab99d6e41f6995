import Datapath
import Logging
import Wire

/// Everything that `vxgw run` needs to know, checked as far as that is possible without asking the kernel.
public struct Configuration: Sendable, Equatable {
  /// A virtual layer-2 network and what is connected to it here.
  public struct Segment: Sendable, Equatable {
    /// 24 bits.
    public let vni: UInt32
    /// At least one.
    public internal(set) var ports: [LocalPort]
  }

  /// A local port of a segment, by the name of its network interface.
  public enum LocalPort: Sendable, Hashable {
    /// A NIC that exists.
    case nic(String)
    /// A TAP device that vxgw makes.
    case tap(String)

    public var name: String {
      switch self {
      case .nic(let name), .tap(let name): name
      }
    }
  }

  /// The outer IP header's type-of-service octet. Its lower two bits, ECN, follow the inner packet (RFC 6040).
  public enum TOS: Sendable, Equatable {
    case value(UInt8)
    /// The inner packet's.
    case inherit
  }

  /// The outer IP header's don't-fragment bit.
  public enum DF: String, CaseIterable, Sendable { case set, unset, inherit }

  /// From which VTEPs frames are accepted.
  public enum VTEPs: String, CaseIterable, Sendable { case listed, any }

  /// How frames are received and sent on NICs.
  public enum IO: String, CaseIterable, Sendable {
    /// The best that works.
    case auto
    /// AF_XDP on native XDP.
    case xdp
    /// AF_XDP on generic XDP.
    case xdpSKB = "xdp-skb"
    /// AF_PACKET sockets.
    case raw
  }

  public enum ZeroCopy: String, CaseIterable, Sendable { case auto, on, off }

  /// Network interface of the underlay.
  public internal(set) var iface = ""
  /// At least one, no VNI twice, no port twice.
  public internal(set) var segments: [Segment] = []

  /// Outer source address; nil: the primary address of `iface`.
  public internal(set) var local: IPAddress?
  /// Remote VTEPs that get a copy of BUM frames, of every segment.
  public internal(set) var remotes: [IPAddress] = []
  /// UDP port, host order.
  public internal(set) var destinationPort: UInt16 = 4789
  /// UDP ports, host order, from which a hash of the inner flow chooses.
  public internal(set) var sourcePorts: ClosedRange<UInt16> = 49152...65535
  public internal(set) var ttl: UInt8 = 64
  public internal(set) var tos = TOS.value(0)
  public internal(set) var df = DF.unset

  public internal(set) var learning = true
  /// Seconds after which a learned entry that nobody used goes; 0: never.
  public internal(set) var ageing = 300
  /// Most entries of the FDB.
  public internal(set) var maxFDB = 1_048_576
  public internal(set) var vteps = VTEPs.any

  public internal(set) var io = IO.auto
  public internal(set) var zeroCopy = ZeroCopy.auto
  /// Nil: one per queue pair.
  public internal(set) var workers: Int?
  /// CPUs that workers are bound to, in order; none: any. Not fewer than `workers`.
  public internal(set) var cpus: [Int] = []
  /// Frames per round of the worker's loop, at most `ring`.
  public internal(set) var batch = 64
  /// Entries of each AF_XDP ring: a power of two.
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
