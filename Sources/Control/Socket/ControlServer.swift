import CLinux
import Logging
import PacketIO
import SystemPackage

/// Answers requests on a Unix socket and tells events to those who monitor, on a thread of its own. It serves many clients
/// at once, and waits for none: who is slow holds up only itself.
@safe
public final class ControlServer: @unchecked Sendable {
  private let path: String
  private let bell: Doorbell
  private let listener: UnixSocket
  private let responder: any ControlResponder
  private let events: ControlEvents
  private let log: Logger
  private let patience: Patience
  private var thread: pthread_t?

  /// Takes the path: makes its directory if that is missing, and replaces a socket whose process is gone. Clients may
  /// connect from now on, and are answered after `start`.
  ///
  /// - Throws: `ControlError`, also when another gateway answers at this path.
  public convenience init(
    path: String, responder: some ControlResponder, events: ControlEvents, log: Logger
  ) throws(ControlError) {
    try self.init(path: path, responder: responder, events: events, log: log, patience: Patience())
  }

  init(
    path: String, responder: some ControlResponder, events: ControlEvents, log: Logger, patience: Patience
  ) throws(ControlError) {
    do {
      bell = try Doorbell()
      listener = try Self.listen(path)
    } catch let error as ControlError {
      throw error
    } catch {
      throw ControlError("\(path): \(error)")
    }
    self.path = path
    self.responder = responder
    self.events = events
    self.log = log
    self.patience = patience
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
        let server = unsafe Unmanaged<ControlServer>.fromOpaque(argument).takeRetainedValue()
        var clients = Clients(server.responder, server.events, server.log, server.patience)
        clients.serve(server.listener, until: server.bell)
        return nil
      }, argument)
    guard result == 0 else {
      unsafe Unmanaged<ControlServer>.fromOpaque(argument).release()
      throw SystemError("starting the control socket's thread", errno: Errno(rawValue: result))
    }
    unsafe vxgw_name_thread(thread, "vxgw-control")
    self.thread = thread
  }

  /// Ends the thread and every connection. Whoever started the server stops it: its thread keeps it alive.
  public func stop() {
    guard let thread else { return }
    bell.ring()
    pthread_join(thread, nil)
    self.thread = nil
  }

  deinit { unsafe unlink(path) }

  private static func listen(_ path: String) throws -> UnixSocket {
    let directory = FilePath(path).removingLastComponent()
    let name = directory.isEmpty ? "." : directory.string
    if unsafe mkdir(name, 0o755) < 0, vxgw_errno() != EEXIST { throw SystemError("mkdir \(name)") }
    // Of two gateways that start at once and find the same stale socket, the second must not remove the first one's.
    let lock = try FileDescriptor.open(FilePath(name), .readOnly, options: [.directory, .closeOnExec])
    defer { close(lock.rawValue) }
    try systemCall("flock \(name)") { flock(lock.rawValue, LOCK_EX) }
    do throws(SystemError) {
      return try UnixSocket.listen(at: path)
    } catch {
      guard error.errno == .addressInUse else { throw error }
    }
    try removeStale(path)
    return try UnixSocket.listen(at: path)
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
