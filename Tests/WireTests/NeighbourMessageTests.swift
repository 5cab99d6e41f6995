import TestSupport
import Testing
import Wire

@Suite struct NeighbourMessageTests {
  static let tags: [[VLANTag]] = [[], [VLANTag(5)], [VLANTag(6, type: 0x88a8), VLANTag(7)]]
  /// The MAC address that is asked for, and one that an option names.
  static let target = MACAddress(0x0200_0000_0077)
  static let other = MACAddress(0x0200_0000_0088)
  static let none = IPAddress(v4: 0)
  static let none6 = IPAddress(high: 0, low: 0)
  static let allNodes = IPAddress(high: 0xff02 << 48, low: 1)
  static let solicitedNode = IPAddress(high: 0xff02 << 48, low: 0x1_ff00_0001)
  static let padding = Payload(count: 18)

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var frame: [any Layer]
    var kind: NeighbourMessage.Kind
    var sender: IPAddress
    var target: IPAddress
    var mac: MACAddress?
    var binding: IPAddress?
    /// Which of these it is: "probe gratuitous unicast router solicited".
    var marks = ""
    /// The reply, of a target that is a router if `isRouter`.
    var reply: [any Layer]?
    var isRouter = false
  }

  static func arp(_ sender: IPAddress, _ operation: ARPMessage.Operation = .request) -> ARPMessage {
    ARPMessage(operation, sender: (other, sender), target: (MACAddress(0), .local))
  }
  static func arpReply(_ to: IPAddress) -> [any Layer] {
    [EthernetHeader(to: other, from: target), ARPMessage(.reply, sender: (target, .local), target: (other, to))]
  }
  static func ip(to: IPAddress, from: IPAddress = .remote6) -> IPv6Header { IPv6Header(to: to, from: from, hopLimit: 255) }
  static func advertisement(to mac: MACAddress, _ to: IPAddress, flags: UInt32) -> [any Layer] {
    [EthernetHeader(to: mac, from: target), ip(to: to, from: .local6)]
      + neighbourMessage(136, flags: flags, target: .local6, options: linkLayerAddress(2, target))
  }

  static let cases: [Case] = [
    Case(
      testDescription: "ARP request", frame: [EthernetHeader(to: .broadcast), arp(.remote), padding], kind: .arpRequest, sender: .remote,
      target: .local, mac: other, binding: .remote, reply: arpReply(.remote)),
    Case(
      testDescription: "ARP request to one host", frame: [EthernetHeader(), arp(.remote)], kind: .arpRequest, sender: .remote,
      target: .local, mac: other, binding: .remote, marks: "unicast", reply: arpReply(.remote)),
    Case(
      testDescription: "ARP probe", frame: [EthernetHeader(to: .broadcast), arp(none)], kind: .arpRequest, sender: none, target: .local,
      mac: other, marks: "probe", reply: arpReply(none)),
    Case(
      testDescription: "ARP announcement", frame: [EthernetHeader(to: .broadcast), arp(.local)], kind: .arpRequest, sender: .local,
      target: .local, mac: other, binding: .local, marks: "gratuitous", reply: arpReply(.local)),
    Case(
      testDescription: "ARP reply", frame: [EthernetHeader(), arp(.remote, .reply)], kind: .arpReply, sender: .remote, target: .local,
      mac: other, binding: .remote, marks: "unicast"),
    Case(
      testDescription: "solicitation",
      frame: [EthernetHeader(to: MACAddress(0x3333_ff00_0001)), ip(to: solicitedNode)]
        + neighbourMessage(135, target: .local6, options: linkLayerAddress(1, other)), kind: .solicitation, sender: .remote6,
      target: .local6, mac: other, binding: .remote6, reply: advertisement(to: other, .remote6, flags: 0xe0), isRouter: true),
    Case(
      testDescription: "solicitation to one host, without option",
      frame: [EthernetHeader(), ip(to: .local6)] + neighbourMessage(135, target: .local6), kind: .solicitation,
      sender: .remote6, target: .local6, marks: "unicast", reply: advertisement(to: .there, .remote6, flags: 0x60)),
    Case(
      testDescription: "other options in front",
      frame: [EthernetHeader(), ip(to: .local6)]
        + neighbourMessage(
          135, target: .local6, options: [14, 1, 0, 0, 0, 0, 0, 0] + linkLayerAddress(2, target) + linkLayerAddress(1, other)),
      kind: .solicitation, sender: .remote6, target: .local6, mac: other, binding: .remote6, marks: "unicast",
      reply: advertisement(to: other, .remote6, flags: 0x60)),
    Case(
      testDescription: "duplicate address detection",
      frame: [EthernetHeader(to: MACAddress(0x3333_ff00_0001)), ip(to: solicitedNode, from: none6)]
        + neighbourMessage(135, target: .local6),
      kind: .solicitation, sender: none6, target: .local6, marks: "probe",
      reply: advertisement(to: MACAddress(0x3333_0000_0001), allNodes, flags: 0x20)),
    Case(
      testDescription: "advertisement", frame: advertisement(to: .here, .remote6, flags: 0xe0), kind: .advertisement, sender: .local6,
      target: .local6, mac: target, binding: .local6, marks: "unicast router solicited"),
    Case(
      testDescription: "unsolicited advertisement", frame: advertisement(to: .broadcast, allNodes, flags: 0x20), kind: .advertisement,
      sender: .local6, target: .local6, mac: target, binding: .local6, marks: "gratuitous"),
    Case(
      testDescription: "advertisement without option",
      frame: [EthernetHeader(), ip(to: .remote6, from: .local6)] + neighbourMessage(136, flags: 0x40, target: .local6),
      kind: .advertisement, sender: .local6, target: .local6, marks: "unicast solicited"),
  ]

  static func tagged(_ layers: [any Layer], _ tags: [VLANTag]) -> [UInt8] { packet(layers.prefix(1) + tags + layers.dropFirst()) }

  @Test(arguments: cases, tags) func reads(_ example: Case, _ tags: [VLANTag]) throws {
    let read = try #require(Self.read(Self.tagged(example.frame, tags)))
    #expect(read.kind == example.kind && read.sender == example.sender && read.target == example.target && read.mac == example.mac)
    #expect(read.binding?.address == example.binding && read.binding?.mac == example.binding.flatMap { _ in example.mac })
    let marks = [
      ("probe", read.isProbe), ("gratuitous", read.isGratuitous), ("unicast", read.isUnicast), ("router", read.isRouter),
      ("solicited", read.isSolicited),
    ]
    #expect(marks.filter(\.1).map(\.0).joined(separator: " ") == example.marks)
  }

  /// Replies are what the target itself would send, built layer by layer.
  @Test(arguments: cases, tags) func replies(_ example: Case, _ tags: [VLANTag]) throws {
    var frame = Self.tagged(example.frame, tags)
    let message = try #require(Self.read(frame))
    let before = frame + [UInt8](repeating: 0xdd, count: 40)
    frame = before
    var span = frame.mutableSpan
    var raw = unsafe span.mutableBytes
    let length = message.writeReply(in: &raw, mac: Self.target, isRouter: example.isRouter)
    let reply = example.reply.map { Self.tagged($0, tags) }
    #expect(length.map { Array(frame.prefix($0)) } == reply)
    #expect(frame[(length ?? 0)...] == before[(length ?? 0)...], "nothing else is written")
    #expect(length ?? 0 <= NeighbourMessage.maximumReplyLength)
  }

  /// A solicitation with fields changed; its checksum is right unless the change says otherwise.
  static func solicitation(
    _ type: UInt8 = 135, code: UInt8 = 0, flags: UInt32 = 0, ip: IPv6Header = ip(to: .local6), target: IPAddress = .local6,
    options: [UInt8] = []
  ) -> [UInt8] {
    var message = neighbourMessage(type, flags: flags, target: target, options: options)
    message[0] = ICMPMessage(type: type, code: code, rest: flags << 24)
    return packet([EthernetHeader(), ip] + message)
  }
  static func patched(_ layers: [any Layer], _ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
    var frame = packet(layers)
    frame.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    return frame
  }
  static let request: [any Layer] = [EthernetHeader(), arp(.remote)]

  @Test(
    arguments: [
      ("hardware", patched(request, 14, [0, 7])), ("protocol", patched(request, 16, [0x86, 0xdd])),
      ("hardware length", patched(request, 18, [8])),
      ("protocol length", patched(request, 19, [16])), ("operation", patched(request, 20, [0, 3])),
      ("cut short", packet(request).dropLast() + []),
      ("three tags", packet([EthernetHeader(), VLANTag(1), VLANTag(2), VLANTag(3), arp(.remote)])),
      ("hop limit", solicitation(ip: IPv6Header(hopLimit: 254))), ("code", solicitation(code: 1)), ("type", solicitation(134)),
      ("group as target", solicitation(target: allNodes)), ("empty option", solicitation(options: [1, 0, 0, 0, 0, 0, 0, 0])),
      ("option too long", solicitation(options: [14, 2, 0, 0, 0, 0, 0, 0])), ("half an option", solicitation(options: [14])),
      ("checksum", patched([EthernetHeader(), ip(to: .local6)] + neighbourMessage(135, target: .local6), 56, [0, 0])),
      ("too short", packet(EthernetHeader(), ip(to: .local6), ICMPMessage(type: 135), Payload(count: 15))),
      ("version", patched([EthernetHeader(), ip(to: .local6)] + neighbourMessage(135, target: .local6), 14, [0x40])),
      (
        "behind an extension", packet([EthernetHeader(), ip(to: .local6), IPv6ExtensionHeader(0)] + neighbourMessage(135, target: .local6))
      ),
      ("probe to one host", solicitation(ip: ip(to: .local6, from: none6))),
      ("probe with option", solicitation(ip: ip(to: solicitedNode, from: none6), options: linkLayerAddress(1, other))),
      ("answer to all", solicitation(136, flags: 0x40, ip: ip(to: allNodes))),
      ("IPv4", packet(EthernetHeader(), IPv4Header(), UDPHeader(to: 1))),
    ] as [(String, [UInt8])])
  func ignores(_ name: String, _ frame: [UInt8]) {
    #expect(Self.read(frame) == nil)
  }

  /// Nobody is told that a group or nothing is somebody's address.
  @Test(
    arguments: [
      (MACAddress.broadcast, IPAddress.remote), (MACAddress(0), .remote), (other, IPAddress(v4: 0xe000_0001)), (other, none),
      (other, IPAddress(v4: 0x7f00_0001)),
    ])
  func bindsHostsAlone(_ mac: MACAddress, _ address: IPAddress) throws {
    let read = try #require(
      Self.read(packet(EthernetHeader(), ARPMessage(.reply, sender: (mac, address), target: (.here, .local)))))
    #expect(read.binding == nil)
  }

  @Test func neverTraps() {
    var random = Seeded(15)
    for example in Self.cases {
      for tags in Self.tags {
        let whole = Self.tagged(example.frame, tags)
        for length in 0..<whole.count { _ = Self.read(Array(whole.prefix(length))) }
        for _ in 0..<300 {
          var frame = whole
          for _ in 0..<2 { frame[12 + random.below(frame.count - 12)] = UInt8(truncatingIfNeeded: random.next()) }
          _ = Self.read(frame)
        }
      }
    }
  }

  private static func read(_ frame: [UInt8]) -> NeighbourMessage? { unsafe NeighbourMessage(frame.span.bytes) }
}
