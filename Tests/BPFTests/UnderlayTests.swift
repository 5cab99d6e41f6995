import PacketIO
import TestSupport
import Testing
import Wire

@testable import PacketIO

/// A frame with a name, and what must become of it.
struct Case: CustomTestStringConvertible {
  let name: String
  let layers: [any Layer]
  let verdict: XDPVerdict

  init(_ name: String, _ verdict: XDPVerdict, _ layers: any Layer...) {
    self.name = name
    self.verdict = verdict
    self.layers = layers
  }

  var testDescription: String { name }
  var frame: [UInt8] { packet(layers) }
}

private let port: UInt16 = 4789
private let other = IPAddress(v4: 0xc633_6401)  // 198.51.100.1
private let ethernet = EthernetHeader()
private let udp = UDPHeader(to: port)
private let inner = Payload(count: 64)
private let role = NICRole.underlay(port: port, addresses: [.local, .local6])

private let ours: [Case] = [
  Case("IPv4", .redirected, ethernet, IPv4Header(), udp, VXLANHeader(vni: 1), inner),
  Case("IPv6", .redirected, ethernet, IPv6Header(), udp, VXLANHeader(vni: 1), inner),
  Case("IPv4, priority tag", .redirected, ethernet, VLANTag(0, priority: 7), IPv4Header(), udp, inner),
  Case("IPv6, priority service tag", .redirected, ethernet, VLANTag(0, type: 0x88a8), IPv6Header(), udp, inner),
  Case("first fragment", .redirected, ethernet, IPv4Header(moreFragments: true), udp, inner),
  Case("IPv6 first fragment", .redirected, ethernet, IPv6Header(), IPv6FragmentHeader(more: true), udp, inner),
  Case("IPv6 atomic fragment", .redirected, ethernet, IPv6Header(), IPv6FragmentHeader(), udp, inner),
  Case("nothing behind UDP", .redirected, ethernet, IPv4Header(), udp),
  Case("no UDP checksum", .redirected, ethernet, IPv4Header(), UDPHeader(to: port, checksum: .value(0)), inner),
  Case("don't fragment", .redirected, ethernet, IPv4Header(dontFragment: true), udp, inner),
  Case("lengths beyond the frame", .redirected, ethernet, IPv4Header(totalLength: 9000), UDPHeader(to: port, length: 9000)),
  Case("another MAC address", .redirected, EthernetHeader(to: .there), IPv4Header(), udp, inner),
]

private let notOurs: [Case] = [
  Case("ARP", .notIP, ethernet, ARPMessage()),
  Case("one tag", .otherVLAN, ethernet, VLANTag(100), IPv4Header(), udp, inner),
  Case("the last VLAN", .otherVLAN, ethernet, VLANTag(4095), IPv6Header(), udp, inner),
  Case("tagged ARP", .otherVLAN, ethernet, VLANTag(1, type: 0x88a8), ARPMessage()),
  Case("a tag behind a priority tag", .notIP, ethernet, VLANTag(0), VLANTag(100), IPv4Header(), udp, inner),
  Case("another kind of tag", .notIP, ethernet, VLANTag(100, type: 0x9100), IPv4Header(), udp, inner),
  Case("IEEE 802.3 length", .notIP, EthernetHeader(type: 46), Payload(count: 46)),
  Case("IPv6 in IPv4's EtherType", .notIP, EthernetHeader(type: 0x0800), IPv6Header(), udp, inner),
  Case("IPv4 in IPv6's EtherType", .notIP, EthernetHeader(type: 0x86dd), IPv4Header(), udp, inner),
  Case("TCP", .notUDP, ethernet, IPv4Header(), TCPHeader(to: port, flags: .syn)),
  Case("ICMP", .notUDP, ethernet, IPv4Header(), ICMPMessage(type: 8), inner),
  Case("TCP over IPv6", .notUDP, ethernet, IPv6Header(), TCPHeader(to: port, flags: .syn)),
  Case("ICMPv6", .notUDP, ethernet, IPv6Header(), ICMPMessage(type: 135), inner),
  Case("IPv6, nothing follows", .notUDP, ethernet, IPv6Header()),
  Case("UDP inside IPIP", .notUDP, ethernet, IPv4Header(), IPv4Header(), udp, inner),
  Case("other address", .otherAddress, ethernet, IPv4Header(to: other), udp, inner),
  Case("our address as source", .otherAddress, ethernet, IPv4Header(to: other, from: .local), udp, inner),
  Case("other IPv6 address", .otherAddress, ethernet, IPv6Header(to: .remote6), udp, inner),
  Case("IPv6 loopback address", .otherAddress, ethernet, IPv6Header(to: IPAddress(high: 0, low: 1)), udp, inner),
  Case("broadcast", .otherAddress, EthernetHeader(to: .broadcast), IPv4Header(to: IPAddress(v4: .max)), udp, inner),
  Case("other port", .otherPort, ethernet, IPv4Header(), UDPHeader(to: 8472), inner),
  Case("our port as source", .otherPort, ethernet, IPv4Header(), UDPHeader(to: 53, from: port), inner),
  Case("our port, bytes swapped", .otherPort, ethernet, IPv4Header(), UDPHeader(to: port.byteSwapped), inner),
  Case("other port over IPv6", .otherPort, ethernet, IPv6Header(), UDPHeader(to: 53), inner),
  Case("first fragment to another port", .otherPort, ethernet, IPv4Header(moreFragments: true), UDPHeader(to: 53), inner),
  Case("first fragment of TCP", .notUDP, ethernet, IPv4Header(moreFragments: true), TCPHeader(to: port), inner),
  Case("middle fragment", .fragment, ethernet, IPv4Header(moreFragments: true, fragmentOffset: 8), udp, inner),
  Case("last fragment", .fragment, ethernet, IPv4Header(fragmentOffset: 8), udp, inner),
  Case("last fragment, largest offset", .fragment, ethernet, IPv4Header(fragmentOffset: 0xfff8), udp, inner),
  Case("priority-tagged fragment", .fragment, ethernet, VLANTag(0), IPv4Header(fragmentOffset: 8), udp, inner),
  Case("IPv6 first fragment to another port", .otherPort, ethernet, IPv6Header(), IPv6FragmentHeader(more: true), UDPHeader(to: 53)),
  Case("IPv6 first fragment of TCP", .notUDP, ethernet, IPv6Header(), IPv6FragmentHeader(more: true), TCPHeader(to: port)),
  Case("IPv6 middle fragment", .fragment, ethernet, IPv6Header(), IPv6FragmentHeader(offset: 8, more: true), inner),
  Case("IPv6 last fragment", .fragment, ethernet, IPv6Header(), IPv6FragmentHeader(offset: 8), inner),
  Case(
    "extension header behind a fragment header", .extensionHeader, ethernet, IPv6Header(), IPv6FragmentHeader(more: true),
    IPv6ExtensionHeader(60), udp, inner),
  Case("IPv4 options", .options, ethernet, IPv4Header(options: [0x94, 4, 0, 0]), udp, inner),
  Case("fragment with options", .options, ethernet, IPv4Header(moreFragments: true, options: [1]), udp, inner),
  Case("hop-by-hop options", .extensionHeader, ethernet, IPv6Header(), IPv6ExtensionHeader(0), udp, inner),
  Case("routing header", .extensionHeader, ethernet, IPv6Header(), IPv6ExtensionHeader(43), udp, inner),
  Case("ESP", .extensionHeader, ethernet, IPv6Header(), IPv6ExtensionHeader(50), udp, inner),
  Case("authentication header", .extensionHeader, ethernet, IPv6Header(), IPv6ExtensionHeader(51), udp, inner),
  Case("destination options", .extensionHeader, ethernet, IPv6Header(), IPv6ExtensionHeader(60), udp, inner),
  Case("mobility header", .extensionHeader, ethernet, IPv6Header(), IPv6ExtensionHeader(135), udp, inner),
  Case("two extension headers", .extensionHeader, ethernet, IPv6Header(), IPv6ExtensionHeader(0), IPv6FragmentHeader(), udp, inner),
  Case("jumbo frame", .multiBuffer, ethernet, IPv4Header(), udp, VXLANHeader(vni: 1), Payload(count: 8000)),
  Case("jumbo frame to another port", .otherPort, ethernet, IPv4Header(), UDPHeader(to: 53), Payload(count: 8000)),
]

@Suite("XDP program, underlay")
struct UnderlayTests {
  @Test("verdict", arguments: ours + notOurs)
  func verdict(_ expected: Case) throws {
    let object = try BPFObject.load(role: role, queues: 1)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    #expect(try object.verdict(on: expected.frame) == .expected(expected.verdict))
  }

  @Test("without a socket everything passes", arguments: ours)
  func noSocket(_ ours: Case) throws {
    let object = try BPFObject.load(role: role, queues: 1)
    #expect(try object.verdict(on: ours.frame) == .expected(.noSocket))
  }

  /// Each header cut at each byte; the shortest frame that the kernel takes for a test is an Ethernet header.
  @Test("truncated headers pass", arguments: ours.filter { $0.name != "lengths beyond the frame" })
  func truncated(_ whole: Case) throws {
    let object = try BPFObject.load(role: role, queues: 1)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    let headers = whole.layers.prefix { !($0 is Payload) && !($0 is VXLANHeader) }
    let headerLength = packet(Array(headers)).count
    for length in 14...whole.frame.count {
      let expected: XDPVerdict = length < headerLength ? .truncated : .redirected
      #expect(try object.verdict(on: Array(whole.frame.prefix(length))) == .expected(expected), "\(length) bytes")
    }
  }

  /// The same table behind a tag; without it nothing is ours.
  @Test("an underlay in a VLAN", arguments: ours + notOurs)
  func tagged(_ expected: Case) throws {
    let object = try BPFObject.load(role: .underlay(port: port, addresses: [.local, .local6], vlan: 100), queues: 1)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    let isTagged = expected.layers.contains { $0 is VLANTag }
    let verdict: XDPVerdict = expected.name == "one tag" ? .redirected : .otherVLAN
    #expect(try object.verdict(on: expected.frame) == .expected(verdict))
    if isTagged { return }
    for type: UInt16 in [0x8100, 0x88a8] {
      let tag = [UInt8](big: type) + [UInt8](big: 3 << 13 | UInt16(100))
      #expect(try object.verdict(on: expected.frame[..<12] + tag + expected.frame[12...]) == .expected(expected.verdict))
    }
  }

  /// The first address that it was loaded with, the program does not look up.
  @Test("addresses change while the program runs", arguments: [[], [.local], [.local6, .local]] as [[IPAddress]])
  func addresses(first: [IPAddress]) throws {
    let object = try BPFObject.load(role: .underlay(port: port, addresses: first), queues: 1)
    let destinations = [IPAddress.local, other, .local6]
    let sets: [[IPAddress]] = [[], [.local], [.local, other], [other, .local6], [], [.local6, .local]]
    for addresses in sets {
      try object.setAddresses(addresses)
      for destination in destinations {
        let ip: any Layer = destination.isIPv4 ? IPv4Header(to: destination) : IPv6Header(to: destination)
        let expected: XDPVerdict = addresses.contains(destination) ? .noSocket : .otherAddress
        #expect(try object.verdict(on: packet(ethernet, ip, udp, inner)) == .expected(expected))
      }
    }
  }

  @Test("more addresses than the map holds are refused")
  func tooManyAddresses() throws {
    let object = try BPFObject.load(role: role, queues: 1)
    let error = #expect(throws: SystemError.self) {
      try object.setAddresses((0..<2000).map { IPAddress(v4: 0xc612_0000 + $0) })  // 198.18.0.0/15
    }
    #expect(error?.errno.name == "E2BIG")
  }

  @Test("a socket of a queue that isn't there is refused")
  func queueBeyond() throws {
    let object = try BPFObject.load(role: role, queues: 2)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 1)
    #expect(throws: SystemError.self) { try object.setSocket(socket.descriptor, queue: 2) }
  }

  @Test("a closed socket leaves its queue to the kernel")
  func closedSocket() throws {
    let object = try BPFObject.load(role: role, queues: 1)
    do {
      let socket = try UnboundSocket()
      try object.setSocket(socket.descriptor, queue: 0)
      #expect(try object.verdict(on: ours[0].frame) == .expected(.redirected))
    }
    #expect(try object.verdict(on: ours[0].frame) == .expected(.noSocket))
  }

  @Test("sockets that take super-frames get them")
  func superFrames() throws {
    let object = try BPFObject.load(role: role, queues: 1, superFrames: true)
    let socket = try UnboundSocket()
    try object.setSocket(socket.descriptor, queue: 0)
    for expected in ours + notOurs {
      let verdict = expected.verdict == .multiBuffer ? XDPVerdict.redirected : expected.verdict
      #expect(try object.verdict(on: expected.frame) == .expected(verdict), "\(expected)")
    }
  }
}
