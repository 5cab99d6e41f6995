import PacketIO
import TestSupport
import Testing
import Wire

@testable import Datapath

/// What changes between two rounds of a running worker.
@Suite struct ChangeTests {
  @Test(arguments: (segments + remotes + ports + whileWaiting).overBoth)
  func changes(_ scenario: Scenario) throws { try scenario.run() }

  static let fromRemote = frame(to: .broadcast, from: .remote1)
  static let fromHost = frame(to: .broadcast, from: .host1)
  static let toRemote = frame(to: .remote1, from: .host1)
  static let delivered = [Departure(1, fromRemote), Departure(2, fromRemote)]
  static let flooded = [sent(fromHost), sent(fromHost, to: .third), Departure(2, fromHost)]
  static let tooLong = frame(to: .remote1, from: .host1, payload: 1423)

  /// What a packet of VNI `vni` becomes before and after a change.
  static func row(
    _ name: String, vni: UInt32 = 100, _ before: [Departure], _ after: [Departure], drops: [DropReason: Int] = [:],
    _ change: @escaping (inout Network) -> Void
  ) -> Scenario {
    Scenario(
      name,
      steps: [
        .init(input: [(0, tunnelled(fromRemote, vni: vni))], output: before),
        .init(change: changed(Network(), change), input: [(0, tunnelled(fromRemote, vni: vni))], output: after),
      ], drops: drops)
  }

  static let segments: [Scenario] = [
    row("a segment comes", vni: 400, [], [Departure(4, fromRemote)], drops: [.vniNotFound: 1]) {
      $0.segments.append(.init(vni: 400))
      $0.localPorts.append(LocalPort(port: 4, segment: 3, isWire: false))
    }.with { $0.portCount = 5 },
    row("a segment goes", delivered, [], drops: [.vniNotFound: 1]) {
      ($0.segments[0], $0.localPorts[1], $0.localPorts[2]) = (nil, nil, nil)
    },
    row("a segment gets another VNI", delivered, [], drops: [.vniNotFound: 1]) { $0.segments[0]?.vni = 101 },
    row("two segments change their VNIs", delivered, [Departure(3, fromRemote)]) {
      $0.segments[0]?.vni = 200
      $0.segments[1]?.vni = 100
    },
    row(
      "tags are not kept any more", vni: 200, [Departure(3, fromRemote)], [Departure(3, fromRemote)]
    ) { $0.segments[1]?.options = [] },
    row("a VTEP is listed and then not", delivered, delivered) { $0.listed = [] }.with {
      $0.settings.onlyListed = true
      $0.listed = [.remote]
    },
  ]

  static let remotes: [Scenario] = [
    Scenario(
      "the replication list changes",
      steps: [
        .init(input: [(1, fromHost)], output: flooded),
        .init(
          change: changed(Network()) { $0.segments[0]?.remotes = [Remote(.third)] }, input: [(1, fromHost)],
          output: [sent(fromHost, to: .third), Departure(2, fromHost)]),
        .init(change: changed(Network()) { $0.segments[0]?.remotes = [] }, input: [(1, fromHost)], output: [Departure(2, fromHost)]),
        .init(change: Network(), input: [(1, fromHost)], output: flooded),
      ]),
    Scenario(
      "a list comes and changes",
      steps: [
        .init(input: [(1, toGroup)], output: [sent(toGroup), sent(toGroup, to: .third), Departure(2, toGroup)]),
        .init(change: listing([Remote(.third)]), input: [(1, toGroup)], output: [sent(toGroup, to: .third), Departure(2, toGroup)]),
        .init(
          change: listing([Remote(.remote), Remote(.third, vni: 7)]), input: [(1, toGroup)],
          output: [sent(toGroup), sent(toGroup, vni: 7, to: .third), Departure(2, toGroup)]),
      ]),
    Scenario(
      "a group is joined and left", changed(Network()) { $0.groups = [] },
      steps: [
        .init(input: [(0, toListener)]),
        .init(change: changed(Network()) { $0.groups = [.group] }, input: [(0, toListener)], output: delivered),
        .init(change: Network(), input: [(0, toListener)]),
      ], drops: [.ipInvalidDestination: 2]),
    Scenario(
      "a VTEP gets another next hop, and none",
      steps: [
        .init(input: [(0, tunnelled(fromRemote))], output: delivered),
        .init(change: changed(Network()) { $0.ttl = 9 }, resolved: [.remote], input: [(1, toRemote)], output: [sent(toRemote, ttl: 9)]),
        .init(lost: [.remote], input: [(1, toRemote)]),
      ], counted: [.waitingEntered: 1]),
    Scenario(
      "learning is reported from now on",
      steps: [
        .init(input: [(0, tunnelled(fromRemote))], output: delivered),
        .init(
          change: changed(Network()) { $0.reportsLearning = true },
          input: [(0, tunnelled(fromRemote)), (0, tunnelled(fromRemote, from: .third)), (1, fromHost)],
          output: delivered + delivered + flooded),
        .init(
          input: [(0, tunnelled(fromRemote, from: .third)), (2, fromHost)],
          output: delivered + [sent(fromHost), sent(fromHost, to: .third), Departure(1, fromHost)]),
      ], counted: [.learned: 2, .moved: 2],
      reports: [
        Report(.moved, mac: .remote1, at: .vtep(.third)), Report(.learned, mac: .host1, at: .port(1)),
        Report(.moved, mac: .host1, at: .port(2)),
      ]),
  ]

  static let toGroup = frame(to: EncapsulationTests.multicast, from: .host1)
  static let toListener = tunnelled(fromRemote, ip: IPv4Header(to: .group, from: .remote))
  static func listing(_ remotes: [Remote]) -> Network { EncapsulationTests.grouped(EncapsulationTests.multicast, remotes) }

  static let ports: [Scenario] = [
    Scenario(
      "a port comes behind the last",
      steps: [
        .init(input: [(0, tunnelled(fromRemote))], output: delivered),
        .init(change: withPort4, opened: [4], input: [(0, tunnelled(fromRemote))], output: delivered + [Departure(4, fromRemote)]),
        .init(
          input: [(4, fromHost)], output: [sent(fromHost), sent(fromHost, to: .third), Departure(1, fromHost), Departure(2, fromHost)]),
      ]),
    Scenario(
      "two ports come at once",
      steps: [
        .init(
          change: changed(withPort4) { $0.localPorts.append(LocalPort(port: 5, segment: 1, isWire: false)) }, opened: [4, 5],
          input: [(5, fromHost), (4, fromHost)],
          output: [sent(fromHost), sent(fromHost, to: .third), Departure(1, fromHost), Departure(2, fromHost), Departure(3, fromHost)])
      ]),
    Scenario(
      "a port goes, and its place is taken by another segment's",
      steps: [
        .init(input: [(2, fromHost)], output: [sent(fromHost), sent(fromHost, to: .third), Departure(1, fromHost)]),
        .init(change: withoutPort2, closed: [2], input: [(0, tunnelled(fromRemote))], output: [Departure(1, fromRemote)]),
        // Learned behind the port that has gone.
        .init(input: [(0, tunnelled(frame(to: .host1, from: .remote1)))]),
        .init(
          change: changed(Network()) { $0.localPorts[2]?.segment = 1 }, opened: [2],
          input: [(0, tunnelled(frame(to: .host1, from: .remote1))), (0, tunnelled(fromRemote, vni: 200))],
          output: [Departure(2, fromRemote), Departure(3, fromRemote)]),
      ], drops: [.noLocalPort: 2]),
    Scenario(
      "a VLAN goes, the NIC stays", changed(Network()) { $0.localPorts[1]?.vlan = .tagged(id: 5, service: false) },
      steps: [
        .init(input: [(1, frame(to: .broadcast, from: .host1, tags: [VLANTag(5)]))], output: flooded),
        .init(
          change: changed(Network()) { $0.localPorts[1] = nil },
          input: [(1, frame(to: .broadcast, from: .host1, tags: [VLANTag(5)])), (1, fromHost)]),
        .init(change: Network(), input: [(1, fromHost)], output: flooded),
      ], drops: [.vlanNotFound: 2]),
  ]

  static let withPort4 = changed(Network()) { $0.localPorts.append(LocalPort(port: 4, segment: 0, isWire: false)) }
  static let withoutPort2 = changed(Network()) { $0.localPorts[2] = nil }

  static let waiting = changed(Network()) {
    $0.entries = [.init(mac: .remote1, place: .vtep(.fourth))]
  }

  /// Frames that wait for their next hop outlive what they came from.
  static let whileWaiting: [Scenario] = [
    Scenario(
      "the local port goes", waiting,
      steps: [
        .init(input: [(1, toRemote)]),
        .init(change: changed(waiting) { $0.localPorts[1] = nil }, closed: [1]),
        .init(resolved: [.fourth], output: [sent(toRemote, to: .fourth)]),
      ], counted: [.waitingEntered: 1, .waitingLeft: 1]),
    Scenario(
      "the segment goes, and nobody answers", waiting,
      steps: [
        .init(input: [(1, toRemote)]),
        .init(at: 10, change: changed(waiting) { ($0.segments[0], $0.localPorts[1], $0.localPorts[2]) = (nil, nil, nil) }),
        .init(at: 1000),
      ], drops: [.neighbourFailed: 1]),
    Scenario(
      "too big, and the local port has gone: nobody is told", waiting,
      steps: [
        .init(input: [(1, tooLong)]), .init(change: changed(waiting) { $0.localPorts[1] = nil }), .init(resolved: [.fourth]),
      ], drops: [.packetTooBig: 1], counted: [.tooBigAnswered: 0]),
    Scenario(
      "too big, and the local port is another segment's: nobody is told", waiting,
      steps: [
        .init(input: [(1, tooLong)]), .init(change: changed(waiting) { $0.localPorts[1]?.segment = 1 }), .init(resolved: [.fourth]),
      ], drops: [.packetTooBig: 1], counted: [.tooBigAnswered: 0]),
    Scenario(
      "too big, and the local port is still there", waiting,
      steps: [
        .init(input: [(1, tooLong)]), .init(change: withPort4, opened: [4]),
        .init(resolved: [.fourth], output: [Departure(1, tooBig(tooLong))]),
      ], drops: [.packetTooBig: 1], counted: [.tooBigAnswered: 1]),
    Scenario(
      "the worker stops after a change", waiting, steps: [.init(input: [(1, toRemote)]), .init(change: withoutPort2, closed: [2])],
      drops: [.stopped: 1], stops: true),
  ]

  // MARK: What a table can't say

  /// A worker in a thread of its own makes changes as they are asked for, and what is counted on a port stays when it goes.
  @Test func workerMakesChangesWhileItRuns() throws {
    var rig = try Rig(Network())
    for _ in 0..<5 { rig.arrive(Self.fromHost, at: 2) }
    rig.run()
    _ = rig.departures()
    let (control, forwarding) = (rig.control, rig.forwarding)
    let worker = Handover(rig.worker)
    inThreads(2) { thread in
      if thread == 0 { return worker.run() }
      for number in 0..<100 as Range<Int> {
        var opened = Slots<WorkerChange.OpenedPort>(capacity: 1)
        if number % 2 == 1 { opened.append(.init(index: 2, port: .memory(Box(MemoryPort())))) }
        let network = number % 2 == 1 ? Network() : Self.withoutPort2
        let topology = network.topology { forwarding.vteps.add($0)?.index ?? 0 }
        control.ask(for: WorkerChange(topology: topology, opened: opened, closed: number % 2 == 0 ? [2] : []))
        control.awaitChange()
      }
      control.stop()
    }
    let snapshot = control.snapshot()
    #expect(snapshot[.rxFrames, 2] == 0 && snapshot.sum(.rxFrames) == 5)
    #expect(snapshot[WorkerCounter.learned] == 1)
    // Nobody is there any more who would have to be waited for.
    control.ask(for: WorkerChange(topology: Network().topology { _ in 0 }))
    control.awaitChange()
  }

  /// Takes a worker into a thread.
  final class Handover: @unchecked Sendable {
    private var worker: Worker
    init(_ worker: consuming Worker) { self.worker = worker }
    func run() { worker.run(polling: .interrupt) }
  }
}
