import PacketIO
import TestSupport
import Testing
import Wire

@Suite struct PathMTUSocketTests {
  /// An ICMP message from `remote` to `local` that quotes a packet of ours.
  private static func message(_ type: UInt8, _ code: UInt8, isIPv6: Bool) -> [UInt8] {
    let quote: [any Layer] = [
      isIPv6 ? IPv6Header(to: .remote6, from: .local6) : IPv4Header(to: .remote, from: .local), UDPHeader(to: 4789), VXLANHeader(vni: 1),
      Payload(count: 40),
    ]
    let message: [any Layer] = [
      EthernetHeader(to: .here), isIPv6 ? IPv6Header() : IPv4Header(), ICMPMessage(type: type, code: code, rest: 1400),
      Payload(packet(quote)),
    ]
    return packet(message)
  }

  @Test("only what is about the size of packets arrives", arguments: [false, true])
  func filter(isIPv6: Bool) throws {
    let namespace = try NetworkNamespace()
    try namespace.ip("link", "add", "here", "address", "\(MACAddress.here)", "type", "veth", "peer", "name", "there")
    try namespace.ip("address", "add", "192.0.2.1/24", "dev", "here")
    try namespace.ip("address", "add", "2001:db8::1/64", "dev", "here", "nodad")
    for name in ["here", "there"] { try namespace.ip("link", "set", name, "up") }
    try namespace.run {
      var harness = try PortHarness()
      var wire = try rawPort("there")
      let socket = try PathMTUSocket(isIPv6: isIPv6)
      #expect(socket.next() == nil)
      // Echo requests, time exceeded; then what it is for (IPv4: type 3 has other codes, which the reader tells apart).
      let others: [(UInt8, UInt8)] = isIPv6 ? [(128, 0), (3, 0), (1, 4), (135, 0)] : [(8, 0), (11, 0), (0, 0), (5, 1)]
      let wanted: [(UInt8, UInt8)] = isIPv6 ? [(2, 0)] : [(3, 4), (3, 3)]
      // The addresses become usable a moment after the link has come up.
      var received: [[UInt8]] = []
      for _ in 0..<50 where received.count < wanted.count {
        try harness.send((others + wanted).map { Self.message($0.0, $0.1, isIPv6: isIPv6) }, through: &wire)
        _ = harness.receive(from: &wire)
        while let bytes = socket.next() { received.append(bytes) }
      }
      // IPv4 with its header, IPv6 without.
      let expected = wanted.map { Array(Self.message($0.0, $0.1, isIPv6: isIPv6).dropFirst(isIPv6 ? 54 : 14)) }
      #expect(Array(received.prefix(wanted.count)) == expected)
      #expect(received.allSatisfy { expected.contains($0) })
      let first = try #require(received.first)
      let report = unsafe isIPv6 ? UnderlayICMP(ipv6: first.span.bytes) : UnderlayICMP(ipv4: first.span.bytes)
      #expect(report?.mtu == 1400)
    }
  }
}
