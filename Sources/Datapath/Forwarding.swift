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
  public init(maximumEntries: Int, seed: UInt64 = .random(in: .min ... .max)) throws(SystemError) {
    let fdb = try FDB(limit: maximumEntries, seed: seed)
    let vteps = try VTEPTable()
    let neighbours = try NeighbourTable()
    self.fdb = fdb
    self.vteps = vteps
    self.neighbours = neighbours
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
