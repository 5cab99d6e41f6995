import TestSupport
import Testing
import Wire

@Suite struct FrameHeadersTests {
  static func read(_ frame: [UInt8], key: UInt64 = 0x1234_5678_9abc_def0) -> FrameHeaders {
    unsafe FrameHeaders(frame.span.bytes, key: key)
  }

  struct Kind: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// By source and destination port, and whether it is the way back.
    var frame: @Sendable (_ tags: [VLANTag], _ ports: (UInt16, UInt16), _ isReply: Bool) -> [UInt8]
    var etherType: UInt16
    var hasPorts = true
    var isIP = true
  }

  static func ethernet(_ isReply: Bool) -> EthernetHeader { isReply ? EthernetHeader(to: .there, from: .here) : EthernetHeader() }
  static func ipv4(_ isReply: Bool, _ more: Bool = false, _ offset: Int = 0, options: [UInt8] = []) -> IPv4Header {
    let (to, from): (IPAddress, IPAddress) = isReply ? (.remote, .local) : (.local, .remote)
    return IPv4Header(to: to, from: from, tos: 0xb9, dontFragment: true, moreFragments: more, fragmentOffset: offset, options: options)
  }
  static func ipv6(_ isReply: Bool) -> IPv6Header {
    isReply ? IPv6Header(to: .remote6, from: .local6, trafficClass: 0xb9) : IPv6Header(trafficClass: 0xb9)
  }

  static let kinds: [Kind] = [
    Kind(
      testDescription: "UDP", frame: { packet([ethernet($2)] + $0 + [ipv4($2), UDPHeader(to: $1.1, from: $1.0), Payload(count: 9)]) },
      etherType: 0x0800),
    Kind(
      testDescription: "TCP behind options",
      frame: { packet([ethernet($2)] + $0 + [ipv4($2, options: [1, 1, 1, 1]), TCPHeader(to: $1.1, from: $1.0)]) }, etherType: 0x0800),
    Kind(
      testDescription: "IPv6 UDP", frame: { packet([ethernet($2)] + $0 + [ipv6($2), UDPHeader(to: $1.1, from: $1.0)]) }, etherType: 0x86dd),
    Kind(
      testDescription: "IPv6 TCP", frame: { packet([ethernet($2)] + $0 + [ipv6($2), TCPHeader(to: $1.1, from: $1.0)]) }, etherType: 0x86dd),
    Kind(
      testDescription: "first fragment",
      frame: { packet([ethernet($2)] + $0 + [ipv4($2, true), UDPHeader(to: $1.1, from: $1.0), Payload(count: 8)]) }, etherType: 0x0800,
      hasPorts: false),
    Kind(
      testDescription: "last fragment",
      frame: { packet([ethernet($2)] + $0 + [ipv4($2, false, 64), UDPHeader(to: $1.1, from: $1.0)]) }, etherType: 0x0800, hasPorts: false),
    Kind(
      testDescription: "IPv6 fragment",
      frame: { packet([ethernet($2)] + $0 + [ipv6($2), IPv6FragmentHeader(more: true), UDPHeader(to: $1.1, from: $1.0)]) },
      etherType: 0x86dd, hasPorts: false),
    Kind(
      testDescription: "ICMP", frame: { packet([ethernet($2)] + $0 + [ipv4($2), ICMPMessage(type: 8, rest: UInt32($1.0))]) },
      etherType: 0x0800, hasPorts: false),
    Kind(
      testDescription: "ARP", frame: { tags, _, isReply in packet([ethernet(isReply)] + tags + [ARPMessage()]) }, etherType: 0x0806,
      hasPorts: false, isIP: false),
  ]

  static let tags: [[VLANTag]] = [[], [VLANTag(5)], [VLANTag(6, type: 0x88a8), VLANTag(7)]]

  @Test(arguments: kinds) func readsHeaders(_ kind: Kind) {
    for tags in Self.tags {
      let headers = Self.read(kind.frame(tags, (1000, 53), false))
      #expect(headers.etherType == kind.etherType && headers.networkOffset == 14 + 4 * tags.count && headers.isIP == kind.isIP)
      #expect(headers.dsField == (kind.isIP ? 0xb9 : 0) && headers.dontFragment == kind.isIP)
    }
  }

  /// TTL, hop limit and flow label are read behind tags, and are 0 where there are none.
  @Test func readsWhatIsInherited() {
    var ipv6 = IPv6Header(hopLimit: 3, trafficClass: 0xff)
    ipv6.flowLabel = 0xabcde
    for tags in Self.tags {
      for (ip, hopLimit, flowLabel) in [(IPv4Header(ttl: 9), 9, 0), (ipv6, 3, 0xabcde), (ARPMessage(), 0, 0)]
        as [(any Layer, UInt8, UInt32)]
      {
        let frame = packet([EthernetHeader()] + tags + [ip, UDPHeader(to: 1)])
        let headers = Self.read(frame)
        #expect(unsafe headers.hopLimit(frame.span.bytes) == hopLimit && headers.flowLabel(frame.span.bytes) == flowLabel)
      }
    }
  }

  @Test(arguments: kinds) func hashesFlows(_ kind: Kind) {
    let hash = Self.read(kind.frame([], (1000, 53), false)).flowHash
    for tags in Self.tags {
      #expect(Self.read(kind.frame(tags, (1000, 53), false)).flowHash == hash, "tags")
      #expect(Self.read(kind.frame(tags, (53, 1000), true)).flowHash == hash, "the way back")
    }
    #expect(Self.read(kind.frame([], (1000, 53), false), key: 1).flowHash != hash, "another process")
    let flows = Set((0..<1000 as Range<UInt16>).map { Self.read(kind.frame([], ($0, 53), false)).flowHash })
    #expect(kind.hasPorts ? flows.count > 990 : flows.count == 1)
  }

  @Test func allFragmentsHashAlike() {
    let datagram = (0..<3).map { index in
      packet(EthernetHeader(), Self.ipv4(false, index < 2, index * 64), Payload(count: 64 - index))
    }
    #expect(Set(datagram.map { Self.read($0).flowHash }).count == 1)
  }

  /// A frame that is cut short is read as far as it goes.
  @Test(arguments: kinds) func survivesTruncation(_ kind: Kind) {
    for tags in Self.tags {
      let frame = kind.frame(tags, (1000, 53), false)
      for length in 0..<frame.count {
        let headers = Self.read(Array(frame.prefix(length)))
        let header = kind.etherType == 0x0800 ? 20 : 40
        #expect(headers.isIP == (kind.isIP && length >= 14 + 4 * tags.count + header))
        if length < 14 {
          #expect(headers.etherType == 0)
        } else if length < 14 + 4 * tags.count {
          #expect(EtherType.isTag(headers.etherType))
        }
      }
    }
  }

  @Test func survivesAnything() {
    var random = Seeded(5)
    let frames = Self.kinds.flatMap { kind in Self.tags.map { kind.frame($0, (1000, 53), false) } }
    var read = 0
    for round in 0..<100_000 {
      var bytes: [UInt8]
      if round % 2 == 0 {
        bytes = random.bytes(random.below(80))
      } else {
        bytes = frames[random.below(frames.count)]
        for _ in 0..<1 + random.below(4) { bytes[random.below(bytes.count)] = UInt8(truncatingIfNeeded: random.next()) }
        bytes.removeLast(random.below(2) * random.below(bytes.count))
      }
      if Self.read(bytes).isIP { read += 1 }
    }
    #expect(read > 10_000)
  }
}
