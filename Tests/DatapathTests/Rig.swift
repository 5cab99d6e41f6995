import PacketIO
import TestSupport
import Wire

@testable import Datapath

/// One worker between memory ports.
struct Rig: ~Copyable {
  var worker: Worker
  let forwarding: Forwarding
  let control: WorkerControl
  private var network: Network

  /// - Parameter isShared: whether the XDP program's fast path reads the tables as well.
  init(_ network: Network, batch: Int = 8, isShared: Bool = false) throws {
    let forwarding = try Forwarding(maximumEntries: 1024, isShared: isShared)
    var ports = Slots<Port>(capacity: Topology.portLimit)
    for _ in 0..<network.portCount { ports.append(.memory(Box(MemoryPort()))) }
    let control = try WorkerControl(discovered: try Doorbell())
    let umem = try UMEM(chunkSize: 2048, chunkCount: network.chunks)
    let worker = try Worker(
      egress: Egress(umem: umem, ports: ports, batch: batch, events: control.events),
      topology: network.topology { Self.index($0, forwarding) }, forwarding: forwarding, settings: network.settings, batch: batch,
      control: control)
    self.worker = worker
    self.forwarding = forwarding
    self.control = control
    self.network = network
    configure()
  }

  private static func index(_ remote: Remote, _ forwarding: Forwarding) -> Int {
    guard let (index, _) = forwarding.vteps.add(remote) else { preconditionFailure("no room for a VTEP") }
    return index
  }

  /// What the control plane puts into the shared tables.
  private func configure() {
    for address in network.listed {
      forwarding.vteps.setListed(Self.index(Remote(address, port: network.settings.port), forwarding))
    }
    var list = 0
    for entry in network.entries {
      let destination: Destination
      switch entry.place {
      case .port(let number): destination = .port(number)
      case .remote(let remote): destination = .vtep(Self.index(remote, forwarding))
      case .list:
        destination = .list(list)
        list += 1
      }
      precondition(forwarding.fdb.set(fdbKey(entry.segment, entry.mac), to: destination, entry.state, tick: 0))
    }
    for neighbour in network.neighbours {
      precondition(forwarding.neighbours.set(neighbour.segment, neighbour.address, to: neighbour.binding))
    }
    for address in network.resolved { publish(address) }
  }

  /// Hands the worker another network's topology and ports between two rounds. Settings stay as they are.
  ///
  /// - Parameters:
  ///   - opened, closed: ports, by index.
  mutating func change(to network: Network, opened: [Int] = [], closed: [Int] = []) {
    self.network = network
    var ports = Slots<WorkerChange.OpenedPort>(capacity: opened.count)
    // The worker takes the last one first.
    for index in opened.sorted(by: >) { ports.append(.init(index: index, port: .memory(Box(MemoryPort())))) }
    let topology = network.topology { [forwarding] in Self.index($0, forwarding) }
    control.ask(for: WorkerChange(topology: topology, opened: ports, closed: closed))
    if let change = control.pendingChange() { worker.make(change) }
    control.awaitChange()
    configure()
  }

  /// Makes known how to reach a VTEP, or no longer: for everything that has its address.
  func publish(_ address: IPAddress, isReachable: Bool = true) {
    _ = Self.index(Remote(address, port: network.settings.port), forwarding)
    for index in forwarding.vteps.indexes where forwarding.vteps.address(index) == address {
      forwarding.vteps.publish(isReachable ? network.header(to: forwarding.vteps.remote(index)) : nil, at: index)
    }
  }

  /// Puts a frame where port `port` receives it in the next round.
  mutating func arrive(_ bytes: [UInt8], at port: Int) {
    guard var frame = worker.egress.umem.allocate() else { preconditionFailure("no memory for the test's own frame") }
    frame.length = UInt16(bytes.count)
    var span = worker.egress.umem.mutableBytes(frame)
    for (offset, byte) in bytes.enumerated() { span.store(byte, at: offset) }
    worker.egress.ports[port].withMemory { $0.arriving.append(frame) }
  }

  /// Rounds until nothing arrives any more.
  mutating func run(at milliseconds: UInt64 = 0) {
    while worker.round(Tick(milliseconds: milliseconds)) > 0 {}
  }

  /// Takes out what was sent since the last time, port by port.
  mutating func departures() -> [Departure] {
    var departures: [Departure] = []
    for port in 0..<worker.egress.ports.count where worker.egress.ports[port].isOpen {
      let frames = worker.egress.ports[port].withMemory { memory in
        defer { memory.sent = [] }
        return memory.sent
      }
      for frame in frames {
        departures.append(Departure(port, worker.egress.umem.array(frame)))
        worker.egress.umem.release(frame)
      }
    }
    return departures
  }

  /// What the worker has told the control plane since the last time.
  func reports() -> [Report] {
    var reports: [Report] = []
    while let event = control.events.take() {
      let place: Network.Place =
        event.destination.isPort ? .port(event.destination.index) : .remote(forwarding.vteps.remote(event.destination.index))
      reports.append(Report(event.kind, segment: event.segment, mac: event.mac, at: place, address: event.address))
    }
    return reports
  }

  func counter(_ counter: WorkerCounter) -> Int { Int(worker.egress.counters[counter.index]) }

  /// Drops so far, by reason.
  var drops: [DropReason: Int] {
    let counted = DropReason.allCases.map { ($0, Int(worker.egress.counters[$0.rawValue])) }
    return Dictionary(uniqueKeysWithValues: counted.filter { $0.1 != 0 })
  }

  /// What does not add up: every frame received or copied was sent, was dropped, or waits; and every chunk is in one place.
  mutating func imbalance() -> String? {
    func sum(_ counter: PortCounter) -> Int {
      let open = (0..<worker.egress.ports.count).map { worker.egress.ports[$0].counters[counter.rawValue] }
      return Int(open.reduce(worker.egress.retired[counter.rawValue], +))
    }
    var held = 0
    for port in 0..<worker.egress.ports.count where worker.egress.ports[port].isOpen {
      held += worker.egress.ports[port].heldChunks
      held += worker.egress.ports[port].withMemory { $0.arriving.count + $0.sent.count }
    }
    let (received, sent) = (sum(.rxFrames), sum(.txFrames) + sum(.txDropped))
    let waiting = counter(.waitingEntered) - counter(.waitingLeft)
    let dropped = drops.values.reduce(0, +)
    if received + counter(.replicated) != sent + dropped + waiting {
      return "\(received) received + \(counter(.replicated)) copies, \(sent) sent + \(dropped) dropped + \(waiting) waiting"
    }
    let free = worker.egress.umem.freeCount
    let chunks = worker.egress.umem.chunkCount
    if free + held + waiting != chunks { return "\(free) free + \(held) in ports + \(waiting) waiting of \(chunks) chunks" }
    return nil
  }
}

/// An event with the place it names rather than its number.
struct Report: Hashable, Sendable {
  var kind: Event.Kind
  var segment: Int
  var mac: MACAddress
  var place: Network.Place
  var address: IPAddress

  init(
    _ kind: Event.Kind, segment: Int = 0, mac: MACAddress = MACAddress(0), at place: Network.Place = .port(0),
    address: IPAddress = IPAddress(high: 0, low: 0)
  ) {
    (self.kind, self.segment, self.mac, self.place, self.address) = (kind, segment, mac, place, address)
  }
}

extension Port {
  var isOpen: Bool {
    switch self {
    case .memory: true
    default: false
    }
  }

  /// Traps for a port that is not in memory.
  mutating func withMemory<Result>(_ body: (inout MemoryPort) -> Result) -> Result {
    guard case .memory(var memory) = consume self else { preconditionFailure("not a memory port") }
    let result = body(&memory.value)
    self = .memory(memory)
    return result
  }
}

extension UMEM {
  /// A copy of the frame's bytes.
  func array(_ frame: Frame) -> [UInt8] {
    let span = bytes(frame)
    return (0..<span.byteCount).map { span.byte(at: $0) }
  }
}
