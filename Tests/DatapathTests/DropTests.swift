import TestSupport
import Testing
import Wire

@testable import Datapath

/// Every reason to drop a frame, by rows that have its name.
@Suite struct DropTests {
  static let rows = outerHeader + outerIPv6Header + (innerHeader + forwarding).overBoth

  @Test(arguments: rows) func drops(_ scenario: Scenario) throws { try scenario.run() }

  @Test func everyReasonHasRows() {
    let named = Set(Self.rows.map { $0.name.prefix { $0 != "," } })
    #expect(named == Set(DropReason.allCases.map { "\($0)"[...] }))
  }

  @Test func everyReasonHasNameAndSentence() {
    #expect(Set(DropReason.allCases.map(\.name)).count == DropReason.count)
    #expect(Set(DropReason.allCases.map(\.sentence)).count == DropReason.count)
    #expect(DropReason.allCases.count == DropReason.count)
  }

  static let inner = frame(to: .host1, from: .remote1)

  /// A row for frames that are dropped one and all.
  static func row(_ reason: DropReason, _ what: String, port: Int = 0, _ frames: [UInt8]...) -> Scenario {
    row("\(reason), \(what)", reason, port, frames)
  }

  static func row(_ reason: DropReason, port: Int = 0, _ frames: [UInt8]...) -> Scenario { row("\(reason)", reason, port, frames) }

  private static func row(_ name: String, _ reason: DropReason, _ port: Int, _ frames: [[UInt8]]) -> Scenario {
    Scenario(name, in: frames.map { (port, $0) }, drops: [reason: frames.count])
  }

  static let outerHeader: [Scenario] = [
    row(.packetTooSmall, Array(tunnelled(inner).prefix(63)), []),
    row(.packetTooSmall, "with tag", Array(tunnelled(inner, tags: [VLANTag(5)]).prefix(67))),
    row(.ipInvalidHeader, "total length", tunnelled(inner, ip: IPv4Header(totalLength: UInt16(inner.count + 37)))),
    row(.ipInvalidHeader, "too short for VXLAN", tunnelled(inner, ip: IPv4Header(totalLength: 49))),
    row(
      .ipInvalidHeader, "IPv6",
      packet(EthernetHeader(), IPv6Header(), UDPHeader(to: 4789), VXLANHeader(vni: 100), Payload(inner))),
    row(.ipInvalidHeader, "three tags", tunnelled(inner, tags: [VLANTag(1), VLANTag(2), VLANTag(3)])),
    row(.ipChecksum, tunnelled(inner, ip: changed(IPv4Header()) { $0.checksum = 0x1234 })),
    row(.ipFragment, "first", tunnelled(inner, ip: IPv4Header(moreFragments: true))),
    row(.ipFragment, "last", tunnelled(inner, ip: IPv4Header(fragmentOffset: 8))),
    row(.ipFragment, "options", tunnelled(inner, ip: IPv4Header(options: [1, 1, 1, 1]))),
    row(.ipInvalidDestination, "address", tunnelled(inner, ip: IPv4Header(to: .fourth)), tunnelled(inner, ip: IPv4Header(to: .group))),
    row(.ipInvalidDestination, "port", tunnelled(inner, udp: UDPHeader(to: 8472, checksum: .value(0)))),
    row(.ipInvalidDestination, "not UDP", tunnelled(inner, ip: changed(IPv4Header()) { $0.protocolNumber = 6 })),
    row(
      .ipInvalidSource,
      tunnelled(inner, from: IPAddress(v4: 0)), tunnelled(inner, from: IPAddress(v4: 0x7f00_0001)),
      tunnelled(inner, from: IPAddress(v4: 0xe000_0001)), tunnelled(inner, from: IPAddress(v4: 0xffff_ffff)),
      tunnelled(inner, from: .local)),
    row(
      .udpInvalidLength, "short and long", tunnelled(inner, udp: UDPHeader(to: 4789, checksum: .value(0), length: 29)),
      tunnelled(inner, udp: UDPHeader(to: 4789, checksum: .value(0), length: UInt16(inner.count + 17)))),
    row(.udpChecksum, "wrong", tunnelled(inner, udp: UDPHeader(to: 4789, checksum: .value(0x1234)))).with {
      $0.settings.verifiesUDPChecksum = true
    },
    row(.vxlanInvalidHeader, tunnelled(inner, vxlan: VXLANHeader(vni: 100, flags: 0xf7))),
    row(.vniNotFound, tunnelled(inner, vni: 101), tunnelled(inner, vni: 0), tunnelled(inner, vni: 0xff_ffff)),
    row(
      .vxlanReservedBits, tunnelled(inner, vxlan: VXLANHeader(vni: 100, flags: 0x0c)),
      tunnelled(inner, vxlan: VXLANHeader(vni: 100, reserved: 1)), tunnelled(inner, vxlan: VXLANHeader(vni: 100, reserved2: 0x80))
    ).with { $0.settings.reservedBits = 0xf7ff_ffff_0000_00ff },
    row(.vtepNotListed, "known and unknown", tunnelled(inner), tunnelled(inner, from: .fourth)).with {
      $0.settings.onlyListed = true
      $0.listed = [.third]
    },
  ]

  /// `inner` over IPv6.
  static func tunnelled6(
    from source: IPAddress = .remote6, to destination: IPAddress = .local6, vni: UInt32 = 100, udp: UDPHeader? = nil,
    vxlan: VXLANHeader? = nil, tags: [VLANTag] = [], _ change: (inout IPv6Header) -> Void = { _ in }
  ) -> [UInt8] {
    let ip = changed(IPv6Header(to: destination, from: source), change)
    return tunnelled(inner, vni: vni, ip: ip, udp: udp, vxlan: vxlan, tags: tags)
  }

  static let outerIPv6Header: [Scenario] = [
    // One byte less than 14 + 56 + 14, with a tag and without; and what would do for IPv4.
    row(
      .packetTooSmall, "IPv6", Array(tunnelled6().prefix(83)), Array(tunnelled6(tags: [VLANTag(5)]).prefix(87)),
      [UInt8](tunnelled6().prefix(64))),
    row(
      .ipInvalidHeader, "IPv6 payload length", tunnelled6 { $0.payloadLength = UInt16(inner.count + 17) },
      tunnelled6 { $0.payloadLength = 29 }),
    row(
      .ipInvalidHeader, "IPv6 version, IPv4, three tags", tunnelled6 { $0.version = 5 }, tunnelled(inner),
      tunnelled6(tags: [VLANTag(1), VLANTag(2), VLANTag(3)])),
    row(
      .ipFragment, "IPv6",
      packet(
        EthernetHeader(), IPv6Header(), IPv6FragmentHeader(more: true), UDPHeader(to: 4789), VXLANHeader(vni: 100), Payload(inner))),
    row(.ipInvalidDestination, "IPv6 address", tunnelled6(to: IPAddress.fourth.overIPv6), tunnelled6(to: IPAddress.group.overIPv6)),
    row(.ipInvalidDestination, "IPv6 port", tunnelled6(udp: UDPHeader(to: 8472))),
    row(.ipInvalidDestination, "IPv6 not UDP", tunnelled6 { $0.nextHeader = 6 }),
    row(
      .ipInvalidDestination, "IPv6 options",
      packet(EthernetHeader(), IPv6Header(), IPv6ExtensionHeader(0), UDPHeader(to: 4789), VXLANHeader(vni: 100), Payload(inner))),
    row(
      .ipInvalidSource, "IPv6", tunnelled6(from: IPAddress(high: 0, low: 0)), tunnelled6(from: IPAddress(high: 0, low: 1)),
      tunnelled6(from: IPAddress(high: 0xff02 << 48, low: 1)), tunnelled6(from: .local6)),
    row(.ipInvalidSource, "IPv4 in IPv6", tunnelled(inner, ip: MappedSource())),
    row(
      .udpInvalidLength, "IPv6", tunnelled6(udp: UDPHeader(to: 4789, checksum: .value(0), length: 29)),
      tunnelled6(udp: UDPHeader(to: 4789, checksum: .value(0), length: UInt16(inner.count + 17)))),
    row(.udpChecksum, "IPv6 without", tunnelled6(udp: UDPHeader(to: 4789, checksum: .value(0)))).with {
      $0.settings.acceptsZeroUDP6 = false
    },
    row(.udpChecksum, "IPv6 wrong", tunnelled6(udp: UDPHeader(to: 4789, checksum: .value(0x1234)))).with {
      $0.settings.verifiesUDPChecksum = true
    },
    row(.vxlanInvalidHeader, "IPv6", tunnelled6(vxlan: VXLANHeader(vni: 100, flags: 0xf7))),
    row(.vxlanReservedBits, "IPv6", tunnelled6(vxlan: VXLANHeader(vni: 100, reserved2: 1))).with { $0.settings.reservedBits = 0xff },
    row(.vniNotFound, "IPv6", tunnelled6(vni: 101), tunnelled6(vni: 0xff_ffff)),
    row(.vtepNotListed, "IPv6", tunnelled6(), tunnelled6(from: IPAddress.fourth.overIPv6)).with {
      $0.settings.onlyListed = true
      $0.listed = [.third]
    },
  ].map { $0.with { $0 = $0.overIPv6 } }

  static let innerHeader: [Scenario] = [
    row(.frameTooSmall, port: 1, Array(inner.prefix(13)), []),
    row(
      .macInvalidSource, "from the underlay", tunnelled(frame(to: .host1, from: MACAddress(0))),
      tunnelled(frame(to: .host1, from: .broadcast)), tunnelled(frame(to: .host1, from: MACAddress(0x0100_5e00_0001)))),
    row(.macInvalidSource, "from a port", port: 1, frame(to: .host2, from: MACAddress(0)), frame(to: .host2, from: .broadcast)),
    row(.localMAC, "from the underlay", tunnelled(frame(to: .host1, from: .host2))).with {
      $0.entries = [Network.Entry(mac: .host2, place: .port(2), state: .permanent)]
    },
    row(.localMAC, "without learning", tunnelled(frame(to: .host1, from: .host2))).with {
      $0.settings.learning = false
      $0.entries = [Network.Entry(mac: .host2, place: .port(2), state: .permanent)]
    },
    row(.localMAC, "from a port", port: 1, frame(to: .remote1, from: .host2)).with {
      $0.entries = [Network.Entry(mac: .host2, place: .port(2), state: .permanent)]
    },
    row(.entryExists, "from the underlay", tunnelled(inner)).with {
      $0.entries = [Network.Entry(mac: .remote1, place: .vtep(.third))]
    },
    row(.entryExists, "from a port", port: 1, frame(to: .host2, from: .remote1)).with {
      $0.entries = [Network.Entry(mac: .remote1, place: .vtep(.third))]
    },
    row(
      .linkLocalGroup, "from the underlay", tunnelled(frame(to: MACAddress(0x0180_c200_0000), from: .remote1)),
      tunnelled(frame(to: MACAddress(0x0180_c200_000f), from: .remote1))),
    row(.linkLocalGroup, "from a port", port: 1, frame(to: MACAddress(0x0180_c200_000e), from: .host1)),
    row(.innerVLAN, "from the underlay", tunnelled(packet(EthernetHeader(to: .host1, from: .remote1), VLANTag(5), Payload(count: 46)))),
    row(
      .innerVLAN, "from a port", port: 1,
      packet(EthernetHeader(to: .host2, from: .host1), VLANTag(5, type: 0x88a8), Payload(count: 46))),
    row(.vlanNotFound, "no tag", port: 1, inner).with { $0.localPorts[1]?.vlan = .tagged(id: 5, service: false) },
    row(.neighbourSuppressed, port: 3, packet(EthernetHeader(to: .broadcast, from: .host3), ARPMessage())).with {
      $0.segments[1]?.options = .proxy
    },
    row(.ipTunnelECN, tunnelled(inner, tos: 3)),
  ]

  static let forwarding: [Scenario] = [
    row(.noLocalPort, tunnelled(frame(to: .host1, from: .remote1), vni: 300), tunnelled(frame(to: .broadcast, from: .remote1), vni: 300)),
    // An FDB entry that a worker has learned just before the local port went, or became another segment's.
    row(.noLocalPort, "gone", tunnelled(frame(to: .host2, from: .remote1)), tunnelled(frame(to: .host3, from: .remote1))).with(stale),
    row(.noLocalPort, "gone, from a port", port: 1, frame(to: .host2, from: .host1), frame(to: .host3, from: .host1)).with(stale),
    row(.splitHorizon, tunnelled(frame(to: .remote2, from: .remote1))).with {
      $0.entries = [Network.Entry(mac: .remote2, place: .vtep(.third))]
    },
    Scenario(
      "samePort", in: [(1, frame(to: .broadcast, from: .host1)), (1, frame(to: .host1, from: .host2))],
      out: [
        sent(frame(to: .broadcast, from: .host1)), sent(frame(to: .broadcast, from: .host1), to: .third),
        Departure(2, frame(to: .broadcast, from: .host1)),
      ], drops: [.samePort: 1]),
    row(.noRemote, port: 3, frame(to: .broadcast, from: .host3), frame(to: .remote1, from: .host3)),
    // 14 Ethernet + 20 IPv4 + 8 UDP inside, 36 outside: payload 1422 makes 1500.
    Scenario(
      "packetTooBig", toRemote1,
      in: [(1, frame(to: .remote1, from: .host1, payload: 1422)), (1, frame(to: .remote1, from: .host1, payload: 1423))],
      out: [
        sent(frame(to: .remote1, from: .host1, payload: 1422)), Departure(1, tooBig(frame(to: .remote1, from: .host1, payload: 1423))),
      ],
      drops: [.packetTooBig: 1]),
    Scenario(
      "neighbourQueueFull", in: (0..<40).map { _ in (1, toUnresolved) }, drops: [.neighbourQueueFull: 8],
      counted: [.waitingEntered: 32, .waitingLeft: 0]
    ).with(unresolved),
    Scenario(
      "neighbourFailed",
      steps: [.init(at: 5, input: [(1, toUnresolved)]), .init(at: 1004), .init(at: 1005)], drops: [.neighbourFailed: 1],
      counted: [.waitingEntered: 1, .waitingLeft: 1]
    ).with(unresolved),
    // Three chunks: the frame itself and copies for the two VTEPs. With two, one copy is missing.
    Scenario(
      "noMemory", in: [(1, frame(to: .broadcast, from: .host1))],
      out: [sent(frame(to: .broadcast, from: .host1)), Departure(2, frame(to: .broadcast, from: .host1))], drops: [.noMemory: 1],
      counted: [.replicated: 2]
    ).with { $0.chunks = 2 },
    Scenario("stopped", steps: [.init(input: [(1, toUnresolved)])], drops: [.stopped: 1], counted: [.waitingLeft: 1], stops: true)
      .with(unresolved),
  ]

  static var toRemote1: Network { changed(Network()) { $0.entries = [Network.Entry(mac: .remote1, place: .vtep(.remote))] } }
  static func stale(_ network: inout Network) {
    network.localPorts[2] = nil
    network.entries = [Network.Entry(mac: .host2, place: .port(2)), Network.Entry(mac: .host3, place: .port(3))]
  }
  static let toUnresolved = frame(to: .remote2, from: .host1)
  static func unresolved(_ network: inout Network) { network.entries = [Network.Entry(mac: .remote2, place: .vtep(.fourth))] }
}

/// What the sender of a frame that was too big is told: 1450 bytes fit, by default, with as much of its packet as 576 bytes hold.
func tooBig(_ frame: [UInt8]) -> [UInt8] {
  packet(
    EthernetHeader(to: .host1, from: .remote1), IPv4Header(to: .remote, from: .local, dontFragment: true),
    ICMPMessage(type: 3, code: 4, rest: 1450), Payload(Array(frame[14..<14 + 548])))
}

/// An IPv6 header with an IPv4-mapped source (RFC 4291 section 2.5.5.2).
private struct MappedSource: IPLayer {
  var source: IPAddress { .remote }
  var destination: IPAddress { .local6 }
  var isIPv6: Bool { true }
  var etherType: UInt16? { 0x86dd }

  func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    changed(IPv6Header(to: .local6).encode(payload, in: context)) {
      $0.replaceSubrange(8..<24, with: [UInt8](big: source.high) + [UInt8](big: source.low))
    }
  }
}
