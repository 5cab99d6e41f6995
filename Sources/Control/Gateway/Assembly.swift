import CLinux
import Datapath
import Logging
import PacketIO
import Synchronization
import Wire

/// Everything that carries packets: attachments, packet memory, sockets and the workers on them. Built as a whole or not
/// at all; when it goes, the kernel is as it was.
///
/// The control plane's thread builds, starts, changes and stops it; others may ask what it looks like.
final class Assembly: @unchecked Sendable {
  let plan: Plan
  /// NICs, the underlay first. A place is empty once its NIC was closed. Others than the control plane look at them, too:
  /// `withNICs` locks.
  private var attached: Slots<AttachedNIC?>
  private let lock = Mutex(())
  /// One per worker, in order.
  let controls: [WorkerControl]
  let isZeroCopy: Bool
  let chunksPerWorker: Int
  let factory: PortFactory
  /// Nil: no NIC has it.
  let fastPath: FastPathControl?
  let log: Logger
  private let threads: [WorkerThread]
  private let asking = Mutex(())
  /// The kernel's own copy of a VXLAN packet ends here, without an ICMP error; and nobody else can have the port.
  private let reservation: PortReservation

  /// Takes the best modes that work, NIC by NIC (`--io auto`), and zero-copy if all drivers have it.
  ///
  /// - Throws: `GatewayError`.
  static func build(
    _ plan: Plan, _ overlay: Overlay, _ forwarding: Forwarding, _ settings: TunnelSettings, _ fastPath: FastPathControl?,
    discovered: Doorbell, log: Logger
  ) throws -> Assembly {
    let io = plan.configuration.io
    let ladder = plan.modes
    var rungs = [Int](repeating: 0, count: plan.nics.count)
    var reasons = [String?](repeating: nil, count: plan.nics.count)
    var zeroCopy = plan.configuration.zeroCopy != .off && io != .xdpSKB && io != .raw
    // The kernel gives a queue free some time after its last socket was closed (xp_release_deferred in
    // net/xdp/xsk_buff_pool.c): a gateway that is restarted, or tries again without zero-copy, must not trip over itself.
    var patience = 50
    // A kernel may take the program without the fast path: nobody should lose native XDP for it.
    var fastPath = fastPath
    var fastPathFailure: String?
    while true {
      do {
        let assembly = try Assembly(
          plan, overlay, modes: rungs.map { ladder[$0] }, zeroCopy: zeroCopy, forwarding, settings, fastPath, discovered, log)
        for case let (mode, reason?) in zip(rungs.map({ ladder[$0] }), reasons) {
          log.notice("\(reason); \(mode == .raw ? "raw sockets" : "\(mode) XDP") instead")
        }
        assembly.warnOfOffloads(log)
        if let fastPathFailure, assembly.isNative(Topology.underlay) { log.notice("no in-kernel fast path: \(fastPathFailure)") }
        if plan.configuration.fastPath == .on && assembly.fastPath == nil {
          log.warning("--fastpath on: \(plan.underlay.name) has no program in the driver, so workers forward everything")
        }
        return assembly
      } catch let failure as NICFailure {
        if failure.isFinal && failure.isBinding && patience > 0 {
          patience -= 1
          Tick.pause(microseconds: 20_000)
          continue
        }
        log.debug("\(failure.message)")
        if failure.isFinal { throw GatewayError(failure.message) }
        if fastPath != nil && plan.configuration.fastPath == .auto && ladder[rungs[failure.nic]] == .native && !failure.isBinding {
          (fastPath, fastPathFailure) = (nil, failure.message)
          continue
        }
        if zeroCopy && plan.configuration.zeroCopy == .auto && failure.isBinding {
          zeroCopy = false
        } else if rungs[failure.nic] + 1 < ladder.count {
          reasons[failure.nic] = reasons[failure.nic] ?? failure.message
          rungs[failure.nic] += 1
        } else {
          throw GatewayError(
            failure.message
              + (io == .raw ? "" : plan.configuration.zeroCopy == .on ? "; --zero-copy auto takes what works" : ", or use --io raw"))
        }
      }
    }
  }

  private init(
    _ plan: Plan, _ overlay: Overlay, modes: [NICMode], zeroCopy: Bool, _ forwarding: Forwarding, _ settings: TunnelSettings,
    _ fastPath: FastPathControl?, _ discovered: Doorbell, _ log: Logger
  ) throws {
    let zeroCopy =
      zeroCopy && modes.allSatisfy { $0 != .generic } && modes.contains(.native)
      && (plan.configuration.zeroCopy == .on || zip(plan.nics, modes).allSatisfy { $0.mayHaveZeroCopy || $1 != .native })
    // What the driver receives into packet memory costs the workers less than a copy, and they do everything.
    let fastPath = zeroCopy && plan.configuration.fastPath == .auto || modes[Topology.underlay] != .native ? nil : fastPath
    try fastPath?.removeAll()
    // Only generic XDP gets to see super-frames. An older kernel leaves them to the NIC's own stack, and counts them.
    let superFrameMTU = try modes.contains(.generic) && XSKSettings.kernelTakesSuperFrames() ? plan.segmentMTU : nil
    let reservation = try Self.reserve(plan)
    var attached = Slots<AttachedNIC?>(capacity: Topology.portLimit)
    for (index, nic) in plan.nics.enumerated() {
      if modes[index].isXDP, let obstacle = plan.obstacleToXDP(nic) {
        throw NICFailure(nic: index, message: "\(nic.name): \(obstacle)", isFinal: false)
      }
      let role = plan.role(of: nic, overlay, addresses: [plan.local] + overlay.groups)
      let device = overlay.device(named: nic.name) ?? 0
      attached.append(
        try AttachedNIC(
          nic, index: index, role: role, mode: modes[index], superFrames: superFrameMTU != nil, fastPath: fastPath?.settings(of: device)))
      if modes[index] == .native { try fastPath?.add(device, nic) }
    }
    let usesXDP = modes.contains(where: \.isXDP)
    let xsk = XSKSettings(ring: plan.configuration.ring, zeroCopy: zeroCopy, superFrameMTU: superFrameMTU)
    var factory = PortFactory(plan, settings, modes: modes, xsk: xsk, chunkSize: plan.chunkSize(usesXDP: usesXDP, zeroCopy: zeroCopy))
    var taps = try factory.makeTAPs(overlay)
    var threads: [WorkerThread] = []
    var controls: [WorkerControl] = []
    for number in 0..<plan.workers {
      let control = try WorkerControl(discovered: discovered)
      controls.append(control)
      threads.append(try factory.makeWorker(number, control, forwarding, overlay, &attached, &taps))
    }
    self.plan = plan
    self.reservation = reservation
    self.attached = attached
    self.threads = threads
    self.controls = controls
    self.factory = factory
    self.fastPath = fastPath
    self.log = log
    isZeroCopy = zeroCopy
    chunksPerWorker = factory.chunkCount
  }

  private static func reserve(_ plan: Plan) throws -> PortReservation {
    do {
      return try PortReservation(address: plan.local, port: plan.configuration.destinationPort)
    } catch {
      guard error.errno == .addressInUse else { throw GatewayError(plan.underlay.name, error) }
      throw GatewayError(
        plan.underlay.name, error,
        "Another VTEP has this port: a second vxgw (`vxgw link show`) or a kernel device (`ip -d link show type vxlan`). Stop it, or use --dstport"
      )
    }
  }

  /// A stripped VLAN tag is lost on the way to AF_XDP, and a merged packet does not fit a chunk: nobody else would tell.
  private func warnOfOffloads(_ log: Logger) {
    for index in plan.nics.indices {
      guard let nic = description(ofNIC: index), !nic.offloadsStillOn.isEmpty else { continue }
      let names = nic.offloadsStillOn.joined(separator: ", ")
      log.warning(
        "\(nic.name): its driver keeps \(names) on: VLAN tags or merged packets get lost. See `ethtool -k \(nic.name)`, or use --io raw")
    }
  }

  private func isNative(_ index: Int) -> Bool { withNICs { nics in nics[index]?.mode == .native } }

  func withNICs<Result>(_ body: (inout Slots<AttachedNIC?>) throws -> Result) rethrows -> Result {
    try lock.withLock { _ in try body(&attached) }
  }

  /// Every worker's counters. Threads take turns.
  func snapshots() -> [Snapshot] { asking.withLock { _ in controls.map { $0.snapshot() } } }

  /// What others want to know of a NIC.
  struct NICDescription: Sendable {
    /// The kernel's.
    var index: UInt32
    var name: String
    var driver: String?
    var mode: NICMode
    var queues: Int
    var isPromiscuous: Bool
    var offloadsStillOn: [String]
    /// For the kernel's statistics: queue and descriptor of each socket.
    var sockets: [(queue: Int, descriptor: Int32)]
  }

  /// Nil when it was closed.
  func description(ofNIC index: Int) -> NICDescription? {
    withNICs { nics in nics[index]?.description }
  }

  /// Nil: not bound.
  func cpu(ofWorker number: Int) -> Int? {
    let cpus = plan.configuration.cpus
    return cpus.isEmpty ? nil : cpus[number % cpus.count]
  }

  /// What the NIC's XDP program did with how many frames; empty without one.
  func verdicts(ofNIC index: Int) throws -> [(reason: XDPVerdict, packets: UInt64)] {
    try withNICs { nics in try nics[index]?.program?.counts() ?? [] }
  }

  /// Starts the workers.
  func start() throws {
    for (number, thread) in threads.enumerated() {
      try thread.start(name: "vxgw-worker-\(number)", cpu: cpu(ofWorker: number))
    }
  }

  /// Stops the workers and waits for them. Their last counters stay readable.
  func stop() {
    for control in controls { control.stop() }
    for thread in threads { thread.join() }
  }

  /// Puts the NICs' offloads back. Returns what could not be.
  func restore() -> [String] {
    withNICs { nics in
      var failures: [String] = []
      for index in 0..<nics.count {
        do { try nics[index]?.restore() } catch {
          // A NIC that is gone took its settings along.
          if (error as? SystemError)?.errno != .operationNotSupportedByDevice /* ENODEV */ { failures.append("\(error)") }
        }
      }
      return failures
    }
  }
}
