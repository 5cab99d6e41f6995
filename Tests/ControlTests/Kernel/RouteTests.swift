import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

/// Two namespaces on one wire: `here` has 192.0.2.1 and 2001:db8:1::1, `there` has .2 and ::2.
struct TwoNamespaces: ~Copyable {
  let local: NetworkNamespace
  let remote: NetworkNamespace

  init() throws {
    let local = try NetworkNamespace()
    let remote = try NetworkNamespace()
    try local.ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", remote.name)
    try Self.configure(local, "here", "192.0.2.1/24", "2001:db8:1::1/64")
    try Self.configure(remote, "there", "192.0.2.2/24", "2001:db8:1::2/64")
    // Only then it has its link-local address and route.
    try local.waitForCarrier("here")
    self.local = local
    self.remote = remote
  }

  /// Without duplicate address detection, which takes two seconds.
  private static func configure(_ namespace: borrowing NetworkNamespace, _ link: String, _ ipv4: String, _ ipv6: String) throws {
    try namespace.execute("sysctl", "-qw", "net.ipv6.conf.\(link).accept_dad=0")
    try namespace.ip("address", "add", ipv4, "dev", link)
    try namespace.ip("address", "add", ipv6, "dev", link)
    try namespace.ip("link", "set", link, "up")
  }
}

@Suite("Routes")
struct RouteTests {
  struct Row {
    let destination: String
    var source: String?
    /// Nil: no route.
    let kind: Route.Kind?
    var interface: String?
    var gateway: String?
    var preferredSource: String?
    var mtu: Int?
    var isMTULocked = false
    /// RT_TABLE_ constant: main, or local.
    var table: UInt32 = 254
    var port: UInt16?
  }

  static let rows: [Row] = [
    Row(destination: "192.0.2.2", kind: .unicast, interface: "here", preferredSource: "192.0.2.1"),
    Row(destination: "192.0.2.2", source: "192.0.2.7", kind: .unicast, interface: "here", preferredSource: "192.0.2.7"),
    Row(destination: "192.0.2.2", source: "192.0.2.8", kind: nil),
    Row(destination: "192.0.2.1", kind: .local, interface: "lo", preferredSource: "192.0.2.1", table: 255),
    Row(destination: "192.0.2.255", kind: .broadcast, interface: "here", preferredSource: "192.0.2.1", table: 255),
    Row(destination: "239.1.1.1", kind: .multicast, interface: "here", preferredSource: "192.0.2.1"),
    Row(
      destination: "198.51.100.1", kind: .unicast, interface: "here", gateway: "192.0.2.2", preferredSource: "192.0.2.1", mtu: 1400),
    Row(destination: "203.0.113.1", kind: .unicast, interface: "here", gateway: "2001:db8:1::2", preferredSource: "192.0.2.1"),
    Row(destination: "198.19.0.1", kind: nil),
    Row(destination: "198.18.0.1", kind: .unreachable),
    Row(destination: "198.18.1.1", kind: .blackhole),
    Row(destination: "198.18.2.1", kind: .prohibit),
    Row(destination: "2001:db8:1::2", kind: .unicast, interface: "here", preferredSource: "2001:db8:1::1"),
    Row(
      destination: "2001:db8:1::2", source: "2001:db8:1::7", kind: .unicast, interface: "here", preferredSource: "2001:db8:1::7"),
    Row(destination: "2001:db8:1::1", kind: .local, interface: "lo", preferredSource: "2001:db8:1::1", table: 255),
    Row(
      destination: "2001:db8:2::1", kind: .unicast, interface: "here", gateway: "2001:db8:1::2", preferredSource: "2001:db8:1::1",
      mtu: 1300),
    Row(destination: "2001:db8:3::1", kind: .unreachable),
    Row(destination: "2001:db8:4::1", kind: .blackhole),
    Row(destination: "2001:db8:5::1", kind: .prohibit),
    Row(destination: "2001:db8:9::1", kind: nil),
    Row(
      destination: "2001:db8:6::1", kind: .unicast, interface: "here", gateway: "fe80::2", preferredSource: "2001:db8:1::1", mtu: 1300,
      isMTULocked: true),
    Row(destination: "203.0.113.129", kind: .unicast, interface: "here", gateway: "fe80::2", preferredSource: "192.0.2.1"),
    Row(destination: "198.18.3.1", kind: .unicast, interface: "here", gateway: "192.0.2.3", preferredSource: "192.0.2.1"),
    Row(
      destination: "198.51.100.1", kind: .unicast, interface: "here", gateway: "192.0.2.4", preferredSource: "192.0.2.1", mtu: 1350,
      isMTULocked: true, table: 1000, port: 4789),
    Row(
      destination: "2001:db8:2::1", kind: .unicast, interface: "here", gateway: "2001:db8:1::4", preferredSource: "2001:db8:1::1",
      table: 1000, port: 4789),
    Row(
      destination: "2001:db8:2::1", kind: .unicast, interface: "here", gateway: "2001:db8:1::2", preferredSource: "2001:db8:1::1",
      mtu: 1300, port: 4790),
  ]

  @Test("are the kernel's choice, and what ip(8) says it is")
  func table() throws {
    let wire = try TwoNamespaces()
    for arguments in [
      "address add 192.0.2.7/24 dev here", "address add 2001:db8:1::7/64 dev here nodad preferred_lft 0",
      "route add 239.0.0.0/8 dev here", "route add 198.51.100.0/24 via 192.0.2.2 mtu 1400",
      "route add 203.0.113.0/24 via inet6 2001:db8:1::2", "route add unreachable 198.18.0.0/24",
      "route add blackhole 198.18.1.0/24", "route add prohibit 198.18.2.0/24",
      "route add 2001:db8:2::/64 via 2001:db8:1::2 mtu 1300", "route add unreachable 2001:db8:3::/64",
      "route add blackhole 2001:db8:4::/64", "route add prohibit 2001:db8:5::/64",
      "route add 2001:db8:6::/64 via fe80::2 dev here mtu lock 1300", "route add 203.0.113.128/25 via inet6 fe80::2 dev here",
      "nexthop add id 7 via 192.0.2.3 dev here", "route add 198.18.3.0/24 nhid 7",
      "route add 198.51.100.0/24 via 192.0.2.4 mtu lock 1350 table 1000", "route add 2001:db8:2::/64 via 2001:db8:1::4 table 1000",
      "rule add ipproto udp dport 4789 lookup 1000", "-6 rule add ipproto udp dport 4789 lookup 1000",
    ] {
      try runCommand(["ip", "-n", wire.local.name] + arguments.split(separator: " ").map(String.init))
    }
    for row in Self.rows {
      let address = try #require(IPAddress(row.destination))
      let (route, index) = try wire.local.run {
        let socket = try NetlinkSocket()
        let route = try socket.route(to: address, from: row.source.flatMap { IPAddress($0) }, port: row.port)
        return (route, row.interface.map { interfaceIndex($0) } ?? 0)
      }
      let expected = row.kind.map {
        Route(
          kind: $0, interfaceIndex: index, gateway: row.gateway.flatMap { IPAddress($0) },
          preferredSource: row.preferredSource.flatMap { IPAddress($0) }, mtu: row.mtu,
          isMTULocked: row.isMTULocked, table: [.unreachable, .blackhole, .prohibit].contains($0) ? 0 : row.table)
      }
      #expect(route == expected, "\(row.destination)")
      try Self.compare(row, wire.local)
    }
  }

  /// What `ip -j route get` says.
  private struct Shown: Decodable {
    struct Via: Decodable { let host: String }
    struct Metrics: Decodable { let mtu: Int? }
    let dev: String?
    let gateway: String?
    let via: Via?
    let prefsrc: String?
    let metrics: [Metrics]?
  }

  /// The second opinion. ip(8) fails where the kernel answers with an error.
  private static func compare(_ row: Row, _ namespace: borrowing NetworkNamespace) throws {
    let isError = row.kind == nil || row.interface == nil
    let arguments =
      [row.destination] + (row.source.map { ["from", $0] } ?? [])
      + (row.port.map { ["ipproto", "udp", "dport", "\($0)"] } ?? [])
    do {
      let shown = try #require(try (namespace.decode(["route", "get"] + arguments) as [Shown]).first)
      #expect(!isError, "\(row.destination)")
      #expect(shown.dev == row.interface, "\(row.destination)")
      #expect(shown.gateway ?? shown.via?.host == row.gateway, "\(row.destination)")
      if row.source == nil { #expect(shown.prefsrc == row.preferredSource, "\(row.destination)") }
      #expect(shown.metrics?.first?.mtu == row.mtu, "\(row.destination)")
    } catch is CommandError {
      #expect(isError, "\(row.destination)")
    }
  }

  @Test("through a given interface what no table has is not taken for a neighbour", arguments: ["198.19.0.1", "2001:db8:9::1"])
  func noRoute(_ destination: String) throws {
    let wire = try TwoNamespaces()
    let address = try #require(IPAddress(destination))
    let route = try wire.local.run { try NetlinkSocket().route(to: address, through: interfaceIndex("here")) }
    #expect(route == nil)
  }

  @Test("through a given interface: link-local and multicast destinations have a route then", arguments: ["fe80::2", "239.1.1.1"])
  func throughInterface(_ destination: String) throws {
    let wire = try TwoNamespaces()
    try wire.local.run {
      let socket = try NetlinkSocket()
      let address = try #require(IPAddress(destination))
      let route = try #require(try socket.route(to: address, through: interfaceIndex("here")))
      #expect(route.interfaceIndex == interfaceIndex("here"))
      #expect(route.kind == (address.isMulticast ? .multicast : .unicast))
    }
  }
}
