import Logging
import Testing
import Wire
@testable import Control

private let mac = MACAddress(0x02aa_0000_0001)
private let remote = IPAddress(v4: 0xc000_0202)

private let fdb: [Report.FDBEntry] = [
  .init(mac: MACAddress(0), ifname: "vxgw1", dst: remote, vni: 1, state: .permanent, flags: ["self"]),
  .init(mac: mac, ifname: "vxgw1", dst: remote, vni: 1, state: .permanent, flags: ["self"]),
  .init(mac: mac, ifname: "eth1", vni: 4100, state: .learned, age: 7),
  .init(mac: mac, ifname: "eth1", vni: 4200, state: .static),
  .init(mac: mac, ifname: "eth1", dst: remote, port: 8472, vni: 7, srcVNI: 4200, state: .static, flags: ["self"]),
]
private let neighbours: [Report.Neighbour] = [
  .init(dst: remote, dev: "vxgw1", lladdr: mac, vni: 1, state: .permanent),
  .init(dst: IPAddress("2001:db8::1")!, dev: "vxgw1", lladdr: mac, vni: 1, router: true, state: .reachable),
]
private let segments: [Report.VNI] = [
  .init(
    vni: 4100, ports: ["eth1", "eth2"], remotes: [remote, IPAddress(v4: 0xc000_0203)],
    fdb: .init(learned: 12, static: 0, permanent: 2)),
  .init(vni: 1, ports: ["vxgw1"], remotes: [], fdb: .init(learned: 0, static: 1, permanent: 0)),
]
private let vteps: [Report.VTEP] = [
  .init(address: remote, state: .resolved, via: remote, mac: mac, dev: "ens192", mtu: 1500, udpcsum: true, listed: true, learned: 3),
  .init(address: IPAddress(v4: 0xcb00_7109), state: .unreachable, reason: "no route", dev: "ens192", listed: false, learned: 0),
  .init(
    address: remote, port: 8472, vni: 7, state: .unresolved, via: IPAddress(v4: 0xc000_02fe), dev: "ens192", listed: false, learned: 0),
]
private let links: [Report.Link] = [
  .init(
    ifname: "ens192", role: .underlay, driver: "vmxnet3", mode: .native, zerocopy: false, queues: 4, mtu: 1500, address: mac,
    promiscuous: false, rx: .init(frames: 1000, bytes: 64000), tx: .init(frames: 9, bytes: 900),
    dropped: ["xsk_rx_ring_full": 1, "rx_dropped": 0], xdp: ["redirect": 1000, "pass": 5]),
  .init(
    ifname: "eth1", role: .lan, driver: nil, mode: .raw, zerocopy: false, queues: 1, mtu: 1450, address: mac, promiscuous: true,
    ports: ["4100=eth1:100", "4200=eth1:200"], rx: .init(frames: 0, bytes: 0), tx: .init(frames: 0, bytes: 0), dropped: [:], xdp: [:]),
]
private let stats = Report.Stats(
  in: 1000, out: 990, replicated: 3, waiting: 1,
  drops: [.init(reason: "VXLAN_VNI_NOT_FOUND", count: 12, sentence: "the VNI is not configured here")], balanced: true,
  frames: .init(total: 8192, pool: 6143, held: 2048, waiting: 1, balanced: true),
  workers: [.init(worker: 0, cpu: 2, in: 1000, out: 990, drops: 12, rounds: 50000, empty: 40000, sleeps: 7)])

@Test(
  "reports as text",
  arguments: [
    (
      ControlResponse.fdb(fdb),
      """
      00:00:00:00:00:00 dev vxgw1 dst 192.0.2.2 vni 1 self permanent
      02:aa:00:00:00:01 dev vxgw1 dst 192.0.2.2 vni 1 self permanent
      02:aa:00:00:00:01 dev eth1 vni 4100
      02:aa:00:00:00:01 dev eth1 vni 4200 static
      02:aa:00:00:00:01 dev eth1 dst 192.0.2.2 port 8472 vni 7 src_vni 4200 self static
      """
    ),
    (
      .neigh(neighbours),
      """
      192.0.2.2 dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 PERMANENT
      2001:db8::1 dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 router REACHABLE
      """
    ),
    (.config("iface: ens192"), "iface: ens192"),
    (.done, ""),
    (.fdb([]), ""),
    (
      .vni(segments),
      """
       VNI  LEARNED  STATIC  PERMANENT  PORTS      REMOTES
      4100       12       0          2  eth1,eth2  192.0.2.2,192.0.2.3
         1        0       1          0  vxgw1      -
      """
    ),
    (
      .vtep(vteps),
      """
      ADDRESS      PORT  VNI  STATE        VIA          MAC                DEV      MTU  UDPCSUM  LISTED  LEARNED
      192.0.2.2       -    -  resolved     192.0.2.2    02:aa:00:00:00:01  ens192  1500  on       yes           3
      203.0.113.9     -    -  unreachable  -            -                  ens192     -  off      no            0  no route
      192.0.2.2    8472    7  unresolved   192.0.2.254  -                  ens192     -  off      no            0
      """
    ),
    (
      .link(links),
      """
      ens192: underlay driver vmxnet3 mode native copy queues 4 mtu 1500 address 02:aa:00:00:00:01
              FRAMES  BYTES
          rx    1000  64000
          tx       9    900
          dropped rx_dropped 0 xsk_rx_ring_full 1
          xdp pass 5 redirect 1000
      eth1: lan mode raw queues 1 mtu 1450 address 02:aa:00:00:00:01 promiscuous
          ports 4100=eth1:100 4200=eth1:200
              FRAMES  BYTES
          rx       0      0
          tx       0      0
      """
    ),
    (
      .stats(stats),
      """
      in          1000
      replicated     3
      out          990
      dropped       12
      waiting        1
      balanced     yes  in + replicated = out + dropped + waiting

      DROPPED              FRAMES  WHY
      VXLAN_VNI_NOT_FOUND      12  the VNI is not configured here

      chunks           8192
      in the pool      6143
      in kernel rings  2048
      waiting             1
      balanced          yes  chunks = in the pool + in kernel rings + waiting

      WORKER  CPU    IN  OUT  DROPPED  ROUNDS  EMPTY  SLEEPS
           0    2  1000  990       12   50000  40000       7
      """
    ),
  ])
func text(_ response: ControlResponse, _ expected: String) {
  #expect(response.text == expected)
}

@Test(
  "answers survive JSON",
  arguments: [
    .fdb(fdb), .vni(segments), .vtep(vteps), .link(links), .stats(stats), .neigh(neighbours), .config("a: b"), .done, .error("no"),
    .fdb([]),
  ] as [ControlResponse])
func roundTrip(_ response: ControlResponse) throws {
  #expect(try JSON.decode(ControlResponse.self, from: JSON.encode(response)) == response)
}

@Test(
  "JSON has iproute2's keys",
  arguments: [
    (
      ControlResponse.fdb([fdb[1], fdb[2]]),
      #"[{"dst":"192.0.2.2","flags":["self"],"ifname":"vxgw1","mac":"02:aa:00:00:00:01","state":"permanent","vni":1},"#
        + #"{"age":7,"flags":[],"ifname":"eth1","mac":"02:aa:00:00:00:01","state":"","vni":4100}]"#
    ),
    (
      .fdb([fdb[4]]),
      #"[{"dst":"192.0.2.2","flags":["self"],"ifname":"eth1","mac":"02:aa:00:00:00:01","port":8472,"src_vni":4200,"#
        + #""state":"static","vni":7}]"#
    ),
    (
      .neigh([neighbours[0]]),
      #"[{"dev":"vxgw1","dst":"192.0.2.2","lladdr":"02:aa:00:00:00:01","router":false,"state":["PERMANENT"],"vni":1}]"#
    ),
    (
      .vtep([vteps[1]]),
      #"[{"address":"203.0.113.9","dev":"ens192","kind":"vtep","learned":0,"listed":false,"reason":"no route","#
        + #""state":"unreachable","udpcsum":false}]"#
    ),
    (
      .vni([segments[1]]),
      #"[{"fdb":{"learned":0,"permanent":0,"static":1},"ports":["vxgw1"],"remotes":[],"vni":1}]"#
    ),
  ])
func json(_ response: ControlResponse, _ expected: String) throws {
  #expect(try response.json() == expected)
}

@Test(
  "log lines",
  arguments: [
    (.critical, "vxgw: error: ens192: no carrier a=1 b=2"), (.error, "vxgw: error: ens192: no carrier a=1 b=2"),
    (.warning, "vxgw: warning: ens192: no carrier a=1 b=2"), (.notice, "vxgw: ens192: no carrier a=1 b=2"),
    (.info, "vxgw: ens192: no carrier a=1 b=2"), (.debug, "vxgw: debug: ens192: no carrier a=1 b=2"),
    (.trace, "vxgw: debug: ens192: no carrier a=1 b=2"),
  ] as [(Logger.Level, String)])
func logLine(_ level: Logger.Level, _ expected: String) {
  #expect(StandardErrorLog.line(level, "ens192: no carrier", ["b": "2", "a": "1"]) == expected)
}

@Test(
  "events as text, as bridge monitor and ip monitor have them, and through JSON",
  arguments: [
    (.fdb(.learned, fdb[2]), "02:aa:00:00:00:01 dev eth1 vni 4100"),
    (.fdb(.moved, fdb[2]), "02:aa:00:00:00:01 dev eth1 vni 4100"),
    (.fdb(.added, fdb[1]), "02:aa:00:00:00:01 dev vxgw1 dst 192.0.2.2 vni 1 self permanent"),
    (.fdb(.deleted, fdb[1]), "Deleted 02:aa:00:00:00:01 dev vxgw1 dst 192.0.2.2 vni 1 self permanent"),
    (.fdb(.aged, fdb[2]), "Deleted 02:aa:00:00:00:01 dev eth1 vni 4100 stale"),
    (.l2miss(.init(mac: mac, ifname: "vxgw1", vni: 1)), "miss dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 STALE"),
    (.l3miss(.init(dst: remote, dev: "vxgw1", vni: 1)), "miss 192.0.2.2 dev vxgw1 vni 1 STALE"),
    (.neigh(.snooped, neighbours[1]), "2001:db8::1 dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 router REACHABLE"),
    (.neigh(.added, neighbours[0]), "192.0.2.2 dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 PERMANENT"),
    (.neigh(.deleted, neighbours[0]), "Deleted 192.0.2.2 dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 PERMANENT"),
    (.vtep(.changed, vteps[0]), "vtep 192.0.2.2 dev ens192 lladdr 02:aa:00:00:00:01 mtu 1500 resolved"),
    (.vtep(.changed, vteps[1]), "vtep 203.0.113.9 dev ens192 unreachable (no route)"),
    (.vtep(.deleted, vteps[2]), "Deleted vtep 192.0.2.2 port 8472 vni 7 dev ens192 via 192.0.2.254 unresolved"),
    (.link(.changed, .init(ifname: "eth1", mtu: 1500, up: false)), "eth1: mtu 1500 state DOWN"),
    (.link(.deleted, .init(ifname: "eth1", mtu: 1500, up: true)), "Deleted eth1: mtu 1500 state UP"),
    (.lost(3), "lost 3 events, which came faster than they could be told"),
  ] as [(MonitorEvent, String)])
func event(_ event: MonitorEvent, _ expected: String) throws {
  #expect("\(event)" == expected)
  #expect(try JSON.decode(MonitorEvent.self, from: JSON.encode(event)) == event)
}

@Test("a learned entry as an event in JSON")
func eventJSON() throws {
  let expected = #"{"age":7,"event":"learned","flags":[],"ifname":"eth1","mac":"02:aa:00:00:00:01","state":"","vni":4100}"#
  #expect(try String(decoding: JSON.encode(MonitorEvent.fdb(.learned, fdb[2])), as: UTF8.self) == expected)
}
