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

/// Waits until one of several descriptors is readable.
///
/// With poll(2), which watches while it waits and not longer: sockets that an epoll instance watches wake it for each frame that has
/// been sent, too, whether it asked for that or not (sock_wfree in net/core/sock.c), at a tenth of what sending costs.
public struct Poller: Sendable {
  private let descriptors: [Int32]

  /// - Parameter descriptors: they have to be open whenever it waits.
  public init(_ descriptors: [Int32]) { self.descriptors = descriptors }

  /// Returns when there is something to read, after `milliseconds` (-1: never), or after a signal. A socket's error wakes once: it is
  /// taken from it here.
  public func wait(milliseconds: Int32) {
    unsafe withUnsafeTemporaryAllocation(of: pollfd.self, capacity: descriptors.count) { watched in
      for index in descriptors.indices { unsafe watched[index] = pollfd(fd: descriptors[index], events: Int16(POLLIN), revents: 0) }
      guard unsafe poll(watched.baseAddress, nfds_t(watched.count), milliseconds) > 0 else { return }
      for index in descriptors.indices where unsafe watched[index].revents & Int16(POLLERR) != 0 { Self.takeError(descriptors[index]) }
    }
  }

  /// A link that goes down is an error of its packet sockets (ENETDOWN), which poll readable until somebody has asked for it.
  private static func takeError(_ descriptor: Int32) {
    var error: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
  }
}
