import TestSupport
import Testing
import Wire

@Suite struct PacketTooBigTests {
  static let tags: [[VLANTag]] = [[], [VLANTag(5, priority: 3)], [VLANTag(6, type: 0x88a8), VLANTag(7)]]
  static let link = EthernetHeader()

  /// The answer is what a router would send: built layer by layer around the packet's beginning.
  @Test(arguments: tags, [false, true])
  func answersAsARouter(tags: [VLANTag], isIPv6: Bool) throws {
    let reported: [Int] = isIPv6 ? [1280, 1430, 65000] : [576, 1280, 1450, 65000]
    for mtu in reported {
      for excess in [1, 2, 100] where mtu + excess < 65536 {
        let (original, answer) = Self.pair(isIPv6, tags, mtu: mtu, length: mtu + excess)
        // Padding behind the packet changes nothing.
        for frame in [original, original + [9, 9, 9]] { #expect(Self.answer(to: frame, mtu: mtu + 4 * tags.count) == answer) }
      }
    }
  }

  private static func pair(_ isIPv6: Bool, _ tags: [VLANTag], mtu: Int, length: Int) -> (frame: [UInt8], answer: [UInt8]) {
    let ip: any Layer = isIPv6 ? IPv6Header(hopLimit: 3, trafficClass: 9) : IPv4Header(ttl: 3, tos: 9, dontFragment: true, options: [1])
    let inner = packet([ip, TCPHeader(to: 80), Payload(count: length - (isIPv6 ? 60 : 44))])
    let back: [any Layer] =
      isIPv6
      ? [IPv6Header(to: .remote6, from: .local6), ICMPMessage(type: 2, rest: UInt32(mtu)), Payload(Array(inner.prefix(1280 - 48)))]
      : [
        IPv4Header(to: .remote, from: .local, dontFragment: true), ICMPMessage(type: 3, code: 4, rest: UInt32(mtu)),
        Payload(Array(inner.prefix(576 - 28))),
      ]
    let frame = packet([link] + tags + [ip, TCPHeader(to: 80), Payload(count: length - (isIPv6 ? 60 : 44))])
    return (frame, packet([EthernetHeader(to: .there, from: .here)] + tags + back))
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var isAnswered = false
    var mtu = 1450
    var requiresDF = false
    var layers: [any Layer]

    init(_ description: String, _ layers: any Layer...) {
      testDescription = description
      self.layers = layers
    }

    func with(_ change: (inout Case) -> Void) -> Case {
      var copy = self
      change(&copy)
      return copy
    }
  }

  static func v4(to: UInt32 = 0xc000_0201, from: UInt32 = 0xc000_0202, df: Bool = false, more: Bool = false, offset: Int = 0) -> IPv4Header
  {
    IPv4Header(to: IPAddress(v4: to), from: IPAddress(v4: from), dontFragment: df, moreFragments: more, fragmentOffset: offset)
  }
  static func v6(to: IPAddress = .local6, from: IPAddress = .remote6) -> IPv6Header { IPv6Header(to: to, from: from) }
  static func wrongVersion() -> IPv6Header {
    var header = v6()
    header.version = 4
    return header
  }
  static let group6 = IPAddress(high: 0xff02 << 48, low: 1)
  static let udp = UDPHeader(to: 1)
  static let fill = Payload(count: 1450)

  static let cases: [Case] =
    [
      Case("no DF", link, v4(), udp, fill).with { $0.isAnswered = true },
      Case("no DF where it is wanted", link, v4(), udp, fill).with { $0.requiresDF = true },
      Case("DF where it is wanted", link, v4(df: true), udp, fill).with { ($0.requiresDF, $0.isAnswered) = (true, true) },
      Case("fits exactly", link, v4(), Payload(count: 1430)), Case("fits exactly, IPv6", link, v6(), Payload(count: 1410)),
      Case("fits but for its tag", link, VLANTag(1), v4(), Payload(count: 1427)).with { $0.isAnswered = true },
      Case("MTU of 575", link, v4(), udp, fill).with { $0.mtu = 575 },
      Case("MTU of 576", link, v4(), udp, fill).with { ($0.mtu, $0.isAnswered) = (576, true) },
      Case("MTU of 576 less a tag", link, VLANTag(1), v4(), udp, fill).with { $0.mtu = 576 },
      Case("MTU of 1279, IPv6", link, v6(), udp, fill).with { $0.mtu = 1279 },
      Case("MTU of 1280, IPv6", link, v6(), udp, fill).with { ($0.mtu, $0.isAnswered) = (1280, true) },
      Case("first fragment", link, v4(more: true), udp, fill).with { $0.isAnswered = true },
      Case("second fragment", link, v4(more: true, offset: 8), fill, udp),
      Case("first fragment, IPv6", link, v6(), IPv6FragmentHeader(more: true), udp, fill).with { $0.isAnswered = true },
      Case("second fragment, IPv6", link, v6(), IPv6FragmentHeader(offset: 8, more: true), udp, fill),
      Case("to a group of stations", EthernetHeader(to: .broadcast), v4(), udp, fill),
      Case("from a group of stations", EthernetHeader(from: .broadcast), v4(), udp, fill),
      Case("ARP", link, ARPMessage(), fill), Case("three tags", link, VLANTag(1), VLANTag(2), VLANTag(3), v4(), udp, fill),
      Case("IP version", link, wrongVersion(), udp, fill),
      Case("from an IPv4-mapped address", link, MappedHeader(), fill),
      Case("longer than the frame", link, IPv4Header(totalLength: 2000), udp, fill),
      Case("shorter than its header", link, IPv4Header(totalLength: 19), udp, fill),
    ]
    + ([(0, false), (0x7f00_0001, false), (0xe000_0001, false), (0xffff_ffff, false), (0xf000_0001, false), (0xcb00_7101, true)]
    as [(UInt32, Bool)]).flatMap { (address, isAnswered) in
      [
        Case("from \(address)", link, v4(from: address), udp, fill).with { $0.isAnswered = isAnswered },
        Case("to \(address)", link, v4(to: address), udp, fill).with { $0.isAnswered = isAnswered },
      ]
    }
    + [IPAddress(high: 0, low: 0), IPAddress(high: 0, low: 1), group6].enumerated().flatMap { index, address in
      [Case("from \(index)", link, v6(from: address), udp, fill), Case("to \(index)", link, v6(to: address), udp, fill)]
    }
    + (0...20 as ClosedRange<UInt8>).map { type in
      Case("ICMP type \(type)", link, v4(), ICMPMessage(type: type), fill).with { $0.isAnswered = ![3, 4, 5, 11, 12].contains(type) }
    }
    + ([1, 2, 3, 4, 127, 128, 129, 135, 137, 138] as [UInt8]).flatMap { type in
      [
        Case("ICMPv6 type \(type)", link, v6(), ICMPMessage(type: type), fill),
        Case(
          "ICMPv6 type \(type) behind everything", link, v6(), IPv6ExtensionHeader(0),
          IPv6ExtensionHeader(43, content: [0, 0, 0, 0, 0, 0, 0]),
          IPv6ExtensionHeader(60), AuthenticationHeader(), IPv6FragmentHeader(more: true), ICMPMessage(type: type), fill),
      ].map { $0.with { $0.isAnswered = type >= 128 && type != 137 } }
    }

  /// UDP over IPv6 from ::ffff:192.0.2.1, which `IPv6Header` can't write.
  struct MappedHeader: Layer {
    var etherType: UInt16? { 0x86dd }
    func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
      var bytes = packet(v6(), udp, Payload(payload))
      bytes.replaceSubrange(8..<24, with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1])
      return bytes
    }
  }

  /// RFC 4302 section 2: the length is in words of four bytes, less two.
  struct AuthenticationHeader: Layer {
    func ipProtocol(overIPv6: Bool) -> UInt8? { 51 }
    func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
      [context.next?.ipProtocol(overIPv6: true) ?? 59, 4, 0, 0] + [UInt8](repeating: 0x2c, count: 20) + payload
    }
  }

  @Test(arguments: cases) func answersWhatMayBeAnswered(_ example: Case) {
    #expect((Self.answer(to: packet(example.layers), mtu: example.mtu, example.requiresDF) != nil) == example.isAnswered)
  }

  @Test func neverTraps() {
    var random = Seeded(11)
    var answered = 0
    for example in Self.cases where example.isAnswered {
      let whole = packet(example.layers)
      for length in 0..<120 { #expect(Self.answer(to: Array(whole.prefix(length)), mtu: 1280) == nil) }
      for _ in 0..<200 {
        var frame = whole
        for _ in 0..<3 { frame[random.below(100)] = UInt8(truncatingIfNeeded: random.next()) }
        if Self.answer(to: frame, mtu: 1280) != nil { answered += 1 }
      }
    }
    #expect(answered > 100)
  }

  private static func answer(to frame: [UInt8], mtu: Int, _ requiresDF: Bool = false) -> [UInt8]? {
    var reply = [UInt8](repeating: 0xdd, count: PacketTooBig.maximumLength)
    var span = reply.mutableSpan
    var raw = unsafe span.mutableBytes
    guard let length = unsafe PacketTooBig.answer(to: frame.span.bytes, mtu: mtu, requiresDF: requiresDF, into: &raw) else { return nil }
    return Array(reply.prefix(length))
  }
}
