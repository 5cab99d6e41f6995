import CLinux
import Logging

/// Writes log lines to standard error as commands do: "vxgw: error: …", "vxgw: warning: …", and "vxgw: …" for what is
/// merely told. The time is left to who collects them (journald stamps each line).
public struct StandardErrorLog: LogHandler {
  public var logLevel: Logger.Level
  public var metadata: Logger.Metadata = [:]

  public init(level: Logger.Level) { logLevel = level }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    let metadata = metadata.merging(event.metadata ?? [:]) { _, new in new }
    Self.write(Self.line(event.level, event.message.description, metadata))
  }

  /// A message as a line, without its newline.
  static func line(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata = [:]) -> String {
    let prefix =
      switch level {
      case .critical, .error: "vxgw: error: "
      case .warning: "vxgw: warning: "
      case .notice, .info: "vxgw: "
      case .debug, .trace: "vxgw: debug: "
      }
    let details = metadata.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
    return prefix + message + details
  }

  /// One system call per line, so that lines of several threads do not mix.
  private static func write(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    // Nobody can be told that standard error is closed.
    _ = unsafe bytes.withUnsafeBytes { unsafe CLinux.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}

extension StandardErrorLog {
  /// The logger that everything in this process uses.
  public static func logger(level: Logger.Level) -> Logger {
    Logger(label: "vxgw") { _ in StandardErrorLog(level: level) }
  }
}
