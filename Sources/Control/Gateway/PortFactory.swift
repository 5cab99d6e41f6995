import CLinux
import Datapath
import PacketIO
import Wire

/// Makes ports on NICs and TAP devices, and the workers that have them: at the start, and while they run.
///
/// Packet memory is a worker's own, but AF_XDP sockets may be opened on it by another thread while the worker uses those that it
/// has (see `XSKMemory`).
struct PortFactory {
  private let plan: Plan
  private let settings: TunnelSettings
  private let modes: [NICMode]
  private let xsk: XSKSettings
  let chunkSize: Int
  let chunkCount: Int
  /// The packet memory of each worker as AF_XDP knows it; empty without AF_XDP.
  private var memories: [XSKMemory] = []

  /// Chunks that refilling leaves in the pool for copies and for ports that read into the pool.
  private static let reserve = 512

  init(_ plan: Plan, _ settings: TunnelSettings, modes: [NICMode], xsk: XSKSettings, chunkSize: Int) {
    self.plan = plan
    self.settings = settings
    self.modes = modes
    self.chunkSize = chunkSize
    self.xsk = xsk
    // A full fill ring for each AF_XDP socket, a few batches for each other port. All leaves through the first socket of a NIC: with
    // zero-copy a full TX ring is on its way at times, while copies are gone as a rule when the system call returns.
    let sending = xsk.zeroCopy ? xsk.ring : xsk.ring / 4
    var chunks = 2 * Self.reserve
    for (index, nic) in plan.nics.enumerated() {
      let queues = (nic.queues + plan.workers - 1) / plan.workers
      chunks += modes[index].isXDP ? xsk.ring * queues + sending : 8 * plan.configuration.batch
    }
    chunkCount = plan.configuration.frames ?? chunks
  }

  /// Whether the workers' packet memory is AF_XDP's as well.
  var hasXDP: Bool { !memories.isEmpty }
  var takesSuperFrames: Bool { xsk.superFrameMTU != nil }

  /// - Parameters:
  ///   - nics: get to know the sockets.
  ///   - taps: queues that no worker has taken yet, device by device.
  mutating func makeWorker(
    _ number: Int, _ control: WorkerControl, _ forwarding: Forwarding, _ overlay: Overlay, _ nics: inout Slots<AttachedNIC?>,
    _ taps: inout Slots<Slots<TAPPort>>
  ) throws -> WorkerThread {
    let umem = try UMEM(chunkSize: chunkSize, chunkCount: chunkCount)
    if modes.contains(where: \.isXDP) { memories.append(try XSKMemory(umem, settings: xsk)) }
    var ports = Slots<Port>(capacity: Topology.portLimit)
    var isFirst = true
    var tap = 0
    for case let device? in overlay.devices {
      switch device.kind {
      case .tap:
        ports.append(.tap(Box(taps[tap].removeLast())))
        tap += 1
      case .nic(let nic):
        ports.append(try makePort(nic, number, isFirst: isFirst, &nics[nic]!))
        if modes[nic].isXDP { isFirst = false }
      }
    }
    let batch = plan.configuration.batch
    // A batch that floods fills outgoing batches faster than incoming ones.
    let egress = Egress(umem: umem, ports: ports, batch: 2 * batch, events: control.events)
    let worker = try Worker(
      egress: egress, topology: overlay.topology(), forwarding: forwarding, settings: settings, batch: batch, control: control)
    return WorkerThread(worker, polling: plan.configuration.poll)
  }

  /// A worker's end of a NIC: its share of the queues, each with a socket that the XDP program knows, or a raw socket.
  ///
  /// - Parameter isFirst: whether it is the first AF_XDP port of the worker.
  func makePort(_ index: Int, _ number: Int, isFirst: Bool, _ nic: inout AttachedNIC) throws -> Port {
    guard nic.mode.isXDP else { return .raw(Box(try makeRaw(index, number, &nic))) }
    let name = nic.nic.name
    let queues = Array(stride(from: number, to: nic.nic.queues, by: plan.workers))
    do {
      let port = try XSKPort(
        memories[number], interface: name, role: nic.role, queues: queues, isFirst: isFirst, reserve: Self.reserve)
      for (queue, descriptor) in zip(queues, port.descriptors) {
        try nic.program?.setSocket(descriptor, queue: queue)
        nic.sockets.append((queue, descriptor))
      }
      return .xsk(Box(port))
    } catch {
      let isBusy = error.errno == .resourceBusy
      throw NICFailure(
        nic: index, message: "\(name): \(error)" + (isBusy ? ": another program has an AF_XDP socket there. Stop it, or use --io raw" : ""),
        isFinal: isBusy, isBinding: true)
    }
  }

  private func makeRaw(_ index: Int, _ number: Int, _ nic: inout AttachedNIC) throws -> RawPort {
    do {
      let port = try RawPort(
        interfaceIndex: nic.nic.link.index, interfaceName: nic.nic.name, role: nic.role, batch: plan.configuration.batch,
        ring: plan.configuration.ring, slotSize: chunkSize, fanoutGroup: plan.workers > 1 ? Self.fanoutGroup(nic.nic) : nil)
      for descriptor in port.descriptors { nic.sockets.append((number, descriptor)) }
      return port
    } catch {
      let isDenied = error.errno == .notPermitted
      throw NICFailure(
        nic: index, message: "\(nic.nic.name): \(error)" + (isDenied ? ". Run vxgw as root, or give it CAP_NET_ADMIN and CAP_NET_RAW" : ""),
        isFinal: true)
    }
  }

  /// The same for all workers, another for each NIC, and not that of another gateway on the NIC: it would get half of ours.
  private static func fanoutGroup(_ nic: NIC) -> UInt16 {
    UInt16(truncatingIfNeeded: UInt32(bitPattern: getpid()) &* 67 &+ nic.link.index)
  }

  /// A queue for every worker of every TAP device.
  func makeTAPs(_ overlay: Overlay) throws -> Slots<Slots<TAPPort>> {
    var taps = Slots<Slots<TAPPort>>(capacity: Topology.portLimit)
    for case let device? in overlay.devices where device.kind == .tap { taps.append(try makeTAP(device.name)) }
    return taps
  }

  /// A new TAP device with a queue for every worker.
  func makeTAP(_ name: String) throws -> Slots<TAPPort> {
    do {
      var queues = Slots<TAPPort>(capacity: plan.workers)
      queues.append(try TAPPort(creating: name))
      for _ in 1..<plan.workers { queues.append(try queues[0].addQueue()) }
      return queues
    } catch {
      throw GatewayError("--tap \(name)", error, error.errno == .notPermitted ? "Run vxgw as root, or give it CAP_NET_ADMIN" : nil)
    }
  }
}
