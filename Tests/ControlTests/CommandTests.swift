import Testing
import Wire
@testable import Control

private let mac = MACAddress(0x02aa_0000_0001)
private let remote = IPAddress(v4: 0xc000_0202)

private func command(_ line: String) throws -> Command {
  let words = line.split(separator: " ").map(String.init)
  return try Command(#require(Command.Object(rawValue: words[0])), Array(words.dropFirst()))
}

@Test(
  "words and what they mean; changes also survive the protocol",
  arguments: [
    ("fdb", .query(.fdbShow, .init())), ("fdb list", .query(.fdbShow, .init())),
    ("fdb show dev eth1 vni 7 02:aa:00:00:00:01", .query(.fdbShow, .init(dev: "eth1", vni: 7, mac: mac))),
    ("fdb add 02:aa:00:00:00:01 dst 192.0.2.2", .change(.fdb(.add, .init(mac: mac, dst: remote)))),
    ("fdb replace dst 192.0.2.2 02:aa:00:00:00:01 temp", .change(.fdb(.replace, .init(mac: mac, dst: remote, state: .static)))),
    ("fdb del 02:aa:00:00:00:01 local permanent", .change(.fdb(.del, .init(mac: mac)))),
    (
      "fdb append 00:00:00:00:00:00 dev vxgw1 dst 2001:db8::2 port 8472 vni 0 src_vni 16777215 self dynamic",
      .change(
        .fdb(
          .append,
          .init(
            mac: MACAddress(0), dst: IPAddress("2001:db8::2"), port: 8472, vni: 0, srcVNI: 16_777_215, dev: "vxgw1", state: .dynamic)))
    ),
    ("fdb flush", .change(.fdbFlush(.init()))),
    (
      "fdb flush dev a src_vni 1 vni 2 port 3 dst 192.0.2.2",
      .change(.fdbFlush(.init(dev: "a", srcVNI: 1, vni: 2, port: 3, dst: remote)))
    ),
    ("fdb flush static dynamic", .change(.fdbFlush(.init(states: [.static, .dynamic])))),
    ("fdb flush nopermanent", .change(.fdbFlush(.init(states: [.static, .dynamic])))),
    ("fdb flush dynamic nostatic", .change(.fdbFlush(.init(states: [.dynamic])))),
    ("neigh show dev vxgw1 192.0.2.2", .query(.neighShow, .init(dev: "vxgw1", address: remote))),
    (
      "neigh add 192.0.2.2 lladdr 02:aa:00:00:00:01 dev vxgw1 nud permanent router",
      .change(.neigh(.add, .init(ip: remote, lladdr: mac, dev: "vxgw1", router: true)))
    ),
    ("neigh replace lladdr 02:aa:00:00:00:01 192.0.2.2 vni 5", .change(.neigh(.replace, .init(ip: remote, lladdr: mac, vni: 5)))),
    ("neigh delete 192.0.2.2", .change(.neigh(.del, .init(ip: remote)))),
    ("vtep add 192.0.2.2", .change(.vtep(.add, .init(address: remote)))),
    ("vtep del 239.1.1.1 vni 5", .change(.vtep(.del, .init(address: IPAddress("239.1.1.1")!, vni: 5)))),
    ("vtep show 192.0.2.2", .query(.vtepShow, .init(address: remote))),
    ("vni show 5", .query(.vniShow, .init(vni: 5))),
    ("vni add 5", .change(.vni(.add, .init(vni: 5)))),
    (
      "vni add 5 eth1:100 tap:dev0 remote 192.0.2.2,192.0.2.2 group 239.1.1.1",
      .change(
        .vni(.add, .init(vni: 5, ports: ["eth1:100", "tap:dev0"], remotes: [remote, remote], group: IPAddress("239.1.1.1"))))
    ),
    ("vni del 5", .change(.vni(.del, .init(vni: 5)))),
    ("link show eth1", .query(.linkShow, .init(dev: "eth1"))), ("link show dev eth1", .query(.linkShow, .init(dev: "eth1"))),
    ("link add 10100-10199=eth1:100-199", .change(.link(.add, .init(map: "10100-10199=eth1:100-199")))),
    ("link del eth1:100", .change(.link(.del, .init(map: "eth1:100")))),
    ("config", .query(.configShow, .init())), ("stats", .query(.stats, .init())),
    ("monitor", .monitor([.fdb, .neigh, .vtep, .link])), ("monitor link fdb", .monitor([.fdb, .link])),
    ("monitor fdb all", .monitor([.fdb, .neigh, .vtep, .link])),
  ] as [(String, Command)])
func meaning(_ line: String, _ expected: Command) throws {
  let command = try command(line)
  #expect(command == expected)
  let request: ControlRequest =
    switch command {
    case .query(let query, _): .query(query)
    case .change(let change): .change(change)
    case .monitor(let topics): .monitor(topics)
    }
  #expect(try ControlRequest(line: JSON.encode(request)) == request)
}

@Test(
  "every mistake is named",
  arguments: [
    ("fdb shwo", ["fdb shwo: no such command. Did you mean show?"]),
    ("fdb 1", ["fdb 1: no such command. There are show, add, append, replace, del, flush"]),
    ("config add", ["config add: no such command. There are show"]),
    ("fdb add", ["fdb add: MAC is missing"]),
    ("fdb add x", ["fdb add: x: not a MAC address such as 02:00:00:00:00:01"]),
    ("fdb add dts 192.0.2.2 02:aa:00:00:00:01", ["fdb add: dts: no such word. Did you mean dst?"]),
    (
      "fdb add 02:aa:00:00:00:01 x",
      ["fdb add: x: no such word. There are dev, dst, port, vni, src_vni, self, permanent, local, static, temp, dynamic"]
    ),
    (
      "fdb add 02:aa:00:00:00:01 dst 192.0.2.256 port 0 port 65536 vni 16777216 src_vni -1 dev",
      [
        "fdb add: port: given twice", "fdb add: dev: its value is missing", "fdb add: dst 192.0.2.256: not an IPv4 or IPv6 address",
        "fdb add: port 65536: not a UDP port, 1 to 65535", "fdb add: vni 16777216: not a VNI, 0 to 16777215",
        "fdb add: src_vni -1: not a VNI, 0 to 16777215",
      ]
    ),
    ("fdb add 02:aa:00:00:00:01 static dynamic", ["fdb add: static and dynamic exclude each other"]),
    (
      "fdb add 02:aa:00:00:00:01 via eth0 master nhid 7",
      [
        "fdb add: via: the route to dst decides on the interface. Leave it out",
        "fdb add: master: there is one FDB, not a bridge's beside that of the device. Leave it out",
        "fdb add: nhid: there are no nexthop groups. Give each VTEP as dst",
      ]
    ),
    ("fdb flush static nostatic", ["fdb flush: static and nostatic exclude each other"]),
    (
      "fdb flush 02:aa:00:00:00:01 dynamc",
      [
        "fdb flush: 02:aa:00:00:00:01: no such word. There are dev, src_vni, vni, port, dst, self, permanent, nopermanent, static, "
          + "nostatic, dynamic, nodynamic", "fdb flush: dynamc: no such word. Did you mean dynamic?",
      ]
    ),
    ("neigh add 192.0.2.2", ["neigh add: lladdr is missing"]),
    ("neigh add 192.0.2.2 lladdr 02:aa:00:00:00:01 nud stale", ["neigh add: nud stale: an entry by hand is permanent"]),
    (
      "neigh add proxy 192.0.2.2",
      [
        "neigh add: proxy: run --proxy answers for every neighbour. Give lladdr", "neigh add: lladdr is missing",
      ]
    ),
    ("vtep add", ["vtep add: ADDRESS is missing"]), ("vni add", ["vni add: VNI is missing"]),
    ("vni add 5 remote 192.0.2.2,", ["vni add: remote 192.0.2.2,: not IPv4 or IPv6 addresses, separated by commas"]),
    ("vni add 5 group 192.0.2.2", ["vni add: group 192.0.2.2: not a multicast address. VTEPs are named with remote"]),
    ("link add eth1", ["link add: eth1: which VNI? Say VNI=eth1"]),
    ("stats now", ["stats: now: no such word. Nothing follows"]),
    ("monitor fbd", ["monitor: fbd: no such word. Did you mean fdb?"]),
  ])
func commandMistakes(_ line: String, _ expected: [String]) throws {
  let error = #expect(throws: UsageError.self) { try command(line) }
  #expect(error?.mistakes == expected)
}

@Test(
  "only the rows that are asked for are shown",
  arguments: [
    (ReportFilter(), [0, 1, 2]), (ReportFilter(dev: "vxgw1"), [0, 1]), (ReportFilter(vni: 1), [0, 1]), (ReportFilter(vni: 2), [1, 2]),
    (ReportFilter(mac: mac), [1, 2]), (ReportFilter(address: remote), [0]), (ReportFilter(dev: "eth1", address: remote), []),
  ])
func filter(_ filter: ReportFilter, _ expected: [Int]) {
  let entries: [Report.FDBEntry] = [
    .init(mac: MACAddress(0), ifname: "vxgw1", dst: remote, vni: 1, state: .permanent),
    .init(mac: mac, ifname: "vxgw1", dst: IPAddress(v4: 0xc000_0203), vni: 2, srcVNI: 1, state: .static),
    .init(mac: mac, ifname: "eth1", vni: 2, state: .learned),
  ]
  #expect(filter(.fdb(entries)) == .fdb(expected.map { entries[$0] }))
}

@Test("what JSON leaves out has bridge(8)'s default")
func defaults() throws {
  let line = #"{"command":"fdb add","mac":"02:aa:00:00:00:01","dst":"192.0.2.2"}"#
  #expect(try ControlRequest(line: Array(line.utf8)) == .change(.fdb(.add, .init(mac: mac, dst: remote, state: .permanent))))
  #expect(try ControlRequest(line: Array(#"{"command":"vni add","vni":5}"#.utf8)) == .change(.vni(.add, .init(vni: 5))))
  #expect(try ControlRequest(line: Array(#"{"command":"monitor"}"#.utf8)) == .monitor([.fdb, .neigh, .vtep, .link]))
}

@Test(
  "what no gateway could do is refused before one is asked",
  arguments: [
    (.fdb(.add, .init(mac: mac)), "no destination (EINVAL); give dst IP, or a local port as dev"),
    (.fdb(.del, .init(mac: mac)), nil), (.fdb(.add, .init(mac: mac, dev: "eth1")), nil),
    (.fdb(.add, .init(mac: mac, port: 1, dev: "eth1")), "port belongs to a dst (EINVAL)"),
    (.fdb(.add, .init(mac: mac, dst: remote, port: 0)), "a UDP port is a number from 1 to 65535 (EINVAL)"),
    (.fdb(.add, .init(mac: mac, dst: remote, srcVNI: 1 << 24)), "a VNI is a number from 0 to 16777215 (EINVAL)"),
    (.fdbFlush(.init(vni: 1 << 24)), "a VNI is a number from 0 to 16777215 (EINVAL)"),
    (.neigh(.add, .init(ip: remote)), "lladdr is missing (EINVAL)"), (.neigh(.del, .init(ip: remote)), nil),
    (.neigh(.add, .init(ip: remote, lladdr: .broadcast)), "lladdr is the MAC address of one host (EINVAL)"),
    (.neigh(.del, .init(ip: IPAddress("ff02::1")!)), "a neighbour has an address of its own (EINVAL)"),
    (.vni(.del, .init(vni: 1 << 24)), "a VNI is a number from 0 to 16777215 (EINVAL)"),
  ] as [(ControlChange, String?)])
func mistake(_ change: ControlChange, _ expected: String?) {
  #expect(change.mistake?.description == expected)
}

@Test(
  "refusals carry the kernel's errno, and what to do",
  arguments: [
    (.fdbEntryExists(mac), "it exists already (EEXIST); use replace"),
    (.fdbEntryExists(MACAddress(0)), "it exists already (EEXIST); use append for another destination"),
    (.noFDBEntry, "no such entry (ENOENT); vxgw fdb show lists them"),
    (
      .groupReplaced,
      "the entry of a group can't be replaced (EOPNOTSUPP); del it or some of its destinations, and append others"
    ),
    (.fdbFull(8), "the FDB holds its 8 entries (ENOSPC); raise --max-fdb"),
    (
      .family(IPAddress("2001:db8::2")!, local: remote),
      "2001:db8::2 is an IPv6 address, and the gateway's own, 192.0.2.2, is IPv4 (EAFNOSUPPORT)"
    ),
    (.noDevice("eht1", ["eth1", "eth2"]), "eht1: no port of this gateway (ENODEV); did you mean eth1?"),
    (.noDevice("x", ["eth1", "eth2"]), "x: no port of this gateway (ENODEV); there are eth1, eth2"),
    (.noSegment(5, [1, 2]), "VNI 5 is not configured here (ENOENT); there are 1, 2; vxgw vni add 5 adds it"),
    (.segmentMissing([1, 2]), "which segment of 1, 2? (EINVAL); name it with dev or its VNI"),
    (.portInUse("eth1", vni: 5), "eth1 is a port of VNI 5 (EBUSY); vxgw link del eth1 takes it out"),
    (.noPort([]), "no such port (ENOENT)"),
    (.unsupported("the NIC can't do it"), "the NIC can't do it (EOPNOTSUPP)"),
  ] as [(ChangeError, String)])
func refusal(_ error: ChangeError, _ expected: String) {
  #expect(error.description == expected)
}
