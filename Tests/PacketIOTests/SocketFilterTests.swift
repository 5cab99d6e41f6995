import PacketIO
import TestSupport
import Testing
import Wire

/// What a raw port's filter lets through, with tags as they were on the wire. Each row is sent by another raw port.
@Suite struct SocketFilterTests {
  struct Row: Sendable {
    var name: String
    var isOurs: Bool
    var bytes: [UInt8]

    init(_ name: String, _ isOurs: Bool, _ layers: any Layer...) {
      self.name = name
      self.isOurs = isOurs
      bytes = packet(layers)
    }
  }

  private static let port: UInt16 = 4789
  private static let other = IPAddress(v4: 0xc633_6401)
  private static let ethernet = EthernetHeader()
  private static let udp = UDPHeader(to: port)
  private static let inner = Payload(count: 64)

  static let underlay: [Row] = [
    Row("IPv4", true, ethernet, IPv4Header(), udp, inner),
    Row("second address", true, ethernet, IPv4Header(to: .remote), udp, inner),
    Row("IPv6", true, ethernet, IPv6Header(), udp, inner),
    Row("priority tag", true, ethernet, VLANTag(0, priority: 5), IPv4Header(), udp, inner),
    Row("first fragment", true, ethernet, IPv4Header(moreFragments: true), udp, inner),
    Row("IPv6 first fragment", true, ethernet, IPv6Header(), IPv6FragmentHeader(more: true), udp, inner),
    Row("don't fragment", true, ethernet, IPv4Header(dontFragment: true), udp, inner),
    Row("no checksum", true, ethernet, IPv4Header(), UDPHeader(to: port, checksum: .value(0)), inner),
    Row("a tag", false, ethernet, VLANTag(100), IPv4Header(), udp, inner),
    Row("a service tag", false, ethernet, VLANTag(100, type: 0x88a8), IPv6Header(), udp, inner),
    Row("a tag behind a priority tag", false, ethernet, VLANTag(0), VLANTag(100), IPv4Header(), udp, inner),
    Row("ARP", false, ethernet, ARPMessage()),
    Row("TCP", false, ethernet, IPv4Header(), TCPHeader(to: port, flags: .syn), inner),
    Row("TCP over IPv6", false, ethernet, IPv6Header(), TCPHeader(to: port, flags: .syn), inner),
    Row("other address", false, ethernet, IPv4Header(to: other), udp, inner),
    Row("half of an address", false, ethernet, IPv6Header(to: IPAddress(high: 0x2001_0db8_0000_0000, low: 3)), udp, inner),
    Row("other port", false, ethernet, IPv4Header(), UDPHeader(to: 8472), inner),
    Row("other port over IPv6", false, ethernet, IPv6Header(), UDPHeader(to: 8472, from: port), inner),
    Row("first fragment to another port", false, ethernet, IPv4Header(moreFragments: true), UDPHeader(to: 53), inner),
    Row("last fragment", false, ethernet, IPv4Header(fragmentOffset: 8), udp, inner),
    Row("IPv6 first fragment to another port", false, ethernet, IPv6Header(), IPv6FragmentHeader(more: true), UDPHeader(to: 53), inner),
    Row("IPv6 first fragment of TCP", false, ethernet, IPv6Header(), IPv6FragmentHeader(more: true), TCPHeader(to: port), inner),
    Row("IPv6 last fragment", false, ethernet, IPv6Header(), IPv6FragmentHeader(offset: 8), udp, inner),
    Row("options", false, ethernet, IPv4Header(options: [0x94, 4, 0, 0]), udp, inner),
    Row("extension header", false, ethernet, IPv6Header(), IPv6ExtensionHeader(0), udp, inner),
    Row("IPv6 in IPv4's type", false, EthernetHeader(type: 0x0800), IPv6Header(), udp, inner),
    Row("cut short", false, EthernetHeader(type: 0x0800), Payload([0x45, 0])),
  ]

  private static let mac = MACAddress(0x02_00_5e_00_53_01)

  static let lan: [Row] = [
    Row("own address", false, EthernetHeader(to: mac), IPv4Header(), udp, inner),
    Row("own address, tagged", false, EthernetHeader(to: mac), VLANTag(7), IPv4Header(), udp, inner),
    Row("first four bytes alike", true, EthernetHeader(to: MACAddress(0x02_00_5e_00_53_02)), IPv4Header(), udp, inner),
    Row("last two bytes alike", true, EthernetHeader(to: MACAddress(0x02_00_5e_01_53_01)), IPv4Header(), udp, inner),
    Row("first word like own last", true, EthernetHeader(to: MACAddress(0x00_00_53_01_53_01)), IPv4Header(), udp, inner),
    Row("broadcast", true, EthernetHeader(to: .broadcast), ARPMessage()),
    Row("tagged", true, EthernetHeader(to: .there), VLANTag(7), IPv4Header(), udp, inner),
    Row("three tags", true, EthernetHeader(to: .there), VLANTag(7), VLANTag(8), VLANTag(9), Payload(count: 60)),
    Row("no IP", true, EthernetHeader(to: .there, type: 0x88b5), Payload(count: 46)),
  ]

  static let tagged: [Row] = [
    Row("tag", true, ethernet, VLANTag(100, priority: 5), IPv4Header(), udp, inner),
    Row("service tag", true, ethernet, VLANTag(100, type: 0x88a8), IPv4Header(), udp, inner),
    Row("tagged fragment", true, ethernet, VLANTag(100), IPv6Header(), IPv6FragmentHeader(), udp, inner),
    Row("no tag", false, ethernet, IPv4Header(), udp, inner),
    Row("priority tag", false, ethernet, VLANTag(0), IPv4Header(), udp, inner),
    Row("another tag", false, ethernet, VLANTag(101), IPv4Header(), udp, inner),
    Row("another tag inside", false, ethernet, VLANTag(100), VLANTag(101), IPv4Header(), udp, inner),
  ]

  static let oneArmed: [Row] = [
    Row("VXLAN", true, ethernet, IPv4Header(), udp, inner),
    Row("the LAN's VLAN", true, EthernetHeader(to: .there), VLANTag(100), IPv4Header(), udp, inner),
    Row("broadcast in the LAN's VLAN", true, EthernetHeader(to: .broadcast), VLANTag(4095, type: 0x88a8), ARPMessage()),
    Row("own address in the LAN's VLAN", false, EthernetHeader(to: mac), VLANTag(100), IPv4Header(), udp, inner),
    Row("ARP", false, EthernetHeader(to: .broadcast), ARPMessage()),
    Row("SSH", false, EthernetHeader(to: mac), IPv4Header(), TCPHeader(to: 22), inner),
    Row("another VLAN", false, EthernetHeader(to: .broadcast), VLANTag(101), ARPMessage()),
    Row("VXLAN in another VLAN", false, ethernet, VLANTag(101), IPv4Header(), udp, inner),
  ]

  @Test(arguments: [
    (NICRole.underlay(port: port, addresses: [.local, .remote, .local6, .remote6]), underlay), (.lan(mac: mac), lan),
    (.underlay(port: port, addresses: [.local, .local6], vlan: 100), tagged),
    (
      NICRole(underlay: .init(port: port, addresses: [.local]), lan: .init(mac: mac, vlans: VLANSet([100, 4095]))),
      oneArmed
    ),
  ])
  func letsOnlyItsOwnFramesThrough(_ role: NICRole, _ rows: [Row]) throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness()
      var sender = try rawPort("there")
      // What is on its way before the port is there is not the port's.
      try harness.send(rows.map(\.bytes), through: &sender)
      var receiver = try rawPort("here", role: role)
      try harness.send(rows.map(\.bytes), through: &sender)
      let received = harness.receive(from: &receiver)
      for row in rows { #expect(received.contains(row.bytes) == row.isOurs, "\(row.name)") }
      #expect(received == rows.filter(\.isOurs).map(\.bytes))
      #expect(sender.count(.txFrames) == 2 * rows.count)
      #expect(receiver.count(.rxFrames) == received.count)
      #expect(receiver.count(.rxBytes) == received.reduce(0) { $0 + $1.count })
      let outside = harness.umem.chunkCount - harness.umem.freeCount
      let held = receiver.heldChunks + sender.heldChunks
      #expect(outside == held)
    }
  }

  /// Each VID alone, for sets whose trees have every shape; the role changes while the port is there.
  @Test func followsTheVLANs() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness(batch: 256, chunks: 8192)
      var sender = try rawPort("there")
      var receiver = try rawPort("here", role: .lan(mac: Self.mac, vlans: .nothing), ring: 8192)
      let frames = (0..<4096).map { packet(EthernetHeader(to: .broadcast), VLANTag($0), ARPMessage()) }
      let untagged = packet(EthernetHeader(to: .broadcast), ARPMessage())
      let scattered = VLANSet((0..<500).map { UInt16($0 * $0 * 7 % 4096) })
      for set in [.nothing, .everything, .untagged, VLANSet([100]), VLANSet([31, 32, 63, 64, 4095]), VLANSet(1...4094), scattered] {
        try RawPort.setRole(.lan(mac: Self.mac, vlans: set), descriptor: receiver.descriptors[0])
        try harness.send([untagged] + frames, through: &sender)
        let received = harness.receive(from: &receiver)
        let expected = (set.contains(0) ? [untagged] : []) + (0..<4096).filter { set.contains($0) }.map { frames[Int($0)] }
        #expect(received == expected)
      }
    }
  }
}
