import CLinux
import Datapath
import Logging
import PacketIO
import Synchronization
import Wire

/// The gateway as a whole: looks, builds, runs until it is told to stop, undoes. The control plane is one thread, this
/// one; workers never wait for it.
public enum Gateway {
  /// Runs until SIGTERM or SIGINT.
  ///
  /// - Throws: `GatewayError` or `SystemError` when it can't start.
  public static func run(_ configuration: Configuration, log: Logger) throws {
    // Before there is a second thread, so that no thread but this one gets them.
    let signals = try SignalDescriptor([SIGTERM, SIGINT])
    let netlink = try NetlinkSocket()
    let plan = try Plan(configuration, netlink)
    for warning in plan.warnings { log.warning("\(warning)") }

    let settings = plan.tunnelSettings
    let (forwarding, fastPath) = try tables(plan, settings, log)
    let overlay = try Overlay(plan, forwarding)
    let discovered = try Doorbell()
    let assembly = try Assembly.build(plan, overlay, forwarding, settings, fastPath, discovered: discovered, log: log)
    var plane = try ControlPlane(assembly, overlay, forwarding, discovered, netlink, log)
    try plane.run(until: signals)
  }

  /// The tables of the data path, with the XDP program as another reader where it may forward by itself.
  private static func tables(
    _ plan: Plan, _ settings: TunnelSettings, _ log: Logger
  ) throws -> (Forwarding, FastPathControl?) {
    let wanted = plan.configuration.fastPath
    if wanted != .off && plan.modes.contains(.native) {
      do throws(SystemError) {
        guard FastPathControl.isPossible else {
          throw SystemError("the XDP program relies on the memory order of x86-64", errno: .notSupported)
        }
        let forwarding = try Forwarding(maximumEntries: plan.configuration.maxFDB, isShared: true)
        return (forwarding, try FastPathControl(forwarding, settings))
      } catch {
        guard wanted == .auto else { throw GatewayError("--fastpath on", error, "Use --fastpath off") }
        // What forbids this forbids XDP as well, and is told there.
        log.log(level: error.errno == .notPermitted ? .debug : .notice, "no in-kernel fast path: \(error)")
      }
    }
    return (try Forwarding(maximumEntries: plan.configuration.maxFDB), nil)
  }

  /// What `run` would do, in words. Looks at the kernel and changes nothing.
  public static func check(_ configuration: Configuration) throws -> String {
    let netlink = try NetlinkSocket()
    let plan = try Plan(configuration, netlink)
    return plan.summary
  }
}

/// SIGTERM and SIGINT as a descriptor to wait on (signalfd(2)).
struct SignalDescriptor: ~Copyable {
  let descriptor: Int32

  init(_ numbers: [Int32]) throws(SystemError) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for number in numbers { unsafe sigaddset(&set, number) }
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    let set_ = set
    descriptor = try systemCall("signalfd") {
      var set = set_
      return unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK))
    }
  }

  deinit { close(descriptor) }

  /// The signal that came, or nil.
  func next() -> Int32? {
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    guard unsafe read(descriptor, &information, size) == size else { return nil }
    return Int32(information.ssi_signo)
  }
}
