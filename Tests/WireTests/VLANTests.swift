import TestSupport
import Testing
import Wire

@Suite struct VLANTests {
  @Test(arguments: [0x8100, 0x88a8] as [UInt16], [0, 1, 100, 4095] as [UInt16])
  func takesTagsOffAndPutsThemOn(type: UInt16, identifier: UInt16) {
    let (link, rest): (EthernetHeader, [any Layer]) = (EthernetHeader(), [VLANTag(9), ARPMessage()])
    let tag = VLAN.tag(type: type, identifier: identifier)
    let (tagged, untagged) = (packet([link, VLANTag(identifier, type: type)] + rest), packet([link] + rest))
    #expect(unsafe tagged.span.bytes.vlanTag == tag)
    #expect(VLAN.identifier(tag | 0xf000) == identifier, "priority and drop eligibility do not belong to it")

    var bytes = tagged
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    raw.removeVLANTag()
    #expect(Array(bytes[VLAN.tagLength...]) == untagged)

    var longer = [UInt8](repeating: 0xdd, count: VLAN.tagLength) + untagged
    span = longer.mutableSpan
    raw = unsafe span.mutableBytes
    raw.insertVLANTag(tag)
    #expect(longer == tagged)
  }

  @Test(
    arguments: [
      ("untagged", packet(EthernetHeader(), ARPMessage()), 0), ("empty", [], 0),
      ("nothing behind the tag", Array(packet(EthernetHeader(), VLANTag(1)).prefix(16)), 0),
      ("type alone", packet(EthernetHeader(), VLANTag(1)), 0x8100_0001),
      ("priority", packet(EthernetHeader(), VLANTag(5, priority: 7)), 0x8100_e005),
      ("other tag", packet(EthernetHeader(type: 0x9100), Payload([0, 1, 8, 0])), 0),
    ] as [(String, [UInt8], UInt32)])
  func readsTags(_ name: String, _ frame: [UInt8], _ tag: UInt32) {
    #expect(unsafe frame.span.bytes.vlanTag == tag)
  }
}
