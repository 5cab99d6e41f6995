import Testing
import Wire

@Suite struct PartialChecksumTests {
  /// IPv4 and IPv6, TCP and UDP, tags, options, padding, odd and even lengths.
  static let layouts: [StupidFrame] = {
    var random = Seeded(3)
    var layouts: [StupidFrame] = []
    for tags: [UInt16] in [[], [0x8100], [0x88a8, 0x8100]] {
      for isIPv6 in [false, true] {
        for isTCP in [false, true] {
          for (length, padding) in [(0, 0), (1, 17), (2, 0), (33, 3), (1399, 0), (1400, 1)] {
            layouts.append(
              StupidFrame(
                tags: tags, isIPv6: isIPv6, isTCP: isTCP, ipOptions: isIPv6 ? 0 : length % 3 * 4, tcpOptions: length % 11 * 4,
                payload: random.bytes(length), padding: padding))
          }
        }
      }
    }
    return layouts
  }()

  @Test(arguments: layouts)
  func completesWhatIsPartial(_ layout: StupidFrame) {
    var frame = layout.bytes(.partial)
    let wasPartial = complete(&frame)
    #expect(wasPartial)
    #expect(frame == layout.bytes())
    var told = layout.bytes(.partial)
    complete(&told, start: layout.transportOffset, offset: layout.checksumOffset - layout.transportOffset)
    #expect(told == layout.bytes())
  }

  @Test(arguments: layouts)
  func leavesTheRest(_ layout: StupidFrame) {
    for kind in [StupidFrame.Sum.complete, .zero] {
      var frame = layout.bytes(kind)
      let wasPartial = complete(&frame)
      #expect(!wasPartial)
      #expect(frame == layout.bytes(kind))
    }
  }

  /// RFC 768 has a computed zero of UDP go out as 0xffff, since zero says "none"; TCP's zero stays (RFC 9293 section 3.1).
  @Test(arguments: [(false, 0xffff), (true, 0)] as [(Bool, UInt16)])
  func sendsAComputedZero(isTCP: Bool, as sent: UInt16) {
    var layout = StupidFrame(isTCP: isTCP, payload: [0, 0])
    let sum = { (frame: [UInt8]) in UInt16(frame[layout.checksumOffset]) << 8 | UInt16(frame[layout.checksumOffset + 1]) }
    // The checksum of the frame with two zero bytes makes the sum of the one that has it as data 0xffff.
    let checksum = sum(layout.bytes())
    layout.payload = big(checksum)
    for toldWhere in [false, true] {
      var frame = layout.bytes(.partial)
      if toldWhere {
        complete(&frame, start: layout.transportOffset, offset: layout.checksumOffset - layout.transportOffset)
      } else {
        let wasPartial = complete(&frame)
        #expect(wasPartial)
      }
      #expect(sum(frame) == sent)
    }
  }

  /// What a frame must be to be left alone although its field holds the pseudo-header's sum.
  @Test(
    arguments: [
      ("more fragments", 20, [0x20, 0x00]), ("fragment offset", 20, [0x00, 0x01]), ("other protocol", 23, [0x84]),
      ("IP header too short", 14, [0x44]), ("IP version", 14, [0x65]), ("longer than the frame", 16, [0xff, 0xff]),
      ("shorter than TCP", 16, [0x00, 0x27]), ("other type", 12, [0x08, 0x06]),
    ] as [(String, Int, [UInt8])])
  func looksAtFramesThatItUnderstands(_ name: String, _ offset: Int, _ bytes: [UInt8]) {
    var frame = StupidFrame(payload: [1, 2, 3]).bytes(.partial)
    frame.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    let before = frame
    let wasPartial = complete(&frame)
    #expect(!wasPartial)
    #expect(frame == before)
  }

  @Test func neverTraps() {
    var random = Seeded(4)
    for layout in Self.layouts {
      let whole = layout.bytes(.partial)
      for length in 0..<min(whole.count, 120) {
        var frame = Array(whole.prefix(length))
        let wasPartial = complete(&frame)
        #expect(!wasPartial || length >= whole.count - layout.padding)
      }
      for _ in 0..<50 {
        var frame = whole
        for _ in 0..<3 { frame[Int.random(in: 12..<min(frame.count, 80), using: &random)] = UInt8.random(in: 0...255, using: &random) }
        _ = complete(&frame)
        complete(&frame, start: Int.random(in: -2...1600, using: &random), offset: Int.random(in: -2...1600, using: &random))
      }
    }
  }

  private func complete(_ frame: inout [UInt8]) -> Bool {
    var span = frame.mutableSpan
    var bytes = unsafe span.mutableBytes
    return PartialChecksum.complete(&bytes)
  }

  private func complete(_ frame: inout [UInt8], start: Int, offset: Int) {
    var span = frame.mutableSpan
    var bytes = unsafe span.mutableBytes
    PartialChecksum.complete(&bytes, start: start, offset: offset)
  }
}
