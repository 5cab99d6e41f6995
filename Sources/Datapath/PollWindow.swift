/// How long an adaptive worker looks at empty rings before it sleeps.
///
/// Going to sleep and being woken takes longer than many frames do, a virtual processor tens of microseconds; a gateway that did both
/// between two frames would spend its time on that, and the frames theirs on waiting. So the window grows while frames come soon after
/// it has closed, and shrinks when they don't: to nothing for a gateway that has little to do. The rule and its numbers are those by which
/// the kernel lets an idle processor poll (adjust_poll_limit in drivers/cpuidle/governors/haltpoll.c).
struct PollWindow {
  /// In nanoseconds.
  private(set) var length: UInt64 = 0
  private var idleSince: UInt64 = 0
  private var emptyRounds = 0

  /// Nanoseconds: guest_halt_poll_ns and guest_halt_poll_grow_start.
  static let longest: UInt64 = 200_000
  static let firstLength: UInt64 = 50_000
  /// Empty rounds in any case: some microseconds, in which the rest of a burst arrives.
  static let leastRounds = 32

  /// To be told of a round that received something.
  mutating func reset() { emptyRounds = 0 }

  /// To be asked after a round that received nothing. True when it is time to sleep.
  ///
  /// - Parameter now: nanoseconds of any steady clock.
  mutating func isOver(_ now: @autoclosure () -> UInt64) -> Bool {
    if emptyRounds == 0 { idleSince = now() }
    emptyRounds += 1
    return emptyRounds >= Self.leastRounds && (length == 0 || now() &- idleSince >= length)
  }

  /// To be told when the worker wakes: by then it has been idle for so long, and might have polled on instead.
  mutating func adjust(_ now: UInt64) {
    let idle = now &- idleSince
    emptyRounds = 0
    if idle > Self.longest {
      length /= 2
      if length < Self.firstLength { length = 0 }
    } else if idle > length {
      length = min(max(2 * length, Self.firstLength), Self.longest)
    }
  }
}
