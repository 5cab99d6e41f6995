import TestSupport

/// What `StupidGateway` knows of the insides of frames.
enum StupidFrame {
  static func isTagged(_ frame: [UInt8]) -> Bool { [0x8100, 0x88a8].contains(frame.number(12, 2)) }

  /// Behind at most two tags; the type is in front of it.
  static func networkOffset(_ frame: [UInt8]) -> Int {
    var offset = 14
    while offset < 22, offset + 4 <= frame.count, [0x8100, 0x88a8].contains(frame.number(offset - 2, 2)) { offset += 4 }
    return offset
  }

  /// Where a whole IP header is, and its version by EtherType.
  static func ipHeader(_ frame: [UInt8]) -> (offset: Int, version: Int)? {
    let offset = networkOffset(frame)
    switch frame.number(offset - 2, 2) {
    case 0x0800 where frame.count >= offset + 20: return (offset, 4)
    case 0x86dd where frame.count >= offset + 40: return (offset, 6)
    default: return nil
    }
  }

  /// What an outer header may inherit; TTL nil and the rest zero for what is not IP.
  struct Inherited {
    var ds: UInt8 = 0
    /// Whether routers may not fragment.
    var isWhole = false
    var ttl: UInt8?
    /// 20 bits.
    var flowLabel: UInt32 = 0
  }

  static func inherited(_ frame: [UInt8]) -> Inherited {
    switch ipHeader(frame) {
    case (let ip, 4)?: Inherited(ds: frame[ip + 1], isWhole: frame[ip + 6] & 0x40 != 0, ttl: frame[ip + 8])
    case (let ip, _)?:
      Inherited(
        ds: frame[ip] << 4 | frame[ip + 1] >> 4, isWhole: true, ttl: frame[ip + 7], flowLabel: UInt32(frame.number(ip, 4)) & 0xf_ffff)
    case nil: Inherited()
    }
  }

  /// RFC 6040 section 4.2. Nil: drop.
  static func withCongestion(_ outer: UInt8, _ frame: [UInt8]) -> [UInt8]? {
    guard let (offset, version) = ipHeader(frame) else { return frame }
    let old = inherited(frame).ds & 3
    let new: UInt8
    switch (old, outer & 3) {
    case (0, 3): return nil
    case (1, 3), (2, 3): new = 3
    case (2, 1): new = 1
    default: new = old
    }
    var frame = frame
    if version == 6 {
      frame[offset + 1] = frame[offset + 1] & 0xcf | new << 4
    } else if new != old {
      let before = UInt16(frame.number(offset, 2))
      frame[offset + 1] = frame[offset + 1] & 0xfc | new
      // RFC 1624, equation 3.
      let sum = [UInt8](big: ~UInt16(frame.number(offset + 10, 2))) + [UInt8](big: ~before) + frame[offset..<offset + 2]
      frame.replaceSubrange(offset + 10..<offset + 12, with: [UInt8](big: ~onesComplementSum(sum)))
    }
    return frame
  }

  /// TCP or UDP: where the header begins, where the IP packet ends, where the checksum is, and what it covers in front.
  struct Transport {
    var range: Range<Int>
    var checksum: Int
    var pseudoHeader: [UInt8]
    var isSYN: Bool
  }

  static func transport(_ frame: [UInt8]) -> Transport? {
    guard frame.count >= 14, let (ip, version) = ipHeader(frame), Int(frame[ip] >> 4) == version else { return nil }
    let header = version == 4 ? Int(frame[ip] & 0xf) * 4 : 40
    if version == 4 && (header < 20 || frame.number(ip + 6, 2) & 0x3fff != 0) { return nil }
    let end = version == 4 ? ip + frame.number(ip + 2, 2) : ip + 40 + frame.number(ip + 4, 2)
    let number = frame[ip + (version == 4 ? 9 : 6)]
    let start = ip + header
    guard number == 6 || number == 17, start + (number == 6 ? 20 : 8) <= end, end <= frame.count else { return nil }
    let addresses = version == 4 ? frame[ip + 12..<ip + 20] : frame[ip + 8..<ip + 40]
    return Transport(
      range: start..<end, checksum: start + (number == 6 ? 16 : 6),
      pseudoHeader: Array(addresses) + [UInt8](big: UInt32(end - start)) + [0, 0, 0, number],
      isSYN: number == 6 && frame[start + 13] & 2 != 0)
  }

  /// The sum that a UDP checksum is the complement of, or all ones with a right checksum in the datagram.
  static func udpSum(_ ip: [UInt8], _ datagram: [UInt8]) -> UInt16 {
    let addresses = Array(ip[(ip[0] >> 4 == 4 ? 12 : 8)..<(ip[0] >> 4 == 4 ? 20 : 40)])
    return onesComplementSum(addresses + [UInt8](big: UInt32(datagram.count)) + [0, 0, 0, 17] + datagram)
  }

  /// A TCP or UDP checksum that is the pseudo-header's sum alone becomes the real one.
  static func withCompleteChecksum(_ frame: [UInt8]) -> [UInt8] {
    guard let transport = transport(frame), frame.number(transport.checksum, 2) == onesComplementSum(transport.pseudoHeader) else {
      return frame
    }
    return withRightChecksum(frame)
  }

  /// The TCP or UDP checksum becomes what it should be.
  static func withRightChecksum(_ frame: [UInt8]) -> [UInt8] {
    guard let transport = transport(frame) else { return frame }
    return changed(frame) {
      $0.replaceSubrange(transport.checksum..<transport.checksum + 2, with: [0, 0])
      let sum = ~onesComplementSum(transport.pseudoHeader + $0[transport.range])
      $0.replaceSubrange(transport.checksum..<transport.checksum + 2, with: [UInt8](big: sum == 0 ? 0xffff : sum))
    }
  }
}

extension [UInt8] {
  /// `count` bytes from `offset` on, as a number.
  func number(_ offset: Int, _ count: Int) -> Int { self[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) } }
}
