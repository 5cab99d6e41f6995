import CLinux
import Wire

/// The kernel's own copy of our packets: a raw port leaves them to the kernel as well, which would answer every one with
/// an ICMP port unreachable if nobody had the UDP port. This has it, and lets nothing in. It also keeps a second VTEP
/// (the kernel's, another process) away from the same address.
public struct PortReservation: ~Copyable, Sendable {
  private let socket: OwnedDescriptor

  /// - Parameter port: in host order.
  /// - Throws: `SystemError`: EADDRINUSE when another VTEP has the port, EADDRNOTAVAIL when the address is not ours.
  public init(address: IPAddress, port: UInt16) throws(SystemError) {
    socket = try Self.open(address, port)
  }

  private static func open(_ address: IPAddress, _ port: UInt16) throws(SystemError) -> OwnedDescriptor {
    let family = address.isIPv4 ? AF_INET : AF_INET6
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(try systemCall("opening a UDP socket") { CLinux.socket(family, type, 0) })
    try SocketFilter.nothing.attach(to: socket.number)
    let number = socket.number
    try systemCall("binding UDP \(address.text) port \(port)") {
      if address.isIPv4 {
        var name = sockaddr_in()
        name.sin_family = UInt16(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = address.v4.bigEndian
        return unsafe withUnsafeBytes(of: &name) { unsafe bind(number, $0) }
      }
      var name = sockaddr_in6()
      name.sin6_family = UInt16(AF_INET6)
      name.sin6_port = port.bigEndian
      unsafe name.sin6_addr.__in6_u.__u6_addr32 = vxgw_address(address).words
      return unsafe withUnsafeBytes(of: &name) { unsafe bind(number, $0) }
    }
    return socket
  }

  private static func bind(_ socket: Int32, _ name: UnsafeRawBufferPointer) -> Int32 {
    unsafe CLinux.bind(socket, name.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(name.count))
  }
}
