/// Where frames enter and leave a segment on this host: a port, and which of its frames by VLAN tag. FDB entries name local
/// ports by number, and several may share one port.
public struct LocalPort: Sendable, Equatable {
  /// Which frames of the port belong here, by their outermost tag.
  public enum VLAN: Sendable, Hashable {
    /// Those without a tag, or with one of VLAN 0, which only carries a priority (IEEE 802.1Q-2018, 6.9.1) and is taken off.
    case untagged
    /// Those of one VLAN: the tag is off towards the segment and on towards the port. `service`: IEEE 802.1ad's tag.
    case tagged(id: UInt16, service: Bool)
    /// All; tags go through untouched.
    case trunk
  }

  /// Index of the port: 0 is the underlay NIC.
  public var port: Int
  public var vlan: VLAN
  /// Index of the segment.
  public var segment: Int
  /// Whether the port leads to a wire, where a frame has at least 60 bytes.
  public var isWire: Bool

  public init(port: Int, vlan: VLAN = .untagged, segment: Int, isWire: Bool) {
    self.port = port
    self.vlan = vlan
    self.segment = segment
    self.isWire = isWire
  }

  /// Most local ports of one process.
  public static let limit = 8192
}
