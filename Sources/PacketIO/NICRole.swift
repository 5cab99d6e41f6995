import Wire

/// Which of a NIC's frames are ours; the rest stay with the kernel. The XDP program and the raw socket's filter both
/// follow it.
public enum NICRole: Sendable {
  /// UDP to this port (host order) and one of these addresses, behind at most two VLAN tags. Not fragments, not packets
  /// with IP options.
  case underlay(port: UInt16, addresses: [IPAddress])
  /// Like a bridge port: everything but what is addressed to the NIC's own MAC address.
  case lan(mac: MACAddress)
}
