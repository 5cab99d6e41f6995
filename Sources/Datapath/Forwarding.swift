import PacketIO
import Wire

/// The tables that all workers share.
public final class Forwarding: Sendable {
  public let fdb: FDB
  public let vteps: VTEPTable

  /// - Parameters:
  ///   - maximumEntries: of the FDB.
  ///   - seed: of the FDB's hash; fixed only where a run must repeat exactly.
  public init(maximumEntries: Int, seed: UInt64 = .random(in: .min ... .max)) throws(SystemError) {
    let fdb = try FDB(limit: maximumEntries, seed: seed)
    let vteps = try VTEPTable()
    self.fdb = fdb
    self.vteps = vteps
  }
}

/// What holds for every segment: addresses of this VTEP, and how outer headers are made and judged.
public struct TunnelSettings: Sendable {
  public enum TOS: Sendable, Equatable { case fixed(UInt8), inherit }
  public enum DF: Sendable, Equatable { case set, unset, inherit }

  /// This VTEP's address.
  public var local: IPAddress
  /// UDP port of VXLAN, here and at the remote VTEPs, host order.
  public var port: UInt16
  /// Outer UDP source ports, both included, host order.
  public var sourcePorts: ClosedRange<UInt16>
  /// DS field of the outer header. Its ECN bits follow the inner header always (RFC 6040).
  public var tos: TOS
  /// DF bit of the outer IPv4 header.
  public var df: DF
  public var learning: Bool
  /// Whether frames are taken only from VTEPs that the operator named.
  public var onlyListed: Bool
  /// Secret of the flow hash.
  public var hashKey: UInt64

  public init(
    local: IPAddress, port: UInt16 = VXLAN.defaultPort, sourcePorts: ClosedRange<UInt16> = 49152...65535, tos: TOS = .fixed(0),
    df: DF = .unset, learning: Bool = true, onlyListed: Bool = false, hashKey: UInt64 = .random(in: .min ... .max)
  ) {
    self.local = local
    self.port = port
    self.sourcePorts = sourcePorts
    self.tos = tos
    self.df = df
    self.learning = learning
    self.onlyListed = onlyListed
    self.hashKey = hashKey
  }
}

/// The FDB's key for a MAC address of a segment.
@inline(__always)
public func fdbKey(_ segment: Int, _ mac: MACAddress) -> FDBKey { UInt64(truncatingIfNeeded: segment) << 48 | mac.value }
