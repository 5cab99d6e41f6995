import PacketIO
import Wire

/// The tables that all workers share.
public final class Forwarding: Sendable {
  public let fdb: FDB
  public let vteps: VTEPTable
  public let neighbours: NeighbourTable

  /// - Parameters:
  ///   - maximumEntries: of the FDB.
  ///   - seed: of the FDB's hash; fixed only where a run must repeat exactly.
  ///   - isShared: whether the XDP program reads FDB and VTEPs as well, for `fastPathTables`.
  public init(maximumEntries: Int, seed: UInt64 = .random(in: .min ... .max), isShared: Bool = false) throws(SystemError) {
    let fdb = try FDB(limit: maximumEntries, seed: seed, isShared: isShared)
    let vteps = try VTEPTable(isShared: isShared)
    let neighbours = try NeighbourTable()
    self.fdb = fdb
    self.vteps = vteps
    self.neighbours = neighbours
  }
}

extension Forwarding {
  /// The tables of the XDP program's fast path. Only where this was made to be shared.
  ///
  /// - Throws: `SystemError` when the kernel can't make them.
  public func fastPathTables() throws(SystemError) -> FastPathTables {
    try FastPathTables(fdb: fdb.words, vteps: vteps.words)
  }

  /// What the fast path must know to do as workers with these settings do.
  public func fastPathSettings(_ settings: TunnelSettings) -> FastPathSettings {
    var fast = FastPathSettings()
    fast.isIPv6 = !settings.local.isIPv4
    fast.seed = fdb.seed
    fast.shift = UInt32(fdb.shift)
    fast.hashKey = settings.hashKey
    fast.sourcePorts = settings.sourcePorts
    fast.reservedBits = settings.reservedBits
    switch settings.tos {
    case .fixed(let octet): (fast.inheritedDS, fast.ds) = (3, octet & ~3)
    case .inherit: (fast.inheritedDS, fast.ds) = (0xff, 0)
    }
    fast.df = settings.df == .set ? 0x4000 : 0
    fast.inheritedDF = settings.df == .inherit ? 0x4000 : 0
    // What differs per packet besides: a worker reads it.
    fast.encapsulates = !settings.inheritsTTL && (settings.local.isIPv4 || settings.flowLabel == .fixed)
    fast.onlyListed = settings.onlyListed
    fast.verifiesUDPChecksum = settings.verifiesUDPChecksum
    fast.acceptsZeroUDP = settings.local.isIPv4 || settings.acceptsZeroUDP6
    fast.clamps = settings.segmentSizeLimit != 0
    return fast
  }
}

/// What holds for every segment: addresses of this VTEP, and how outer headers are made and judged.
public struct TunnelSettings: Sendable {
  public enum TOS: Sendable, Equatable { case fixed(UInt8), inherit }
  public enum DF: Sendable, Equatable { case set, unset, inherit }
  public enum FlowLabel: Sendable, Equatable {
    /// As in the VTEP's header.
    case fixed
    /// The inner IPv6 packet's; 0 for others.
    case inherit
    /// A hash of the inner flow, as the source port (RFC 6438).
    case hash
  }

  /// This VTEP's address.
  public var local: IPAddress
  /// UDP port of VXLAN, here and by default at the remote VTEPs, host order.
  public var port: UInt16 = VXLAN.defaultPort
  /// Outer UDP source ports, both included, host order.
  public var sourcePorts: ClosedRange<UInt16> = 49152...65535
  /// Whether the outer TTL is the inner packet's; else it is that of the VTEP's header.
  public var inheritsTTL = false
  /// DS field of the outer header. Its ECN bits follow the inner header always (RFC 6040).
  public var tos = TOS.fixed(0)
  /// DF bit of the outer IPv4 header.
  public var df = DF.unset
  /// Of the outer IPv6 header.
  public var flowLabel = FlowLabel.fixed
  /// Bits of the received VXLAN header, as one number of 64 bits, that must be zero.
  public var reservedBits: UInt64 = 0
  /// Whether received UDP checksums that are not zero are verified (RFC 7348 section 5: a receiver may).
  public var verifiesUDPChecksum = false
  /// Whether packets over IPv6 may come without UDP checksum (RFC 6935).
  public var acceptsZeroUDP6 = true
  /// Most bytes of payload that TCP SYNs through the tunnel may offer, besides what fits through it; 0: they stay as they are.
  public var segmentSizeLimit: UInt16 = .max
  public var learning = true
  /// Whether frames are taken only from VTEPs that the operator named.
  public var onlyListed = false
  /// Secret of the flow hash.
  public var hashKey: UInt64 = .random(in: .min ... .max)

  public init(local: IPAddress) { self.local = local }
}

/// The FDB's key for a MAC address of a segment.
@inline(__always)
public func fdbKey(_ segment: Int, _ mac: MACAddress) -> FDBKey { UInt64(truncatingIfNeeded: segment) << 48 | mac.value }
