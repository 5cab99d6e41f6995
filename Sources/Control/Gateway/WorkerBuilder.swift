import CLinux
import Datapath
import PacketIO
import Wire

/// Builds the workers, one after the other: packet memory, a socket on every port, tables.
struct WorkerBuilder: ~Copyable {
  private let plan: Plan
  private let modes: [NICMode]
  private let xsk: XSKSettings
  /// Queues that no worker has taken yet, by device.
  private var taps: Slots<Slots<TAPPort>>
  let chunkSize: Int
  let chunkCount: Int
  private(set) var controls: [WorkerControl] = []
  private(set) var sockets: [[(queue: Int, descriptor: Int32)]]

  /// Chunks that refilling leaves in the pool for copies and for ports that read into the pool.
  private static let reserve = 512

  init(_ plan: Plan, modes: [NICMode], xsk: XSKSettings, chunkSize: Int) throws {
    taps = try Self.makeTAPs(plan)
    self.plan = plan
    self.modes = modes
    self.chunkSize = chunkSize
    self.xsk = xsk
    sockets = plan.nics.map { _ in [] }
    // A full fill ring and a full TX ring for each AF_XDP socket, a few batches for each other port.
    var chunks = 2 * Self.reserve
    for (index, nic) in plan.nics.enumerated() {
      let queues = (nic.queues + plan.workers - 1) / plan.workers
      chunks += modes[index].isXDP ? 2 * xsk.ring * queues : 8 * plan.configuration.batch
    }
    chunkCount = plan.configuration.frames ?? chunks
  }

  mutating func build(
    _ number: Int, _ forwarding: Forwarding, _ remotes: [Int], _ discovered: Doorbell, _ attachments: borrowing Slots<NICAttachment>
  ) throws -> WorkerThread {
    let umem = try UMEM(chunkSize: chunkSize, chunkCount: chunkCount)
    let memory = modes.contains(where: \.isXDP) ? try XSKMemory(umem, settings: xsk) : nil
    var ports = Slots<Port>(capacity: Topology.portLimit)
    var isFirst = true
    var tap = 0
    for port in plan.ports {
      switch port {
      case .tap:
        ports.append(.tap(taps[tap].removeLast()))
        tap += 1
      case .nic(let nic):
        guard let memory, modes[nic].isXDP else {
          ports.append(.raw(try raw(nic, number)))
          continue
        }
        ports.append(.xsk(try open(nic, number, memory, isFirst, attachments)))
        isFirst = false
      }
    }
    let control = try WorkerControl(discovered: discovered)
    controls.append(control)
    let localPorts = plan.ports.enumerated().map { port, kind -> LocalPort? in
      let isWire = if case .nic = kind { true } else { false }
      return plan.segments.firstIndex { $0.ports.contains(port) }.map { LocalPort(port: port, segment: $0, isWire: isWire) }
    }
    let topology = Topology(segments: plan.segments.map { .init(vni: $0.vni, remotes: remotes) }, localPorts: localPorts)
    let batch = plan.configuration.batch
    // A batch that floods fills outgoing batches faster than incoming ones.
    let egress = Egress(umem: umem, ports: ports, batch: 2 * batch, events: control.events)
    let worker = try Worker(
      egress: egress, topology: topology, forwarding: forwarding, settings: plan.tunnelSettings, batch: batch, control: control)
    return WorkerThread(worker, polling: plan.configuration.poll)
  }

  /// The worker's share of the NIC's queues, each with a socket that the XDP program knows.
  private mutating func open(
    _ nic: Int, _ number: Int, _ memory: XSKMemory, _ isFirst: Bool, _ attachments: borrowing Slots<NICAttachment>
  ) throws -> XSKPort {
    let (name, role) = (plan.nics[nic].name, plan.nics[nic].role)
    let queues = Array(stride(from: number, to: plan.nics[nic].queues, by: plan.workers))
    do {
      let port = try XSKPort(memory, interface: name, role: role, queues: queues, isFirst: isFirst, reserve: Self.reserve)
      for (queue, descriptor) in zip(queues, port.descriptors) {
        try attachments[nic].program?.setSocket(descriptor, queue: queue)
        sockets[nic].append((queue, descriptor))
      }
      return port
    } catch {
      let isBusy = error.errno == .resourceBusy
      throw NICFailure(
        nic: nic, message: "\(name): \(error)" + (isBusy ? ": another program has an AF_XDP socket there. Stop it, or use --io raw" : ""),
        isFinal: isBusy, isBinding: true)
    }
  }

  private mutating func raw(_ index: Int, _ number: Int) throws -> RawPort {
    let nic = plan.nics[index]
    do {
      let port = try RawPort(
        interfaceIndex: nic.link.index, interfaceName: nic.name, role: nic.role, batch: plan.configuration.batch,
        fanoutGroup: plan.workers > 1 ? Self.fanoutGroup(nic) : nil)
      for descriptor in port.descriptors { sockets[index].append((number, descriptor)) }
      return port
    } catch {
      let isDenied = error.errno == .notPermitted
      throw NICFailure(
        nic: index, message: "\(nic.name): \(error)" + (isDenied ? ". Run vxgw as root, or give it CAP_NET_ADMIN and CAP_NET_RAW" : ""),
        isFinal: true)
    }
  }

  /// The same for all workers, another for each NIC, and not that of another gateway on the NIC: it would get half of ours.
  private static func fanoutGroup(_ nic: NIC) -> UInt16 {
    UInt16(truncatingIfNeeded: UInt32(bitPattern: getpid()) &* 67 &+ nic.link.index)
  }

  /// A queue for every worker of every TAP device.
  private static func makeTAPs(_ plan: Plan) throws -> Slots<Slots<TAPPort>> {
    var taps = Slots<Slots<TAPPort>>(capacity: plan.ports.count)
    for case .tap(let name) in plan.ports {
      do {
        var queues = Slots<TAPPort>(capacity: plan.workers)
        queues.append(try TAPPort(creating: name))
        for _ in 1..<plan.workers { queues.append(try queues[0].addQueue()) }
        taps.append(queues)
      } catch {
        throw GatewayError(
          "--tap \(name)", error, error.errno == .notPermitted ? "Run vxgw as root, or give it CAP_NET_ADMIN" : nil)
      }
    }
    return taps
  }
}

extension Plan {
  private var tos: TunnelSettings.TOS {
    switch configuration.tos {
    case .value(let octet): .fixed(octet)
    case .inherit: .inherit
    }
  }

  private var df: TunnelSettings.DF {
    switch configuration.df {
    case .set: .set
    case .unset: .unset
    case .inherit: .inherit
    }
  }

  var tunnelSettings: TunnelSettings {
    var settings = TunnelSettings(local: local)
    settings.port = configuration.destinationPort
    settings.sourcePorts = configuration.sourcePorts
    settings.tos = tos
    settings.df = df
    settings.learning = configuration.learning
    settings.onlyListed = configuration.vteps == .listed
    return settings
  }
}
