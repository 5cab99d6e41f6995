import Datapath
import Logging
import PacketIO
import Synchronization
import Wire

/// Everything that carries packets: attachments, packet memory, sockets and the workers on them. Built as a whole or not
/// at all; when it goes, the kernel is as it was.
///
/// The control plane's thread builds, starts and stops it; others read what does not change after that.
final class Assembly: @unchecked Sendable {
  let plan: Plan
  private(set) var attachments: Slots<NICAttachment>
  /// One per worker, in order.
  let controls: [WorkerControl]
  /// AF_XDP sockets of each NIC, for the kernel's statistics: queue and descriptor.
  let sockets: [[(queue: Int, descriptor: Int32)]]
  let isZeroCopy: Bool
  let chunksPerWorker: Int
  private let threads: [WorkerThread]
  private let asking = Mutex(())
  /// The kernel's own copy of a VXLAN packet ends here, without an ICMP error; and nobody else can have the port.
  private let reservation: PortReservation

  /// Takes the best modes that work, NIC by NIC (`--io auto`), and zero-copy if all drivers have it.
  ///
  /// - Throws: `GatewayError`.
  static func build(_ plan: Plan, _ forwarding: Forwarding, _ remotes: [Int], discovered: Doorbell, log: Logger) throws -> Assembly {
    let io = plan.configuration.io
    let ladder: [NICMode] =
      switch io {
      // Only native XDP has zero-copy: who insists on it wants no other mode.
      case .auto: plan.configuration.zeroCopy == .on ? [.native] : [.native, .generic, .raw]
      case .xdp: [.native]
      case .xdpSKB: [.generic]
      case .raw: [.raw]
      }
    var rungs = [Int](repeating: 0, count: plan.nics.count)
    var reasons = [String?](repeating: nil, count: plan.nics.count)
    var zeroCopy = plan.configuration.zeroCopy != .off && io != .xdpSKB && io != .raw
    // The kernel gives a queue free some time after its last socket was closed (xp_release_deferred in
    // net/xdp/xsk_buff_pool.c): a gateway that is restarted, or tries again without zero-copy, must not trip over itself.
    var patience = 50
    while true {
      do {
        let assembly = try Assembly(plan, modes: rungs.map { ladder[$0] }, zeroCopy: zeroCopy, forwarding, remotes, discovered)
        for case let (mode, reason?) in zip(rungs.map({ ladder[$0] }), reasons) {
          log.notice("\(reason); \(mode == .raw ? "raw sockets" : "\(mode) XDP") instead")
        }
        assembly.warnOfOffloads(log)
        return assembly
      } catch let failure as NICFailure {
        if failure.isFinal && failure.isBinding && patience > 0 {
          patience -= 1
          Tick.pause(microseconds: 20_000)
          continue
        }
        log.debug("\(failure.message)")
        if failure.isFinal { throw GatewayError(failure.message) }
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
    _ plan: Plan, modes: [NICMode], zeroCopy: Bool, _ forwarding: Forwarding, _ remotes: [Int], _ discovered: Doorbell
  ) throws {
    let zeroCopy = zeroCopy && modes.allSatisfy { $0 != .generic } && modes.contains(.native)
    // Only generic XDP gets to see super-frames. An older kernel leaves them to the NIC's own stack, and counts them.
    let superFrameMTU = try modes.contains(.generic) && XSKSettings.kernelTakesSuperFrames() ? plan.segmentMTU : nil
    let reservation = try Self.reserve(plan)
    var attachments = Slots<NICAttachment>(capacity: plan.nics.count)
    for (index, nic) in plan.nics.enumerated() {
      if modes[index].isXDP, let obstacle = plan.obstacleToXDP(nic) {
        throw NICFailure(nic: index, message: "\(nic.name): \(obstacle)", isFinal: false)
      }
      attachments.append(try NICAttachment(nic, index: index, mode: modes[index], superFrames: superFrameMTU != nil))
    }
    let usesXDP = modes.contains(where: \.isXDP)
    let xsk = XSKSettings(ring: plan.configuration.ring, zeroCopy: zeroCopy, superFrameMTU: superFrameMTU)
    var builder = try WorkerBuilder(plan, modes: modes, xsk: xsk, chunkSize: plan.chunkSize(usesXDP: usesXDP, zeroCopy: zeroCopy))
    var threads: [WorkerThread] = []
    for number in 0..<plan.workers {
      threads.append(try builder.build(number, forwarding, remotes, discovered, attachments))
    }
    self.plan = plan
    self.reservation = reservation
    self.attachments = attachments
    self.threads = threads
    controls = builder.controls
    sockets = builder.sockets
    isZeroCopy = zeroCopy
    chunksPerWorker = builder.chunkCount
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
    for (index, nic) in plan.nics.enumerated() where !attachments[index].offloadsStillOn.isEmpty {
      let names = attachments[index].offloadsStillOn.joined(separator: ", ")
      log.warning(
        "\(nic.name): its driver keeps \(names) on: VLAN tags or merged packets get lost. See `ethtool -k \(nic.name)`, or use --io raw")
    }
  }

  /// Every worker's counters. Threads take turns.
  func snapshots() -> [Snapshot] { asking.withLock { _ in controls.map { $0.snapshot() } } }

  func mode(ofNIC index: Int) -> NICMode { attachments[index].mode }

  /// Nil: not bound.
  func cpu(ofWorker number: Int) -> Int? {
    let cpus = plan.configuration.cpus
    return cpus.isEmpty ? nil : cpus[number % cpus.count]
  }

  /// What the NIC's XDP program did with how many frames; empty without one.
  func verdicts(ofNIC index: Int) throws(SystemError) -> [(reason: XDPVerdict, packets: UInt64)] {
    try attachments[index].program?.counts() ?? []
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
    var failures: [String] = []
    for (index, nic) in plan.nics.enumerated() {
      do { try attachments[index].restore() } catch {
        // A NIC that is gone took its settings along.
        if error.errno != .operationNotSupportedByDevice /* ENODEV */ { failures.append("\(nic.name): \(error)") }
      }
    }
    return failures
  }
}
