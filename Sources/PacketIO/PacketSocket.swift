import CLinux
import SystemPackage

/// Opens AF_PACKET sockets (packet(7)) for `RawPort`.
enum PacketSocket {
  /// For what does not fit a slot of the ring: super-frames of 64 KiB fill a buffer fast. Memory is taken as frames come, not in advance. In
  /// bytes, as the kernel counts them (with its own structures).
  private static let receiveBuffer: Int32 = 32 << 20
  private static let sendBuffer: Int32 = 8 << 20

  /// A non-blocking socket with a virtio-net header in front of each frame. It receives nothing yet: the ring has to be made first.
  static func open() throws(SystemError) -> OwnedDescriptor {
    let type = Int32(SOCK_RAW.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    // Protocol 0: nothing is received before bind.
    let socket = OwnedDescriptor(try systemCall("opening a packet socket") { CLinux.socket(AF_PACKET, type, 0) })
    try socket.set(SOL_SOCKET, SO_RCVBUFFORCE, to: receiveBuffer, "setting a packet socket's receive buffer")
    try socket.set(SOL_SOCKET, SO_SNDBUFFORCE, to: sendBuffer, "setting a packet socket's send buffer")
    for (option, name) in [
      (PACKET_VNET_HDR, "PACKET_VNET_HDR"), (PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING"),
      (PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS"),
    ] {
      try socket.set(SOL_PACKET, option, to: Int32(1), "setting \(name)")
    }
    return socket
  }

  /// Lets the socket receive the role's frames of one interface, from the moment this returns.
  ///
  /// - Parameter fanoutGroup: the same number in all sockets that share the interface's frames, a flow always in one.
  static func bind(
    _ socket: borrowing OwnedDescriptor, _ index: UInt32, _ name: String, _ role: NICRole, _ fanoutGroup: UInt16?
  ) throws(SystemError) {
    // A socket gets every frame between bind and joining its group. The others of the group get them as well, so nothing
    // may come through yet.
    try SocketFilter.nothing.attach(to: socket.number)
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
    address.sll_ifindex = Int32(bitPattern: index)
    let number = socket.number
    try systemCall("\(name): binding a packet socket") {
      unsafe withUnsafeBytes(of: &address) { bytes in
        unsafe CLinux.bind(number, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(bytes.count))
      }
    }
    if let fanoutGroup {
      let value = UInt32(fanoutGroup) | UInt32(PACKET_FANOUT_HASH) << 16
      try socket.set(SOL_PACKET, PACKET_FANOUT, to: value, "\(name): joining packet fanout group \(fanoutGroup)")
    }
    try SocketFilter(role: role).attach(to: socket.number)
  }

  /// Frames that found the ring full since the last call (PACKET_STATISTICS, which resets).
  static func takeDrops(_ descriptor: Int32) throws(SystemError) -> UInt64 {
    var statistics = tpacket_stats()
    var length = socklen_t(MemoryLayout<tpacket_stats>.size)
    try systemCall("reading PACKET_STATISTICS") { unsafe getsockopt(descriptor, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) }
    return UInt64(statistics.tp_drops)
  }
}
