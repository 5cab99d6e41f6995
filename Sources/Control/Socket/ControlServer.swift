import CLinux
import Logging
import PacketIO
import SystemPackage

/// Answers requests on a Unix socket, on a thread of its own, one connection after the other. Deadlines see to it that
/// a client that is silent or slow holds up the others for seconds at most.
@safe
public final class ControlServer: @unchecked Sendable {
  private let path: String
  private let bell: Doorbell
  private let listener: UnixSocket
  private let responder: any ControlResponder
  private let log: Logger
  private var thread: pthread_t?

  /// Longest request, in bytes.
  static let requestLimit = 65536
  /// What a client has to send a request once it is connected or answered, and in total.
  static let requestTime = Duration.seconds(1)
  static let connectionTime = Duration.seconds(10)

  /// Takes the path: makes its directory if that is missing, and replaces a socket whose process is gone. Clients may
  /// connect from now on, and are answered after `start`.
  ///
  /// - Throws: `ControlError`, also when another gateway answers at this path.
  public init(path: String, responder: some ControlResponder, log: Logger) throws(ControlError) {
    do {
      bell = try Doorbell()
      listener = try Self.listen(path, bell)
    } catch let error as ControlError {
      throw error
    } catch {
      throw ControlError("\(path): \(error)")
    }
    self.path = path
    self.responder = responder
    self.log = log
  }

  /// Starts the thread.
  ///
  /// - Throws: `SystemError` of pthread_create(3).
  public func start() throws(SystemError) {
    precondition(thread == nil)
    var thread = pthread_t()
    let argument = unsafe Unmanaged.passRetained(self).toOpaque()
    let result = unsafe pthread_create(
      &thread, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        unsafe Unmanaged<ControlServer>.fromOpaque(argument).takeRetainedValue().run()
        return nil
      }, argument)
    guard result == 0 else {
      unsafe Unmanaged<ControlServer>.fromOpaque(argument).release()
      throw SystemError("starting the control socket's thread", errno: Errno(rawValue: result))
    }
    unsafe vxgw_name_thread(thread, "vxgw-control")
    self.thread = thread
  }

  /// Ends the thread, even if a client is connected. Whoever started the server stops it: its thread keeps it alive.
  public func stop() {
    guard let thread else { return }
    bell.ring()
    pthread_join(thread, nil)
    self.thread = nil
  }

  deinit { unsafe unlink(path) }

  private static func listen(_ path: String, _ bell: Doorbell) throws -> UnixSocket {
    let directory = FilePath(path).removingLastComponent()
    let name = directory.isEmpty ? "." : directory.string
    if unsafe mkdir(name, 0o755) < 0, vxgw_errno() != EEXIST { throw SystemError("mkdir \(name)") }
    // Of two gateways that start at once and find the same stale socket, the second must not remove the first one's.
    let lock = try FileDescriptor.open(FilePath(name), .readOnly, options: [.directory, .closeOnExec])
    defer { close(lock.rawValue) }
    try systemCall("flock \(name)") { flock(lock.rawValue, LOCK_EX) }
    do throws(SystemError) {
      return try UnixSocket.listen(at: path, bell: bell)
    } catch {
      guard error.errno == .addressInUse else { throw error }
    }
    try removeStale(path)
    return try UnixSocket.listen(at: path, bell: bell)
  }

  /// Removes what is at the path if it is a socket that nobody listens on.
  private static func removeStale(_ path: String) throws {
    var status = stat()
    try systemCall("lstat") { unsafe lstat(path, &status) }
    guard status.st_mode & UInt32(S_IFMT) == UInt32(S_IFSOCK) else {
      throw ControlError("\(path): exists and is not a socket. Remove it, or name another with --socket")
    }
    do throws(SystemError) {
      _ = try UnixSocket.connect(to: path)
    } catch {
      guard error.errno == .connectionRefused else { throw error }
      try systemCall("unlink") { unsafe unlink(path) }
      return
    }
    throw ControlError("\(path): another vxgw answers here. Stop it, or name another socket with --socket")
  }
}

extension ControlServer {
  /// What the thread does.
  private func run() {
    while true {
      do throws(UnixSocket.Interruption) {
        var connection = try listener.accept()
        try serve(&connection)
      } catch {
        switch error {
        case .stopped: return
        case .closed: break
        case .timeout: log.debug("control socket: a client took too long")
        case .tooLong: log.debug("control socket: a client sent a request of more than \(Self.requestLimit) bytes")
        case .failed(let error):
          log.warning("control socket: \(error)")
          // Without descriptors or memory the same would fail again at once.
          Tick.pause(microseconds: 100_000)
        }
      }
    }
  }

  private func serve(_ connection: inout UnixSocket) throws(UnixSocket.Interruption) {
    let end = ContinuousClock.now + Self.connectionTime
    while true {
      let line = try connection.readLine(limit: Self.requestLimit, until: min(end, .now + Self.requestTime))
      try connection.writeLine(answer(line), until: end)
    }
  }

  private func answer(_ line: [UInt8]) -> [UInt8] {
    do {
      switch try JSON.decode(ControlRequest.self, from: line) {
      case .query(let query): return encode(responder.respond(to: query))
      case .change(let change): return encode(responder.perform(change))
      case .monitor: return encode(.error("not yet"))
      }
    } catch {
      return encode(.error("not a request: \(error)"))
    }
  }

  private func encode(_ response: ControlResponse) -> [UInt8] {
    // Integers, strings and lists of them: there is nothing that JSON could refuse.
    do { return try JSON.encode(response) } catch { preconditionFailure("\(error)") }
  }
}
