import CLinux
import PacketIO
import SystemPackage
import Wire

/// A network interface as the kernel describes it (RTM_NEWLINK).
public struct Link: Sendable, Equatable {
  public let index: UInt32
  public let name: String
  /// Zero for an interface whose hardware address isn't 48 bits long.
  public let mac: MACAddress
  /// In bytes, without the Ethernet header.
  public let mtu: Int
  /// Set up by the administrator (IFF_UP).
  public let isUp: Bool
  /// Up, and the other end is there (IFF_LOWER_UP).
  public let hasCarrier: Bool
  /// "veth", "bridge", "vxlan", "tun" and so on; nil for hardware.
  public let kind: String?
  /// Index of the bridge or bond that it belongs to.
  public let master: UInt32?
  /// The tag that a VLAN interface puts on and takes off; nil for any other interface.
  public let vlan: VLAN?
  /// Queues that the interface was made with; those in use may be fewer (see `EthernetDriver`).
  public let rxQueues: Int
  public let txQueues: Int
  /// The XDP program on it.
  public let xdp: XDP?

  public struct VLAN: Sendable, Equatable {
    /// VID, 12 bits.
    public let id: UInt16
    /// The tag is IEEE 802.1ad's, not 802.1Q's.
    public let isServiceTag: Bool
    /// Index of the interface that carries the tagged frames; nil when that is in another network namespace.
    public let parent: UInt32?
  }

  public struct XDP: Sendable, Equatable {
    public enum Mode: UInt8, Sendable {
      /// XDP_ATTACHED_ constants of linux/if_link.h; `multiple` is one program in each of several modes.
      case native = 1, generic, offloaded, multiple
    }
    public let mode: Mode
    /// Zero with `Mode.multiple`.
    public let programID: UInt32
  }
}

extension Link {
  /// From RTM_NEWLINK or RTM_DELLINK. Nil for what isn't about an interface as such: a bridge's word on its port (AF_BRIDGE),
  /// or wireless events without attributes.
  init?(_ message: NetlinkMessage) {
    guard let header = message.payload.load(ifinfomsg.self), Int32(header.ifi_family) == AF_UNSPEC else { return nil }
    let attributes = message.attributes(after: ifinfomsg.self)
    guard let name = attributes[IFLA_IFNAME]?.text, let mtu = attributes.integer(IFLA_MTU) else { return nil }
    index = UInt32(bitPattern: header.ifi_index)
    self.name = name
    mac = attributes.mac(IFLA_ADDRESS) ?? MACAddress(0)
    self.mtu = Int(mtu)
    isUp = header.ifi_flags & UInt32(IFF_UP) != 0
    hasCarrier = header.ifi_flags & 0x10000 /* IFF_LOWER_UP, linux/if.h */ != 0
    kind = attributes.nested(IFLA_LINKINFO)[IFLA_INFO_KIND]?.text
    vlan = kind == "vlan" ? VLAN(attributes) : nil
    master = attributes.integer(IFLA_MASTER)
    rxQueues = Int(attributes.integer(IFLA_NUM_RX_QUEUES) ?? 1)
    txQueues = Int(attributes.integer(IFLA_NUM_TX_QUEUES) ?? 1)
    let xdp = attributes.nested(IFLA_XDP)
    self.xdp = xdp.integer(IFLA_XDP_ATTACHED, as: UInt8.self).flatMap(XDP.Mode.init).map {
      XDP(mode: $0, programID: xdp.integer(IFLA_XDP_PROG_ID) ?? 0)
    }
  }
}

extension Link.VLAN {
  /// From the attributes of an interface of kind "vlan".
  fileprivate init?(_ attributes: NetlinkAttributes) {
    let data = attributes.nested(IFLA_LINKINFO).nested(IFLA_INFO_DATA)
    guard let id = data.integer(IFLA_VLAN_ID, as: UInt16.self) else { return nil }
    self.id = id
    // The protocol comes in network byte order, as on the wire.
    isServiceTag = data.integer(IFLA_VLAN_PROTOCOL, as: UInt16.self).map { UInt16(bigEndian: $0) } == EtherType.serviceTag
    parent = attributes[IFLA_LINK_NETNSID] == nil ? attributes.integer(IFLA_LINK) : nil
  }
}

extension NetlinkSocket {
  /// Every interface of the network namespace.
  public func links() throws(SystemError) -> [Link] {
    var request = NetlinkRequest(RTM_GETLINK, flags: NLM_F_DUMP, header: ifinfomsg())
    request.append(IFLA_EXT_MASK, UInt32(RTEXT_FILTER_SKIP_STATS))
    return try self.request(request, "listing interfaces").compactMap(Link.init)
  }

  /// The interface of this name or alternative name; nil when there is none.
  public func link(named name: String) throws(SystemError) -> Link? {
    var request = NetlinkRequest(RTM_GETLINK, header: ifinfomsg())
    let isLong = name.utf8.count >= Int(IFNAMSIZ)
    request.append(isLong ? IFLA_ALT_IFNAME : IFLA_IFNAME, octets: Array(name.utf8) + [0])
    return try link(request, "looking up interface \(name)")
  }

  /// The interface of this index; nil when there is none.
  public func link(index: UInt32) throws(SystemError) -> Link? {
    var header = ifinfomsg()
    header.ifi_index = Int32(bitPattern: index)
    return try link(NetlinkRequest(RTM_GETLINK, header: header), "looking up interface \(index)")
  }

  private func link(_ request: NetlinkRequest, _ call: String) throws(SystemError) -> Link? {
    var request = request
    request.append(IFLA_EXT_MASK, UInt32(RTEXT_FILTER_SKIP_STATS))
    do { return try self.request(request, call).first.flatMap(Link.init) } catch {
      if error.errno == .operationNotSupportedByDevice /* ENODEV */ { return nil }
      throw error
    }
  }

  /// Changes what is given and leaves the rest.
  public func setLink(index: UInt32, up: Bool? = nil, mtu: Int? = nil, mac: MACAddress? = nil) throws(SystemError) {
    var header = ifinfomsg()
    header.ifi_index = Int32(bitPattern: index)
    var changes: [String] = []
    if let up {
      header.ifi_change = UInt32(IFF_UP)
      header.ifi_flags = up ? UInt32(IFF_UP) : 0
      changes.append(up ? "up" : "down")
    }
    var request = NetlinkRequest(RTM_NEWLINK, header: header)
    if let mtu {
      request.append(IFLA_MTU, UInt32(clamping: mtu))
      changes.append("MTU \(mtu)")
    }
    if let mac {
      request.append(IFLA_ADDRESS, octets: mac.octets)
      changes.append("MAC address \(mac)")
    }
    _ = try self.request(request, "setting interface \(index) \(changes.joined(separator: ", "))")
  }
}

extension MACAddress {
  /// Six octets in network order.
  fileprivate var octets: [UInt8] { stride(from: 40, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> $0) } }
}
