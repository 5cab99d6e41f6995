import CLinux
import SystemPackage

/// A system call that failed: what was tried, on what, and the kernel's reason.
public struct SystemError: Error, CustomStringConvertible {
  /// The call and its subject, as the operator should read it: "AF_XDP bind on queue 1".
  public let call: String
  public let errno: Errno

  public init(_ call: String, errno: Errno = Errno(rawValue: CLinux.vxgw_errno())) {
    self.call = call
    self.errno = errno
  }

  /// "AF_XDP bind on queue 1: Device or resource busy (EBUSY)".
  public var description: String { "\(call): \(errno) (\(errno.name))" }
}

extension Errno {
  /// The constant's name, "EBUSY" (strerrorname_np(3)).
  public var name: String {
    guard let name = unsafe vxgw_errno_name(rawValue) else { return "errno \(rawValue)" }
    return unsafe String(cString: name)
  }
}

/// Runs a system call again while a signal interrupts it, and throws what it failed with. `errno` is read at once.
@discardableResult
public func systemCall(_ call: @autoclosure () -> String, _ body: () -> Int32) throws(SystemError) -> Int32 {
  while true {
    let result = body()
    if result >= 0 { return result }
    let errno = Errno(rawValue: vxgw_errno())
    if errno != .interrupted { throw SystemError(call(), errno: errno) }
  }
}

/// A file descriptor that is closed with its owner.
public struct OwnedDescriptor: ~Copyable, Sendable {
  public let number: Int32

  public init(_ number: Int32) { self.number = number }

  // close(2) can only fail for what was written to files.
  deinit { close(number) }

  /// setsockopt(2) with a value of the option's C type.
  public func set<Value: BitwiseCopyable>(
    _ level: Int32, _ option: Int32, to value: Value, _ call: @autoclosure () -> String
  ) throws(SystemError) {
    var value = value
    try systemCall(call()) { unsafe setsockopt(number, level, option, &value, socklen_t(MemoryLayout<Value>.size)) }
  }
}
