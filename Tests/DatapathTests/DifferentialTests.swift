import TestSupport
import Testing
import Wire

@testable import Datapath

/// Random frames, whole and damaged, through the data path and through `StupidGateway`: the same comes out, byte for byte.
@Suite struct DifferentialTests {
  static let framesPerNetwork = 3000

  /// Each over IPv4 and over IPv6.
  static let networks = [
    network("as it comes") { _ in },
    network("everything inherited") {
      ($0.settings.tos, $0.settings.df, $0.settings.inheritsTTL, $0.settings.flowLabel) = (.inherit, .inherit, true, .inherit)
    },
    network("no learning") { ($0.settings.learning, $0.settings.df, $0.ttl) = (false, .set, 1) },
    network("listed VTEPs") { ($0.settings.onlyListed, $0.listed, $0.settings.tos) = (true, [.remote, .third], .fixed(0xff)) },
    network("small MTU, another port") {
      $0.mtu = 700
      $0.settings.port = 8472
      for number in [1, 2] { $0.localPorts[number]?.isWire.toggle() }
    },
    network("UDP checksums, sent and verified") {
      ($0.udpChecksum, $0.settings.verifiesUDPChecksum, $0.settings.acceptsZeroUDP6) = (true, true, false)
      ($0.settings.inheritsTTL, $0.underlayVLAN) = (true, 7)
    },
    network("strict about reserved bits, no segment size") {
      ($0.settings.reservedBits, $0.settings.segmentSizeLimit) = (0xf7ff_ffff_0000_00ff, 0)
    },
    network("VLANs", vlans),
    network("VLANs, tags kept, UDP checksums") {
      vlans(&$0)
      for index in $0.segments.indices { $0.segments[index]?.options.insert(.keepsInnerTags) }
      ($0.udpChecksum, $0.settings.segmentSizeLimit) = (true, 600)
    },
    network("one-armed, with a group") {
      vlans(&$0)
      $0.localPorts += [
        LocalPort(port: 0, vlan: .tagged(id: 0x500, service: false), segment: 0, isWire: true),
        LocalPort(port: 0, vlan: .tagged(id: 5, service: true), segment: 1, isWire: true),
      ]
      $0.groups = [.group]
      $0.segments[1]?.remotes = [Remote(.group)]
      $0.resolved.append(.group)
    },
  ].flatMap { [$0, (name: $0.name + ", over IPv6", network: $0.network.overIPv6)] }

  static func network(_ name: String, _ change: (inout Network) -> Void) -> (name: String, network: Network) {
    let network = changed(Network()) {
      let odd = Remote(.remote, port: 8472, vni: 0xabcdef)
      $0.entries = [
        .init(mac: .host2, place: .port(2), state: .permanent), .init(mac: .remote2, place: .remote(Remote(.third, port: 4790))),
        .init(segment: 1, mac: .remote2, place: .vtep(.fourth), state: .permanent), .init(segment: 1, mac: .remote1, place: .remote(odd)),
        .init(mac: MACAddress(0x3333_0000_0001), place: .list([odd, Remote(.third)])),
      ]
      $0.segments[0]?.options.insert(.hasGroupEntries)
      $0.chunks = 256
      change(&$0)
    }
    return (name, network)
  }

  /// Port 1: untagged and several VLANs, two of one segment; port 2 a trunk; port 3 tagged frames alone.
  static func vlans(_ network: inout Network) {
    network.localPorts = [
      nil, LocalPort(port: 1, segment: 0, isWire: true), LocalPort(port: 2, vlan: .trunk, segment: 1, isWire: false),
      LocalPort(port: 1, vlan: .tagged(id: 100, service: false), segment: 0, isWire: true),
      LocalPort(port: 1, vlan: .tagged(id: 100, service: true), segment: 1, isWire: true),
      LocalPort(port: 1, vlan: .tagged(id: 4094, service: false), segment: 2, isWire: true),
      LocalPort(port: 3, vlan: .tagged(id: 1, service: false), segment: 0, isWire: true),
    ]
  }

  @Test(arguments: networks.indices) func agreesWithStupidGateway(_ index: Int) throws {
    let (name, network) = Self.networks[index]
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
      let (departures, drops) = (rig.departures(), rig.drops)
      let sent = departures.counts
      departed += sent.count
      // One is enough: from then on both have learned different things.
      try #require(sent == stupid.sent.counts && drops == dropped, "\(name), frame \(number): \(Departure(port, frame))")
    }
    let imbalance = rig.imbalance()
    #expect(imbalance == nil)
    #expect(departed > Self.framesPerNetwork / 10)
    // The traffic gets everywhere: these need settings, or a full table, of their own.
    let elsewhere: Set<DropReason> = [
      .vtepNotListed, .neighbourFailed, .noMemory, .stopped, .neighbourQueueFull, .udpChecksum, .vxlanReservedBits, .vlanNotFound,
      .neighbourSuppressed, .packetTooBig,
    ]
    if index == 0 { #expect(Set(DropReason.allCases).subtracting(dropped.keys).isSubset(of: elsewhere)) }
  }
}
