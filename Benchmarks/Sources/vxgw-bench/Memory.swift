import Datapath
import FoundationEssentials

enum Memory {
  private static let pageSize = 4096

  /// What the process grows by when it learns `macs` addresses, per address.
  static func bytesPerEntry(_ setup: Setup) throws -> Double {
    let forwarding = try Gateway.forwarding(setup)
    let before = try residentPages
    for index in 0..<setup.macs { _ = forwarding.fdb.learn(Frames.unknownBlock | FDBKey(index), at: .vtep(0), tick: 0) }
    return Double((try residentPages - before) * pageSize) / Double(forwarding.fdb.count)
  }

  /// The second number of proc_pid_statm(5). getrusage(2) would tell the most there ever was, and of whoever started us.
  private static var residentPages: Int {
    get throws {
      let numbers = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
      guard numbers.count > 1, let pages = Int(numbers[1]) else { preconditionFailure("/proc/self/statm has other numbers") }
      return pages
    }
  }
}
