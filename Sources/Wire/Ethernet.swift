/// Ethernet and IP numbers that the data path looks at.
public enum EtherType {
  public static let ipv4: UInt16 = 0x0800
  public static let arp: UInt16 = 0x0806
  public static let ipv6: UInt16 = 0x86dd
  /// 802.1Q customer tag and 802.1ad service tag (IEEE 802.1Q-2018, table 9-1).
  public static let customerTag: UInt16 = 0x8100
  public static let serviceTag: UInt16 = 0x88a8

  @inlinable @inline(__always)
  public static func isTag(_ type: UInt16) -> Bool { type == customerTag || type == serviceTag }
}

public enum IPProtocol {
  public static let icmp: UInt8 = 1
  public static let tcp: UInt8 = 6
  public static let udp: UInt8 = 17
  /// The fragment header of IPv6 (RFC 8200 section 4.5).
  public static let fragment: UInt8 = 44
  public static let icmpv6: UInt8 = 58
}

public enum Ethernet {
  /// Destination, source, type: bytes.
  public static let headerLength = 14
  /// The shortest frame without FCS that may go on a wire (IEEE 802.3-2018, 4.4.2: minFrameSize 64 with FCS).
  public static let minimumLength = 60
}
