import TestSupport
import Testing
import Wire

@testable import Datapath

@Suite struct TopologyTests {
  @Test(arguments: [0, 1, 8, 9, 4096, 65536])
  func findsEverySegmentByItsVNI(_ count: Int) {
    // Neighbours, and numbers from all over.
    var random = Seeded(UInt64(count))
    var vnis = Set((0..<count / 2).map(UInt32.init))
    while vnis.count < count { vnis.insert(UInt32(random.below(1 << 24))) }
    let segments = vnis.map { Topology.Segment(vni: $0) }
    let topology = Topology(segments: segments, localPorts: [])
    var wrong = 0
    for (index, segment) in segments.enumerated() where topology.segment(ofVNI: segment.vni) != index { wrong += 1 }
    for _ in 0..<1000 {
      let vni = UInt32(random.below(1 << 24))
      if !vnis.contains(vni) && topology.segment(ofVNI: vni) != -1 { wrong += 1 }
    }
    #expect(wrong == 0)
  }

  @Test func knowsPortsAndRemotes() {
    let topology = Topology(
      segments: [.init(vni: 10, remotes: [5, 6]), nil, .init(vni: 20, options: [.keepsInnerTags]), .init(vni: 30, remotes: [7])],
      localPorts: [
        nil, LocalPort(port: 1, segment: 0, isWire: true), LocalPort(port: 63, segment: 0, isWire: false),
        LocalPort(port: 2, vlan: .tagged(id: 100, service: false), segment: 2, isWire: true),
        LocalPort(port: 2, vlan: .tagged(id: 100, service: true), segment: 3, isWire: true),
        LocalPort(port: 3, vlan: .trunk, segment: 2, isWire: true),
        LocalPort(port: 0, vlan: .tagged(id: 4094, service: false), segment: 0, isWire: true),
      ], lists: [[], [8, 9]], groups: [IPAddress(v4: 0xef01_0101)])
    let records = (0..<4).map { topology.segments[$0] }
    #expect(records.map(\.vni) == [10, 0, 20, 30] && records.map(\.keepsInnerTags) == [false, false, true, false])
    func remotes(_ span: Topology.Span) -> [Int32] { span.range.map { topology.remotes[$0] } }
    func members(_ span: Topology.Span) -> [Int32] { span.range.map { topology.members[$0] } }
    #expect(records.map { remotes($0.remotes) } == [[5, 6], [], [], [7]])
    #expect(records.map { members($0.localPorts) } == [[1, 2, 6], [], [3, 5], [4]])
    #expect((0..<2).map { remotes(topology.lists[$0]) } == [[], [8, 9]])
    #expect((0..<64).map { topology.untagged[$0] }.enumerated().filter { $0.element >= 0 }.map(\.offset) == [1, 3, 63])
    let tags: [(port: Int, type: UInt16, vid: UInt16, number: Int32)] = [
      (2, 0x8100, 100, 3), (2, 0x88a8, 100, 4), (2, 0x8100, 101, -1), (0, 0x8100, 4094, 6), (0, 0x88a8, 4094, -1), (1, 0x8100, 100, -1),
    ]
    for tag in tags {
      let number = topology.localPort(of: tag.port, type: tag.type, vid: tag.vid)
      #expect(number == tag.number)
    }
    let (isOneArmed, hears, ignores) = (
      topology.isOneArmed, topology.listens(to: IPAddress(v4: 0xef01_0101)), topology.listens(to: IPAddress(v4: 0xef01_0102))
    )
    #expect(isOneArmed && hears && !ignores)
  }

  /// As many local ports as there may be: both kinds of every VLAN on one NIC.
  @Test func findsEveryLocalPortByItsTag() {
    let tags = (1...4096).flatMap { vid in [false, true].map { (vid: UInt16(vid % 4096), isService: $0) } }
    let localPorts = tags.enumerated().map { number, tag in
      LocalPort(port: 63, vlan: .tagged(id: tag.vid, service: tag.isService), segment: number, isWire: false)
    }
    #expect(localPorts.count == LocalPort.limit)
    let topology = Topology(segments: localPorts.indices.map { .init(vni: UInt32($0)) }, localPorts: localPorts)
    var wrong = 0
    for (number, tag) in tags.enumerated() {
      // The priority says nothing.
      if topology.localPort(of: 63, type: tag.isService ? 0x88a8 : 0x8100, vid: tag.vid | 0xe000) != number { wrong += 1 }
      if topology.localPort(of: 62, type: tag.isService ? 0x88a8 : 0x8100, vid: tag.vid) != -1 { wrong += 1 }
      if topology.localPort(number, of: Int32(number))?.port != 63 || topology.localPort(number, of: Int32(number ^ 1)) != nil {
        wrong += 1
      }
    }
    #expect(wrong == 0)
  }

  /// Lists keep their numbers, the empty ones as well, and a list may be long.
  @Test func findsEveryList() {
    var random = Seeded(1)
    var lists = (0..<Destination.listLimit).map { number in (0..<random.below(3)).map { number + $0 } }
    lists[7] = Array(0..<VTEPTable.limit)
    let topology = Topology(segments: [.init(vni: 1, remotes: [1, 2, 3]), nil, .init(vni: 2, remotes: [4])], localPorts: [], lists: lists)
    let wrong = lists.indices.count { number in topology.lists[number].range.map { Int(topology.remotes[$0]) } != lists[number] }
    #expect(wrong == 0)
  }
}
