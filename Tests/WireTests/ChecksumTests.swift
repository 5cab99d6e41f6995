import Testing
import Wire

@Suite struct ChecksumTests {
  @Test func sumsWhatTheObviousLoopSums() {
    var random = Seeded(1)
    for round in 0..<2000 {
      let bytes = round % 10 == 0 ? [UInt8](repeating: 0xff, count: round) : random.bytes(Int.random(in: 0...300, using: &random))
      let start = Int.random(in: 0...bytes.count, using: &random)
      let end = Int.random(in: start...bytes.count, using: &random)
      #expect(sum(bytes, start..<end) == stupidSum(Array(bytes[start..<end])), "\(start)..<\(end)")
    }
  }

  @Test func sumsALargestDatagram() {
    let bytes = [UInt8](repeating: 0xff, count: 65535)
    #expect(sum(bytes, 0..<65535) == stupidSum(bytes))
    #expect(Checksum.fold(.max) == 0xffff)
    #expect(Checksum.fold(0) == 0)
  }

  /// 2¹⁶ is 1 more than a multiple of 2¹⁶ − 1, so folding is the remainder; but a sum that is not zero never becomes zero.
  @Test func foldsToTheRemainder() {
    var random = Seeded(3)
    let edges: [UInt64] = [0, 1, 0xfffe, 0xffff, 0x1_0000, 0x1_fffe, 0xffff_ffff, 0x1_0000_0000, 0xffff_0000_ffff, .max - 1, .max]
    for sum in edges + (0..<2000).map({ UInt64.random(in: 0...UInt64.max >> ($0 % 64), using: &random) }) {
      let expected = { (sum: UInt64) in UInt16(sum == 0 ? 0 : sum % 0xffff == 0 ? 0xffff : sum % 0xffff) }
      #expect(Checksum.fold(sum) == expected(sum), "\(sum)")
      let word = UInt32(truncatingIfNeeded: sum)
      #expect(Checksum.fold(word: word) == expected(UInt64(word)), "\(word)")
    }
  }

  /// RFC 1071 section 3 and RFC 1624 section 4.
  @Test func agreesWithTheExamplesOfTheRFCs() {
    let bytes: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
    #expect(sum(bytes, 0..<8) == 0xddf2)
    #expect(Checksum.updated(0xdd2f, from: 0x5555, to: 0x3285) == 0x0000)
  }

  @Test func updatesLikeComputingAnew() {
    var random = Seeded(2)
    for _ in 0..<2000 {
      var bytes = random.bytes(40)
      let before = ~stupidSum(bytes)
      let old = UInt16(bytes[6]) << 8 | UInt16(bytes[7])
      let new = UInt16.random(in: 0...UInt16.max, using: &random)
      bytes.replaceSubrange(6..<8, with: big(new))
      #expect(Checksum.updated(before, from: old, to: new) == ~stupidSum(bytes))
    }
  }

  private func sum(_ bytes: [UInt8], _ range: Range<Int>) -> UInt16 {
    // Bytes have no padding, which is what makes `bytes` unsafe in general.
    Checksum.fold(unsafe Checksum.sum(bytes.span.bytes, range))
  }
}
