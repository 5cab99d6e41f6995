import Datapath
import Logging
import PacketIO

// The fast path goes on as long as the workers are alive, and to NICs that take its frames.

extension ControlPlane {
  /// Nil without a fast path, or where the kernel does not tell: then no NIC gets frames that way.
  static func features(_ assembly: Assembly, _ log: Logger) throws -> XDPFeatures? {
    guard let fastPath = assembly.fastPath else { return nil }
    do { return try XDPFeatures() } catch {
      if assembly.plan.configuration.fastPath == .on {
        throw GatewayError("--fastpath on", error, "It needs Linux 6.3, which tells what NICs can take. Use --fastpath off")
      }
      fastPath.fail(error, log)
      return nil
    }
  }

  /// The workers have just shown that they are alive.
  mutating func startFastPath() {
    guard assembly.fastPath != nil else { return }
    assembly.followFastPath(overlay)
    beat(Tick.now)
  }

  /// A few times a second: looks at workers and NICs.
  mutating func beat(_ now: Tick) {
    guard let fastPath = assembly.fastPath, let features, !fastPath.hasFailed else { return nextBeat = .max }
    nextBeat = now.milliseconds + FastPathControl.interval
    do {
      try fastPath.look(netlink, features)
      if assembly.controls.allSatisfy(\.hasAnswered) {
        try fastPath.goOn(now)
        if !isGoingOn { log.notice("all workers answer again: the in-kernel fast path goes on") }
        (lastAlive, isGoingOn) = (now.milliseconds, true)
        for control in assembly.controls { control.ping() }
      } else if isGoingOn && now.milliseconds >= lastAlive + FastPathControl.patience {
        isGoingOn = false
        let silent = assembly.controls.indices.filter { !assembly.controls[$0].hasAnswered }.map { "\($0)" }.joined(separator: ", ")
        log.error("worker \(silent) has not answered for a second: the in-kernel fast path stands still until it does")
      }
    } catch {
      fastPath.fail(error, log)
    }
  }
}
