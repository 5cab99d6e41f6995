import CLinux
import Wire

/// Which of a NIC's frames are ours; the rest stay with the kernel. The XDP program and the raw socket's filter both
/// follow it. A NIC may be underlay and LAN at once ("one-armed"): what either takes is ours.
public struct NICRole: Sendable, Equatable {
  /// VXLAN packets: UDP to this port and one of these addresses. Not with IPv4 options or IPv6 extension headers; of
  /// fragments the first, which the data path drops and names, while later ones could be anybody's.
  public struct Underlay: Sendable, Equatable {
    /// In host order.
    public var port: UInt16
    /// The VTEP's own, and the multicast groups that it listens to.
    public var addresses: [IPAddress]
    /// VID of the one tag that the packets carry; nil: none, or one that only has a priority. Exactly so: the same address
    /// may be somebody else's in another VLAN, and answers would leave with our tag.
    public var vlan: UInt16?

    public init(port: UInt16, addresses: [IPAddress], vlan: UInt16? = nil) {
      self.port = port
      self.addresses = addresses
      self.vlan = vlan
    }
  }

  /// Like a bridge port: everything in some VLANs but what is addressed to the NIC's own MAC address.
  public struct LAN: Sendable, Equatable {
    public var mac: MACAddress
    /// Other VLANs, and untagged frames if they are not among these, stay with the kernel.
    public var vlans: VLANSet

    public init(mac: MACAddress, vlans: VLANSet = .everything) {
      self.mac = mac
      self.vlans = vlans
    }
  }

  public var underlay: Underlay?
  /// With no VLAN in it: a NIC that may become a LAN while it runs.
  public var lan: LAN?

  public init(underlay: Underlay? = nil, lan: LAN? = nil) {
    self.underlay = underlay
    self.lan = lan
  }

  public static func underlay(port: UInt16, addresses: [IPAddress], vlan: UInt16? = nil) -> NICRole {
    NICRole(underlay: Underlay(port: port, addresses: addresses, vlan: vlan))
  }

  public static func lan(mac: MACAddress, vlans: VLANSet = .everything) -> NICRole { NICRole(lan: LAN(mac: mac, vlans: vlans)) }
}

/// A set of VLANs, by the VID of a frame's outermost tag (802.1Q's or 802.1ad's). VID 0 stands for frames without a tag, or
/// with one that only has a priority (IEEE 802.1Q-2018, 6.9.1).
public struct VLANSet: Sendable, Equatable {
  /// What the XDP program has: bit V % 64 of word V / 64 for VID V.
  private(set) var words: [UInt64]

  /// Untagged frames and all tags.
  public static let everything = VLANSet(words: [UInt64](repeating: .max, count: Int(VXGW_VLAN_WORDS)))
  public static let nothing = VLANSet([])
  /// Untagged frames.
  public static let untagged = VLANSet([0])

  private init(words: [UInt64]) { self.words = words }

  /// - Parameter identifiers: 12 bits each.
  public init(_ identifiers: some Sequence<UInt16>) {
    words = [UInt64](repeating: 0, count: Int(VXGW_VLAN_WORDS))
    for identifier in identifiers { words[Int(identifier) / 64] |= 1 << (identifier % 64) }
  }

  public func contains(_ identifier: UInt16) -> Bool { words[Int(identifier) / 64] >> (identifier % 64) & 1 != 0 }

  public func union(_ other: VLANSet) -> VLANSet { VLANSet(words: zip(words, other.words).map { $0 | $1 }) }
}
