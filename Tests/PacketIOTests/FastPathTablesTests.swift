import CLinux
import TestSupport
import Testing

@testable import PacketIO

@Suite struct FastPathTablesTests {
  /// VNIs of few homes, 0 among them, added and removed at random: who is in is found, who is out is not, and only a full reach keeps one out.
  @Test func findsSegments() throws {
    let words = { try AtomicWords(sharedAs: "vxgw_test", count: 8, record: 8) }
    let tables = try FastPathTables(fdb: words(), vteps: words())
    let homes = [0, 1000, 1004, UInt32(VXGW_SEGMENT_SLOTS - VXGW_SEGMENT_REACH)]
    let vnis = (0..<1 << 21 as Range<UInt32>).filter { homes.contains(vxgw_segment_home($0)) }
    try #require(vnis.count > 3 * Int(VXGW_SEGMENT_REACH))
    var random = Seeded(11)
    var wanted: [UInt32: Int] = [:]
    var refused = 0
    for index in 0..<1000 {
      let vni = vnis.randomElement(using: &random)!
      if wanted.removeValue(forKey: vni) != nil {
        try tables.removeSegment(vni: vni)
      } else {
        try tables.addSegment(index, vni: vni)
        wanted[vni] = index
        if try found(vni, tables) == nil {
          let reach = vxgw_segment_home(vni)..<vxgw_segment_home(vni) + UInt32(VXGW_SEGMENT_REACH)
          #expect(try reach.allSatisfy { try tables.segments.get($0, UInt64(0)) != 0 })
          wanted[vni] = nil
          refused += 1
        }
      }
      for vni in vnis { #expect(try found(vni, tables) == wanted[vni]) }
    }
    #expect(refused > 0)
  }

  /// As `segment_of` in `bpf/tables.h` looks.
  private func found(_ vni: UInt32, _ tables: FastPathTables) throws -> Int? {
    let home = vxgw_segment_home(vni)
    for slot in home..<home + UInt32(VXGW_SEGMENT_REACH) {
      let word = try tables.segments.get(slot, UInt64(0))
      if word != 0, UInt32(truncatingIfNeeded: word) == vni { return Int(word >> 32) - 1 }
    }
    return nil
  }
}
