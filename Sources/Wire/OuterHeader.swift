/// Everything in front of the inner frame, for one remote VTEP, computed once: the encapsulator copies it and patches
/// total length, identification, DS field, checksum, UDP source port and length, and VNI.
public struct OuterHeader: Equatable, Sendable {
  /// Next hop's MAC address: of the VTEP itself or of the router towards it.
  public var nextHop: MACAddress
  /// MAC address of the underlay NIC.
  public var sourceMAC: MACAddress
  /// The local VTEP address. IPv4.
  public var source: IPAddress
  /// The remote VTEP. IPv4.
  public var destination: IPAddress
  public var ttl: UInt8
  /// UDP destination port, host order.
  public var destinationPort: UInt16
  /// The largest outer IP packet that reaches the VTEP, in bytes.
  public var mtu: UInt16

  public init(
    nextHop: MACAddress, sourceMAC: MACAddress, source: IPAddress, destination: IPAddress, ttl: UInt8, destinationPort: UInt16, mtu: UInt16
  ) {
    self.nextHop = nextHop
    self.sourceMAC = sourceMAC
    self.source = source
    self.destination = destination
    self.ttl = ttl
    self.destinationPort = destinationPort
    self.mtu = mtu
  }

  /// Offsets from the end of the header, so that they hold with and without VLAN tags in front.
  public enum FromEnd {
    public static let ipv4 = 36
    public static let udp = 16
    public static let vxlan = 8
  }

  /// The bytes on the wire, with every field that is patched per packet at zero; the VXLAN flags are set.
  public var bytes: [UInt8] {
    Self.big(nextHop.value, 6) + Self.big(sourceMAC.value, 6) + Self.big(UInt64(EtherType.ipv4), 2)
      + [0x45, 0, 0, 0, 0, 0, 0, 0, ttl, IPProtocol.udp, 0, 0] + Self.big(UInt64(source.v4), 4) + Self.big(UInt64(destination.v4), 4)
      + [0, 0] + Self.big(UInt64(destinationPort), 2) + [0, 0, 0, 0]
      + Self.big(UInt64(VXLAN.validVNI), 4) + [0, 0, 0, 0]
  }

  private static func big(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
  }

  /// The 16-bit one's complement sum of the IPv4 header as in `bytes` (RFC 1071), folded, not complemented.
  public var partialSum: UInt16 {
    let bytes = self.bytes
    var sum: UInt32 = 0
    for offset in stride(from: 14, to: 34, by: 2) { sum += UInt32(bytes[offset]) << 8 | UInt32(bytes[offset + 1]) }
    while sum > 0xffff { sum = (sum & 0xffff) + sum >> 16 }
    return UInt16(sum)
  }
}
