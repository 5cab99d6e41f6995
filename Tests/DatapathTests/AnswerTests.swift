import TestSupport
import Testing
import Wire

@testable import Datapath

/// What the gateway says itself, or changes so that others need not ask: ARP and neighbour discovery, frames that don't fit, TCP's
/// segment sizes. Their bytes are `Wire`'s, and tested there; this is about who gets them.
@Suite struct AnswerTests {
  @Test(arguments: (proxy + suppress + misses + tooLong + segmentSizes).overBoth)
  func answers(_ scenario: Scenario) throws { try scenario.run() }

  // MARK: ARP and neighbour discovery

  static let (here, there, elsewhere) = (IPAddress(v4: 0xc633_6401), IPAddress(v4: 0xc633_6402), IPAddress(v4: 0xc633_6403))
  static let (here6, there6) = (IPAddress(high: 0x2001_0db8_0001_0000, low: 1), IPAddress(high: 0x2001_0db8_0001_0000, low: 2))

  /// Host 1 asks who has `target`.
  static func request(_ target: IPAddress, from sender: IPAddress = here, to mac: MACAddress = .broadcast) -> [UInt8] {
    packet(
      EthernetHeader(to: mac, from: .host1), ARPMessage(.request, sender: (.host1, sender), target: (MACAddress(0), target)))
  }

  static let reply = packet(
    EthernetHeader(to: .host1, from: .remote1), ARPMessage(.reply, sender: (.remote1, there), target: (.host1, here)))
  static let hostsReply = packet(
    EthernetHeader(to: .remote1, from: .host1), ARPMessage(.reply, sender: (.host1, here), target: (.remote1, there)))

  static let solicitation = packet(
    [EthernetHeader(to: MACAddress(0x3333_ff00_0002), from: .host1)]
      + [IPv6Header(to: IPAddress(high: 0xff02 << 48, low: 0x1_ff00_0002), from: here6, hopLimit: 255)]
      + neighbourMessage(135, target: there6, options: linkLayerAddress(1, .host1)))
  static func advertisement(flags: UInt32) -> [UInt8] {
    packet(
      [EthernetHeader(to: .host1, from: .remote1), IPv6Header(to: here6, from: there6, hopLimit: 255)]
        + neighbourMessage(136, flags: flags, target: there6, options: linkLayerAddress(2, .remote1)))
  }

  /// VNI 100 with `options`; who has `there` and `there6` is known, and is behind a VTEP unless `place` says otherwise.
  static func network(_ options: Topology.Segment.Options, place: Network.Place? = .vtep(.remote), isAlone: Bool = false) -> Network {
    changed(Network()) {
      $0.segments[0]?.options = options
      let binding = NeighbourTable.Binding(mac: .remote1, isRouter: true)
      $0.neighbours = [.init(address: there, binding: binding), .init(address: there6, binding: binding)]
      $0.entries = place.map { [.init(mac: .remote1, place: $0)] } ?? []
      if isAlone { $0.localPorts[2] = nil }
    }
  }

  static func flooded(_ frame: [UInt8]) -> [Departure] { [sent(frame), sent(frame, to: .third), Departure(2, frame)] }
  static func news(_ mac: MACAddress, _ place: Network.Place, _ address: IPAddress) -> Report {
    Report(.neighbour, mac: mac, at: place, address: address)
  }

  static let proxy: [Scenario] = [
    Scenario(
      "proxy: what is known is answered", network(.proxy), in: [(1, request(there)), (1, solicitation)],
      out: [Departure(1, padded(reply)), Departure(1, advertisement(flags: 0xe0))], counted: [.neighboursAnswered: 2]),
    Scenario("proxy: to a TAP, unpadded", network(.proxy), in: [(2, request(there))], out: [Departure(2, reply)]),
    Scenario("proxy: without an FDB entry", network(.proxy, place: nil), in: [(1, request(there))], out: [Departure(1, padded(reply))]),
    Scenario("proxy: who asks a single host", network(.proxy), in: [(1, request(there, to: .remote1))], out: [Departure(1, padded(reply))]),
    Scenario(
      "proxy: what is unknown stays here", network(.proxy), in: [(1, request(elsewhere)), (1, hostsReply)],
      out: [Departure(2, request(elsewhere)), Departure(2, hostsReply)], counted: [.neighboursAnswered: 0]),
    Scenario(
      "proxy: a host on another port answers for itself", network(.proxy, place: .port(2)), in: [(1, request(there))],
      out: [Departure(2, request(there))]),
    Scenario("proxy: nobody to tell", network(.proxy, isAlone: true), in: [(1, request(elsewhere))], drops: [.neighbourSuppressed: 1]),
    Scenario(
      "proxy: ARP of no kind that we know", network(.proxy, isAlone: true),
      in: [(1, Array(request(there).prefix(40))), (1, changed(request(there)) { $0[21] = 3 })], drops: [.neighbourSuppressed: 2]),
    Scenario(
      "proxy: advertisements pass", network(.proxy), in: [(2, changed(advertisement(flags: 0xe0)) { $0.swapAddresses() })],
      out: [sent(changed(advertisement(flags: 0xe0)) { $0.swapAddresses() })]),
    Scenario(
      "proxy: in a VLAN, behind its tag",
      changed(network(.proxy)) { $0.localPorts[1]?.vlan = .tagged(id: 5, service: false) },
      in: [(1, changed(request(there)) { $0.insert(contentsOf: [0x81, 0, 0, 5], at: 12) })],
      out: [Departure(1, padded(changed(reply) { $0.insert(contentsOf: [0x81, 0, 0, 5], at: 12) }))]),
    Scenario("proxy: not in another segment", network(.proxy), in: [(3, request(there))], drops: [.noRemote: 1]),
    Scenario(
      "proxy: from the tunnel everything passes", network(.proxy),
      in: [(0, tunnelled(changed(request(elsewhere)) { $0.replaceSubrange(6..<12, with: [2, 0, 0, 0, 0, 0x22]) }))],
      out: both(changed(request(elsewhere)) { $0.replaceSubrange(6..<12, with: [2, 0, 0, 0, 0, 0x22]) })),
  ]

  static func both(_ frame: [UInt8]) -> [Departure] { [Departure(1, padded(frame)), Departure(2, frame)] }

  static let suppress: [Scenario] = [
    Scenario(
      "suppress: what is known is answered", network(.suppress), in: [(1, request(there)), (1, solicitation)],
      out: [Departure(1, padded(reply)), Departure(1, advertisement(flags: 0xe0))],
      reports: [news(.host1, .port(1), here), news(.host1, .port(1), here6)]),
    Scenario(
      "suppress: what is unknown goes on", network(.suppress), in: [(1, request(elsewhere))], out: flooded(request(elsewhere)),
      reports: [news(.host1, .port(1), here)]),
    Scenario(
      "suppress: so does what nobody knows the place of", network(.suppress, place: nil), in: [(1, request(there))],
      out: flooded(request(there)), reports: [news(.host1, .port(1), here)]),
    Scenario(
      "suppress: gratuitous requests and probes go on", network(.suppress),
      in: [(1, request(here)), (1, request(there, from: IPAddress(v4: 0)))],
      out: flooded(request(here)) + flooded(request(there, from: IPAddress(v4: 0))), reports: [news(.host1, .port(1), here)]),
    Scenario(
      "suppress: so do replies, and requests to a single host", network(.suppress),
      in: [(1, hostsReply), (1, request(there, to: .remote1))], out: [sent(hostsReply), sent(request(there, to: .remote1))],
      reports: [news(.host1, .port(1), here), news(.host1, .port(1), here)]),
    Scenario(
      "suppress: a host on another port answers for itself", network(.suppress, place: .port(2)), in: [(1, request(there))],
      out: [Departure(2, request(there))], reports: [news(.host1, .port(1), here)]),
    Scenario(
      "suppress: a reply from the tunnel is noticed, what is known is no news", network(.suppress, place: nil),
      in: [(0, tunnelled(reply)), (0, tunnelled(changed(reply) { $0.replaceSubrange(28..<32, with: [198, 51, 100, 3]) }))],
      out: both(reply) + both(changed(reply) { $0.replaceSubrange(28..<32, with: [198, 51, 100, 3]) }),
      reports: [news(.remote1, .vtep(.remote), elsewhere)]),
    Scenario(
      "suppress: in the segment that asks for it alone", network(.suppress),
      in: [(0, tunnelled(reply, vni: 200)), (0, tunnelled(frame(to: .host1, from: .remote1)))],
      out: [Departure(3, padded(reply))] + ForwardingTests.both(frame(to: .host1, from: .remote1))),
  ]

  // MARK: Misses

  static let unknown = frame(to: .remote2, from: .host1)

  static let misses: [Scenario] = [
    Scenario(
      "an unknown destination, once a second", changed(Network()) { silence(&$0, .reportsL2Miss) },
      steps: [
        .init(at: 1000, input: [(1, unknown), (1, unknown)], output: [Departure(2, unknown), Departure(2, unknown)]),
        .init(at: 1999, input: [(1, unknown)], output: [Departure(2, unknown)]),
        .init(at: 2000, input: [(1, unknown)], output: [Departure(2, unknown)]),
      ], reports: [Report(.l2Miss, mac: .remote2), Report(.l2Miss, mac: .remote2)]),
    Scenario(
      "nobody to send it to",
      changed(Network()) {
        silence(&$0, .reportsL2Miss)
        $0.localPorts[2] = nil
      }, in: [(1, unknown)], drops: [.noRemote: 1], reports: [Report(.l2Miss, mac: .remote2)]),
    Scenario(
      "groups are never unknown", changed(Network()) { silence(&$0, .reportsL2Miss) }, in: [(1, request(there))],
      out: [Departure(2, request(there))]),
    Scenario("not asked for", changed(Network()) { silence(&$0, []) }, in: [(1, unknown)], out: [Departure(2, unknown)]),
    Scenario(
      "a neighbour that nobody knows", network([.proxy, .reportsL3Miss]),
      in: [(1, request(elsewhere)), (1, request(elsewhere)), (1, request(there))],
      out: [Departure(2, request(elsewhere)), Departure(2, request(elsewhere)), Departure(1, padded(reply))],
      reports: [Report(.l3Miss, address: elsewhere)]),
  ]

  static func silence(_ network: inout Network, _ options: Topology.Segment.Options) {
    network.segments[0]?.remotes = []
    network.segments[0]?.options = options
  }

  // MARK: What does not fit

  static let long = frame(to: .remote1, from: .host1, payload: 1423)
  static let longToAll = frame(to: .broadcast, from: .host1, payload: 1423)

  static let tooLong: [Scenario] = [
    Scenario(
      "too big: at most 200 answers a second", changed(DropTests.toRemote1) { $0.chunks = 1024 },
      steps: [
        .init(at: 1000, input: (0..<201).map { _ in (1, long) }, output: [Departure(1, tooBig(long))] * 200),
        .init(at: 2000, input: [(1, long)], output: [Departure(1, tooBig(long))]),
      ], drops: [.packetTooBig: 202], counted: [.tooBigAnswered: 201]),
    Scenario(
      "too big: who sends to all gets no answer, and other ports their copy", in: [(1, longToAll)], out: [Departure(2, longToAll)],
      drops: [.packetTooBig: 2], counted: [.tooBigAnswered: 0]),
    Scenario(
      "too big: what is no IP gets no answer", DropTests.toRemote1,
      in: [(1, packet(EthernetHeader(to: .remote1, from: .host1, type: 0x9999), Payload(count: 1460)))], drops: [.packetTooBig: 1]),
    Scenario(
      "too big: no memory for an answer", changed(DropTests.toRemote1) { $0.chunks = 1 }, in: [(1, long)], drops: [.packetTooBig: 1],
      counted: [.tooBigAnswered: 0, .replicated: 0]),
    Scenario(
      "too big: in a VLAN, behind its tag",
      changed(DropTests.toRemote1) { $0.localPorts[1]?.vlan = .tagged(id: 5, service: true) },
      in: [(1, changed(long) { $0.insert(contentsOf: [0x88, 0xa8, 0, 5], at: 12) })],
      out: [Departure(1, changed(tooBig(long)) { $0.insert(contentsOf: [0x88, 0xa8, 0, 5], at: 12) })], drops: [.packetTooBig: 1]),
  ]

  // MARK: TCP's segment sizes

  /// 1500 - 36 - 14 - 20 - 20 = 1410 fit.
  static func syn(_ size: UInt16, to destination: MACAddress = .remote1, from source: MACAddress = .host1, flags: TCPHeader.Flags = .syn)
    -> [UInt8]
  {
    packet(
      EthernetHeader(to: destination, from: source), IPv4Header(), TCPHeader(to: 80, flags: flags, options: TCPHeader.mss(size)),
      Payload(count: 4))
  }

  static let segmentSizes: [Scenario] = [
    Scenario(
      "SYN to a VTEP", DropTests.toRemote1, in: [(1, syn(1460)), (1, syn(1411)), (1, syn(1410)), (1, syn(536))],
      out: [sent(syn(1410)), sent(syn(1410)), sent(syn(1410)), sent(syn(536))], counted: [.segmentSizesLowered: 2]),
    Scenario(
      "SYN with ACK from a VTEP", in: [(0, tunnelled(syn(1460, to: .host1, from: .remote1, flags: [.syn, .ack])))],
      out: ForwardingTests.both(syn(1410, to: .host1, from: .remote1, flags: [.syn, .ack])), counted: [.segmentSizesLowered: 1]),
    Scenario("SYN to nobody in particular", in: [(1, syn(1460))], out: flooded(syn(1410)), counted: [.segmentSizesLowered: 1]),
    Scenario(
      "SYN to a local host", changed(Network()) { $0.entries = [.init(mac: .remote1, place: .port(2))] }, in: [(1, syn(1460))],
      out: [Departure(2, syn(1460))], counted: [.segmentSizesLowered: 0]),
    Scenario("no SYN", DropTests.toRemote1, in: [(1, syn(1460, flags: .ack))], out: [sent(syn(1460, flags: .ack))]),
    Scenario(
      "SYN with a limit", changed(DropTests.toRemote1) { $0.settings.segmentSizeLimit = 1000 }, in: [(1, syn(1460))], out: [sent(syn(1000))]
    ),
    Scenario(
      "SYN left alone", changed(DropTests.toRemote1) { $0.settings.segmentSizeLimit = 0 }, in: [(1, syn(1460))], out: [sent(syn(1460))]),
  ]
}

extension [UInt8] {
  /// Ethernet destination and source change places.
  fileprivate mutating func swapAddresses() { replaceSubrange(0..<12, with: self[6..<12] + self[0..<6]) }
}
