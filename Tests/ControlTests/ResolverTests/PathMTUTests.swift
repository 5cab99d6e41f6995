import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

@Suite("Resolver, path MTU")
struct PathMTUTests {
  /// Reports one after the other on a way of 1500 bytes, and what holds then.
  static let reports: [(Family, [Int], Int?)] = [
    (.ipv4, [1400], 1400), (.ipv6, [1400], 1400),
    (.ipv4, [1400, 1450], 1400), (.ipv4, [1400, 1300], 1300),
    // No increase, no path MTU that can't be.
    (.ipv4, [1500], nil), (.ipv4, [9000], nil), (.ipv4, [0], nil), (.ipv4, [67], nil), (.ipv4, [-1], nil),
    (.ipv4, [68], 552), (.ipv4, [551], 552), (.ipv4, [552], 552), (.ipv4, [553], 553),
    (.ipv6, [1279], nil), (.ipv6, [1280], 1280), (.ipv6, [68], nil), (.ipv6, [0], nil),
  ]

  @Test("what is believed", arguments: reports)
  func credible(_ family: Family, _ reports: [Int], _ expected: Int?) {
    var mtus = PathMTUs()
    for report in reports { _ = mtus.report(report, for: family.remote(1), routeMTU: 1500, now: Tick(milliseconds: 7)) }
    #expect(mtus[family.remote(1)] == expected && mtus[family.remote(2)] == nil)
    #expect(mtus.nextExpiry?.milliseconds == expected.map { _ in 600_007 })
  }

  @Test("each report holds ten minutes from its last repetition")
  func expiry() {
    var mtus = PathMTUs()
    let (one, other) = (Family.ipv4.remote(1), Family.ipv4.remote(2))
    func at(_ seconds: UInt64) -> Tick { Tick(milliseconds: seconds * 1000) }
    var news = [mtus.report(1400, for: one, routeMTU: 1500, now: at(0)), mtus.report(1300, for: other, routeMTU: 1500, now: at(100))]
    news.append(mtus.report(1400, for: one, routeMTU: 1500, now: at(200)))
    #expect(news == [true, true, false])
    // Seconds, what ends then, and when the next one is due.
    let steps: [(UInt64, [IPAddress], UInt64?)] = [(599, [], 600), (600, [], 700), (700, [other], 800), (799, [], 800), (800, [one], nil)]
    for (seconds, expected, next) in steps {
      let ended = mtus.expire(at(seconds))
      #expect(ended == expected && mtus.nextExpiry?.milliseconds == next.map { $0 * 1000 }, "\(seconds) s")
    }
    #expect(mtus[one] == nil && mtus[other] == nil)
  }

  @Test("the header follows reports for all ports of a VTEP, and their end; a new way begins anew", arguments: Family.allCases)
  func header(_ family: Family) throws {
    let fabric = try Fabric()
    try fabric.ip("\(family.option) route add \(family.remotes) via \(family.host(11))")
    var rig = try ResolverRig(in: fabric.local, family)
    let vteps = [try rig.add(family.remote(1)), try rig.add(family.remote(1), port: 8472)]
    let other = try rig.add(family.remote(2))
    for vtep in vteps + [other] { try rig.expect(vtep) { $0?.header?.mtu == 1500 } }
    let now = Tick.now
    rig.resolver.pathMTUReported(for: family.remote(1), mtu: 1400, now: now)
    rig.resolver.pathMTUReported(for: family.remote(9), mtu: 1400, now: now)
    for vtep in vteps { try rig.expect(vtep) { $0?.header?.mtu == 1400 } }
    try rig.expect(other) { $0?.header?.mtu == 1500 }
    rig.resolver.work(rig.netlink, now: Tick(milliseconds: now.milliseconds + 599_999))
    #expect(rig.resolver.ways[vteps[0]]?.state?.header?.mtu == 1400)
    #expect(rig.resolver.nextDeadline == now.milliseconds + 600_000)
    rig.resolver.work(rig.netlink, now: Tick(milliseconds: now.milliseconds + 600_000))
    for vtep in vteps { #expect(rig.resolver.ways[vtep]?.state?.header?.mtu == 1500) }
  }

  @Test("another router, another MTU; a locked one stays", arguments: Family.allCases)
  func route(_ family: Family) throws {
    let fabric = try Fabric()
    var rig = try ResolverRig(in: fabric.local, family)
    let vtep = try rig.add(family.remote(1))
    for (change, mtu) in [("via \(family.host(11))", 1400), ("via \(family.host(12)) mtu lock 1450", 1450)] {
      try fabric.ip("\(family.option) route replace \(family.remotes) \(change)")
      try rig.expect(vtep, through: Fabric.mac(change.contains("lock") ? 12 : 11))
      #expect(rig.resolver.ways[vtep]?.state?.header?.mtu != 1400, "what was said of the old way")
      rig.resolver.pathMTUReported(for: family.remote(1), mtu: 1400, now: .now)
      #expect(rig.resolver.ways[vtep]?.state?.header?.mtu == UInt16(mtu))
    }
  }
}
