import Logging
import PacketIO
import Wire

/// Tells what becomes of VTEPs: a few of them in a second, and how many more there were. A network that fails has thousands,
/// and with spoofed packets anybody can make vxgw hear of as many; nobody shall fill a disk with it.
struct VTEPLog {
  private let log: Logger
  private var limit = RateLimit(perSecond: 10)
  private var withheld: Set<IPAddress> = []
  /// When `flush` has something to say.
  private(set) var due: Tick?

  init(_ log: Logger) { self.log = log }

  /// - Parameter address: of the VTEP that the line is about.
  mutating func write(_ level: Logger.Level, _ address: IPAddress, _ line: String, now: Tick) {
    guard log.logLevel <= level else { return }
    if limit.take(now) {
      log.log(level: level, "\(line)")
    } else {
      withheld.insert(address)
      due = due ?? Tick(milliseconds: now.milliseconds + 1000)
    }
  }

  mutating func flush(_ now: Tick) {
    guard let due, now.milliseconds >= due.milliseconds else { return }
    log.notice("…and \(withheld.count) more VTEPs (see `vxgw vtep show`)")
    withheld = []
    self.due = nil
  }
}
