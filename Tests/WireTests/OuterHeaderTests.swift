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
}
