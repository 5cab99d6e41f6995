import PacketIO
import TestSupport
import Testing
import Wire

@testable import PacketIO

private let group = IPAddress(v4: 0xef01_0101)  // 239.1.1.1

private let cases: [Case] = [
  Case("own MAC", .ownMAC, EthernetHeader(to: .here), IPv4Header(), UDPHeader(to: 53)),
  Case("own MAC, tagged", .ownMAC, EthernetHeader(to: .here), VLANTag(100), IPv4Header(), UDPHeader(to: 53)),
  Case("own MAC, jumbo frame", .ownMAC, EthernetHeader(to: .here), IPv4Header(), UDPHeader(to: 53), Payload(count: 8000)),
  Case("first octet differs", .redirected, EthernetHeader(to: MACAddress(0x00_00_00_00_00_01)), IPv4Header(), UDPHeader(to: 53)),
  Case("last octet differs", .redirected, EthernetHeader(to: .there), IPv4Header(), UDPHeader(to: 53)),
  Case("own MAC reversed", .redirected, EthernetHeader(to: MACAddress(0x01_00_00_00_00_02)), IPv4Header(), UDPHeader(to: 53)),
  Case("own MAC as source", .redirected, EthernetHeader(to: .there, from: .here), IPv4Header(), UDPHeader(to: 53)),
  Case("broadcast", .redirected, EthernetHeader(to: .broadcast), ARPMessage()),
  Case("multicast", .redirected, EthernetHeader(to: MACAddress(0x01_00_5e_00_00_01)), IPv4Header(), UDPHeader(to: 53)),
  Case("spanning tree", .redirected, EthernetHeader(to: MACAddress(0x01_80_c2_00_00_00), type: 38), Payload(count: 46)),
  Case("tagged", .redirected, EthernetHeader(to: .there), VLANTag(1, type: 0x88a8), VLANTag(2), IPv6Header(), TCPHeader(to: 22)),
  Case("a tag that is cut", .truncated, EthernetHeader(to: .there, type: 0x8100), Payload(count: 3)),
  Case("fragment", .redirected, EthernetHeader(to: .there), IPv6Header(), IPv6FragmentHeader(offset: 8), Payload(count: 8)),
  Case("unknown EtherType", .redirected, EthernetHeader(to: .there, type: 0x88b5), Payload(count: 46)),
  Case("header only", .redirected, EthernetHeader(to: .there)),
  Case("jumbo frame", .multiBuffer, EthernetHeader(to: .there), IPv4Header(), UDPHeader(to: 53), Payload(count: 8000)),
]

@Suite("XDP program, LAN")
struct LANTests {
  @Test("verdict", arguments: cases)
  func verdict(_ expected: Case) throws {
    let object = try BPFObject.load(role: .lan(mac: .here), queues: 1)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    #expect(try object.verdict(on: expected.frame) == .expected(expected.verdict))
  }

  @Test("without a socket everything passes", arguments: cases)
  func noSocket(_ expected: Case) throws {
    let object = try BPFObject.load(role: .lan(mac: .here), queues: 1)
    let verdict = expected.verdict == .redirected ? XDPVerdict.noSocket : expected.verdict
    #expect(try object.verdict(on: expected.frame) == .expected(verdict))
  }

  @Test("a socket that takes super-frames gets them")
  func superFrames() throws {
    let object = try BPFObject.load(role: .lan(mac: .here), queues: 1, superFrames: true)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    for expected in cases {
      let verdict = expected.verdict == .multiBuffer ? XDPVerdict.redirected : expected.verdict
      #expect(try object.verdict(on: expected.frame) == .expected(verdict), "\(expected)")
    }
  }

  /// VIDs next to each other, at the ends of words, and at both ends of all.
  private static let sets = [
    VLANSet.nothing, .untagged, .everything, VLANSet([100]), VLANSet([0, 63, 64, 4095]), VLANSet(1...4094), VLANSet([31, 32, 2047, 2048]),
  ]
  private static let identifiers: [UInt16] = [0, 1, 31, 32, 62, 63, 64, 65, 100, 2047, 2048, 4093, 4094, 4095]

  @Test("VLANs change while the program runs")
  func vlans() throws {
    let object = try BPFObject.load(role: .lan(mac: .here, vlans: VLANSet([7])), queues: 1)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    for set in [VLANSet([7])] + Self.sets + Self.sets.reversed() {
      try object.setVLANs(set)
      for identifier in [7] + Self.identifiers {
        let expected: XDPVerdict = set.contains(identifier) ? .redirected : .otherVLAN
        for type: UInt16 in [0x8100, 0x88a8] {
          let frame = packet(EthernetHeader(to: .broadcast), VLANTag(identifier, priority: 7, type: type), VLANTag(9), ARPMessage())
          #expect(try object.verdict(on: frame) == .expected(expected), "\(identifier)")
        }
      }
      let untagged = packet(EthernetHeader(to: .broadcast), ARPMessage())
      #expect(try object.verdict(on: untagged) == .expected(set.contains(0) ? .redirected : .otherVLAN))
    }
  }

  private static let oneArmedCases: [Case] = [
    Case("VXLAN", .redirected, EthernetHeader(), IPv4Header(), UDPHeader(to: 4789), Payload(count: 64)),
    Case("VXLAN to a group", .redirected, EthernetHeader(to: MACAddress(0x01_00_5e_01_01_01)), IPv4Header(to: group), UDPHeader(to: 4789)),
    Case("another group", .otherAddress, EthernetHeader(to: .broadcast), IPv4Header(to: IPAddress(v4: 0xef01_0102)), UDPHeader(to: 4789)),
    Case("ARP", .notIP, EthernetHeader(to: .broadcast), ARPMessage()),
    Case("SSH", .notUDP, EthernetHeader(to: .here), IPv4Header(), TCPHeader(to: 22)),
    Case("the LAN's VLAN", .redirected, EthernetHeader(to: .there), VLANTag(100), IPv4Header(), TCPHeader(to: 22)),
    Case("broadcast in the LAN's VLAN", .redirected, EthernetHeader(to: .broadcast), VLANTag(200), ARPMessage()),
    Case("own MAC in the LAN's VLAN", .ownMAC, EthernetHeader(to: .here), VLANTag(100), IPv4Header(), UDPHeader(to: 4789)),
    Case("VXLAN in another VLAN", .otherVLAN, EthernetHeader(), VLANTag(101), IPv4Header(), UDPHeader(to: 4789)),
    Case("broadcast in another VLAN", .otherVLAN, EthernetHeader(to: .broadcast), VLANTag(101), ARPMessage()),
  ]

  @Test("underlay and LAN at once", arguments: oneArmedCases)
  func oneArmed(_ expected: Case) throws {
    let role = NICRole(
      underlay: .init(port: 4789, addresses: [.local, group]), lan: .init(mac: .here, vlans: VLANSet([100, 200])))
    let object = try BPFObject.load(role: role, queues: 1)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    #expect(try object.verdict(on: expected.frame) == .expected(expected.verdict))
  }

  @Test("an underlay that becomes a LAN, too")
  func becomesLAN() throws {
    let role = NICRole(underlay: .init(port: 4789, addresses: [.local]), lan: .init(mac: .here, vlans: .nothing))
    let object = try BPFObject.load(role: role, queues: 1)
    let frame = packet(EthernetHeader(to: .broadcast), VLANTag(100), ARPMessage())
    #expect(try object.verdict(on: frame) == .expected(.otherVLAN))
    try object.setVLANs(VLANSet([100]))
    #expect(try object.verdict(on: frame) == .expected(.noSocket))
    #expect(try object.verdict(on: packet(EthernetHeader(), IPv4Header(), UDPHeader(to: 4789))) == .expected(.noSocket))
  }
}
