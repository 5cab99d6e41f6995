import CLinux
import PacketIO
import SystemPackage

/// Why the control socket does not work: which path, why, and what to do, as one line for the operator.
public struct ControlError: Error, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}

/// A Unix stream socket (unix(7)) that carries lines. Whatever could wait has a deadline. Closed when it goes.
struct UnixSocket: ~Copyable {
  /// Why a line was not read or written.
  enum Interruption: Error {
    /// The other end closed the connection.
    case closed
    /// The deadline passed.
    case timeout
    /// The line is longer than the limit.
    case tooLong
    case failed(SystemError)
  }

  let descriptor: Int32
  /// Received, and not yet part of a line.
  private var received: [UInt8] = []

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  private static func make() throws(SystemError) -> Int32 {
    try systemCall("socket(AF_UNIX)") {
      socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    }
  }

  /// - Throws: `SystemError`: ENOENT, or ECONNREFUSED when nobody listens.
  static func connect(to path: String) throws(SystemError) -> UnixSocket {
    let socket = UnixSocket(try make())
    try unsafe socket.call("connect", CLinux.connect, path)
    return socket
  }

  /// Listens at a path that does not exist; only the owner may connect.
  ///
  /// - Throws: `SystemError`: EADDRINUSE when the path exists.
  static func listen(at path: String) throws(SystemError) -> UnixSocket {
    let socket = UnixSocket(try make())
    // Linux gives the file the mode that the socket has when it is bound (unix_bind_bsd in net/unix/af_unix.c), so there
    // is no moment in which others may connect.
    try systemCall("fchmod") { fchmod(socket.descriptor, 0o600) }
    try unsafe socket.call("bind", CLinux.bind, path)
    try systemCall("listen") { CLinux.listen(socket.descriptor, 64) }
    return socket
  }

  /// The next client, or nil: whoever connected may have gone already.
  func accept() throws(SystemError) -> OwnedDescriptor? {
    let accepted = accept4(descriptor, nil, nil, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
    if accepted >= 0 { return OwnedDescriptor(accepted) }
    let error = SystemError("accept")
    if [.wouldBlock, .connectionAbort, .interrupted].contains(error.errno) { return nil }
    throw error
  }

  /// The next line, without its newline. A deadline of nil: however long it takes.
  mutating func readLine(limit: Int, until deadline: ContinuousClock.Instant?) throws(Interruption) -> [UInt8] {
    var searched = 0
    while true {
      if let end = received[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(received[..<end])
        received.removeSubrange(...end)
        return line
      }
      searched = received.count
      if received.count > limit { throw .tooLong }
      try receive(until: deadline)
    }
  }

  private mutating func receive(until deadline: ContinuousClock.Instant?) throws(Interruption) {
    try wait(Int16(POLLIN), until: deadline)
    var chunk = [UInt8](repeating: 0, count: 65536)
    let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
    if count == 0 { throw .closed }
    if count > 0 { return received += chunk[..<count] }
    try check(SystemError("recv"))
  }

  /// Sends the bytes and a newline.
  func writeLine(_ bytes: [UInt8], until deadline: ContinuousClock.Instant) throws(Interruption) {
    let line = bytes + [UInt8(ascii: "\n")]
    var sent = 0
    while sent < line.count {
      try wait(Int16(POLLOUT), until: deadline)
      let count = unsafe line.withUnsafeBytes {
        unsafe send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count >= 0 { sent += count } else { try check(SystemError("send")) }
    }
  }

  /// Whether a call that failed is worth another try.
  private func check(_ error: SystemError) throws(Interruption) {
    switch error.errno {
    case .wouldBlock, .interrupted: break
    case .connectionReset, .brokenPipe: throw .closed
    default: throw .failed(error)
    }
  }

  /// Returns when the socket is ready, or after a signal.
  private func wait(_ events: Int16, until deadline: ContinuousClock.Instant?) throws(Interruption) {
    var milliseconds: Int32 = -1
    if let deadline {
      let left = deadline - .now
      guard left > .zero else { throw .timeout }
      milliseconds = Int32(clamping: Int(left / .milliseconds(1)) + 1)
    }
    var waiting = pollfd(fd: descriptor, events: events, revents: 0)
    if unsafe poll(&waiting, 1, milliseconds) < 0, vxgw_errno() != EINTR { throw .failed(SystemError("poll")) }
  }

  /// bind(2) or connect(2) with a path as the address.
  private func call(
    _ name: String, _ function: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32, _ path: String
  ) throws(SystemError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { throw SystemError(name, errno: .fileNameTooLong) }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    try systemCall(name) {
      unsafe withUnsafePointer(to: address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe function(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
    }
  }
}
