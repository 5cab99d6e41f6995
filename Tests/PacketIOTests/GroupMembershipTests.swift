import PacketIO
import SystemPackage
import TestSupport
import Testing
import Wire

@Suite struct GroupMembershipTests {
  private static let v4 = IPAddress(v4: 0xef01_0101)  // 239.1.1.1
  private static let v6 = IPAddress(high: 0xff05 << 48, low: 0x1234)

  /// Membership reports on the wire: IGMP version 3 (RFC 9776 section 4.2) or MLD version 2 (RFC 9777 section 5.2, behind a
  /// hop-by-hop header), with `type` of the one record (1…6) about the group.
  private static func records(_ frames: [[UInt8]], of group: IPAddress) -> [UInt8] {
    frames.compactMap { frame in
      let report = group.isIPv4 ? 38 : 62
      let octets = group.isIPv4 ? Array([UInt8](big: group.low).suffix(4)) : [UInt8](big: group.high) + [UInt8](big: group.low)
      guard frame.count >= report + 12 + octets.count, frame[report] == (group.isIPv4 ? 0x22 : 143),
        Array(frame[report + 12..<report + 12 + octets.count]) == octets
      else { return nil }
      return frame[report + 8]
    }
  }

  @Test("joining, joining again and leaving are reported", arguments: [v4, v6])
  func reports(group: IPAddress) throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.ip("address", "add", "192.0.2.1/24", "dev", "here")
    try namespace.ip("address", "add", "2001:db8::1/64", "dev", "here", "nodad")
    try namespace.run {
      var harness = try PortHarness()
      var wire = try rawPort("there")
      // Reports need a usable link-local address, which the interface gets a moment after it has come up.
      for _ in 0..<300 where try !namespace.ip("-6", "address", "show", "here", "scope", "link", "-tentative").contains("fe80") {
        _ = harness.receive(from: &wire)
      }
      let shown = { try namespace.ip("maddress", "show", "dev", "here").contains(group.isIPv4 ? "239.1.1.1" : "ff05::1234") }
      // Change to "exclude nobody" joins, to "include nobody" leaves; each is sent more than once.
      func expect(_ types: Set<UInt8>, _ action: () throws -> Void) throws {
        _ = harness.receive(from: &wire)
        try action()
        var seen: Set<UInt8> = []
        for _ in 0..<50 where !types.isSubset(of: seen) { seen.formUnion(Self.records(harness.receive(from: &wire), of: group)) }
        #expect(types.isSubset(of: seen))
      }
      do {
        var membership: GroupMembership?
        try expect([4]) { membership = try GroupMembership(group, interface: interfaceIndex("here"), name: "here") }
        #expect(try shown())
        try expect([4]) { try membership?.rejoin() }
        #expect(try shown())
        try expect([3]) { membership = nil }
      }
      #expect(try !shown())
    }
  }

  @Test("what can't be joined says why")
  func errors() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.execute("sysctl", "-qw", "net.ipv4.igmp_max_memberships=0")
    try namespace.run {
      for (group, interface, text) in [
        (Self.v4, 1 << 20, "joining multicast group 239.1.1.1: No such device (ENODEV)"),
        (Self.v6, 1 << 20, "joining multicast group ff05::1234: No such device (ENODEV)"),
        (.local, Int(interfaceIndex("here")), "joining multicast group 192.0.2.1: Invalid argument (EINVAL)"),
        (
          Self.v4, Int(interfaceIndex("here")),
          "joining multicast group 239.1.1.1 (see sysctl net.ipv4.igmp_max_memberships): No buffer space available (ENOBUFS)"
        ),
      ] {
        let error = #expect(throws: SystemError.self) { _ = try GroupMembership(group, interface: UInt32(interface), name: "here") }
        #expect(error?.description == "here: \(text)")
      }
    }
  }

  @Test("more groups than the kernel lets one socket join")
  func many() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.run {
      var memberships = Slots<GroupMembership>(capacity: 100)
      for number in 0..<100 {
        let group = IPAddress(v4: 0xef01_0200 + UInt32(number))
        memberships.append(try GroupMembership(group, interface: interfaceIndex("here"), name: "here"))
      }
      #expect(try namespace.ip("maddress", "show", "dev", "here").contains("239.1.2.99"))
    }
  }
}
