import Datapath
import Logging
import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

@Suite("Resolver, neighbours")
struct ResolverNeighbourTests {
  /// Of the entry for `host` in the local namespace.
  private static func state(_ rig: borrowing ResolverRig, _ host: String) throws -> Neighbour.State {
    try rig.netlink.neighbour(IPAddress(host)!, on: rig.resolver.interface.index)?.state ?? []
  }

  @Test("a stale neighbour is verified while somebody has use for it", arguments: Family.allCases, ["listed", "learned", "idle"])
  func stale(_ family: Family, _ use: String) throws {
    let fabric = try Fabric()
    var rig = try ResolverRig(in: fabric.local, family)
    let vtep = try rig.add(IPAddress(family.host(2))!, isListed: use == "listed")
    try rig.expect(vtep, through: Fabric.mac(2))
    if use == "learned" { _ = rig.forwarding.fdb.learn(fdbKey(0, Fabric.mac(0x50)), at: .vtep(vtep), tick: 1) }
    try fabric.ip("neighbour replace \(family.host(2)) lladdr \(Fabric.mac(2)) dev here nud stale")
    // Asked for a moment ago when it was found, it is asked for again after a second.
    let deadline = ContinuousClock.now + .seconds(2)
    while ContinuousClock.now < deadline, try use == "idle" || Self.state(rig, family.host(2)).contains(.stale) {
      try rig.expect(vtep, through: Fabric.mac(2))
      Tick.pause(microseconds: 20_000)
    }
    let state = try Self.state(rig, family.host(2))
    #expect(state.contains(.stale) == (use == "idle"))
    if use != "idle" { return }
    // Heard of again, it is verified within a second, although the kernel has told nothing.
    _ = rig.forwarding.fdb.learn(fdbKey(0, Fabric.mac(0x50)), at: .vtep(vtep), tick: 1)
    let end = ContinuousClock.now + .seconds(2)
    while ContinuousClock.now < end, try Self.state(rig, family.host(2)).contains(.stale) {
      try rig.step()
      Tick.pause(microseconds: 20_000)
    }
    let later = try Self.state(rig, family.host(2))
    #expect(!later.contains(.stale))
  }

  @Test("VTEPs that came with spoofed packets: neither the kernel's table nor the log is flooded", arguments: Family.allCases)
  func flood(_ family: Family) throws {
    let fabric = try Fabric()
    var rig = try ResolverRig(in: fabric.local, family)
    for number in 20..<220 { _ = try rig.add(IPAddress(family.host(number))!, isListed: false) }
    let real = try rig.add(IPAddress(family.host(2))!)
    try rig.expect(real, through: Fabric.mac(2))
    var asked = 0
    for number in 20..<220 where try !Self.state(rig, family.host(number)).isEmpty { asked += 1 }
    #expect((1...128).contains(asked), "64 in a second")
    #expect(rig.log.lines.count { $0.contains("waiting for") } <= 20, "10 in a second")
    let log = rig.log
    try rig.expect(real, within: 3) { _ in log.lines.contains { $0.hasPrefix("vxgw: …and ") } }
  }

  @Test("of many log lines the first ten are written, and how many VTEPs the others were about")
  func lines() {
    let captured = CapturedLog()
    var log = VTEPLog(captured.logger)
    let start = Tick(milliseconds: 5_000)
    for number in 1...50 {
      for _ in 1...2 { log.write(.info, Family.ipv4.remote(number), "line \(number)", now: start) }
    }
    #expect(captured.lines == (1...5).flatMap { ["vxgw: line \($0)", "vxgw: line \($0)"] })
    log.flush(Tick(milliseconds: 5_999))
    #expect(captured.lines.count == 10 && log.due?.milliseconds == 6_000)
    log.flush(Tick(milliseconds: 6_000))
    #expect(captured.lines.last == "vxgw: …and 45 more VTEPs (see `vxgw vtep show`)" && log.due == nil)
    log.write(.info, Family.ipv4.remote(1), "again", now: Tick(milliseconds: 6_000))
    #expect(captured.lines.last == "vxgw: again")
  }
}
