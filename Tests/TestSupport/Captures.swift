/// VXLAN packets as they were published, in hexadecimal. Origin: published tcpdump captures of the kernel's VXLAN device.
public struct Capture: Sendable, CustomStringConvertible {
  public let description: String
  /// From the outer IPv4 header on.
  public let packet: [UInt8]
  /// What the same capture shows of the inner frame behind its Ethernet header, printed on its own.
  public let innerPayload: [UInt8]
  /// The outer Ethernet header, if it was captured.
  public let ethernet: [UInt8]
  public let vni: UInt32
  /// UDP, host order.
  public let port: UInt16

  init(_ description: String, vni: UInt32, port: UInt16, ethernet: String = "", packet: String, innerPayload: String) {
    self.description = description
    self.vni = vni
    self.port = port
    self.ethernet = bytes(hex: ethernet)
    self.packet = bytes(hex: packet)
    self.innerPayload = bytes(hex: innerPayload)
  }

  /// Behind IPv4 (20 bytes), UDP (8) and VXLAN (8).
  public var inner: [UInt8] { Array(packet[36...]) }

  public static let all: [Capture] = [
    Capture(
      "ARP request, VNI 4100", vni: 4100, port: 4789,
      packet: """
        4500004e 567a0000 4011644e c0a81f5c c0a81f2a c39812b5 003ac022 08000000 00100400 ffffffff
        ffff9a63 89885b60 08060001 08000604 00019a63 89885b60 0a010064 00000000 00000a01 0066
        """,
      innerPayload: """
        00010800 06040001 9a638988 5b600a01 00640000 00000000 0a010066
        """),
    Capture(
      "ARP reply, VNI 4100", vni: 4100, port: 4789,
      packet: """
        4500004e 8b980000 40112f30 c0a81f2a c0a81f5c a21a12b5 003ac022 08000000 00100400 9a638988
        5b606e08 05aaa693 08060001 08000604 00026e08 05aaa693 0a010066 9a638988 5b600a01 0064
        """,
      innerPayload: """
        00010800 06040002 6e0805aa a6930a01 00669a63 89885b60 0a010064
        """),
    Capture(
      "ICMP echo request, VNI 4100", vni: 4100, port: 4789,
      packet: """
        45000086 567b0000 40116415 c0a81f5c c0a81f2a a64a12b5 0072c05a 08000000 00100400 6e0805aa
        a6939a63 89885b60 08004500 00545069 40004001 d5740a01 00640a01 00660800 17734909 00016d4a
        32650000 00003000 09000000 00001011 12131415 16171819 1a1b1c1d 1e1f2021 22232425 26272829
        2a2b2c2d 2e2f3031 32333435 3637
        """,
      innerPayload: """
        45000054 50694000 4001d574 0a010064 0a010066 08001773 49090001 6d4a3265 00000000 30000900
        00000000 10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233
        34353637
        """),
    Capture(
      "ICMP echo reply, VNI 4100", vni: 4100, port: 4789,
      packet: """
        45000086 8b990000 40112ef7 c0a81f2a c0a81f5c 846012b5 0072c05a 08000000 00100400 9a638988
        5b606e08 05aaa693 08004500 0054ed55 00004001 78880a01 00660a01 00640000 1f734909 00016d4a
        32650000 00003000 09000000 00001011 12131415 16171819 1a1b1c1d 1e1f2021 22232425 26272829
        2a2b2c2d 2e2f3031 32333435 3637
        """,
      innerPayload: """
        45000054 ed550000 40017888 0a010066 0a010064 00001f73 49090001 6d4a3265 00000000 30000900
        00000000 10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233
        34353637
        """),
    Capture(
      "ICMP echo request of flannel, VNI 1", vni: 1, port: 8472, ethernet: "00505693633b005056936a3a0800",
      packet: """
        45000086 75860000 4011e3f4 ac106465 ac106466 9e902118 00720000 08000000 00000100 b672ae36
        7b6cfe90 c41869a7 08004500 00542305 40003f01 ffa20af4 010c0af4 020e0800 847d0c47 044e0d1e
        55cf0000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
        00000000 00000000 00000000 0000
        """,
      innerPayload: """
        45000054 23054000 3f01ffa2 0af4010c 0af4020e 0800847d 0c47044e 0d1e55cf 00000000 00000000
        00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
        00000000
        """),
  ]
}

/// The bytes of a text of hexadecimal digits, with space in between.
public func bytes(hex text: String) -> [UInt8] {
  let digits = text.filter { !$0.isWhitespace }.compactMap { UInt8(String($0), radix: 16) }
  return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
