import TestSupport
import Testing
import Wire

@Suite struct ECNTests {
  /// RFC 6040 section 4.2, figure 4, row by row: arriving inner header, then what becomes of it by arriving outer header
  /// Not-ECT (00), ECT(0) (10), ECT(1) (01), CE (11).
  static let figure4: [(inner: UInt8, becomes: [UInt8?])] = [
    (0b00, [0b00, 0b00, 0b00, nil]),
    (0b10, [0b10, 0b10, 0b01, 0b11]),
    (0b01, [0b01, 0b01, 0b01, 0b11]),
    (0b11, [0b11, 0b11, 0b11, 0b11]),
  ]

  @Test func decapsulatesAsRFC6040Says() {
    for (inner, becomes) in Self.figure4 {
      for (outer, expected) in zip([0b00, 0b10, 0b01, 0b11] as [UInt8], becomes) {
        // The DSCP of neither matters.
        #expect(ECN.decapsulated(inner: 0xb8 | inner, outer: 0x48 | outer) == expected)
      }
    }
  }

  /// Every DS field and codepoint: the header checksum stays right, and nothing else changes.
  @Test(arguments: [0, 1, 2])
  func setsCodepointAndMendsChecksum(tags: Int) {
    var wrong = 0
    let link: [any Layer] = [EthernetHeader()] + [VLANTag](repeating: VLANTag(7), count: tags)
    for ds in 0...255 as ClosedRange<UInt8> {
      for codepoint in 0...3 as ClosedRange<UInt8> {
        for identification in [0, 0x1234, 0xb9e4, 0xffff] as [UInt16] {
          func ipv4(_ ds: UInt8) -> [UInt8] {
            var header = IPv4Header(tos: ds)
            header.identification = identification
            return packet(link + [header, UDPHeader(to: 53), Payload(count: 3)])
          }
          var bytes = ipv4(ds)
          Self.set(codepoint, &bytes, EtherType.ipv4, 14 + 4 * tags)
          let header = bytes[(14 + 4 * tags)..<(34 + 4 * tags)]
          if onesComplementSum(Array(header)) != 0xffff { wrong += 1 }
          // A checksum of all ones and one of zero are the same number (RFC 1624 section 3).
          let expected = ipv4(ds & ~3 | codepoint)
          if Self.withoutChecksum(bytes, tags) != Self.withoutChecksum(expected, tags) { wrong += 1 }
        }
        func ipv6(_ ds: UInt8) -> [UInt8] {
          var header = IPv6Header(trafficClass: ds)
          header.flowLabel = 0xfffff
          return packet(link + [header, UDPHeader(to: 53), Payload(count: 3)])
        }
        var bytes = ipv6(ds)
        Self.set(codepoint, &bytes, EtherType.ipv6, 14 + 4 * tags)
        if bytes != ipv6(ds & ~3 | codepoint) { wrong += 1 }
      }
    }
    #expect(wrong == 0)
  }

  private static func set(_ codepoint: UInt8, _ bytes: inout [UInt8], _ type: UInt16, _ offset: Int) {
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    raw.setECN(codepoint, etherType: type, networkOffset: offset)
  }

  private static func withoutChecksum(_ bytes: [UInt8], _ tags: Int) -> [UInt8] {
    var bytes = bytes
    bytes.removeSubrange((24 + 4 * tags)..<(26 + 4 * tags))
    return bytes
  }
}
