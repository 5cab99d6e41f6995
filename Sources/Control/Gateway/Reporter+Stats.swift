import Datapath
import PacketIO

extension Reporter {
  /// Every frame's fate. A worker's sums hold exactly, because its counters are read between two rounds.
  func stats() throws -> Report.Stats {
    let forwarded = try assembly.fastPath?.total() ?? .init()
    let snapshots = assembly.snapshots()
    var workers: [Report.Stats.Worker] = []
    var drops: [(reason: String, count: UInt64, sentence: String)] = DropReason.allCases.map { ($0.name, 0, $0.sentence) }
    drops.append(("RX_DROPPED", 0, "a port could not take the frame in: cut short, too long, or no free frame in packet memory"))
    drops.append(("TX_DROPPED", 0, "a port could not send: its ring or socket buffer was full, or its link was down"))
    var frames = Report.Stats.Frames(total: 0, pool: 0, held: 0, waiting: 0, balanced: true)
    var replicated: UInt64 = 0
    for (number, snapshot) in snapshots.enumerated() {
      var dropped = [UInt64](repeating: 0, count: drops.count)
      for reason in DropReason.allCases { dropped[reason.rawValue] = snapshot[reason] }
      dropped[drops.count - 2] = snapshot.sum(.rxDropped)
      dropped[drops.count - 1] = snapshot.sum(.txDropped)
      for index in drops.indices { drops[index].count += dropped[index] }
      workers.append(
        .init(
          worker: number, cpu: assembly.cpu(ofWorker: number), in: snapshot.sum(.rxFrames), out: snapshot.sum(.txFrames),
          drops: dropped.reduce(0, +), rounds: snapshot[.rounds], empty: snapshot[.emptyRounds], sleeps: snapshot[.sleeps]))
      replicated += snapshot[.replicated]
      frames.total += assembly.chunksPerWorker
      frames.pool += Int(snapshot[.poolChunks])
      frames.held += Int(snapshot[.heldChunks])
      frames.waiting += Int(snapshot[.waitingEntered] - snapshot[.waitingLeft])
    }
    drops[drops.count - 1].count += forwarded.dropped
    frames.balanced = frames.total == frames.pool + frames.held + frames.waiting
    let waiting = UInt64(frames.waiting)
    let received = forwarded.frames + workers.reduce(0) { $0 + $1.in }
    let sent = forwarded.frames - forwarded.dropped + workers.reduce(0) { $0 + $1.out }
    return .init(
      in: received, out: sent, replicated: replicated, waiting: waiting,
      drops: drops.filter { $0.count > 0 }.map { .init(reason: $0.reason, count: $0.count, sentence: $0.sentence) },
      balanced: received + replicated == sent + drops.reduce(0) { $0 + $1.count } + waiting, frames: frames, workers: workers,
      fastpath: forwarded.frames)
  }

  /// For the last line of the log.
  var totals: String {
    let stats: Report.Stats
    do { stats = try self.stats() } catch { return "\(error)" }
    let drops = stats.drops.map { "\($0.reason) \($0.count)" }.joined(separator: ", ")
    return "in \(stats.in), out \(stats.out), copies \(stats.replicated), drops \(stats.drops.reduce(0) { $0 + $1.count })"
      + (drops.isEmpty ? "" : " (\(drops))") + (stats.balanced ? "" : "; frames are missing, please report this")
  }

  /// What each port got, for the ready line.
  var readyLine: String {
    let overlay = overlay
    let ports = overlay.devices.enumerated().compactMap { port, device -> String? in
      guard let device else { return nil }
      let ports = overlay.ends.compactMap { $0?.port }.filter { $0.name == device.name && $0.vlan != .untagged }
      guard case .nic(let index) = device.kind, let nic = assembly.description(ofNIC: index) else {
        return "\(device.name) (TAP, \(plan.workers) queue\(plan.workers == 1 ? "" : "s"))"
      }
      var words = [nic.driver ?? "unknown driver", nic.mode == .raw ? "raw sockets" : "\(nic.mode.rawValue) XDP"]
      if nic.mode.isXDP { words.append(assembly.isZeroCopy ? "zero-copy" : "copy") }
      if nic.mode == .native, plan.configuration.fastPath != .off {
        words.append(fastPathObstacle(port).map { "no fast path: \($0)" } ?? "fast path")
      }
      words.append("\(nic.queues) queue\(nic.queues == 1 ? "" : "s")")
      if index == 0, let vlan = plan.configuration.underlayVLAN { words.append("VLAN \(vlan)") }
      if !ports.isEmpty { words.append(ports.count == 1 ? "as \(ports[0])" : "with \(ports.count) VLANs") }
      return "\(device.name) (\(words.joined(separator: ", ")))"
    }
    let vnis = overlay.vnis.map { "\($0)" }.joined(separator: ", ")
    return "VTEP \(plan.local) port \(plan.configuration.destinationPort), VNI \(vnis), \(ports.joined(separator: ", ")), "
      + "\(plan.workers) worker\(plan.workers == 1 ? "" : "s")"
  }

  /// Why the XDP programs do not forward to a device; nil: they do.
  func fastPathObstacle(_ device: Int) -> String? {
    guard let fastPath = assembly.fastPath else {
      return plan.configuration.fastPath == .off ? "--fastpath off" : assembly.isZeroCopy ? "zero-copy needs none" : "see the log"
    }
    return fastPath.obstacle(device)
  }
}
