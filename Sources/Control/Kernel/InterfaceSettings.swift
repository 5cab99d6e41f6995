import CLinux
import PacketIO

/// Keeps a NIC promiscuous, so that it receives frames to any MAC address, for as long as this value lives. The kernel
/// counts such wishes, and takes this one back when the process ends, however it ends.
public struct Promiscuity: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// - Throws: `SystemError` of socket(2) or setsockopt(2).
  public init(_ link: Link) throws(SystemError) {
    // Protocol 0: the socket itself receives nothing.
    let descriptor = OwnedDescriptor(
      try systemCall("opening a packet socket for \(link.name)") {
        socket(AF_PACKET, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
      })
    var request = packet_mreq()
    request.mr_ifindex = Int32(bitPattern: link.index)
    request.mr_type = UInt16(PACKET_MR_PROMISC)
    try descriptor.set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, to: request, "promiscuous mode of \(link.name)")
    self.descriptor = descriptor
  }
}

/// Offloads of a NIC that are switched off for as long as this value lives. They are of no use to packets that XDP takes:
/// a stripped VLAN tag is lost, and a merged packet is larger than a frame.
///
/// The kernel does not put them back when the process is killed.
public struct Offloads: ~Copyable {
  /// VLAN tags stripped on reception (IEEE 802.1Q and 802.1ad), as ETH_SS_FEATURES calls it.
  public static let vlanStripping = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"]
  /// Frames of other VLANs than the host's own dropped on reception.
  public static let vlanFiltering = ["rx-vlan-filter", "rx-vlan-stag-filter"]
  /// Packets merged on reception, by the NIC.
  public static let merging = ["rx-lro", "rx-gro-hw"]
  /// Packets merged on reception, by the kernel: before generic XDP, after native XDP.
  public static let kernelMerging = ["rx-gro"]

  private let ethtool: Ethtool
  private var changed: [String: Ethtool.Feature]
  /// Those that were asked for and that the driver did not switch off.
  public let stillOn: [String]

  /// What was on before, and is off now.
  public var switchedOff: [String] { changed.keys.sorted() }

  /// - Parameter names: what to switch off. What is off already, or unknown to this kernel, needs nothing.
  /// - Throws: `SystemError` of the ioctls.
  public init(switchingOff names: [String], on link: Link) throws(SystemError) {
    let ethtool = try Ethtool(link)
    let wanted = try ethtool.features().filter { names.contains($0.key) && $0.value.isOn }
    try ethtool.set(wanted.values.filter(\.canChange), on: false)
    let after = try ethtool.features()
    changed = wanted.filter { after[$0.key]?.isOn == false }
    stillOn = wanted.keys.filter { after[$0]?.isOn == true }.sorted()
    self.ethtool = ethtool
  }

  /// Switches on again what `init` switched off. A second call does nothing.
  /// - Throws: `SystemError` of the ioctl: ENODEV when the NIC is gone.
  public mutating func restore() throws(SystemError) {
    try ethtool.set(Array(changed.values), on: true)
    changed = [:]
  }

  deinit {
    // Who wants to know whether it worked has called `restore`; here nobody is left to tell.
    do { try ethtool.set(Array(changed.values), on: true) } catch {}
  }
}
