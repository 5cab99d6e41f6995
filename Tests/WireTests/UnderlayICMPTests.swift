import TestSupport
import Testing
import Wire

@Suite struct UnderlayICMPTests {
  static let router = IPAddress(v4: 0xcb00_7101)
  static let vxlan: [any Layer] = [UDPHeader(to: 8472), VXLANHeader(vni: 0xabcdef, reserved: 0x8000, reserved2: 9), Payload(count: 60)]
  static let options: [UInt8] = [1, 1, 1]

  /// What a raw socket receives: over IPv4 with the header, over IPv6 without.
  static func message(
    _ isIPv6: Bool = false, type: UInt8? = nil, code: UInt8? = nil, mtu: UInt32 = 1400, quote: [UInt8]? = nil, options: [UInt8] = []
  ) -> [UInt8] {
    let ours: any Layer = isIPv6 ? IPv6Header() : IPv4Header(options: options)
    let icmp = ICMPMessage(type: type ?? (isIPv6 ? 2 : 3), code: code ?? (isIPv6 ? 0 : 4), rest: mtu)
    let payload = Payload(quote ?? packet([ours] + vxlan))
    return isIPv6
      ? Array(packet(IPv6Header(), icmp, payload).dropFirst(40)) : packet(IPv4Header(from: router, options: options), icmp, payload)
  }

  @Test(arguments: [[], options]) func readsFragmentationNeeded(options: [UInt8]) throws {
    for (field, mtu) in [(68, 68), (1400, 1400), (0xffff_0578, 0x578)] as [(UInt32, Int)] {
      let read = try #require(Self.read(Self.message(mtu: field, options: options)))
      #expect(read.source == .remote && read.destination == .local && read.port == 8472 && read.vni == 0xabcdef && read.mtu == mtu)
    }
  }

  @Test func readsPacketTooBig() throws {
    for mtu in [1280, 1400, 100_000] as [UInt32] {
      let read = try #require(Self.read(Self.message(true, mtu: mtu), true))
      #expect(read.source == .remote6 && read.destination == .local6 && read.port == 8472 && read.vni == 0xabcdef && read.mtu == mtu)
    }
  }

  /// Every length of the quote: what is enough, and that nothing traps.
  @Test(arguments: [false, true], [[], options]) func wantsAllHeaders(isIPv6: Bool, options: [UInt8]) {
    let ours: any Layer = isIPv6 ? IPv6Header() : IPv4Header(options: options)
    let quote = packet([ours] + Self.vxlan)
    let enough = (isIPv6 ? 40 : options.isEmpty ? 20 : 24) + 16
    for length in 0...quote.count {
      let message = Self.message(isIPv6, quote: Array(quote.prefix(length)), options: options)
      #expect((Self.read(message, isIPv6) != nil) == (length >= enough), "\(length)")
    }
    let whole = Self.message(isIPv6, options: options)
    for length in 0..<whole.count where !isIPv6 { #expect(Self.read(Array(whole.prefix(length))) == nil) }
  }

  static func quote(_ layers: any Layer...) -> [UInt8] { packet(layers + [Payload(count: 20)]) }
  static let invalid = VXLANHeader(vni: 1, flags: 0xf7)

  @Test(
    arguments: [
      ("MTU of 67", false, message(mtu: 67)), ("no MTU", false, message(mtu: 0)), ("MTU of 1279", true, message(true, mtu: 1279)),
      ("other code", false, message(code: 3)), ("other type", false, message(type: 11)), ("other code", true, message(true, code: 1)),
      ("other type", true, message(true, type: 1)), ("echo", true, message(true, type: 128)),
      ("no I flag", false, message(quote: quote(IPv4Header(), UDPHeader(to: 8472), invalid))),
      ("no I flag", true, message(true, quote: quote(IPv6Header(), UDPHeader(to: 8472), invalid))),
      ("TCP", false, message(quote: quote(IPv4Header(), TCPHeader(to: 8472), VXLANHeader(vni: 1)))),
      ("TCP", true, message(true, quote: quote(IPv6Header(), TCPHeader(to: 8472), VXLANHeader(vni: 1)))),
      ("a fragment", false, message(quote: packet([IPv4Header(fragmentOffset: 8)] + vxlan))),
      ("other family", true, message(true, quote: packet([IPv4Header()] + vxlan))),
      ("other family", false, message(quote: packet([IPv6Header()] + vxlan))),
      ("UDP", false, packet(IPv4Header(), UDPHeader(to: 0x0304), Payload(count: 80))),
      ("wrong checksum", false, message().dropLast() + [0xaa]),
    ] as [(String, Bool, [UInt8])])
  func ignores(_ name: String, _ isIPv6: Bool, _ message: [UInt8]) {
    #expect(Self.read(message, isIPv6) == nil)
  }

  @Test func neverTraps() {
    var random = Seeded(14)
    for round in 0..<40_000 {
      let isIPv6 = round % 2 == 0
      var bytes = Self.message(isIPv6)
      for _ in 0..<2 { bytes[random.below(60)] = UInt8(truncatingIfNeeded: random.next()) }
      bytes.removeLast(random.below(2) * random.below(bytes.count))
      _ = Self.read(bytes, isIPv6)
    }
  }

  private static func read(_ bytes: [UInt8], _ isIPv6: Bool = false) -> UnderlayICMP? {
    let span = unsafe bytes.span.bytes
    return isIPv6 ? UnderlayICMP(ipv6: span) : UnderlayICMP(ipv4: span)
  }
}
