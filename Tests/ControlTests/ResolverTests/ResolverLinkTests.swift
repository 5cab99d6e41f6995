import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

@Suite("Resolver, underlay interface")
struct ResolverLinkTests {
  @Test("what stops everything withdraws headers, is told once, and passes", arguments: Family.allCases)
  func obstacles(_ family: Family) throws {
    let fabric = try Fabric()
    var rig = try ResolverRig(in: fabric.local, family)
    let vteps = [try rig.add(IPAddress(family.host(2))!), try rig.add(IPAddress(family.host(11))!)]
    let group = try rig.add(IPAddress(family == .ipv4 ? "239.1.1.1" : "ff05::1")!)
    for (vtep, host) in zip(vteps, [2, 11]) { try rig.expect(vtep, through: Fabric.mac(host)) }
    /// `ip` in the local namespace; its undoing; the reason that is told, and how.
    let steps = [
      ("link set here down", "link set here up", "here is down", "warning: "),
      (
        "address del \(family.localPrefix) dev here", "address add \(family.localPrefix) dev here",
        "\(family.local), this VTEP's address, is gone from here", "error: "
      ),
    ]
    for (command, undoing, reason, level) in steps {
      try fabric.ip(command.replacing(" nodad", with: ""))
      for vtep in vteps + [group] { try rig.expect(vtep, unreachable: reason) }
      let told = rig.log.lines.filter { $0.contains(reason) }
      #expect(told == ["vxgw: \(level)\(reason): no VTEP can be reached until that changes"])
      try fabric.ip(undoing)
      // IPv6 addresses go with their link.
      if family == .ipv6 && command.hasPrefix("link") { try Fabric.addIPv6(fabric.local, "here", 1) }
      for (vtep, host) in zip(vteps, [2, 11]) { try rig.expect(vtep, through: Fabric.mac(host)) }
      try rig.expect(group) { $0?.header != nil }
      #expect(rig.log.lines.filter { $0 == "vxgw: here: VTEPs can be reached again" }.count >= 1)
    }
  }

  @Test("carrier", arguments: Family.allCases)
  func carrier(_ family: Family) throws {
    let fabric = try Fabric()
    var rig = try ResolverRig(in: fabric.local, family)
    let vtep = try rig.add(IPAddress(family.host(2))!)
    try rig.expect(vtep, through: Fabric.mac(2))
    try fabric.network.ip("link", "set", "port1", "down")
    try rig.expect(vtep, unreachable: "here has no carrier")
    try fabric.network.ip("link", "set", "port1", "up")
    try rig.expect(vtep, through: Fabric.mac(2))
  }

  @Test("the interface's own MAC address, and an interface that is made anew", arguments: Family.allCases)
  func replaced(_ family: Family) throws {
    let fabric = try Fabric()
    var rig = try ResolverRig(in: fabric.local, family)
    let vtep = try rig.add(IPAddress(family.host(2))!)
    try rig.expect(vtep) { $0?.header?.sourceMAC == Fabric.mac(1) }
    try fabric.ip("link set here address 02:aa:00:00:00:99")
    try rig.expect(vtep) { $0?.header?.sourceMAC == Fabric.mac(0x99) }
    try fabric.ip("link del here")
    try rig.expect(vtep, unreachable: "here is gone")
    try Fabric.attach(fabric.local, "here", 1, fabric.network)
    try rig.expect(vtep) { $0?.header?.sourceMAC == Fabric.mac(1) && $0?.header?.nextHop == Fabric.mac(2) }
  }

  @Test("an IPv6 address is not used before it is known to be unique, nor when it isn't")
  func duplicateAddressDetection() throws {
    let fabric = try Fabric()
    try fabric.local.execute("sysctl", "-qw", "net.ipv6.conf.here.accept_dad=1", "net.ipv6.conf.here.dad_transmits=1")
    try fabric.ip("address del 2001:db8:1::1/64 dev here")
    try fabric.ip("address add 2001:db8:1::1/64 dev here")
    var rig = try ResolverRig(in: fabric.local, .ipv6)
    let vtep = try rig.add(IPAddress(Family.ipv6.host(2))!)
    try rig.expect(vtep, unreachable: "2001:db8:1::1 waits for duplicate address detection")
    try rig.expect(vtep, through: Fabric.mac(2), within: 5)
    try fabric.ip("address del 2001:db8:1::1/64 dev here")
    try fabric.vtep.ip("address", "add", "2001:db8:1::1/64", "dev", "there", "nodad")
    try fabric.ip("address add 2001:db8:1::1/64 dev here")
    try rig.expect(vtep, within: 5) { $0 == .unreachable("2001:db8:1::1, this VTEP's address, is another host's as well") }
  }

  /// MTU of the underlay, and of what goes through a tunnel over IPv4 and IPv6.
  static let mtus = [(1500, 1450, 1430), (9000, 8950, 8930), (100, 68, 68), (65535, 65485, 65465), (70000, 65521, 65521)]

  @Test("MTU of what goes through the tunnel", arguments: mtus)
  func overlayMTU(_ underlay: Int, _ overIPv4: Int, _ overIPv6: Int) {
    #expect(Underlay.overlayMTU(underlayMTU: underlay, local: Family.ipv4.local) == overIPv4)
    #expect(Underlay.overlayMTU(underlayMTU: underlay, local: Family.ipv6.local) == overIPv6)
  }
}
