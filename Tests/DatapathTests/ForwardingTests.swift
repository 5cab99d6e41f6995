import TestSupport
import Testing
import Wire

@testable import Datapath

/// Where frames go, and what is done to them on the way.
@Suite struct ForwardingTests {
  @Test(arguments: (places + contents + waiting).overBoth)
  func forwards(_ scenario: Scenario) throws { try scenario.run() }

  static let toRemote1 = DropTests.toRemote1
  static let broadcast = frame(to: .broadcast, from: .host1)
  static let out = frame(to: .remote1, from: .host1)

  static let places: [Scenario] = [
    Scenario(
      "from a port, unknown: to every VTEP and every other port", in: [(1, out)],
      out: [sent(out), sent(out, to: .third), Departure(2, out)], counted: [.replicated: 2, .learned: 1]),
    Scenario(
      "from a port, group: the same", in: [(2, broadcast)], out: [sent(broadcast), sent(broadcast, to: .third), Departure(1, broadcast)],
      counted: [.replicated: 2]),
    Scenario(
      "a lone port: to the VTEPs only", changed(Network()) { $0.localPorts[2] = nil }, in: [(1, out)],
      out: [sent(out), sent(out, to: .third)], counted: [.replicated: 1]),
    Scenario(
      "no VTEPs: to the other port only", changed(Network()) { $0.segments[0]?.remotes = [] }, in: [(1, out)], out: [Departure(2, out)],
      counted: [.replicated: 0]),
    Scenario(
      "from the underlay, unknown: to every port, to no VTEP", in: [(0, tunnelled(out))], out: [Departure(1, out), Departure(2, out)],
      counted: [.replicated: 1, .learned: 1]),
    Scenario(
      "local switching, learned",
      steps: [
        .init(input: [(2, frame(to: .host1, from: .host2))], output: flooded(frame(to: .host1, from: .host2), to: 1)),
        .init(input: [(1, frame(to: .host2, from: .host1))], output: [Departure(2, frame(to: .host2, from: .host1))]),
      ], counted: [.learned: 2]),
    Scenario(
      "learned from the underlay, answered to the VTEP alone",
      steps: [
        .init(
          input: [(0, tunnelled(frame(to: .broadcast, from: .remote1), from: .third))], output: both(frame(to: .broadcast, from: .remote1))),
        .init(input: [(1, out)], output: [sent(out, to: .third)]),
      ], counted: [.learned: 2]),
    Scenario(
      "a batch learns before it is forwarded",
      in: [(0, tunnelled(frame(to: .remote2, from: .remote1))), (0, tunnelled(frame(to: .broadcast, from: .remote2), from: .third))],
      out: both(frame(to: .broadcast, from: .remote2)), drops: [.splitHorizon: 1]),
    Scenario(
      "moved to another VTEP",
      steps: [
        .init(input: [(0, tunnelled(frame(to: .broadcast, from: .remote1)))], output: both(frame(to: .broadcast, from: .remote1))),
        .init(
          input: [(0, tunnelled(frame(to: .broadcast, from: .remote1), from: .third))], output: both(frame(to: .broadcast, from: .remote1))),
        .init(input: [(1, out)], output: [sent(out, to: .third)]),
      ], counted: [.moved: 1]),
    Scenario(
      "no learning from the tunnel, but at ports", changed(Network()) { $0.settings.learning = false },
      steps: [
        .init(input: [(0, tunnelled(frame(to: .broadcast, from: .remote1)))], output: both(frame(to: .broadcast, from: .remote1))),
        .init(input: [(1, out)], output: [sent(out), sent(out, to: .third), Departure(2, out)]),
        .init(input: [(0, tunnelled(frame(to: .host1, from: .remote1)))], output: [Departure(1, frame(to: .host1, from: .remote1))]),
      ], counted: [.learned: 1]),
    Scenario(
      "a static entry and a frame from where it says", toRemote1, in: [(0, tunnelled(frame(to: .broadcast, from: .remote1)))],
      out: both(frame(to: .broadcast, from: .remote1))),
    Scenario(
      "the same address in two segments",
      steps: [
        .init(input: [(0, tunnelled(frame(to: .broadcast, from: .remote1)))], output: both(frame(to: .broadcast, from: .remote1))),
        .init(
          input: [(0, tunnelled(frame(to: .broadcast, from: .remote1), vni: 200, from: .third))],
          output: [Departure(3, frame(to: .broadcast, from: .remote1))]),
        .init(input: [(1, out), (3, out)], output: [sent(out), sent(out, vni: 200, to: .third)]),
      ]),
  ]

  /// Without entries: to the VTEPs and to port `port`.
  static func flooded(_ frame: [UInt8], to port: Int) -> [Departure] { [sent(frame), sent(frame, to: .third), Departure(port, frame)] }
  static func both(_ frame: [UInt8]) -> [Departure] { [Departure(1, frame), Departure(2, frame)] }

  static let arp = packet(EthernetHeader(to: .remote1, from: .host1), ARPMessage())
  /// What changes in the frames themselves.
  static let contents: [Scenario] = [
    Scenario(
      "runts are padded on wires, not on TAPs", in: [(0, tunnelled(runt))], out: [Departure(1, padded(runt)), Departure(2, runt)]),
    Scenario("runts are not padded in the tunnel", toRemote1, in: [(1, arp)], out: [sent(arp)]),
    Scenario(
      "a runt from a TAP to a wire",
      changed(Network()) { $0.entries = [Network.Entry(mac: .remote1, place: .port(1))] }, in: [(2, arp)], out: [Departure(1, padded(arp))]),
    Scenario(
      "a runt from a wire to a TAP",
      changed(Network()) { $0.entries = [Network.Entry(mac: .remote1, place: .port(2))] }, in: [(1, arp)], out: [Departure(2, arp)]),
    Scenario(
      "partial checksum, into the tunnel", toRemote1, in: [(1, frame(to: .remote1, from: .host1, checksum: .partial))], out: [sent(out)],
      counted: [.checksumsCompleted: 1]),
    Scenario(
      "partial checksum, copied to all", in: [(1, frame(to: .remote1, from: .host1, checksum: .partial))], out: flooded(out, to: 2),
      counted: [.checksumsCompleted: 1]),
    Scenario(
      "partial checksum, from the tunnel", in: [(0, tunnelled(frame(to: .host1, from: .remote1, checksum: .partial)))],
      out: both(frame(to: .host1, from: .remote1)), counted: [.checksumsCompleted: 1]),
    Scenario(
      "reserved bits are ignored",
      in: [(0, tunnelled(out, vxlan: VXLANHeader(vni: 100, flags: 0xff, reserved: 0xff_ffff, reserved2: 0xff)))],
      out: both(out)),
    Scenario(
      "Ethernet padding behind the outer packet, and bytes behind UDP",
      in: [
        (0, tunnelled(out) + [1, 2, 3]),
        (0, tunnelled(out + [4, 5], udp: UDPHeader(to: 4789, checksum: .value(0), length: UInt16(16 + out.count)))),
      ],
      out: both(out) + both(out)),
    Scenario("a UDP checksum", in: [(0, tunnelled(out, udp: UDPHeader(to: 4789)))], out: both(out)),
    Scenario(
      "outer tags", in: [(0, tunnelled(out, tags: [VLANTag(1)])), (0, tunnelled(out, tags: [VLANTag(1, type: 0x88a8), VLANTag(2)]))],
      out: both(out) + both(out)),
    Scenario("inner tag where the VNI carries them", in: [(0, tunnelled(tagged, vni: 200))], out: [Departure(3, tagged)]),
    Scenario(
      "no congestion is told to what is not IP", in: [(0, tunnelled(padded(arp), tos: 3))], out: both(padded(arp))),
  ]

  static let runt = packet(EthernetHeader(to: .broadcast, from: .remote1), ARPMessage())
  static let tagged = packet(
    EthernetHeader(to: .host3, from: .remote1), VLANTag(7), IPv4Header(), UDPHeader(to: 53), Payload(count: 30))

  static let waiting: [Scenario] = [
    Scenario(
      "a frame waits for its neighbour", changed(toRemote1) { $0.resolved = [.third] },
      steps: [
        .init(input: [(1, out), (1, frame(to: .remote1, from: .host1, payload: 50))]),
        .init(at: 999),
        .init(at: 999, resolved: [.remote], output: [sent(out), sent(frame(to: .remote1, from: .host1, payload: 50))]),
      ], counted: [.waitingEntered: 2, .waitingLeft: 2]),
    Scenario(
      "what waits gives up one by one", changed(toRemote1) { $0.resolved = [.third] },
      steps: [
        .init(at: 100, input: [(1, out)]), .init(at: 600, input: [(1, out)]), .init(at: 1100),
        .init(at: 1599, resolved: [.remote], output: [sent(out)]),
      ], drops: [.neighbourFailed: 1]),
    Scenario(
      "too big, noticed after waiting", changed(toRemote1) { $0.resolved = [.third] },
      steps: [
        .init(input: [(1, frame(to: .remote1, from: .host1, payload: 1423))]),
        .init(resolved: [.remote], output: [Departure(1, tooBig(frame(to: .remote1, from: .host1, payload: 1423)))]),
      ],
      drops: [.packetTooBig: 1]),
    Scenario(
      "one VTEP's queue leaves room for another's",
      changed(Network()) {
        $0.resolved = []
        $0.entries = [Network.Entry(mac: .remote1, place: .vtep(.remote)), Network.Entry(mac: .remote2, place: .vtep(.third))]
      },
      steps: [
        .init(input: (0..<40).map { _ in (1, out) } + [(1, frame(to: .remote2, from: .host1))]),
        .init(resolved: [.third], output: [sent(frame(to: .remote2, from: .host1), to: .third)]),
      ], drops: [.neighbourQueueFull: 8]),
  ]

  // MARK: What a table of frames can't say

  /// RFC 6040 through the whole decapsulator: every combination, IPv4 and IPv6, with and without a tag.
  @Test(arguments: 0..<16 as Range<UInt8>) func carriesCongestionInside(_ combination: UInt8) throws {
    let (inner, outer) = (combination >> 2, combination & 3)
    for isIPv6 in [false, true] {
      for tags in [[], [VLANTag(7)]] {
        func frame(_ codepoint: UInt8) -> [UInt8] {
          let ip: any IPLayer = isIPv6 ? IPv6Header(trafficClass: 0xb8 | codepoint) : IPv4Header(tos: 0xb8 | codepoint)
          let layers: [any Layer] = [EthernetHeader(to: .host3, from: .remote1)] + tags + [ip, UDPHeader(to: 53), Payload(count: 9)]
          return packet(layers)
        }
        let expected = Self.rfc6040[Int(inner)][Int(outer)]
        let scenario = Scenario(
          "", in: [(0, tunnelled(frame(inner), vni: 200, tos: 0x48 | outer))],
          out: expected.map { [Departure(3, padded(frame($0)))] } ?? [], drops: expected == nil ? [.ipTunnelECN: 1] : [:])
        for scenario in [scenario].overBoth { try scenario.run() }
      }
    }
  }

  /// RFC 6040 section 4.2, figure 4, by arriving inner and outer codepoint: Not-ECT 0, ECT(1) 1, ECT(0) 2, CE 3.
  static let rfc6040: [[UInt8?]] = [
    [0, 0, 0, nil],
    [1, 1, 1, 3],
    [2, 1, 2, 3],
    [3, 3, 3, 3],
  ]

  /// What was published, both ways.
  @Test(arguments: Capture.all) func handlesCaptures(_ capture: Capture) throws {
    #expect(capture.inner.suffix(capture.innerPayload.count) == capture.innerPayload[...])
    func address(_ offset: Int) -> IPAddress {
      IPAddress(v4: capture.packet[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) })
    }
    let ethernet = capture.ethernet.isEmpty ? packet(EthernetHeader(to: .nextHop, from: .underlay, type: 0x0800)) : capture.ethernet
    let published = ethernet + capture.packet
    var network = Network()
    network.segments = [Network.Segment(vni: capture.vni)]
    network.localPorts = [LocalPort(port: 2, segment: 0, isWire: false)]
    network.settings.port = capture.port
    network.resolved = []

    network.settings.local = address(16)
    try Scenario("decapsulated", network, in: [(0, published)], out: [Departure(2, capture.inner)]).run()

    // From the sender's side. The kernel left the outer UDP checksum to the NIC, or sent none; we send none.
    network.settings.local = address(12)
    let remote = Remote(address(16), port: capture.port)
    network.segments[0]?.remotes = [remote]
    var rig = try Rig(network)
    var header = network.header(to: remote)
    (header.nextHop, header.sourceMAC) = (mac(ethernet, 0), mac(ethernet, 6))
    let index = rig.forwarding.vteps.index(of: remote)
    rig.forwarding.vteps.publish(header, at: try #require(index))
    rig.arrive(capture.inner, at: 2)
    rig.run()
    let sent = rig.departures()
    var expected = Departure(0, published).normalised
    expected.bytes.replaceSubrange(40..<42, with: [0, 0])
    #expect(sent.map(\.normalised) == [expected])
  }

  private func mac(_ bytes: [UInt8], _ offset: Int) -> MACAddress {
    MACAddress(bytes[offset..<offset + 6].reduce(0) { $0 << 8 | UInt64($1) })
  }
}
