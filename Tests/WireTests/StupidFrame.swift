import struct TestSupport.Seeded

/// A TCP or UDP frame, described; and its bytes, put together in the most obvious way, one byte after the other.
struct StupidFrame: CustomStringConvertible {
  /// TPIDs of the VLAN tags, outermost first.
  var tags: [UInt16] = []
  var isIPv6 = false
  var isTCP = true
  /// IPv4 options or TCP options, in bytes, a multiple of four.
  var ipOptions = 0
  var tcpOptions = 0
  var payload: [UInt8] = []
  /// Bytes behind the IP packet.
  var padding = 0
  var identification: UInt16 = 0x1234
  var sequence: UInt32 = 0xffff_ff00
  /// CWR, ECE, URG, ACK, PSH, RST, SYN, FIN from bit 7 to 0 (RFC 9293 section 3.1).
  var flags: UInt8 = 0x10
  var sourcePort: UInt16 = 40000
  var destinationPort: UInt16 = 443

  enum Sum { case complete, partial, zero }

  var description: String {
    let headers = "\(isIPv6 ? "IPv6" : "IPv4")+\(ipOptions), \(isTCP ? "TCP+\(tcpOptions)" : "UDP")"
    return "\(tags.count) tags, \(headers), \(payload.count) bytes, padding \(padding)"
  }

  var ipOffset: Int { 14 + 4 * tags.count }
  var transportOffset: Int { ipOffset + (isIPv6 ? 40 : 20 + ipOptions) }
  var transportLength: Int { (isTCP ? 20 + tcpOptions : 8) + payload.count }
  var checksumOffset: Int { transportOffset + (isTCP ? 16 : 6) }

  func bytes(_ kind: Sum = .complete) -> [UInt8] {
    var transport = big(sourcePort) + big(destinationPort)
    if isTCP {
      transport += big(UInt16(sequence >> 16)) + big(UInt16(sequence & 0xffff)) + [1, 2, 3, 4]
      transport += [UInt8(5 + tcpOptions / 4) << 4, flags, 0x10, 0x20, 0, 0, 0, 0] + [UInt8](repeating: 1, count: tcpOptions)
    } else {
      transport += big(UInt16(truncatingIfNeeded: transportLength)) + [0, 0]
    }
    transport += payload
    let number: UInt8 = isTCP ? 6 : 17
    let addresses: [UInt8] =
      isIPv6
      ? [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1, 0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0x77, count: 12)
      : [192, 0, 2, 1, 198, 51, 100, 200]
    let length = big(UInt16(truncatingIfNeeded: transportLength))
    let pseudoHeader = addresses + (isIPv6 ? [0, 0] + length + [0, 0, 0, number] : [0, number] + length)
    let field: UInt16
    switch kind {
    case .complete:
      let sum = ~stupidSum(pseudoHeader + transport)
      field = sum == 0 && !isTCP ? 0xffff : sum
    case .partial: field = stupidSum(pseudoHeader)
    case .zero: field = 0
    }
    let at = isTCP ? 16 : 6
    transport.replaceSubrange(at..<at + 2, with: big(field))

    var ip: [UInt8]
    if isIPv6 {
      ip = [0x60, 0, 0, 0] + length + [number, 64] + addresses
    } else {
      ip = [0x45 + UInt8(ipOptions / 4), 0] + big(UInt16(truncatingIfNeeded: 20 + ipOptions + transportLength))
      ip += big(identification) + [0x40, 0, 64, number, 0, 0] + addresses + [UInt8](repeating: 1, count: ipOptions)
      ip.replaceSubrange(10..<12, with: big(~stupidSum(ip)))
    }
    let ethernet: [UInt8] = [2, 0xaa, 0, 0, 0, 1, 2, 0xaa, 0, 0, 0, 2]
    return ethernet + tags.flatMap { big($0) + [0x20, 100] } + big(isIPv6 ? 0x86dd : 0x0800) + ip + transport
      + [UInt8](repeating: 0xee, count: padding)
  }
}

func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }

/// The folded sum of 16-bit words, byte by byte.
func stupidSum(_ bytes: [UInt8]) -> UInt16 {
  var sum = 0
  for (index, byte) in bytes.enumerated() {
    sum += index % 2 == 0 ? Int(byte) << 8 : Int(byte)
    if sum > 0xffff { sum -= 0xffff }
  }
  return UInt16(sum)
}

typealias Seeded = TestSupport.Seeded
