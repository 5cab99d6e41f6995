import PacketIO
import SystemPackage
import TestSupport
import Testing
import Wire

@Suite struct PortReservationTests {
  @Test(arguments: [
    (IPAddress.local, IPAddress.remote, "binding UDP 192.0.2.1 port 4789: Address already in use (EADDRINUSE)"),
    (IPAddress.local6, IPAddress.remote6, "binding UDP 2001:db8::1 port 4789: Address already in use (EADDRINUSE)"),
  ])
  func keepsTheKernelSilent(local: IPAddress, remote: IPAddress, message: String) throws {
    let namespace = try NetworkNamespace()
    try namespace.ip("link", "add", "here", "address", "\(MACAddress.here)", "type", "veth", "peer", "name", "there")
    try namespace.ip("address", "add", "192.0.2.1/24", "dev", "here")
    try namespace.ip("address", "add", "2001:db8::1/64", "dev", "here", "nodad")
    for name in ["here", "there"] { try namespace.ip("link", "set", name, "up") }
    try namespace.ip("neigh", "add", "\(local.isIPv4 ? "192.0.2.2" : "2001:db8::2")", "lladdr", "\(MACAddress.there)", "dev", "here")
    // Silence must not come from the kernel's limit.
    try namespace.execute("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
    let ip: any Layer = local.isIPv4 ? IPv4Header(to: local, from: remote) : IPv6Header(to: local, from: remote)
    let frame = packet(EthernetHeader(to: .here), ip, UDPHeader(to: 4789), VXLANHeader(vni: 1), Payload(count: 64))
    try namespace.run {
      var harness = try PortHarness()
      var wire = try rawPort("there")
      // ICMP type 3 code 3 (RFC 792), ICMPv6 type 1 code 4 (RFC 4443).
      let isUnreachable = { (frame: [UInt8]) in
        local.isIPv4 ? frame[12] == 8 && frame[23] == 1 && frame[34] == 3 : frame[12] == 0x86 && frame[20] == 58 && frame[54] == 1
      }
      // The addresses become usable some time after the link has come up.
      var before: [[UInt8]] = []
      for _ in 0..<50 where !before.contains(where: isUnreachable) {
        try harness.send([frame], through: &wire)
        before += harness.receive(from: &wire)
      }
      #expect(before.contains(where: isUnreachable))
      do {
        let reservation = try PortReservation(address: local, port: 4789)
        let error = #expect(throws: SystemError.self) { _ = try PortReservation(address: local, port: 4789) }
        #expect(error?.description == message)
        try harness.send([frame], through: &wire)
        let during = harness.receive(from: &wire)
        #expect(!during.contains(where: isUnreachable))
        _ = consume reservation
      }
      _ = try PortReservation(address: local, port: 4789)
    }
  }

  @Test func refusesAnAddressThatIsNotOurs() throws {
    let namespace = try NetworkNamespace()
    try namespace.run {
      let error = #expect(throws: SystemError.self) { _ = try PortReservation(address: .local, port: 4789) }
      #expect(error?.errno == .addressNotAvailable)
    }
  }
}
