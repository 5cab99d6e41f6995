/// The VXLAN header (RFC 7348 section 5): eight flag bits, 24 reserved, 24 bits of VNI, 8 reserved.
public enum VXLAN {
  /// Bytes.
  public static let headerLength = 8
  /// UDP port assigned by IANA, host order.
  public static let defaultPort: UInt16 = 4789
  /// The I flag in the first 32 bits of the header: the VNI is valid.
  public static let validVNI: UInt32 = 0x0800_0000
  /// VNIs have 24 bits.
  public static let maximumVNI: UInt32 = 0xff_ffff
  /// What encapsulation over IPv4 adds to a frame: Ethernet 14, IPv4 20, UDP 8, VXLAN 8. The inner Ethernet header counts
  /// against the underlay's MTU, so an overlay's MTU is lower by 50 as well.
  public static let overheadIPv4 = 50
  /// Over IPv6, whose header is 20 bytes longer.
  public static let overheadIPv6 = 70
}
