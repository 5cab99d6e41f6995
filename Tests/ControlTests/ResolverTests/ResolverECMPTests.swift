import Datapath
import Foundation
import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

@Suite("Resolver, ECMP")
struct ResolverECMPTests {
  /// A route to the VTEPs through both routers.
  private static func add(_ fabric: borrowing Fabric, _ family: Family) throws {
    let legs = [11, 12].map { "nexthop via \(family.host($0)) dev here" }.joined(separator: " ")
    try fabric.ip("\(family.option) route add \(family.remotes) \(legs)")
  }

  /// The leg that ip(8) says the kernel takes.
  private static func kernelsRouter(_ fabric: borrowing Fabric, _ family: Family, _ remote: Remote) throws -> Int {
    struct Shown: Decodable { let gateway: String }
    let arguments = ["route", "get", "\(remote.address)", "from", "\(family.local)", "ipproto", "udp", "dport", "\(remote.port)"]
    let shown: [Shown] = try fabric.local.decode(arguments)
    return shown.first?.gateway == family.host(11) ? 11 : 12
  }

  @Test("each VTEP is behind the router that the kernel's hash chooses, of addresses or of ports, too", arguments: Family.allCases, [0, 1])
  func hash(_ family: Family, _ policy: Int) throws {
    let fabric = try Fabric()
    try fabric.local.execute("sysctl", "-qw", "net.\(family == .ipv4 ? "ipv4" : "ipv6").fib_multipath_hash_policy=\(policy)")
    try Self.add(fabric, family)
    var rig = try ResolverRig(in: fabric.local, family)
    var used: Set<Int> = []
    for number in 1...8 {
      for port in [4789, 8472, 4790] as [UInt16] {
        let vtep = try rig.add(family.remote(number), port: port)
        let router = try Self.kernelsRouter(fabric, family, Remote(family.remote(number), port: port))
        try rig.expect(vtep, through: Fabric.mac(router))
        used.insert(router)
      }
    }
    #expect(used == [11, 12])
  }

  @Test("a leg that is taken out, and one through another interface", arguments: Family.allCases)
  func legs(_ family: Family) throws {
    let fabric = try Fabric()
    try Self.add(fabric, family)
    var rig = try ResolverRig(in: fabric.local, family)
    let vteps = try (1...8).map { try rig.add(family.remote($0)) }
    for vtep in vteps { try rig.expect(vtep) { $0?.header != nil } }
    try fabric.ip("\(family.option) route replace \(family.remotes) via \(family.host(12))")
    for vtep in vteps { try rig.expect(vtep, through: Fabric.mac(12)) }
    // The other interface is as good for the kernel. Packets of ours can't take it. Over IPv4 it is asked to leave it out;
    // over IPv6 there is no such question, and the kernel's own vxlan device would send there.
    try fabric.local.addVeth("other", peer: "nowhere")
    let other = family == .ipv4 ? "203.0.113" : "2001:db8:3:"
    try fabric.ip("address add \(other)\(family == .ipv4 ? ".1/24" : ":1/64 nodad") dev other")
    let gateway = other + (family == .ipv4 ? ".2" : ":2")
    let legs = "nexthop via \(family.host(11)) dev here nexthop via \(gateway) dev other"
    try fabric.ip("\(family.option) route replace \(family.remotes) \(legs)")
    for (number, vtep) in zip(1..., vteps) {
      if try family == .ipv4 || Self.kernelsRouter(fabric, family, Remote(family.remote(number))) == 11 {
        try rig.expect(vtep, through: Fabric.mac(11))
      } else {
        try rig.expect(vtep, unreachable: "its route leaves through other, not here")
      }
    }
  }

  @Test("a router that dies: the ways through it move to the other, if the kernel looks at neighbours", arguments: Family.allCases)
  func deadRouter(_ family: Family) throws {
    let fabric = try Fabric()
    if family == .ipv4 { try fabric.local.execute("sysctl", "-qw", "net.ipv4.fib_multipath_use_neigh=1") }
    let neighbours = "net.\(family == .ipv4 ? "ipv4" : "ipv6").neigh.here"
    try fabric.local.execute("sysctl", "-qw", "\(neighbours).retrans_time_ms=50", "\(neighbours).mcast_solicit=3")
    try Self.add(fabric, family)
    var rig = try ResolverRig(in: fabric.local, family)
    let vteps = try (1...8).map { try rig.add(family.remote($0)) }
    for vtep in vteps { try rig.expect(vtep) { $0?.header != nil } }
    #expect(vteps.contains { rig.resolver.ways[$0]?.state?.header?.nextHop == Fabric.mac(12) })
    try fabric.second.ip("link", "set", "there", "down")
    try fabric.ip("neighbour del \(family.host(12)) dev here")
    for vtep in vteps { try rig.expect(vtep, through: Fabric.mac(11)) }
  }
}
