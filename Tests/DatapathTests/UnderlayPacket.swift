import TestSupport
import Wire

/// Where things are in a whole VXLAN packet.
struct UnderlayPacket {
  let bytes: [UInt8]
  /// Offsets of the outer IP and UDP headers, and of the end of the IP packet.
  let network: Int
  let udp: Int
  let end: Int
  var isIPv6: Bool { udp - network == 40 }
  var inner: Int { udp + 16 }

  /// Nil for everything else.
  init?(_ bytes: [UInt8]) {
    let network = StupidFrame.networkOffset(bytes)
    let isIPv6 = bytes.count > network && bytes.number(network - 2, 2) == 0x86dd
    let udp = network + (isIPv6 ? 40 : 20)
    guard bytes.count >= udp + 16 + 14, bytes[udp + 8] & 8 != 0 else { return nil }
    guard isIPv6 ? bytes[network + 6] == 17 : bytes.number(network - 2, 3) == 0x080045 && bytes[network + 9] == 17 else { return nil }
    let end = isIPv6 ? udp + bytes.number(network + 4, 2) : network + bytes.number(network + 2, 2)
    guard end <= bytes.count, udp + bytes.number(udp + 4, 2) <= end else { return nil }
    (self.bytes, self.network, self.udp, self.end) = (bytes, network, udp, end)
  }

  var hasRightHeaderChecksum: Bool { isIPv6 || onesComplementSum(Array(bytes[network..<udp])) == 0xffff }

  /// Whether the UDP checksum is right, or would be if the inner frame's were: a sender need not read the inner payload to
  /// find that out (Documentation/networking/checksum-offloads.rst).
  var hasRightUDPChecksum: Bool {
    let datagram = Array(bytes[udp..<udp + bytes.number(udp + 4, 2)])
    let mended = datagram.prefix(16) + StupidFrame.withRightChecksum(Array(datagram.dropFirst(16)))
    return [datagram, Array(mended)].contains { StupidFrame.udpSum(Array(bytes[network..<udp]), $0) == 0xffff }
  }

  /// The same over IPv6, by the addresses' `overIPv6`. A UDP checksum becomes that of the new packet.
  var overIPv6: [UInt8] {
    if isIPv6 { return bytes }
    func address(_ offset: Int) -> IPAddress { IPAddress(v4: UInt32(bytes.number(offset, 4))).overIPv6 }
    let ip = IPv6Header(
      to: address(network + 16), from: address(network + 12), hopLimit: bytes[network + 8], trafficClass: bytes[network + 1])
    let destination = ip.destination.isMulticast ? [UInt8](big: OuterHeader.groupMAC(ip.destination).value).dropFirst(2) : bytes[0..<6]
    let header = UDPHeader(
      to: UInt16(bytes.number(udp + 2, 2)), from: UInt16(bytes.number(udp, 2)),
      checksum: bytes.number(udp + 6, 2) == 0 ? .value(0) : .correct, length: UInt16(bytes.number(udp + 4, 2)))
    return Array(destination) + bytes[6..<network - 2] + [0x86, 0xdd] + packet(ip, header, Payload(Array(bytes[udp + 8..<end])))
      + bytes[end...]
  }
}

/// A frame that left through a port.
struct Departure: Hashable, CustomStringConvertible {
  var port: Int
  var bytes: [UInt8]

  init(_ port: Int, _ bytes: [UInt8]) {
    self.port = port
    self.bytes = bytes
  }

  var description: String { "port \(port): \(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())" }

  /// The same without what may differ in VXLAN packets: identification and header checksum, if that is right; UDP source port,
  /// and UDP checksum, if it is there and right.
  var normalised: Departure {
    guard port == 0, let packet = UnderlayPacket(bytes), packet.hasRightHeaderChecksum else { return self }
    var copy = self
    func set(_ value: UInt8, _ offset: Int) { copy.bytes.replaceSubrange(offset..<offset + 2, with: [value, value]) }
    set(0, packet.udp)
    if bytes.number(packet.udp + 6, 2) != 0 && packet.hasRightUDPChecksum { set(0xff, packet.udp + 6) }
    if !packet.isIPv6 {
      set(0, packet.network + 4)
      set(0, packet.network + 10)
    }
    return copy
  }
}

extension [Departure] {
  /// How often each is there, in any order, without what may differ.
  var counts: [Departure: Int] { reduce(into: [:]) { $0[$1.normalised, default: 0] += 1 } }
}
