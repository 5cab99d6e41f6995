import TestSupport
import Testing
import Wire

@Suite struct OuterHeaderTests {
  /// The bytes of the published captures, but for what is patched per packet.
  @Test(arguments: Capture.all) func isWhatWasCaptured(_ capture: Capture) {
    let ethernet = capture.ethernet.isEmpty ? packet(EthernetHeader(type: 0x0800)) : capture.ethernet
    let published = Array((ethernet + capture.packet).prefix(50))
    func number(_ offset: Int, _ count: Int) -> UInt64 { published[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) } }
    let header = OuterHeader(
      nextHop: MACAddress(number(0, 6)), sourceMAC: MACAddress(number(6, 6)), source: IPAddress(v4: UInt32(number(26, 4))),
      destination: IPAddress(v4: UInt32(number(30, 4))), ttl: published[22], destinationPort: UInt16(number(36, 2)), mtu: 1500)
    var expected = published
    // DS field, total length, identification and fragment; header checksum; UDP source port, length and checksum; VNI.
    for field in [15..<22, 24..<26, 34..<36, 38..<42, 46..<49] { for offset in field { expected[offset] = 0 } }
    #expect(header.bytes == expected)
    #expect(header.partialSum == onesComplementSum(Array(expected[14..<34])))
    #expect(header.bytes.count == VXLAN.overheadIPv4)
  }

  /// Both families, with and without a tag: the bytes of a packet that was built layer by layer.
  @Test(arguments: [false, true], [nil, 0, 100, 4094] as [UInt16?])
  func isWhatIsBuiltLayerByLayer(isIPv6: Bool, vlan: UInt16?) {
    let header = Self.header(isIPv6, vlan)
    var expected = Self.built(header, source: 0, vni: 0, inner: [])
    let udp = expected.count - OuterHeader.FromEnd.udp
    let network = expected.count - (isIPv6 ? OuterHeader.FromEnd.ipv6 : OuterHeader.FromEnd.ipv4)
    let patched = isIPv6 ? [network + 4..<network + 6] : [network + 2..<network + 4, network + 10..<network + 12]
    for field in patched + [udp + 4..<udp + 8] { for offset in field { expected[offset] = 0 } }
    #expect(header.bytes == expected)
    #expect(expected.count == (isIPv6 ? VXLAN.overheadIPv6 : VXLAN.overheadIPv4) + (vlan == nil ? 0 : 4))
    #expect(expected[(expected.count - OuterHeader.FromEnd.vxlan)...].elementsEqual([8, 0, 0, 0, 0, 0, 0, 0]))
    #expect(header.partialSum == (isIPv6 ? 0 : onesComplementSum(Array(expected[network..<udp]))))
  }

  /// What a sender adds to `udpPartialSum` makes the checksum of the whole packet.
  @Test(arguments: [false, true]) func sumsUpToTheUDPChecksum(isIPv6: Bool) {
    var random = Seeded(8)
    for length in 0..<300 {
      let header = Self.header(isIPv6, nil)
      let (source, vni) = (UInt16(truncatingIfNeeded: random.next()), UInt32(random.below(1 << 24)))
      let inner = random.bytes(length)
      let whole = Self.built(header, source: source, vni: vni, inner: inner)
      let udp = whole.count - length - OuterHeader.FromEnd.udp
      let sum =
        UInt64(header.udpPartialSum) + 2 * UInt64(length + 16) + UInt64(source) + UInt64(vni >> 8) + UInt64(vni & 0xff) << 8
        + UInt64(onesComplementSum(inner))
      let checksum = ~Checksum.fold(sum)
      #expect([UInt8](big: checksum == 0 ? 0xffff : checksum) == Array(whole[udp + 6..<udp + 8]))
    }
  }

  @Test(
    arguments: [
      (IPAddress(v4: 0xef01_0101), 0x0100_5e01_0101), (IPAddress(v4: 0xe0ff_ffff), 0x0100_5e7f_ffff),
      (IPAddress(v4: 0xe080_0001), 0x0100_5e00_0001), (IPAddress(high: 0xff02 << 48, low: 1), 0x3333_0000_0001),
      (IPAddress(high: 0xff05 << 48, low: 0x1234_5678_9abc_def0), 0x3333_9abc_def0),
    ] as [(IPAddress, UInt64)])
  func mapsGroups(_ group: IPAddress, _ mac: UInt64) {
    #expect(OuterHeader.groupMAC(group) == MACAddress(mac))
    #expect(OuterHeader.groupMAC(group).isMulticast)
  }

  private static func header(_ isIPv6: Bool, _ vlan: UInt16?) -> OuterHeader {
    OuterHeader(
      nextHop: .here, sourceMAC: .there, vlan: vlan, source: isIPv6 ? .remote6 : .remote, destination: isIPv6 ? .local6 : .local, ttl: 17,
      flowLabel: isIPv6 ? 0xabcde : 0, destinationPort: 8472, mtu: 1500)
  }

  private static func built(_ header: OuterHeader, source: UInt16, vni: UInt32, inner: [UInt8]) -> [UInt8] {
    var ipv6 = IPv6Header(to: header.destination, from: header.source, hopLimit: header.ttl)
    ipv6.flowLabel = header.flowLabel
    let ip: any Layer = header.source.isIPv4 ? IPv4Header(to: header.destination, from: header.source, ttl: header.ttl) : ipv6
    let tags: [any Layer] = header.vlan.map { [VLANTag($0)] } ?? []
    return packet(
      [EthernetHeader(to: header.nextHop, from: header.sourceMAC)] + tags
        + [ip, UDPHeader(to: header.destinationPort, from: source), VXLANHeader(vni: vni), Payload(inner)])
  }
}
