import Wire

/// SplitMix64, as in floor.c: both send the same frames.
struct SplitMix64 {
  private var state: UInt64 = 1

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

/// The frames that the benchmark sends.
enum Frames {
  static let firstVNI: UInt32 = 4100
  static let local = IPAddress(v4: 0xc000_0201)
  /// 198.18.0.1: there are up to some thousands.
  static let firstRemote: UInt32 = 0xc612_0001
  static let localMAC = MACAddress(0x0200_0000_0001)
  static let remoteMAC = MACAddress(0x0200_0000_0002)
  /// Bytes of an inner frame.
  static let innerLength = 64

  /// MAC addresses, as numbers, that the FDB is filled with, and others.
  static let knownBlock: UInt64 = 0x0200_0000_0000
  static let unknownBlock: UInt64 = 0x0600_0000_0000

  /// Each of its own, for up to 2^20; even ones and odd ones by `index`.
  static func address(_ block: UInt64, _ index: Int, _ random: inout SplitMix64) -> MACAddress {
    MACAddress(block | (random.next() & 0xf_ffff) << 20 | UInt64(index))
  }

  /// An Ethernet frame with TCP or UDP over IPv4 whose checksum is not the pseudo-header's sum, so it counts as complete.
  static func inner(to destination: MACAddress, from source: MACAddress, _ random: inout SplitMix64) -> [UInt8] {
    let bits = random.next()
    let isTCP = bits & 1 == 1
    var transport = [UInt8](repeating: 0, count: innerLength - 34)
    transport.replaceSubrange(0..<4, with: big(bits >> 32, 4))
    if !isTCP { transport.replaceSubrange(4..<6, with: big(UInt64(transport.count), 2)) }
    transport.replaceSubrange(isTCP ? 16..<18 : 6..<8, with: [0, 1])
    return ip(
      to: destination, from: source, isTCP ? IPProtocol.tcp : IPProtocol.udp, 0xc612_0000 | UInt32(bits >> 8 & 0xffff),
      0xc613_0000 | UInt32(bits >> 24 & 0xffff), transport)
  }

  /// The same as it arrives from a remote VTEP.
  static func encapsulated(_ inner: [UInt8], from remote: Int, vni: UInt32) -> [UInt8] {
    let udp = big(50000, 2) + big(UInt64(VXLAN.defaultPort), 2) + big(UInt64(inner.count + 16), 2) + [0, 0]
    let vxlan = big(UInt64(VXLAN.validVNI), 4) + big(UInt64(vni) << 8, 4)
    return ip(to: localMAC, from: remoteMAC, IPProtocol.udp, firstRemote + UInt32(remote), local.v4, udp + vxlan + inner)
  }

  private static func ip(
    to destination: MACAddress, from source: MACAddress, _ number: UInt8, _ from: UInt32, _ to: UInt32, _ payload: [UInt8]
  ) -> [UInt8] {
    var header = [0x45, 0] + big(UInt64(20 + payload.count), 2) + [0, 0, 0, 0, 64, number, 0, 0]
    header += big(UInt64(from), 4) + big(UInt64(to), 4)
    let sum = stride(from: 0, to: 20, by: 2).reduce(UInt64(0)) { $0 + UInt64(header[$1]) << 8 + UInt64(header[$1 + 1]) }
    header.replaceSubrange(10..<12, with: big(UInt64(~Checksum.fold(sum)), 2))
    return big(destination.value, 6) + big(source.value, 6) + big(UInt64(EtherType.ipv4), 2) + header + payload
  }

  /// The low `count` bytes in network order.
  private static func big(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
  }
}
