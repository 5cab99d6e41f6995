import TestSupport
import Testing
import Wire

@Suite struct OuterChecksumTests {
  /// Valid frames of every layout: headers alone give what all bytes give.
  @Test(arguments: PartialChecksumTests.layouts)
  func sumsUpHeadersLikeTheWholeFrame(_ layout: StupidFrame) {
    for kind in [StupidFrame.Sum.complete, .zero] where !(layout.isTCP && kind == .zero) {
      for padding in [layout.padding, 0, 1, 46] {
        var padded = layout
        padded.padding = padding
        let frame = padded.bytes(kind)
        #expect(Self.sum(frame) == stupidSum(frame))
      }
    }
  }

  @Test func sumsUpRandomFrames() {
    var random = Seeded(9)
    for _ in 0..<3000 {
      let isIPv6 = random.below(2) == 0
      let layout = StupidFrame(
        tags: [[], [0x8100], [0x88a8, 0x8100]][random.below(3)], isIPv6: isIPv6, isTCP: random.below(2) == 0,
        ipOptions: isIPv6 ? 0 : 4 * max(0, random.below(13) - 2), tcpOptions: 4 * random.below(11),
        payload: random.bytes(random.below(200)),
        padding: random.below(30), identification: UInt16(random.below(65536)))
      let frame = layout.bytes()
      #expect(Self.sum(frame) == stupidSum(frame), "\(layout)")
    }
  }

  /// Proof that the payload is not read where it need not be: when it is wrong, the sum does not see it.
  @Test(arguments: [false, true], [false, true])
  func readsHeadersAlone(isIPv6: Bool, isTCP: Bool) {
    let layout = StupidFrame(tags: [0x8100], isIPv6: isIPv6, isTCP: isTCP, payload: [1, 2, 3, 4])
    var frame = layout.bytes()
    frame[frame.count - 1] ^= 0xff
    #expect(Self.sum(frame) == stupidSum(layout.bytes()))
  }

  /// What must be summed up whole, although it is or looks like TCP or UDP: frames that TCP or UDP checksums say nothing of.
  @Test(
    arguments: [
      ("fragment", packet(EthernetHeader(), IPv4Header(moreFragments: true), UDPHeader(to: 1), Payload(count: 24))),
      ("last fragment", packet(EthernetHeader(), IPv4Header(fragmentOffset: 64), UDPHeader(to: 1), Payload(count: 24))),
      ("IPv6 fragment", packet(EthernetHeader(), IPv6Header(), IPv6FragmentHeader(more: true), UDPHeader(to: 1), Payload(count: 24))),
      ("no checksum", packet(EthernetHeader(), IPv4Header(), UDPHeader(to: 1, checksum: .value(0)), Payload(count: 24))),
      (
        "UDP shorter than IP",
        packet(EthernetHeader(), IPv4Header(totalLength: 53), UDPHeader(to: 1), Payload(count: 4)) + [UInt8](repeating: 5, count: 21)
      ),
      ("source route", sourceRouted), ("ARP", packet(EthernetHeader(), ARPMessage())),
      ("ICMP", packet(EthernetHeader(), IPv4Header(), ICMPMessage(type: 8), Payload(count: 3))),
      ("three tags", packet(EthernetHeader(), VLANTag(1), VLANTag(2), VLANTag(3), IPv4Header(), TCPHeader(to: 1))),
      ("nothing", []), ("MAC addresses", [UInt8](repeating: 7, count: 13)),
    ] as [(String, [UInt8])])
  func sumsUpTheRest(_ name: String, _ frame: [UInt8]) {
    #expect(Self.sum(frame) == stupidSum(frame))
  }

  /// A UDP datagram on its way to the first hop of a source route; the checksum is for the final destination.
  private static let sourceRouted: [UInt8] = {
    let route: [UInt8] = [131, 7, 4, 198, 51, 100, 9, 0]
    let final = packet(IPv4Header(to: IPAddress(v4: 0xc633_6409), options: route), UDPHeader(to: 1), Payload(count: 5))
    var ip = IPv4Header(options: route)
    ip.protocolNumber = IPProtocol.udp
    return packet(EthernetHeader(), ip, Payload(Array(final[28...])))
  }()

  /// Every bit of a received packet counts, whatever its length.
  @Test(arguments: [false, true], [0, 1, 2, 63, 1400])
  func verifies(isIPv6: Bool, length: Int) {
    let ip: any Layer = isIPv6 ? IPv6Header() : IPv4Header()
    let whole = packet([EthernetHeader(), ip, UDPHeader(to: 4789), VXLANHeader(vni: 7), Payload(count: length)])
    let udp = isIPv6 ? 54 : 34
    func isRight(_ bytes: [UInt8], _ end: Int) -> Bool {
      unsafe OuterChecksum.isRight(bytes.span.bytes, ip: 14, isIPv6: isIPv6, datagram: udp..<end)
    }
    #expect(isRight(whole, whole.count))
    #expect(isRight(whole + [1, 2, 3], whole.count), "padding does not count")
    for offset in (udp - 8)..<whole.count {
      var bytes = whole
      bytes[offset] ^= 0x10
      #expect(!isRight(bytes, whole.count), "byte \(offset)")
    }
  }

  /// All ones and zero are the same in one's complement; what a sender adds is never zero, so it sends the same for both.
  private static func sum(_ frame: [UInt8]) -> UInt16 {
    let span = unsafe frame.span.bytes
    let sum = Checksum.fold(OuterChecksum.innerSum(span, TransportHeader(span)))
    return sum == 0xffff && stupidSum(frame) == 0 ? 0 : sum
  }
}
