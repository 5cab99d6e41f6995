import CLinux
import PacketIO
import Wire

/// The kernel's own sockets, to make it send and receive.
struct KernelSocket: ~Copyable {
  private let number: Int32

  /// - Parameter isTCP: else UDP.
  init(isTCP: Bool, isIPv6: Bool) throws {
    let type = Int32((isTCP ? SOCK_STREAM : SOCK_DGRAM).rawValue)
    number = try Self.check(socket(isIPv6 ? AF_INET6 : AF_INET, type, 0))
  }

  private init(accepted: Int32) { number = accepted }

  deinit { close(number) }

  func bind(_ address: IPAddress, port: UInt16) throws {
    try unsafe Self.withName(address, port) { unsafe CLinux.bind(number, $0, $1) }
  }

  /// Waits; TCP shakes hands.
  func connect(_ address: IPAddress, port: UInt16) throws {
    try unsafe Self.withName(address, port) { unsafe CLinux.connect(number, $0, $1) }
  }

  func listen() throws { try Self.check(CLinux.listen(number, 1)) }

  func accept() throws -> KernelSocket { KernelSocket(accepted: try Self.check(CLinux.accept(number, nil, nil))) }

  /// Waits until the kernel has taken all bytes. UDP cuts them into datagrams of `segment` bytes (UDP_SEGMENT, udp(7)).
  func send(_ bytes: [UInt8], segment: Int32? = nil) throws {
    if var segment { try Self.check(unsafe setsockopt(number, 17 /* SOL_UDP */, 103 /* UDP_SEGMENT */, &segment, 4)) }
    let sent = unsafe bytes.withUnsafeBytes { unsafe CLinux.send(number, $0.baseAddress, $0.count, 0) }
    guard sent == bytes.count else { throw SystemError("sending \(bytes.count) bytes") }
  }

  /// What is there; nil when there is nothing.
  func receive() -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: 65536)
    let count = unsafe recv(number, &bytes, bytes.count, Int32(MSG_DONTWAIT))
    return count < 0 ? nil : Array(bytes.prefix(count))
  }

  @discardableResult
  private static func check(_ result: Int32) throws -> Int32 {
    guard result >= 0 else { throw SystemError("a test's socket") }
    return result
  }

  private static func withName(
    _ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws {
    var v4 = sockaddr_in()
    v4.sin_family = UInt16(AF_INET)
    v4.sin_port = port.bigEndian
    v4.sin_addr.s_addr = address.v4.bigEndian
    var v6 = sockaddr_in6()
    v6.sin6_family = UInt16(AF_INET6)
    v6.sin6_port = port.bigEndian
    unsafe withUnsafeMutableBytes(of: &v6.sin6_addr) { octets in
      unsafe octets.storeBytes(of: address.high.bigEndian, as: UInt64.self)
      unsafe octets.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    let call = { (name: UnsafeRawBufferPointer) in
      unsafe body(name.assumingMemoryBound(to: sockaddr.self).baseAddress!, socklen_t(name.count))
    }
    try check(address.isIPv4 ? unsafe withUnsafeBytes(of: &v4, call) : unsafe withUnsafeBytes(of: &v6, call))
  }
}
