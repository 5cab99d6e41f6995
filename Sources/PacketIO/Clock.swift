import CLinux

/// A moment on the monotonic clock, as the data path keeps it: read once per round.
public struct Tick: BitwiseCopyable, Sendable {
  /// Since boot, suspended time not counted.
  public var milliseconds: UInt64

  public init(milliseconds: UInt64) { self.milliseconds = milliseconds }

  /// CLOCK_MONOTONIC_COARSE: no system call, a few nanoseconds, and at most 10 ms old.
  public static var now: Tick {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
    return Tick(milliseconds: UInt64(time.tv_sec) &* 1000 &+ UInt64(time.tv_nsec) / 1_000_000)
  }

  /// CLOCK_MONOTONIC, exact: for what is shorter than a tick. Some 20 ns.
  public static var nanoseconds: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// What the FDB keeps.
  public var seconds: UInt32 { UInt32(truncatingIfNeeded: milliseconds / 1000) }
}

extension Tick {
  /// Lets other threads run for a while. For the control plane.
  public static func pause(microseconds: UInt32) { usleep(microseconds) }
}
