import PacketIO
import TestSupport
import Testing
import Wire

@testable import PacketIO

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
}
