/// Everything in front of the inner frame, for one remote VTEP, computed once: the encapsulator copies it and patches what
/// differs from packet to packet. That is length, DS field, UDP source port, length and checksum, and VNI; over IPv4
/// identification, DF and header checksum as well; TTL and flow label where they are inherited.
public struct OuterHeader: Equatable, Sendable {
  /// MAC address of the next hop: of the VTEP itself, of the router towards it, or `groupMAC`.
  public var nextHop: MACAddress
  /// MAC address of the underlay NIC.
  public var sourceMAC: MACAddress
  /// VID (12 bits) of the 802.1Q tag in front of the IP header; nil: there is no tag.
  public var vlan: UInt16?
  /// The local VTEP address.
  public var source: IPAddress
  /// The remote VTEP or the multicast group, of the same family.
  public var destination: IPAddress
  /// IPv4 TTL or IPv6 hop limit.
  public var ttl: UInt8
  /// IPv6 flow label, 20 bits, host order. IPv4 has none.
  public var flowLabel: UInt32
  /// UDP destination port, host order.
  public var destinationPort: UInt16
  /// Whether packets get a UDP checksum, or zero, which says that there is none (RFC 768, RFC 6935).
  public var udpChecksum: Bool
  /// The largest outer IP packet that reaches the VTEP, in bytes.
  public var mtu: UInt16

  /// Traps when the addresses are not of one family, or when `vlan` has more than 12 or `flowLabel` more than 20 bits.
  public init(
    nextHop: MACAddress, sourceMAC: MACAddress, vlan: UInt16? = nil, source: IPAddress, destination: IPAddress, ttl: UInt8,
    flowLabel: UInt32 = 0, destinationPort: UInt16, udpChecksum: Bool = false, mtu: UInt16
  ) {
    precondition(source.isIPv4 == destination.isIPv4 && vlan ?? 0 < 0x1000 && flowLabel < 0x10_0000)
    self.nextHop = nextHop
    self.sourceMAC = sourceMAC
    self.vlan = vlan
    self.source = source
    self.destination = destination
    self.ttl = ttl
    self.flowLabel = flowLabel
    self.destinationPort = destinationPort
    self.udpChecksum = udpChecksum
    self.mtu = mtu
  }

  /// Offsets from the end of the header, so that they hold with and without VLAN tags in front.
  public enum FromEnd {
    public static let ipv4 = 36
    public static let ipv6 = 56
    public static let udp = 16
    public static let vxlan = 8
  }

  /// The bytes on the wire, with every field that is always patched at zero; the VXLAN flags are set. 50 bytes over IPv4 and
  /// 70 over IPv6; a VLAN tag is four more.
  public var bytes: [UInt8] {
    var bytes = Self.big(nextHop.value, 6) + Self.big(sourceMAC.value, 6)
    if let vlan { bytes += Self.big(UInt64(EtherType.customerTag), 2) + Self.big(UInt64(vlan), 2) }
    bytes += source.isIPv4 ? Self.big(UInt64(EtherType.ipv4), 2) + ipv4 : Self.big(UInt64(EtherType.ipv6), 2) + ipv6
    return bytes + [0, 0] + Self.big(UInt64(destinationPort), 2) + [0, 0, 0, 0] + Self.big(UInt64(VXLAN.validVNI), 4) + [0, 0, 0, 0]
  }

  private var ipv4: [UInt8] { [0x45, 0, 0, 0, 0, 0, 0, 0, ttl, IPProtocol.udp, 0, 0] + Self.big(source) + Self.big(destination) }

  private var ipv6: [UInt8] {
    Self.big(6 << 28 | UInt64(flowLabel), 4) + [0, 0, IPProtocol.udp, ttl] + Self.big(source) + Self.big(destination)
  }

  /// The one's complement sum of the IPv4 header as in `bytes` (RFC 1071), folded, not complemented; 0 for IPv6, whose
  /// header has no checksum.
  public var partialSum: UInt16 { source.isIPv4 ? Self.sum(ipv4) : 0 }

  /// The one's complement sum, folded, not complemented, of what never changes below the outer UDP checksum: addresses and
  /// protocol of the pseudo-header (RFC 768, RFC 8200 section 8.1), destination port and VXLAN flags.
  ///
  /// A sender adds the UDP length twice (it is in the pseudo-header, too), the source port, the two words of the VNI and the
  /// inner frame's sum.
  public var udpPartialSum: UInt16 {
    Self.sum(
      Self.big(source) + Self.big(destination) + [0, IPProtocol.udp] + Self.big(UInt64(destinationPort), 2)
        + Self.big(UInt64(VXLAN.validVNI), 4))
  }

  /// Where packets to a multicast group go: 01:00:5e and the low 23 bits of an IPv4 group (RFC 1112 section 6.4), 33:33 and
  /// the low 32 bits of an IPv6 group (RFC 2464 section 7).
  public static func groupMAC(_ group: IPAddress) -> MACAddress {
    group.isIPv4 ? MACAddress(0x0100_5e00_0000 | UInt64(group.v4 & 0x7f_ffff)) : MACAddress(0x3333_0000_0000 | group.low & 0xffff_ffff)
  }

  private static func big(_ address: IPAddress) -> [UInt8] {
    address.isIPv4 ? big(UInt64(address.v4), 4) : big(address.high, 8) + big(address.low, 8)
  }

  private static func big(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
  }

  /// Of an even number of bytes.
  private static func sum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt64 = 0
    for offset in stride(from: 0, to: bytes.count, by: 2) { sum += UInt64(bytes[offset]) << 8 | UInt64(bytes[offset + 1]) }
    return Checksum.fold(sum)
  }
}
