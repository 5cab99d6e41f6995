import Wire

/// Where encapsulated frames are sent: a VTEP or a multicast group, as the kernel's `struct vxlan_rdst` has it
/// (include/net/vxlan.h). FDB entries name remotes by their index in the `VTEPTable`.
public struct Remote: Hashable, Sendable {
  /// Unicast or multicast, of the underlay's family.
  public var address: IPAddress
  /// UDP destination port, host order.
  public var port: UInt16
  /// The VNI on the wire; nil: that of the segment.
  public var vni: UInt32?

  public init(_ address: IPAddress, port: UInt16 = VXLAN.defaultPort, vni: UInt32? = nil) {
    self.address = address
    self.port = port
    self.vni = vni
  }

  /// Port in bits 15…0, VNI in 39…16, whether there is one in 40.
  var word: UInt64 { UInt64(port) | (vni.map { UInt64($0) << 16 | 1 << 40 } ?? 0) }

  init(_ address: IPAddress, word: UInt64) {
    self.address = address
    port = UInt16(truncatingIfNeeded: word)
    vni = word >> 40 == 0 ? nil : UInt32(truncatingIfNeeded: word >> 16) & VXLAN.maximumVNI
  }
}
