import TestSupport
import Testing
import Wire

@testable import Datapath

/// Outer headers that we send, by settings, by the remote and by the inner frame; and those that we accept.
@Suite struct EncapsulationTests {
  @Test(arguments: (headers + remotes + groups).overBoth + flowLabels + checksums + received)
  func encapsulates(_ scenario: Scenario) throws { try scenario.run() }

  static let toRemote1 = DropTests.toRemote1
  static let out = frame(to: .remote1, from: .host1)

  // MARK: What the outer IP header inherits

  static let headers: [Scenario] = [
    header("TTL", { $0.ttl = 7 }, ttl: 7),
    header("TOS 0 by default", tos: 0, inner: 0xb8),
    header("TOS fixed", { $0.settings.tos = .fixed(0x2c) }, tos: 0x2c, inner: 0xb8),
    header("TOS fixed, ECN of the inner header", { $0.settings.tos = .fixed(0x2f) }, tos: 0x2e, inner: 0xba),
    header("TOS fixed to 0, CE inside", tos: 0x03, inner: 0xbb),
    header("TOS inherited", { $0.settings.tos = .inherit }, tos: 0xb9, inner: 0xb9),
    header("DF unset", dontFragment: false, innerDF: true),
    header("DF set", { $0.settings.df = .set }, dontFragment: true, innerDF: false),
    header("DF inherited, set", { $0.settings.df = .inherit }, dontFragment: true, innerDF: true),
    header("DF inherited, not set", { $0.settings.df = .inherit }, dontFragment: false, innerDF: false),
    Scenario("ARP inherits nothing", changed(toRemote1, inheritingAll), in: [(1, arp)], out: [sent(arp)]),
    Scenario(
      "IPv4 inherits TTL, TOS and DF", changed(toRemote1, inheritingAll), in: [(1, ip(IPv4Header(ttl: 7, tos: 0xb9, dontFragment: true)))],
      out: [sent(ip(IPv4Header(ttl: 7, tos: 0xb9, dontFragment: true)), tos: 0xb9, dontFragment: true, ttl: 7)]),
    Scenario(
      "IPv6 inherits hop limit and traffic class, and is never fragmented", changed(toRemote1, inheritingAll),
      in: [(1, ip(IPv6Header(hopLimit: 9, trafficClass: 0xb9)))],
      out: [sent(ip(IPv6Header(hopLimit: 9, trafficClass: 0xb9)), tos: 0xb9, dontFragment: true, ttl: 9)]),
    Scenario(
      "from behind two tags",
      changed(toRemote1) {
        inheritingAll(&$0)
        $0.segments[0]?.options = .keepsInnerTags
      }, in: [(1, ip(IPv4Header(ttl: 7, tos: 0xb9), tags: [VLANTag(5, type: 0x88a8), VLANTag(6)]))],
      out: [sent(ip(IPv4Header(ttl: 7, tos: 0xb9), tags: [VLANTag(5, type: 0x88a8), VLANTag(6)]), tos: 0xb9, ttl: 7)]),
    Scenario(
      "an inner TTL of 0 says nothing", changed(toRemote1, inheritingAll), in: [(1, ip(IPv4Header(ttl: 0)))],
      out: [sent(ip(IPv4Header(ttl: 0)))]),
    Scenario(
      "the header checksum with every TTL",
      changed(toRemote1) {
        $0.settings.inheritsTTL = true
        $0.chunks = 256
      }, in: (1...255).map { (1, ip(IPv4Header(ttl: $0))) }, out: (1...255).map { sent(ip(IPv4Header(ttl: $0)), ttl: $0) }),
    Scenario(
      "a VNI of ones", changed(toRemote1) { $0.segments[0]?.vni = 0xff_ffff }, in: [(1, out)], out: [sent(out, vni: 0xff_ffff)]),
    Scenario(
      "in a VLAN of the underlay", changed(toRemote1) { $0.underlayVLAN = 4094 }, in: [(1, out)],
      out: [sent(out, IPv4Header(to: .remote, from: .local), tag: VLANTag(4094))]),
  ]

  static func inheritingAll(_ network: inout Network) {
    (network.settings.inheritsTTL, network.settings.tos, network.settings.df) = (true, .inherit, .inherit)
  }

  static let arp = packet(EthernetHeader(to: .remote1, from: .host1), ARPMessage())

  /// A frame to `remote1` with this IP header.
  static func ip(_ header: any IPLayer, tags: [VLANTag] = [], _ udp: UDPHeader = UDPHeader(to: 53)) -> [UInt8] {
    packet([EthernetHeader(to: .remote1, from: .host1)] as [any Layer] + tags + [header, udp, Payload(count: 21)])
  }

  static func header(
    _ name: String, _ change: (inout Network) -> Void = { _ in }, ttl: UInt8 = 64, tos: UInt8 = 0, inner: UInt8 = 0,
    dontFragment: Bool = false, innerDF: Bool = false
  ) -> Scenario {
    let frame = frame(to: .remote1, from: .host1, tos: inner, dontFragment: innerDF)
    return Scenario(
      name, changed(toRemote1, change), in: [(1, frame)], out: [sent(frame, tos: tos, dontFragment: dontFragment, ttl: ttl)])
  }

  // MARK: Remotes with port, VNI, and in lists

  static let odd = Remote(.remote, port: 8472, vni: 0x123456)
  static let multicast = MACAddress(0x0100_5e01_0101)
  static let toMulticast = frame(to: multicast, from: .host1)
  static let broadcast = frame(to: .broadcast, from: .host1)

  static func sentOdd(_ inner: [UInt8]) -> Departure { sent(inner, vni: 0x123456, IPv4Header(to: .remote, from: .local), port: 8472) }

  static let remotes: [Scenario] = [
    Scenario(
      "an entry's port and VNI", changed(Network()) { $0.entries = [.init(mac: .remote1, place: .remote(odd))] }, in: [(1, out)],
      out: [sentOdd(out)]),
    Scenario(
      "a VNI of 0", changed(Network()) { $0.entries = [.init(mac: .remote1, place: .remote(Remote(.remote, vni: 0)))] }, in: [(1, out)],
      out: [sent(out, vni: 0)]),
    Scenario(
      "a replication list with a port and VNI, and the same VTEP without",
      changed(Network()) { $0.segments[0]?.remotes = [odd, Remote(.remote)] }, in: [(1, broadcast)],
      out: [sentOdd(broadcast), sent(broadcast), Departure(2, broadcast)], counted: [.replicated: 2]),
    Scenario(
      "frames from where the entry says, whatever its port and VNI",
      changed(Network()) { $0.entries = [.init(mac: .remote1, place: .remote(odd), state: .permanent)] },
      steps: [
        .init(input: [(0, tunnelled(frame(to: .host1, from: .remote1)))], output: both(frame(to: .host1, from: .remote1))),
        .init(input: [(0, tunnelled(frame(to: .host1, from: .remote1), from: .third))]),
        .init(input: [(1, out)], output: [sentOdd(out)]),
      ], drops: [.entryExists: 1]),
    Scenario(
      "a list for a multicast address; others go to all", grouped(multicast, [Remote(.third), odd]),
      in: [(1, toMulticast), (1, broadcast)],
      out: [
        sent(toMulticast, to: .third), sentOdd(toMulticast), Departure(2, toMulticast), sent(broadcast), sent(broadcast, to: .third),
        Departure(2, broadcast),
      ]),
    Scenario(
      "a list of one", grouped(multicast, [Remote(.third)]), in: [(1, toMulticast)],
      out: [sent(toMulticast, to: .third), Departure(2, toMulticast)], counted: [.replicated: 1]),
    Scenario(
      "a list of none", grouped(multicast, []), in: [(1, toMulticast)], out: [Departure(2, toMulticast)], counted: [.replicated: 0]),
    Scenario(
      "a list of none for a lone port",
      changed(grouped(multicast, [])) { $0.localPorts[2] = nil }, in: [(1, toMulticast)], drops: [.noRemote: 1]),
    Scenario(
      "broadcast has a list of its own", grouped(.broadcast, [Remote(.third)]), in: [(1, broadcast), (1, toMulticast)],
      out: [
        sent(broadcast, to: .third), Departure(2, broadcast), sent(toMulticast), sent(toMulticast, to: .third), Departure(2, toMulticast),
      ]),
    Scenario(
      "a list of another segment", changed(grouped(multicast, [Remote(.third)])) { $0.entries[0].segment = 1 }, in: [(1, toMulticast)],
      out: [sent(toMulticast), sent(toMulticast, to: .third), Departure(2, toMulticast)]),
    Scenario(
      "from the tunnel a list changes nothing", grouped(multicast, [Remote(.third)]),
      in: [(0, tunnelled(frame(to: multicast, from: .remote1)))], out: both(frame(to: multicast, from: .remote1))),
    Scenario(
      "a list in which one waits for its next hop", grouped(multicast, [Remote(.fourth), Remote(.third)]),
      steps: [
        .init(input: [(1, toMulticast)], output: [sent(toMulticast, to: .third), Departure(2, toMulticast)]),
        .init(resolved: [.fourth], output: [sent(toMulticast, to: .fourth)]),
      ], counted: [.waitingEntered: 1, .waitingLeft: 1]),
  ]

  static func both(_ frame: [UInt8]) -> [Departure] { [Departure(1, frame), Departure(2, frame)] }

  static func grouped(_ mac: MACAddress, _ remotes: [Remote]) -> Network {
    changed(Network()) {
      $0.segments[0]?.options = .hasGroupEntries
      $0.entries = [.init(mac: mac, place: .list(remotes))]
    }
  }

  // MARK: Multicast on the underlay

  static let groups: [Scenario] = [
    Scenario(
      "to a group and a VTEP",
      changed(Network()) {
        $0.segments[0]?.remotes = [Remote(.group), Remote(.third)]
        $0.resolved = [.group, .third]
      }, in: [(1, broadcast)], out: [sent(broadcast, to: .group), sent(broadcast, to: .third), Departure(2, broadcast)]),
    Scenario(
      "from a group that we listen to; the answer goes to the sender",
      changed(Network()) {
        $0.groups = [IPAddress(v4: 0xef01_0103), .group]
        $0.segments[0]?.remotes = [Remote(.group)]
      },
      steps: [
        .init(
          input: [(0, tunnelled(frame(to: .broadcast, from: .remote1), ip: IPv4Header(to: .group, from: .third)))],
          output: both(frame(to: .broadcast, from: .remote1))),
        .init(input: [(1, out)], output: [sent(out, to: .third)]),
      ], counted: [.learned: 2]),
    Scenario(
      "from a group that we don't listen to", changed(Network()) { $0.groups = [IPAddress(v4: 0xef01_0103)] },
      in: [(0, tunnelled(out, ip: IPv4Header(to: .group, from: .third)))], drops: [.ipInvalidDestination: 1]),
  ]

  // MARK: IPv6's flow label

  static let flowLabels: [Scenario] = [
    flowLabel("fixed", { $0.flowLabel = 0xabcde }, IPv6Header(), 0xabcde),
    flowLabel(
      "fixed, beside a traffic class", { ($0.flowLabel, $0.settings.tos) = (0xfffff, .fixed(0xfc)) }, IPv6Header(), 0xfffff, ds: 0xfc),
    flowLabel("inherited", { $0.settings.flowLabel = .inherit }, changed(IPv6Header()) { $0.flowLabel = 0xfedcb }, 0xfedcb),
    flowLabel("inherited from IPv4", { $0.settings.flowLabel = .inherit }, IPv4Header(), 0),
  ]

  static func flowLabel(_ name: String, _ change: (inout Network) -> Void, _ inner: any IPLayer, _ label: UInt32, ds: UInt8 = 0) -> Scenario
  {
    let outer = changed(IPv6Header(to: .remote6, from: .local6, trafficClass: ds)) { $0.flowLabel = label }
    return Scenario("flow label \(name)", changed(toRemote1.overIPv6, change), in: [(1, ip(inner))], out: [sent(ip(inner), outer)])
  }

  // MARK: UDP checksums

  /// Inner frames that a checksum is found from their headers for, and others.
  static let inners: [(name: String, frame: [UInt8])] = [
    ("UDP", out), ("TCP", tcp(IPv4Header())), ("TCP over IPv6", tcp(IPv6Header())), ("UDP over IPv6", ip(IPv6Header())),
    ("UDP without checksum", ip(IPv4Header(), UDPHeader(to: 53, checksum: .value(0)))),
    ("UDP shorter than its packet", ip(IPv4Header(), UDPHeader(to: 53, length: 20))),
    ("IPv4 options", ip(IPv4Header(options: [1, 1, 1, 1]))), ("a fragment", ip(IPv4Header(moreFragments: true))), ("ARP", arp),
    ("padding", tcp(IPv4Header()) + [1, 2, 3]), ("odd padding", ip(IPv4Header()) + [1, 2, 3, 4]),
    ("two tags", ip(IPv4Header(), tags: [VLANTag(5), VLANTag(6)])),
    ("three tags", ip(IPv4Header(), tags: [VLANTag(5), VLANTag(6), VLANTag(7)])),
    ("unknown", packet(EthernetHeader(to: .remote1, from: .host1, type: 0x9999), Payload(count: 61))),
    ("an empty frame", packet(EthernetHeader(to: .remote1, from: .host1, type: 0x9999))),
  ]

  static func tcp(_ header: any IPLayer) -> [UInt8] {
    packet(EthernetHeader(to: .remote1, from: .host1), header, TCPHeader(to: 80), Payload(count: 33))
  }

  static let checksums: [Scenario] =
    inners.flatMap { name, inner in
      [(false, false), (true, false), (false, true)].flatMap { hasTag, inheritsTTL in
        [IPv4Header(to: .remote, from: .local), IPv6Header(to: .remote6, from: .local6)].map { (ip: any IPLayer) in
          var network = changed(toRemote1) {
            ($0.udpChecksum, $0.underlayVLAN, $0.settings.inheritsTTL) = (true, hasTag ? 7 : nil, inheritsTTL)
            $0.segments[0]?.options = .keepsInnerTags
          }
          if ip.isIPv6 { network = network.overIPv6 }
          let output = sent(inner, ip, checksum: .correct, tag: hasTag ? VLANTag(7) : nil)
          let underlay = (ip.isIPv6 ? "IPv6" : "IPv4") + (hasTag ? " in a VLAN" : "") + (inheritsTTL ? ", TTL inherited" : "")
          return Scenario("UDP checksum of \(name) over \(underlay)", network, in: [(1, inner)], out: [output])
        }
      }
    } + [
      Scenario(
        "UDP checksum over a partial one, which is completed first", changed(toRemote1) { $0.udpChecksum = true },
        in: [(1, frame(to: .remote1, from: .host1, checksum: .partial))],
        out: [sent(out, IPv4Header(to: .remote, from: .local), checksum: .correct)], counted: [.checksumsCompleted: 1]),
      Scenario(
        "UDP checksum with a port and VNI of the remote's own",
        changed(Network()) {
          $0.udpChecksum = true
          $0.entries = [.init(mac: .remote1, place: .remote(odd))]
        }, in: [(1, out)], out: [sent(out, vni: 0x123456, IPv4Header(to: .remote, from: .local), port: 8472, checksum: .correct)]),
      Scenario("no UDP checksum over IPv6", toRemote1.overIPv6, in: [(1, out)], out: [sent(out, IPv6Header(to: .remote6, from: .local6))]),
    ]

  /// Both where they are verified and where they are not.
  static let received: [Scenario] = [false, true].flatMap { verifies in
    let suffix = verifies ? ", verified" : ""
    func row(_ name: String, _ checksum: ChecksumField, isRight: Bool = true, _ change: @escaping (inout Network) -> Void = { _ in })
      -> [Scenario]
    {
      [IPv4Header(), IPv6Header()].map { (ip: any IPLayer) in
        let packet = tunnelled(out, ip: ip, udp: UDPHeader(to: 4789, checksum: checksum), tags: [VLANTag(3)])
        let accepted = isRight || !verifies
        return Scenario(
          "UDP checksum \(name)" + suffix + (ip.isIPv6 ? ", over IPv6" : ""), ip.isIPv6 ? Network().overIPv6 : Network(),
          in: [(0, packet + [9])], out: accepted ? both(out) : [], drops: accepted ? [:] : [.udpChecksum: 1]
        ).with {
          $0.settings.verifiesUDPChecksum = verifies
          change(&$0)
        }
      }
    }
    return row("zero", .value(0)) + row("right", .correct) + row("wrong", .value(0x1234), isRight: false)
      + row("partial", .partial)
      + row("right, zero refused", .correct) { $0.settings.acceptsZeroUDP6 = false }
  }

  // MARK: What a table of frames can't say

  /// Reserved are all bits but the I flag and the VNI.
  @Test(arguments: (0..<64).filter { $0 != 4 && !(32..<56).contains($0) }) func knowsEveryReservedBit(_ bit: Int) throws {
    let mask: UInt64 = 1 << UInt64(63 - bit)
    let strict: UInt64 = 0xf7ff_ffff_0000_00ff
    let vxlan = VXLANHeader(
      vni: 100, flags: 0x08 | UInt8(mask >> 56), reserved: UInt32(truncatingIfNeeded: mask >> 32) & 0xff_ffff, reserved2: UInt8(mask & 0xff)
    )
    for (reserved, isDropped) in [(0, false), (mask, true), (strict, true), (strict & ~mask, false)] {
      let scenario = Scenario(
        "bit \(bit)", changed(Network()) { $0.settings.reservedBits = reserved }, in: [(0, tunnelled(Self.out, vxlan: vxlan))],
        out: isDropped ? [] : Self.both(Self.out), drops: isDropped ? [.vxlanReservedBits: 1] : [:])
      for scenario in [scenario].overBoth { try scenario.run() }
    }
  }

  /// RFC 6040 section 4.1, normal mode: every codepoint goes outside, from both families to both.
  @Test(arguments: 0..<4 as Range<UInt8>) func carriesCongestionOutside(_ codepoint: UInt8) throws {
    for tos in [TunnelSettings.TOS.fixed(0x48), .inherit] {
      for inner in [IPv4Header(tos: 0xb8 | codepoint), IPv6Header(trafficClass: 0xb8 | codepoint)] as [any IPLayer] {
        let outer = (tos == .inherit ? 0xb8 : 0x48) | codepoint
        let scenario = Scenario(
          "", changed(Self.toRemote1) { $0.settings.tos = tos }, in: [(1, Self.ip(inner))], out: [sent(Self.ip(inner), tos: outer)])
        for scenario in [scenario].overBoth { try scenario.run() }
      }
    }
  }

  @Test(arguments: [49152...65535, 5000...5000, 1000...1009] as [ClosedRange<UInt16>])
  func sourcePortsCoverTheirRange(_ range: ClosedRange<UInt16>) throws {
    let flows = try Self.flows(changed(Self.toRemote1) { $0.settings.sourcePorts = range }) { UInt16($0.bytes.number($0.udp, 2)) }
    #expect(flows.allSatisfy { range.contains($0.there) && $0.there == $0.back })
    #expect(Set(flows.map(\.there)).count > min(range.count, 1000) * 9 / 10)
  }

  /// RFC 6438: all 20 bits of a flow label that is a hash.
  @Test func flowLabelsCoverTheirRange() throws {
    let flows = try Self.flows(changed(Self.toRemote1.overIPv6) { $0.settings.flowLabel = .hash }) {
      UInt32($0.bytes.number($0.network, 4)) & 0xf_ffff
    }
    #expect(flows.allSatisfy { $0.there == $0.back })
    #expect(Set(flows.map(\.there)).count > 900)
    #expect(flows.reduce(0) { $0 | $1.there } == 0xf_ffff && flows.reduce(0xf_ffff) { $0 & $1.there } == 0)
  }

  /// What a thousand flows get, the second time in the opposite direction.
  static func flows<Value>(_ network: Network, _ value: (UnderlayPacket) -> Value) throws -> [(there: Value, back: Value)] {
    var rig = try Rig(network)
    var flows: [(Value, Value)] = []
    for port in 0..<1000 as Range<UInt16> {
      let ends = [(IPAddress.remote, IPAddress.local, port, UInt16(53)), (.local, .remote, 53, port)]
      for (source, destination, sourcePort, destinationPort) in ends {
        rig.arrive(ip(IPv4Header(to: destination, from: source), UDPHeader(to: destinationPort, from: sourcePort)), at: 1)
      }
      rig.run()
      let values = rig.departures().compactMap { UnderlayPacket($0.bytes) }.map(value)
      try #require(values.count == 2)
      flows.append((values[0], values[1]))
    }
    return flows
  }
}
