import TestSupport
import Testing
import Wire

@Suite struct TCPSegmentSizeTests {
  static let tags: [[VLANTag]] = [[], [VLANTag(5)], [VLANTag(6, type: 0x88a8), VLANTag(7)]]
  /// What may be in front of the option: nothing, no operations (odd offsets too), others.
  static let fronts: [[UInt8]] = [
    [], [1], [1, 1], [1, 1, 1], [4, 2], [3, 3, 7], [8, 10] + [UInt8](repeating: 9, count: 8), [254, 5, 1, 2, 3],
  ]

  static func frame(
    _ mss: [UInt8], front: [UInt8] = [], tags: [VLANTag] = [], isIPv6: Bool = false, flags: TCPHeader.Flags = .syn, payload: [UInt8] = []
  ) -> [UInt8] {
    let ip: any Layer = isIPv6 ? IPv6Header() : IPv4Header(options: [1])
    return packet([EthernetHeader()] + tags + [ip, TCPHeader(to: 80, flags: flags, options: front + mss + [4, 2]), Payload(payload)])
  }

  /// Lowered segments are, checksum included, those of a sender that offers less.
  @Test(arguments: tags, [false, true])
  func lowers(tags: [VLANTag], isIPv6: Bool) {
    for front in Self.fronts {
      for flags in [TCPHeader.Flags.syn, [.syn, .ack]] {
        for mss in [536, 1410, 1411, 1460, 8960, 65535] as [UInt16] {
          func frame(_ mss: UInt16) -> [UInt8] {
            Self.frame(TCPHeader.mss(mss), front: front, tags: tags, isIPv6: isIPv6, flags: flags, payload: [1, 2, 3])
          }
          // Room for 1410 bytes of data.
          let mtu = 1410 + 20 + (isIPv6 ? 40 : 20) + 4 * tags.count
          for (limit, expected) in [(.max, min(mss, 1410)), (1500, min(mss, 1410)), (900, min(mss, 900))] as [(UInt16, UInt16)] {
            let result = Self.lower(frame(mss), mtu: mtu, limit: limit)
            #expect(result.frame == frame(expected) && result.hasChanged == (mss != expected))
          }
        }
      }
    }
  }

  /// All values at both parities.
  @Test(arguments: [[], [1]] as [[UInt8]]) func mendsEveryChecksum(front: [UInt8]) {
    var random = Seeded(12)
    var wrong = 0
    for _ in 0..<3000 {
      let (mss, limit) = (UInt16(truncatingIfNeeded: random.next()), UInt16(truncatingIfNeeded: random.next()))
      let payload = random.bytes(random.below(4))
      func frame(_ mss: UInt16) -> [UInt8] { Self.frame(TCPHeader.mss(mss), front: front, payload: payload) }
      if Self.lower(frame(mss), mtu: 65535, limit: limit).frame != frame(min(mss, limit, 65535 - 40)) { wrong += 1 }
    }
    #expect(wrong == 0)
  }

  @Test(
    arguments: [
      ("no SYN", frame(TCPHeader.mss(1460), flags: .ack)), ("no option", frame([])), ("behind the end", frame([0] + TCPHeader.mss(1460))),
      ("length 0 in front", frame(TCPHeader.mss(1460), front: [254, 0])),
      ("length 1 in front", frame(TCPHeader.mss(1460), front: [254, 1])),
      ("overrun", frame(TCPHeader.mss(1460), front: [254, 99])), ("of three bytes", frame([2, 3, 5])),
      ("UDP", packet(EthernetHeader(), IPv4Header(), UDPHeader(to: 1), Payload([0, 0, 0, 0x50, 2] + TCPHeader.mss(1460)))),
      ("cut off", packet(EthernetHeader(), IPv4Header(), shortened)),
    ] as [(String, [UInt8])])
  func leaves(_ name: String, _ frame: [UInt8]) {
    let result = Self.lower(frame, mtu: 1000)
    #expect(result.frame == frame && !result.hasChanged)
  }

  /// A TCP header that says that it has options, in a packet that ends before them.
  private static let shortened: Payload = Payload(packet(TCPHeader(to: 1, flags: .syn, options: TCPHeader.mss(1460))).dropLast(1) + [])

  @Test func neverTraps() {
    var random = Seeded(13)
    for _ in 0..<20_000 {
      var frame = Self.frame(TCPHeader.mss(1460), front: Self.fronts[random.below(Self.fronts.count)], payload: [1, 2])
      for _ in 0..<4 { frame[38 + random.below(frame.count - 38)] = UInt8(truncatingIfNeeded: random.next()) }
      frame.removeLast(random.below(2) * random.below(20))
      let result = Self.lower(frame, mtu: 1000)
      #expect(result.frame.count == frame.count)
    }
  }

  private static func lower(_ frame: [UInt8], mtu: Int, limit: UInt16 = .max) -> (frame: [UInt8], hasChanged: Bool) {
    var frame = frame
    var span = frame.mutableSpan
    var raw = unsafe span.mutableBytes
    guard let header = TransportHeader(raw.bytes) else { return (frame, false) }
    let hasChanged = TCPSegmentSize.lower(&raw, header, mtu: mtu, limit: limit)
    return (frame, hasChanged)
  }
}
