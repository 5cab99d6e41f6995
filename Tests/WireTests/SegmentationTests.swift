import Testing
import Wire

@Suite struct SegmentationTests {
  /// A super-frame: alone, or inside VXLAN.
  struct Case: CustomStringConvertible, Sendable {
    var inner: StupidFrame
    var outer: StupidFrame?
    var outerSum = StupidFrame.Sum.zero
    var size: Int

    var description: String { (outer.map { "\($0), \(outerSum) around " } ?? "") + "\(inner) by \(size)" }

    /// The segments by definition: the same frame with a part of the payload.
    var segments: [[UInt8]] {
      stride(from: 0, to: inner.payload.count, by: size).map { start in
        var (part, index) = (inner, UInt16(truncatingIfNeeded: start / size))
        let isLast = start + size >= inner.payload.count
        part.payload = Array(inner.payload[start..<min(start + size, inner.payload.count)])
        part.padding = 0
        part.identification &+= index
        part.sequence &+= UInt32(start)
        if !isLast { part.flags &= 0b1111_0110 }
        if start > 0 { part.flags &= 0b0111_1111 }
        return packet(part, .complete, index)
      }
    }

    /// What the kernel hands over: inner checksum partial.
    var superFrame: [UInt8] { packet(inner, .partial, 0) }

    var transport: Int { (outer.map { $0.transportOffset + 16 } ?? 0) + inner.transportOffset }

    private func packet(_ inner: StupidFrame, _ sum: StupidFrame.Sum, _ index: UInt16) -> [UInt8] {
      guard var outer else { return inner.bytes(sum) }
      outer.payload = [8, 0, 0, 0, 0, 0, 42, 0] + inner.bytes(sum)
      outer.identification &+= index
      return outer.bytes(outerSum)
    }
  }

  static let cases: [Case] = {
    var random = Seeded(5)
    var cases: [Case] = []
    for (length, size) in [(1, 1), (1000, 1000), (1001, 1000), (2999, 1000), (7777, 1337), (60000, 1448), (500, 1)] {
      for isIPv6 in [false, true] {
        for isTCP in [false, true] {
          for tags: [UInt16] in [[], [0x8100], [0x88a8, 0x8100]] {
            let inner = StupidFrame(
              tags: tags, isIPv6: isIPv6, isTCP: isTCP, ipOptions: isIPv6 ? 0 : length % 3 * 4, tcpOptions: length % 4 * 4,
              payload: random.bytes(length), identification: 0xfffe, flags: UInt8.random(in: 0...255, using: &random))
            cases.append(Case(inner: inner, size: size))
            let outer = StupidFrame(
              tags: tags.reversed(), isIPv6: length % 2 == 0, isTCP: false, identification: 0xffff, destinationPort: 4789)
            cases.append(Case(inner: inner, outer: outer, outerSum: .complete, size: size))
            cases.append(Case(inner: inner, outer: outer, outerSum: .zero, size: size))
          }
        }
      }
    }
    return cases
  }()

  @Test(arguments: cases)
  func cutsLikeTheDefinition(_ example: Case) throws {
    let frame = example.superFrame
    let cut = try #require(segments(frame, example.size, example.transport))
    #expect(cut == example.segments)
  }

  @Test func ignoresPadding() {
    var random = Seeded(6)
    let padded = Case(inner: StupidFrame(payload: random.bytes(3000), padding: 9), size: 1000)
    #expect(segments(padded.superFrame, 1000, nil) == padded.segments)
  }

  /// What can't be cut is refused, whatever the reason.
  @Test(
    arguments: [
      ("no payload", StupidFrame(), 1000, nil, []), ("size 0", StupidFrame(payload: [1]), 0, nil, []),
      ("transport elsewhere", StupidFrame(payload: [1]), 1, 35, []),
      ("tunnel in TCP", StupidFrame(payload: [UInt8](repeating: 0, count: 100)), 1, 84, []),
      ("not VXLAN", StupidFrame(isTCP: false, payload: [UInt8](repeating: 0, count: 100)), 1, 84, []),
      ("TCP header too short", StupidFrame(payload: [1]), 1, nil, [(46, 0x40)]),
      ("TCP header too long", StupidFrame(payload: [1]), 1, nil, [(46, 0xf0)]),
      ("longer than the frame", StupidFrame(payload: [1]), 1, nil, [(16, 0x7f)]),
    ] as [(String, StupidFrame, Int, Int?, [(Int, UInt8)])])
  func refuses(_ name: String, _ layout: StupidFrame, _ size: Int, _ transport: Int?, _ patches: [(Int, UInt8)]) {
    var frame = layout.bytes()
    for (offset, byte) in patches { frame[offset] = byte }
    #expect(segments(frame, size, transport) == nil)
  }

  @Test func neverTraps() {
    var random = Seeded(7)
    for example in Self.cases where example.inner.payload.count < 3000 {
      let whole = example.superFrame
      for length in stride(from: 0, to: 200, by: 7) { _ = segments(Array(whole.prefix(length)), example.size, example.transport) }
      for _ in 0..<20 {
        var frame = whole
        for _ in 0..<2 { frame[Int.random(in: 12..<min(frame.count, 150), using: &random)] = UInt8.random(in: 0...255, using: &random) }
        _ = segments(frame, max(example.size, 100), example.transport)
      }
    }
  }

  private func segments(_ frame: [UInt8], _ size: Int, _ transport: Int?) -> [[UInt8]]? {
    guard let plan = unsafe Segmentation(frame.span.bytes, size: size, transport: transport) else { return nil }
    return (0..<plan.count).map { index in
      var segment = [UInt8](repeating: 0xdd, count: plan.length(of: index))
      var span = segment.mutableSpan
      var bytes = unsafe span.mutableBytes
      unsafe plan.write(index, of: frame.span.bytes, to: &bytes)
      return segment
    }
  }
}
