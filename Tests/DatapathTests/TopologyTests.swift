import TestSupport
import Testing

@testable import Datapath

@Suite struct TopologyTests {
  @Test(arguments: [0, 1, 8, 9, 4096, 65536])
  func findsEverySegmentByItsVNI(_ count: Int) {
    // Neighbours, and numbers from all over.
    var random = Seeded(UInt64(count))
    var vnis = Set((0..<count / 2).map(UInt32.init))
    while vnis.count < count { vnis.insert(UInt32(random.below(1 << 24))) }
    let segments = vnis.map { Topology.Segment(vni: $0, ports: [], remotes: []) }
    let topology = Topology(segments: segments, wires: [true])
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
      segments: [
        Topology.Segment(vni: 10, ports: [1, 63], remotes: [5, 6]),
        Topology.Segment(vni: 20, ports: [2], remotes: [], keepsInnerTags: true),
        Topology.Segment(vni: 30, ports: [], remotes: [7]),
      ], wires: (0..<64).map { $0 % 2 == 0 })
    let records = (0..<3).map { topology.segments[$0] }
    #expect(records.map(\.vni) == [10, 20, 30])
    #expect(records.map(\.ports) == [1 << 1 | 1 << 63, 1 << 2, 0])
    #expect(records.map(\.keepsInnerTags) == [false, true, false])
    let remotes = records.map { record in (0..<record.remoteCount).map { topology.remotes[Int(record.firstRemote + $0)] } }
    #expect(remotes == [[5, 6], [], [7]])
    let segments = (0..<64).map { topology.segmentOfPort[$0] }
    #expect(segments[1] == 0 && segments[63] == 0 && segments[2] == 1 && segments.count { $0 == -1 } == 61)
    let wires = (0..<64).map { topology.isWire[$0] }
    #expect(wires == (0..<64).map { $0 % 2 == 0 })
  }
}
