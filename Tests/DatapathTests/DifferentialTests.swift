import TestSupport
import Testing
import Wire

@testable import Datapath

/// Random frames, whole and damaged, through the data path and through `StupidGateway`: the same comes out, byte for byte.
@Suite struct DifferentialTests {
  static let framesPerNetwork = 4000

  static let networks: [Network] = [
    network { _ in },
    network { ($0.settings.tos, $0.settings.df) = (.inherit, .inherit) },
    network { ($0.settings.learning, $0.settings.df, $0.ttl) = (false, .set, 1) },
    network { ($0.settings.onlyListed, $0.listed, $0.settings.tos) = (true, [.remote, .third], .fixed(0xff)) },
    network { ($0.wires, $0.mtu, $0.settings.port) = ([true, false, true, false], 300, 8472) },
  ]

  static func network(_ change: (inout Network) -> Void) -> Network {
    changed(Network()) {
      $0.entries = [
        Network.Entry(mac: .host2, place: .port(2), state: .permanent), Network.Entry(mac: .remote2, place: .vtep(.third)),
        Network.Entry(segment: 1, mac: .remote2, place: .vtep(.fourth)),
      ]
      $0.chunks = 256
      change(&$0)
    }
  }

  @Test(arguments: networks.indices) func agreesWithStupidGateway(_ index: Int) throws {
    let network = Self.networks[index]
    var rig = try Rig(network)
    var stupid = StupidGateway(network)
    var traffic = Traffic(network, seed: UInt64(index))
    var dropped: [DropReason: Int] = [:]
    var departed = 0
    for number in 0..<Self.framesPerNetwork {
      let (port, frame) = traffic.next()
      rig.arrive(frame, at: port)
      rig.run()
      stupid.receive(frame, at: port)
      dropped.merge(stupid.drops, uniquingKeysWith: +)
      let (sent, expected) = (Self.counts(rig.departures()), Self.counts(stupid.sent))
      let drops = rig.drops
      departed += sent.count
      // One is enough: from then on both have learned different things.
      try #require(sent == expected && drops == dropped, "frame \(number): \(Departure(port, frame))")
    }
    let imbalance = rig.imbalance()
    #expect(imbalance == nil)
    // The traffic gets everywhere: these need settings, or a full table, of their own.
    let elsewhere: Set<DropReason> = [.vtepNotListed, .neighbourFailed, .noMemory, .stopped, .packetTooBig, .neighbourQueueFull]
    if index == 0 { #expect(Set(DropReason.allCases).subtracting(dropped.keys).isSubset(of: elsewhere)) }
    #expect(departed > Self.framesPerNetwork / 10)
  }

  private static func counts(_ departures: [Departure]) -> [Departure: Int] {
    departures.reduce(into: [:]) { $0[$1.normalised, default: 0] += 1 }
  }
}

/// Frames at random: most of them in order, the others with some bytes changed or cut off.
struct Traffic {
  private let network: Network
  private var random: Seeded

  init(_ network: Network, seed: UInt64) {
    self.network = network
    random = Seeded(seed)
  }

  /// A port and what arrives there.
  mutating func next() -> (Int, [UInt8]) {
    let port = max(0, random.below(2 * network.wires.count) - network.wires.count)
    var frame = port == 0 ? tunnelled() : ethernet()
    if random.below(3) == 0 { damage(&frame, isPacket: port == 0) }
    return (port, frame)
  }

  private mutating func damage(_ frame: inout [UInt8], isPacket: Bool) {
    for _ in 0..<1 + random.below(3) {
      let offset = random.below(min(frame.count, 110))
      frame[offset] = random.below(2) == 0 ? frame[offset] ^ 1 << UInt8(random.below(8)) : UInt8(random.below(256))
    }
    if random.below(4) == 0 { frame.removeLast(random.below(frame.count + 1)) }
    // Otherwise hardly anything would come past the header checksum.
    if isPacket && random.below(4) != 0 && frame.count >= 34 {
      frame.replaceSubrange(24..<26, with: [0, 0])
      frame.replaceSubrange(24..<26, with: [UInt8](big: ~onesComplementSum(Array(frame[14..<34]))))
    }
  }

  private mutating func pick<Value>(_ values: [Value]) -> Value { values[random.below(values.count)] }

  /// One of the hosts that everybody knows, or a group.
  private mutating func mac(group: Bool) -> MACAddress {
    let hosts: [MACAddress] = [.host1, .host2, .host3, .remote1, .remote2, MACAddress(0x0200_0000_0100 | UInt64(random.below(32)))]
    let groups = [MACAddress.broadcast, MACAddress(0x3333_0000_0001), MACAddress(0x0180_c200_000e), MACAddress(0)]
    return group && random.below(4) == 0 ? pick(groups) : pick(hosts)
  }

  private mutating func tag() -> VLANTag { VLANTag(UInt16(random.below(4096)), type: pick([0x8100, 0x88a8])) }

  private mutating func ethernet() -> [UInt8] {
    let source = random.below(50) == 0 ? mac(group: true) : mac(group: false)
    var layers: [any Layer] = [EthernetHeader(to: mac(group: true), from: source)]
    if random.below(8) == 0 { layers += (0..<1 + random.below(3)).map { _ in tag() } }
    let ds = UInt8(random.below(256))
    switch random.below(8) {
    case 0: return packet(layers + [ARPMessage()])
    case 1...2: layers.append(IPv6Header(trafficClass: ds))
    default:
      layers.append(
        IPv4Header(
          tos: ds, dontFragment: random.below(2) == 0, moreFragments: random.below(16) == 0, options: random.bytes(pick([0, 0, 0, 4]))))
    }
    let sum = pick([ChecksumField.correct, .correct, .partial, .value(0)])
    layers.append(random.below(2) == 0 ? UDPHeader(to: 53, checksum: sum) : TCPHeader(to: 80, checksum: sum))
    let length = random.below(10) == 0 ? random.below(1600) : random.below(100)
    return packet(layers + [Payload(random.bytes(length))]) + [UInt8](repeating: 0, count: pick([0, 0, 0, 6]))
  }

  private mutating func tunnelled() -> [UInt8] {
    let sources: [IPAddress] = [.remote, .remote, .third, .third, .fourth, IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))]
    var ip = IPv4Header(to: .local, from: pick(sources), tos: UInt8(random.below(256)))
    ip.identification = UInt16(random.below(65536))
    let udp = UDPHeader(to: network.settings.port, checksum: .value(UInt16(random.below(2) * random.below(65536))))
    let vxlan = VXLANHeader(vni: pick([100, 100, 100, 100, 200, 200, 300, 999]), reserved: UInt32(random.below(2) * random.below(1 << 24)))
    let tags = random.below(8) == 0 ? (0..<1 + random.below(2)).map { _ in tag() } : []
    return packet([EthernetHeader(to: .underlay, from: .nextHop)] + tags + [ip, udp, vxlan, Payload(ethernet())])
  }
}
