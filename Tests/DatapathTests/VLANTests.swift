import TestSupport
import Testing
import Wire

@testable import Datapath

/// Local ports that are VLANs of a NIC: whose frames they are, and what becomes of tags.
@Suite struct VLANTests {
  @Test(arguments: (arriving + leaving + switching + oneArmed).overBoth)
  func switches(_ scenario: Scenario) throws { try scenario.run() }

  /// Port 1 is a NIC with untagged frames (VNI 100), 802.1Q's VLAN 100 (VNI 200, which keeps inner tags) and 802.1ad's 100 and 200
  /// (both VNI 300); port 2 a TAP and a trunk of VNI 400; port 3 a NIC with VLAN 100 of VNI 100, and nothing else.
  static let network = changed(Network()) {
    $0.segments = [100, 200, 300, 400].map { Network.Segment(vni: $0, remotes: [Remote(.remote)]) }
    $0.segments[1]?.options = .keepsInnerTags
    $0.segments[3]?.options = .keepsInnerTags
    $0.localPorts = [
      LocalPort(port: 1, segment: 0, isWire: true),
      LocalPort(port: 1, vlan: .tagged(id: 100, service: false), segment: 1, isWire: true),
      LocalPort(port: 1, vlan: .tagged(id: 100, service: true), segment: 2, isWire: true),
      LocalPort(port: 1, vlan: .tagged(id: 200, service: true), segment: 2, isWire: true),
      LocalPort(port: 2, vlan: .trunk, segment: 3, isWire: false),
      LocalPort(port: 3, vlan: .tagged(id: 100, service: false), segment: 0, isWire: true),
    ]
  }

  static let q100 = VLANTag(100)
  static let s100 = VLANTag(100, type: 0x88a8)
  static let s200 = VLANTag(200, type: 0x88a8)

  /// To everybody, from a local host and from a remote one.
  static func local(_ tags: VLANTag..., payload: Int = 60) -> [UInt8] { frame(to: .broadcast, from: .host1, tags: tags, payload: payload) }
  static func remote(_ tags: VLANTag..., payload: Int = 60) -> [UInt8] { frame(to: .host1, from: .remote1, tags: tags, payload: payload) }

  /// Frame `input` at port `port` goes into the tunnel as `inner`, and to no local port.
  static func row(_ name: String, _ input: [UInt8], at port: Int = 1, vni: UInt32, as inner: [UInt8], copies: [Departure] = []) -> Scenario
  {
    Scenario(name, network, in: [(port, input)], out: [sent(inner, vni: vni)] + copies)
  }

  static func dropped(_ name: String, _ reason: DropReason, at port: Int = 1, _ frames: [UInt8]...) -> Scenario {
    Scenario(name, network, in: frames.map { (port, $0) }, drops: [reason: frames.count])
  }

  static let arriving: [Scenario] = [
    row("no tag", local(), vni: 100, as: local(), copies: [Departure(3, local(q100))]),
    row("802.1Q", local(q100), vni: 200, as: local()),
    row("802.1Q with a priority", local(VLANTag(100, priority: 7)), vni: 200, as: local()),
    row("802.1ad", local(s100), vni: 300, as: local(), copies: [Departure(1, local(s200))]),
    row("a priority tag is taken off", local(VLANTag(0, priority: 5)), vni: 100, as: local(), copies: [Departure(3, local(q100))]),
    row(
      "an 802.1ad priority tag", local(VLANTag(0, priority: 5, type: 0x88a8)), vni: 100, as: local(),
      copies: [Departure(3, local(q100))]),
    row("a second tag that is kept", local(q100, VLANTag(7)), vni: 200, as: local(VLANTag(7))),
    row("two more tags that are kept", local(q100, VLANTag(7), VLANTag(8)), vni: 200, as: local(VLANTag(7), VLANTag(8))),
    row("a second tag of the same VLAN", local(q100, q100), vni: 200, as: local(q100)),
    dropped("a second tag that is not", .innerVLAN, local(s100, VLANTag(7)), local(s100, s100)),
    row("a priority tag behind a tag", local(s100, VLANTag(0)), vni: 300, as: local(), copies: [Departure(1, local(s200))]),
    row("a priority tag behind a tag where tags are kept", local(q100, VLANTag(0)), vni: 200, as: local(VLANTag(0))),
    dropped("a tag behind two priority tags", .innerVLAN, local(VLANTag(0), VLANTag(0), q100)),
    dropped("a tag behind a priority tag", .innerVLAN, local(VLANTag(0), q100)),
    dropped(
      "a VLAN of nobody's, where there is a port for untagged frames", .innerVLAN, local(VLANTag(101)), local(VLANTag(200)),
      local(VLANTag(4095))),
    Scenario(
      "the same where that keeps tags", changed(network) { $0.segments[0]?.options = .keepsInnerTags },
      in: [(1, local(VLANTag(101))), (1, local(VLANTag(0), VLANTag(101)))],
      out: [sent(local(VLANTag(101))), Departure(3, local(q100, VLANTag(101)))] * 2),
    dropped("a VLAN of nobody's", .vlanNotFound, at: 3, local(VLANTag(101)), local(s100), local(VLANTag(0)), local()),
    Scenario("a trunk", network, in: trunked.map { (2, $0) }, out: trunked.map { sent($0, vni: 400) }),
    dropped("cut off in the tag", .frameTooSmall, Array(local(q100).prefix(14)), Array(local(q100).prefix(17))),
    Scenario(
      "cut off behind the tag", network, in: [(1, Array(local(q100).prefix(18)))], out: [sent(Array(local().prefix(14)), vni: 200)]),
    Scenario(
      "cut off in the tag on a trunk", network, in: [(2, Array(local(q100).prefix(14)))],
      out: [sent(Array(local(q100).prefix(14)), vni: 400)]),
    Scenario(
      "the first and the last VLAN",
      changed(network) {
        $0.localPorts[1]?.vlan = .tagged(id: 1, service: false)
        $0.localPorts[2]?.vlan = .tagged(id: 4094, service: true)
      }, in: [(1, local(VLANTag(1))), (1, local(VLANTag(4094, type: 0x88a8)))],
      out: [sent(local(), vni: 200), sent(local(), vni: 300), Departure(1, local(s200))]),
    dropped(
      "link-local groups stay on the link, whatever their VLAN", .linkLocalGroup,
      frame(to: MACAddress(0x0180_c200_0000), from: .host1, tags: [q100])),
    dropped("sources that can't be", .macInvalidSource, frame(to: .remote1, from: .broadcast, tags: [q100])),
  ]

  static let trunked = [local(), local(q100), local(s100, q100), local(VLANTag(0, priority: 5)), local(q100, q100, q100)]

  static let leaving: [Scenario] = [
    Scenario(
      "to a VLAN", network, in: [(0, tunnelled(remote(), vni: 200))], out: [Departure(1, remote(q100))]),
    Scenario(
      "to two VLANs of one NIC, and as a copy", network, in: [(0, tunnelled(remote(), vni: 300))],
      out: [Departure(1, remote(s100)), Departure(1, remote(s200))], counted: [.replicated: 1]),
    Scenario(
      "untagged here, tagged there", network, in: [(0, tunnelled(remote(), vni: 100))],
      out: [Departure(1, remote()), Departure(3, remote(q100))]),
    Scenario(
      "in front of a tag that is kept", network, in: [(0, tunnelled(remote(VLANTag(7)), vni: 200))],
      out: [Departure(1, remote(q100, VLANTag(7)))]),
    Scenario(
      "to a trunk", network, in: [(0, tunnelled(remote(), vni: 400)), (0, tunnelled(remote(s100, q100), vni: 400))],
      out: [Departure(2, remote()), Departure(2, remote(s100, q100))]),
    Scenario(
      "a priority tag from the tunnel is taken off", network,
      in: [VLANTag(0, priority: 5), VLANTag(0, type: 0x88a8)].map { (0, tunnelled(remote($0), vni: 300)) },
      out: [Departure(1, remote(s100)), Departure(1, remote(s200))] * 2),
    Scenario(
      "a priority tag from the tunnel that is kept", network, in: [(0, tunnelled(remote(VLANTag(0)), vni: 200))],
      out: [Departure(1, remote(q100, VLANTag(0)))]),
    // The tag's last bytes are behind the UDP datagram, which the underlay has padded.
    Scenario(
      "a priority tag from the tunnel that is cut off", network,
      in: (14...17).map { (0, tunnelled(Array(remote(VLANTag(0)).prefix($0)), vni: 300) + [0, 0, 0, 0, 0]) }, drops: [.innerVLAN: 4]),
    Scenario(
      "a priority tag from the tunnel and nothing behind it", network, in: [(0, tunnelled(Array(remote(VLANTag(0)).prefix(18)), vni: 300))],
      out: [Departure(1, padded(Array(remote(s100).prefix(18)))), Departure(1, padded(Array(remote(s200).prefix(18))))]),
    Scenario(
      "two tags from the tunnel, a priority first", network, in: [(0, tunnelled(remote(VLANTag(0), VLANTag(7)), vni: 300))],
      drops: [.innerVLAN: 1]),
    Scenario("a tag that is not kept", network, in: [(0, tunnelled(remote(VLANTag(7)), vni: 300))], drops: [.innerVLAN: 1]),
    // 14 + 20 + 8 = 42 bytes of headers, 46 with the tag.
    Scenario(
      "runts are padded with their tag", network,
      in: [
        (0, tunnelled(remote(payload: 0), vni: 200)), (0, tunnelled(remote(payload: 13), vni: 200)),
        (0, tunnelled(remote(payload: 14), vni: 200)),
      ],
      out: [0, 13, 14].map { Departure(1, padded(remote(q100, payload: $0))) }),
    Scenario(
      "a TAP's runts are not", changed(network) { $0.localPorts[1]?.isWire = false }, in: [(0, tunnelled(remote(payload: 0), vni: 200))],
      out: [Departure(1, remote(q100, payload: 0))]),
    Scenario(
      "partial checksums behind a tag that is put on, and one that is taken off", network,
      in: [
        (0, tunnelled(frame(to: .host1, from: .remote1, payload: 60, checksum: .partial), vni: 200)),
        (1, frame(to: .broadcast, from: .host1, tags: [q100], payload: 60, checksum: .partial)),
      ], out: [Departure(1, remote(q100)), sent(local(), vni: 200)], counted: [.checksumsCompleted: 2]),
  ]

  static let toHost2 = frame(to: .host2, from: .host1, payload: 60)

  static let switching: [Scenario] = [
    Scenario(
      "between two VLANs of one NIC",
      network,
      steps: [
        .init(
          input: [(1, frame(to: .broadcast, from: .host2, tags: [s200]))],
          output: [
            sent(frame(to: .broadcast, from: .host2), vni: 300), Departure(1, frame(to: .broadcast, from: .host2, tags: [s100])),
          ]),
        .init(
          input: [(1, frame(to: .host2, from: .host1, tags: [s100], payload: 60))],
          output: [Departure(1, frame(to: .host2, from: .host1, tags: [s200], payload: 60))]),
      ], counted: [.learned: 2, .moved: 0]),
    Scenario(
      "in one VLAN", entry(.host2, at: 3, of: 2), in: [(1, frame(to: .host2, from: .host1, tags: [s200]))], drops: [.samePort: 1]),
    Scenario(
      "from untagged to a VLAN of another NIC", entry(.host2, at: 5, of: 0), in: [(1, toHost2)],
      out: [Departure(3, frame(to: .host2, from: .host1, tags: [q100], payload: 60))]),
    Scenario(
      "from a VLAN to another NIC's untagged frames", entry(.host2, at: 0, of: 0),
      in: [(3, frame(to: .host2, from: .host1, tags: [q100], payload: 60))], out: [Departure(1, toHost2)]),
    Scenario(
      "the same host in two VLANs of one NIC is two hosts", network,
      steps: [
        .init(input: [(1, local(q100))], output: [sent(local(), vni: 200)]),
        .init(input: [(1, local(s100))], output: [sent(local(), vni: 300), Departure(1, local(s200))]),
        .init(input: [(0, tunnelled(remote(), vni: 200))], output: [Departure(1, remote(q100))]),
        .init(input: [(0, tunnelled(remote(), vni: 300))], output: [Departure(1, remote(s100))]),
      ], counted: [.moved: 0]),
    Scenario(
      "moved from one VLAN to the next of its segment", network,
      steps: [
        .init(input: [(1, local(s100))], output: [sent(local(), vni: 300), Departure(1, local(s200))]),
        .init(input: [(1, local(s200))], output: [sent(local(), vni: 300), Departure(1, local(s100))]),
        .init(input: [(0, tunnelled(remote(), vni: 300))], output: [Departure(1, remote(s200))]),
      ], counted: [.moved: 1]),
    Scenario(
      "a static entry on one VLAN, a frame from the other", entry(.host1, at: 2, of: 2), in: [(1, local(s200))], drops: [.entryExists: 1]),
    Scenario(
      "our own address on one VLAN, a frame from the other", entry(.host1, at: 2, of: 2, .permanent), in: [(1, local(s200))],
      drops: [.localMAC: 1]),
    Scenario(
      "a static entry on the VLAN that the frame is from", entry(.host1, at: 2, of: 2, .permanent), in: [(1, local(s100))],
      out: [sent(local(), vni: 300), Departure(1, local(s200))]),
  ]

  static func entry(_ mac: MACAddress, at number: Int, of segment: Int, _ state: FDBEntry.State = .static) -> Network {
    changed(network) { $0.entries = [.init(segment: segment, mac: mac, place: .port(number), state: state)] }
  }

  /// The underlay's NIC is a LAN as well, in two VLANs. An IPv4 header that stands where a tag would begins with 0x4500, that is VLAN
  /// 0x500, if one does not look twice.
  static let oneArmedNetwork = changed(network) {
    $0.localPorts += [
      LocalPort(port: 0, vlan: .tagged(id: 0x500, service: false), segment: 0, isWire: true),
      LocalPort(port: 0, vlan: .tagged(id: 5, service: true), segment: 1, isWire: true),
    ]
  }
  static let lan = VLANTag(0x500)

  static let oneArmed: [Scenario] = [
    Scenario(
      "one-armed: into the tunnel", oneArmedNetwork, in: [(0, local(lan)), (0, local(VLANTag(5, type: 0x88a8)))],
      out: [sent(local()), Departure(1, local()), Departure(3, local(q100)), sent(local(), vni: 200), Departure(1, local(q100))]),
    Scenario(
      "one-armed: out of the tunnel", oneArmedNetwork, in: [(0, tunnelled(remote())), (0, tunnelled(remote(), vni: 200))],
      out: [
        Departure(0, remote(lan)), Departure(1, remote()), Departure(3, remote(q100)), Departure(0, remote(VLANTag(5, type: 0x88a8))),
        Departure(1, remote(q100)),
      ]),
    Scenario(
      "one-armed: in one batch, and there and back",
      changed(oneArmedNetwork) { $0.entries = [.init(mac: .remote1, place: .vtep(.remote))] },
      steps: [
        .init(
          input: (0..<8).flatMap { _ in [(0, frame(to: .remote1, from: .host1, tags: [lan])), (0, tunnelled(remote()))] },
          output: [sent(frame(to: .remote1, from: .host1)), Departure(0, remote(lan))] * 8)
      ]),
    Scenario(
      "one-armed: the underlay in a VLAN of its own",
      changed(oneArmedNetwork) {
        $0.underlayVLAN = 6
        $0.localPorts[0] = nil
        $0.localPorts[5] = nil
      }, in: [(0, tunnelled(remote(), tags: [VLANTag(6)])), (0, local(lan))],
      out: [Departure(0, remote(lan)), sent(local(), IPv4Header(to: .remote, from: .local), tag: VLANTag(6))]),
    Scenario(
      "one-armed: what is neither", oneArmedNetwork,
      in: [VLANTag(0x501), VLANTag(5), VLANTag(0)].map { (0, packet(EthernetHeader(), $0, Payload(count: 80))) },
      drops: [.ipInvalidHeader: 3]),
  ]
}

extension Array {
  /// As often as `count` says.
  static func * (_ array: [Element], _ count: Int) -> [Element] { (0..<count).flatMap { _ in array } }
}
