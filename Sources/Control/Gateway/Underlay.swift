import Datapath
import Wire

/// What all outer headers have in common, and where the kernel is asked about them.
struct Underlay: Sendable {
  /// The kernel's interface whose routes, neighbours, MAC address, MTU and state count: the NIC, or a VLAN interface on it.
  /// Such a one follows its NIC in everything (net/8021q/vlan.c), so the NIC itself need not be watched.
  var interface: String
  /// VID of the 802.1Q tag that packets carry on the NIC; nil: none.
  var vlan: UInt16?
  /// This VTEP's address. All remotes have its family.
  var local: IPAddress
  /// Nil: 64, and 1 to a multicast group, as the kernel's vxlan device has it.
  var ttl: UInt8?
  /// IPv6 flow label, 20 bits, host order.
  var flowLabel: UInt32 = 0
  /// Whether packets get an outer UDP checksum.
  var udpChecksum: Bool
  /// The same for single VTEPs.
  var udpChecksumOf: [IPAddress: Bool] = [:]

  /// The outer header of packets to `remote`.
  /// - Parameter mtu: of the outer IP packet, in bytes.
  func header(to remote: Remote, nextHop: MACAddress, from sourceMAC: MACAddress, mtu: Int) -> OuterHeader {
    OuterHeader(
      nextHop: nextHop, sourceMAC: sourceMAC, vlan: vlan, source: local, destination: remote.address,
      ttl: ttl ?? (remote.address.isMulticast ? 1 : 64), flowLabel: flowLabel, destinationPort: remote.port,
      udpChecksum: udpChecksumOf[remote.address] ?? udpChecksum, mtu: UInt16(clamping: mtu))
  }

  /// The MTU of a device whose packets fit through the tunnel, as the kernel gives it to a vxlan device.
  /// - Parameter underlayMTU: bytes of the largest outer IP packet.
  static func overlayMTU(underlayMTU: Int, local: IPAddress) -> Int {
    // The kernel lets no Ethernet device have less than 68 (ETH_MIN_MTU), and no TAP device more than 65521.
    min(max(underlayMTU - (local.isIPv4 ? VXLAN.overheadIPv4 : VXLAN.overheadIPv6), 68), 65521)
  }
}

extension Underlay {
  init(_ configuration: Configuration, interface: String, vlan: UInt16?, local: IPAddress) {
    self.interface = interface
    self.vlan = vlan
    self.local = local
    if case .value(let value) = configuration.ttl { ttl = value }
    if case .value(let value) = configuration.flowLabel, !local.isIPv4 { flowLabel = value }
    udpChecksum = local.isIPv4 ? configuration.udpChecksum == .on : !configuration.udp6ZeroChecksum.tx
    udpChecksumOf = configuration.udpChecksumOf
  }
}
