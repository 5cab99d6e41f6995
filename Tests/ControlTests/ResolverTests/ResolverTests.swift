import Datapath
import Foundation
import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

@Suite("Resolver")
struct ResolverTests {
  struct Row: CustomTestStringConvertible {
    var testDescription: String
    var remote: Remote
    var change: @Sendable (inout Underlay) -> Void = { _ in }
    /// What differs from a plain header to host 2.
    var expected: @Sendable (inout OuterHeader) -> Void
  }

  /// A header of everything's default, for the remote's family.
  private static func plain(_ remote: Remote) -> OuterHeader {
    OuterHeader(
      nextHop: Fabric.mac(2), sourceMAC: Fabric.mac(1), source: remote.address.isIPv4 ? Family.ipv4.local : Family.ipv6.local,
      destination: remote.address, ttl: 64, destinationPort: remote.port, mtu: 1500)
  }

  private static func remote(_ address: String, port: UInt16 = 4789) -> Remote { Remote(IPAddress(address)!, port: port) }

  static let rows: [Row] = [
    Row(testDescription: "IPv4", remote: remote("192.0.2.2")) { _ in },
    Row(testDescription: "IPv6", remote: remote("2001:db8:1::2")) { _ in },
    Row(testDescription: "IPv6, link-local", remote: remote("fe80::2")) { _ in },
    Row(testDescription: "port of its own", remote: remote("192.0.2.2", port: 8472)) { _ in },
    Row(testDescription: "tag", remote: remote("2001:db8:1::2"), change: { $0.vlan = 100 }) { $0.vlan = 100 },
    Row(testDescription: "TTL", remote: remote("192.0.2.2"), change: { $0.ttl = 7 }) { $0.ttl = 7 },
    Row(testDescription: "flow label", remote: remote("2001:db8:1::2"), change: { $0.flowLabel = 0xabcde }) { $0.flowLabel = 0xabcde },
    Row(testDescription: "checksum", remote: remote("192.0.2.2"), change: { $0.udpChecksum = true }) { $0.udpChecksum = true },
    Row(
      testDescription: "checksum of this VTEP", remote: remote("192.0.2.2"),
      change: { $0.udpChecksumOf = [IPAddress("192.0.2.2")!: true, IPAddress("192.0.2.3")!: false] }
    ) { $0.udpChecksum = true },
    Row(
      testDescription: "no checksum for this VTEP", remote: remote("2001:db8:1::2"),
      change: {
        $0.udpChecksum = true
        $0.udpChecksumOf = [IPAddress("2001:db8:1::2")!: false]
      }
    ) { _ in },
    Row(testDescription: "IPv4 group", remote: remote("239.129.2.3")) {
      $0.nextHop = MACAddress("01:00:5e:01:02:03")!
      $0.ttl = 1
    },
    Row(testDescription: "IPv6 group with TTL and tag", remote: remote("ff05::1:2:3"), change: { ($0.ttl, $0.vlan) = (9, 5) }) {
      $0.nextHop = MACAddress("33:33:00:02:00:03")!
      $0.ttl = 9
      $0.vlan = 5
    },
  ]

  @Test("outer headers are as configured")
  func headers() throws {
    let fabric = try Fabric()
    for row in Self.rows {
      var underlay = Underlay(interface: "here", local: Self.plain(row.remote).source, udpChecksum: false)
      row.change(&underlay)
      var rig = try ResolverRig(in: fabric.local, underlay)
      let index = try rig.add(row.remote.address, port: row.remote.port)
      var expected = Self.plain(row.remote)
      row.expected(&expected)
      // A group waits for nobody.
      if row.remote.address.isMulticast { try rig.step() } else { try rig.expect(index) { $0?.header != nil } }
      #expect(rig.resolver.ways[index]?.state == .resolved(expected), "\(row.testDescription)")
    }
  }

  /// How VTEPs behind a router are routed, by the number of the router that comes out.
  static let routes: [(Family, String, Int)] = [
    (.ipv4, "route add 198.51.100.0/24 via 192.0.2.11", 11),
    (.ipv4, "route add 198.51.100.0/24 via inet6 fe80::c dev here", 12),
    (.ipv4, "route add 198.51.100.0/24 via inet6 2001:db8:1::b", 11),
    (.ipv6, "route add 2001:db8:2::/64 via fe80::b dev here", 11),
    (.ipv6, "route add 2001:db8:2::/64 via 2001:db8:1::c", 12),
    (.ipv4, "route add 198.51.100.0/24 nexthop via 192.0.2.11", 11),
  ]

  @Test("next hops behind which a VTEP is, IPv6 ones for IPv4 among them")
  func gateways() throws {
    let fabric = try Fabric()
    for (family, route, router) in Self.routes {
      try fabric.ip("\(family.option) \(route)")
      var rig = try ResolverRig(in: fabric.local, family)
      let vtep = try rig.add(family.remote(1))
      try rig.expect(vtep, through: Fabric.mac(router))
      try fabric.ip("\(family.option) route del \(family.remotes)")
    }
  }

  /// A command, and what becomes of the way to the VTEP behind the routers within a second. %R is the routers' prefix, %11
  /// and %12 are the routers.
  enum Outcome { case router(Int), unreachable(String), mtu(Int) }
  static let changes: [(String, Outcome)] = [
    ("route add %R via %11", .router(11)),
    ("route replace %R via %12", .router(12)),
    ("route replace %R via %12 mtu 1400", .mtu(1400)),
    ("neighbour replace %12 lladdr 02:aa:00:00:00:77 dev here", .router(0x77)),
    ("neighbour del %12 dev here", .router(12)),
    ("rule add ipproto udp dport 4789 lookup 100", .router(12)),
    ("route add %R via %11 table 100", .router(11)),
    ("rule del ipproto udp dport 4789 lookup 100", .router(12)),
    ("rule add oif here lookup 100", .router(11)),
    ("rule del oif here lookup 100", .router(12)),
    ("route replace blackhole %R", .unreachable("its route is blackhole")),
    ("route del blackhole %R", .unreachable("no route")),
    ("route add prohibit %R", .unreachable("its route is prohibit")),
    ("route del prohibit %R", .unreachable("no route")),
    ("route add %R dev lo", .unreachable("its route leaves through lo, not here")),
    ("route del %R dev lo", .unreachable("no route")),
    ("nexthop add id 1 via %11 dev here", .unreachable("no route")),
    ("route add %R nhid 1", .router(11)),
    ("nexthop replace id 1 via %12 dev here", .router(12)),
    ("link set here mtu 1450", .mtu(1450)),
  ]

  @Test("the header follows routes, rules, next hop objects and neighbours", arguments: Family.allCases)
  func changes(_ family: Family) throws {
    let fabric = try Fabric()
    var rig = try ResolverRig(in: fabric.local, family)
    let vtep = try rig.add(family.remote(1))
    try rig.expect(vtep, unreachable: "no route")
    for (command, outcome) in Self.changes {
      let parts = [("%R", family.remotes), ("%11", family.host(11)), ("%12", family.host(12))]
      try fabric.ip(parts.reduce("\(family.option) \(command)") { $0.replacing($1.0, with: $1.1) })
      switch outcome {
      case .router(let number): try rig.expect(vtep, through: Fabric.mac(number))
      case .unreachable(let reason): try rig.expect(vtep, unreachable: reason)
      case .mtu(let mtu): try rig.expect(vtep) { $0?.header.map { Int($0.mtu) } == mtu }
      }
    }
  }

  @Test("a neighbour that was lost is asked for after 100 ms, whenever the last look at all was", arguments: Family.allCases)
  func lostNeighbour(_ family: Family) throws {
    let fabric = try Fabric()
    let address = family == .ipv4 ? "192.0.2.2" : "2001:db8:1::2"
    var rig = try ResolverRig(in: fabric.local, family)
    let vtep = try rig.add(IPAddress(address)!)
    for pause in [0, 0.95, 1.05] {
      try rig.expect(vtep, through: Fabric.mac(2))
      Thread.sleep(forTimeInterval: pause)
      try fabric.ip("\(family.option) neighbour del \(address) dev here")
      try rig.step()
      #expect(rig.resolver.ways[vtep]?.state == .incomplete)
      try rig.expect(vtep, through: Fabric.mac(2), within: 0.7)
    }
  }

  @Test("a route that looks at ports or the interface leaves others alone; own addresses are no VTEPs", arguments: Family.allCases)
  func others(_ family: Family) throws {
    let fabric = try Fabric()
    try fabric.ip("\(family.option) route add \(family.remotes) via \(family.host(11))")
    try fabric.ip("\(family.option) route add \(family.remotes) via \(family.host(12)) table 100")
    try fabric.ip("\(family.option) rule add ipproto udp dport 8472 lookup 100")
    var rig = try ResolverRig(in: fabric.local, family)
    let (plain, other) = (try rig.add(family.remote(1)), try rig.add(family.remote(1), port: 8472))
    let ours = try rig.add(family.local)
    try rig.expect(plain, through: Fabric.mac(11))
    try rig.expect(other, through: Fabric.mac(12))
    try rig.expect(ours, unreachable: "it is an address of this host")
    let foreign = try rig.add(family == .ipv4 ? IPAddress("2001:db8:1::2")! : IPAddress("192.0.2.2")!)
    try rig.expect(foreign, unreachable: "it is not of the IP version of \(family.local), this VTEP's address")
  }
}
