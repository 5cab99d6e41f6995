import CLinux
import Synchronization
import SystemPackage

/// libbpf's warnings, kept for the error message instead of being printed on standard error.
///
/// libbpf has one print function per process, so there is one log: two threads that load programs at the same time would
/// find each other's warnings in it.
enum LibbpfLog {
  private static let warnings = Mutex("")

  private static let installed: Void = unsafe vxgw_libbpf_on_warning { text in
    guard let text = unsafe text else { return }
    let warning = unsafe String(cString: text)
    warnings.withLock { $0 += warning }
  }

  /// Forgets what was kept, and keeps what comes from now on.
  static func start() {
    _ = installed
    warnings.withLock { $0 = "" }
  }

  /// The error of the libbpf call that has just failed: its errno, and what was said about it.
  static func error(_ call: String) -> SystemError {
    let errno = Errno(rawValue: vxgw_errno())
    let reasons = summary(of: warnings.withLock { $0 })
    return SystemError(reasons.isEmpty ? call : "\(call) (\(reasons))", errno: errno)
  }

  /// The first line, which says what failed (later ones say that it failed), and the verifier's verdict, which is the
  /// last line of its log but for the statistics.
  static func summary(of warnings: String) -> String {
    let lines = warnings.split(separator: "\n").map { $0.hasPrefix("libbpf: ") ? $0.dropFirst(8) : $0 }
    guard let first = lines.first else { return "" }
    guard let end = lines.firstIndex(where: { $0.contains("END PROG LOAD LOG") }),
      let verdict = lines[..<end].last(where: { !$0.hasPrefix("processed ") })
    else { return String(first) }
    return "\(first): \(verdict)"
  }
}
