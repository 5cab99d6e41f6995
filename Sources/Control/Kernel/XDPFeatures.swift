import CLinux
import PacketIO

/// Asks the kernel what NICs can do with XDP as they are now (generic netlink family "netdev", Linux 6.3;
/// Documentation/netlink/specs/netdev.yaml).
final class XDPFeatures {
  private let socket: NetlinkSocket
  private let family: Int

  // linux/netdev.h is newer than Debian 12's headers.
  private static let getDevice: UInt8 = 1  // NETDEV_CMD_DEV_GET
  private static let interfaceIndex = 1  // NETDEV_A_DEV_IFINDEX
  private static let features = 3  // NETDEV_A_DEV_XDP_FEATURES
  private static let ndoXmit: UInt64 = 4  // NETDEV_XDP_ACT_NDO_XMIT
  private static let zeroCopy: UInt64 = 8  // NETDEV_XDP_ACT_XSK_ZEROCOPY

  /// - Throws: `SystemError`: ENOENT where the kernel does not have the family.
  init() throws(SystemError) {
    let socket = try NetlinkSocket(protocol: NETLINK_GENERIC)
    var request = NetlinkRequest(
      Int(GENL_ID_CTRL), header: genlmsghdr(cmd: UInt8(CTRL_CMD_GETFAMILY), version: 1, reserved: 0))
    request.append(CTRL_ATTR_FAMILY_NAME, octets: Array("netdev".utf8) + [0])
    let answer = try socket.request(request, "asking for the kernel's netdev family")
    guard let family = answer.first?.attributes(after: genlmsghdr.self).integer(CTRL_ATTR_FAMILY_ID, as: UInt16.self) else {
      throw SystemError("asking for the kernel's netdev family", errno: .noSuchFileOrDirectory)
    }
    self.socket = socket
    self.family = Int(family)
  }

  /// Whether XDP programs of other NICs may redirect frames to this one. A veth takes them while its peer has native XDP or
  /// GRO (veth_set_xdp_features in drivers/net/veth.c).
  func takesFrames(_ index: UInt32) throws(SystemError) -> Bool { try features(of: index) & Self.ndoXmit != 0 }

  /// Whether the driver has AF_XDP zero-copy. Without, bind(2) refuses it (xp_assign_dev in net/xdp/xsk_buff_pool.c).
  func hasZeroCopy(_ index: UInt32) throws(SystemError) -> Bool { try features(of: index) & Self.zeroCopy != 0 }

  private func features(of index: UInt32) throws(SystemError) -> UInt64 {
    var request = NetlinkRequest(family, header: genlmsghdr(cmd: Self.getDevice, version: 1, reserved: 0))
    request.append(Self.interfaceIndex, index)
    let answer = try socket.request(request, "asking for the XDP features of interface \(index)")
    return answer.first?.attributes(after: genlmsghdr.self).integer(Self.features, as: UInt64.self) ?? 0
  }
}
