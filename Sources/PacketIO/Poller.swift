import CLinux
import SystemPackage

/// A bell that another thread rings to wake a `Poller` (eventfd(2)). A handle: copies mean the same bell, which lives as
/// long as the process.
public struct Doorbell: Sendable {
  public let descriptor: Int32

  public init() throws(SystemError) {
    descriptor = try systemCall("eventfd") { eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC)) }
  }

  /// Never waits.
  public func ring() {
    var one: UInt64 = 1
    // It fails only when the counter is at its maximum, and then the bell has been rung.
    _ = unsafe write(descriptor, &one, 8)
  }

  /// Silences the bell. True if it had been rung.
  @discardableResult
  public func clear() -> Bool {
    var count: UInt64 = 0
    return unsafe read(descriptor, &count, 8) == 8
  }
}

/// Waits until one of several descriptors is readable (epoll(7)).
public struct Poller: ~Copyable, Sendable {
  private let descriptor: Int32

  /// - Parameter descriptors: watched for input as long as the poller lives, level-triggered.
  public init(_ descriptors: [Int32]) throws(SystemError) {
    let poller = try systemCall("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) }
    do {
      for watched in descriptors { try Self.add(watched, to: poller) }
    } catch {
      close(poller)
      throw error
    }
    descriptor = poller
  }

  /// Watches one more. It is forgotten when it is closed.
  public func add(_ watched: Int32) throws(SystemError) { try Self.add(watched, to: descriptor) }

  /// The same where it can't fail: a descriptor that is open and new, with memory for one more (epoll_ctl(2)).
  public func watch(_ watched: Int32) {
    do { try add(watched) } catch { preconditionFailure("\(error)") }
  }

  private static func add(_ watched: Int32, to poller: Int32) throws(SystemError) {
    var event = unsafe epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: watched))
    try systemCall("epoll_ctl") { unsafe epoll_ctl(poller, EPOLL_CTL_ADD, watched, &event) }
  }

  deinit { close(descriptor) }

  /// Returns when there is something to read, after `milliseconds` (-1: never), or after a signal.
  public func wait(milliseconds: Int32) {
    var event = unsafe epoll_event()
    _ = unsafe epoll_wait(descriptor, &event, 1, milliseconds)
  }
}
