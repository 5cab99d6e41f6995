extension Configuration {
  /// Where frames enter and leave a segment on this host, in words: which device, and which of its frames.
  public struct LocalPort: Sendable, Hashable {
    public enum Device: Sendable, Hashable {
      /// A NIC that exists.
      case nic(String)
      /// A TAP device that vxgw makes.
      case tap(String)

      public var name: String {
        switch self {
        case .nic(let name), .tap(let name): name
        }
      }
    }

    /// Which frames of the device belong to the port, by their outermost tag.
    public enum VLANRule: Sendable, Hashable {
      /// Those without a tag. One of VLAN 0 only carries a priority (IEEE 802.1Q-2018, 6.9.1).
      case untagged
      /// Those of a VLAN, 1 to 4094; the tag is off inside the segment. `service`: IEEE 802.1ad's tag.
      case tagged(id: UInt16, service: Bool)
      /// All; tags stay.
      case trunk
    }

    public let device: Device
    public let vlan: VLANRule

    public init(_ device: Device, _ vlan: VLANRule = .untagged) {
      self.device = device
      self.vlan = vlan
    }

    /// The device's.
    public var name: String { device.name }
  }
}

// As it is written everywhere: eth1, eth1:100, eth1:s100, eth1:trunk, tap:vxgw1.
extension Configuration.LocalPort: LosslessStringConvertible {
  /// For the reason why a text is no port, `init(parsing:)`.
  public init?(_ text: String) {
    guard let port = try? Self(parsing: text) else { return nil }
    self = port
  }

  public var description: String {
    let device =
      switch device {
      case .nic(let name): name
      case .tap(let name): "tap:\(name)"
      }
    return switch vlan {
    case .untagged: device
    case .tagged(let id, let service): "\(device):\(service ? "s" : "")\(id)"
    case .trunk: "\(device):trunk"
    }
  }

  /// - Throws: `Mistake` with the rule that the text breaks.
  public init(parsing text: String) throws(Mistake) {
    let ports = try Self.range(text)
    guard ports.count == 1 else { throw Mistake("a range of VLANs needs as many VNIs, such as 10100-10199=eth1:100-199") }
    self = ports[0]
  }

  /// One port, or those of a range of VLANs such as eth1:100-199.
  static func range(_ text: String) throws(Mistake) -> [Self] {
    if text.hasPrefix("tap:") {
      let name = String(text.dropFirst(4))
      guard !name.contains(":") else { throw Mistake("a TAP device has no VLAN; give each VNI a TAP device of its own") }
      return [Self(.tap(try Configuration.interfaceName(name)))]
    }
    guard let colon = text.firstIndex(of: ":") else { return [Self(.nic(try Configuration.interfaceName(text)))] }
    let device = Device.nic(try Configuration.interfaceName(String(text[..<colon])))
    let vlan = text[text.index(after: colon)...]
    if vlan == "trunk" { return [Self(device, .trunk)] }
    let isService = vlan.hasPrefix("s")
    return try Configuration.vlans(isService ? vlan.dropFirst() : vlan).map { Self(device, .tagged(id: $0, service: isService)) }
  }
}
