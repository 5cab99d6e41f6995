import PacketIO
import TestSupport
import Wire

@testable import Datapath

/// What a gateway under test is configured to be. By default: VNI 100 has a LAN port (1), a TAP port (2) and two remote
/// VTEPs; VNI 200 has LAN port 3, no remotes, and carries VLAN tags; VNI 300 has one remote and no port.
struct Network: Sendable {
  struct Segment: Sendable {
    var vni: UInt32
    var ports: [Int]
    var remotes: [IPAddress]
    var keepsInnerTags = false
    var options: Topology.Segment.Options { keepsInnerTags ? [.keepsInnerTags] : [] }
  }

  enum Place: Sendable { case port(Int), vtep(IPAddress) }

  struct Entry: Sendable {
    var segment = 0
    var mac: MACAddress
    var place: Place
    var state = FDBEntry.State.static
  }

  var settings: TunnelSettings = {
    var settings = TunnelSettings(local: .local)
    settings.hashKey = 1
    return settings
  }()
  var segments = [
    Segment(vni: 100, ports: [1, 2], remotes: [.remote, .third]),
    Segment(vni: 200, ports: [3], remotes: [], keepsInnerTags: true),
    Segment(vni: 300, ports: [], remotes: [.remote]),
  ]
  /// Whether port 0, 1, … is a wire.
  var wires = [true, true, false, true]
  /// VTEPs that the operator named, and those whose next hop is known.
  var listed: [IPAddress] = []
  var resolved: [IPAddress] = [.remote, .third]
  var ttl: UInt8 = 64
  var mtu: UInt16 = 1500
  var entries: [Entry] = []
  /// Packet memory.
  var chunks = 64

  /// Local ports have the number of their port.
  func topology(_ vtep: (IPAddress) -> Int) -> Topology {
    let localPorts = wires.enumerated().map { port, isWire -> LocalPort? in
      segments.firstIndex { $0.ports.contains(port) }.map { LocalPort(port: port, segment: $0, isWire: isWire) }
    }
    return Topology(
      segments: segments.map { .init(vni: $0.vni, remotes: $0.remotes.map(vtep), options: $0.options) }, localPorts: localPorts)
  }

  func header(to vtep: IPAddress) -> OuterHeader {
    OuterHeader(
      nextHop: .nextHop, sourceMAC: .underlay, source: settings.local, destination: vtep, ttl: ttl,
      destinationPort: settings.port, mtu: mtu)
  }
}

extension IPAddress {
  static let third = IPAddress(v4: 0xc000_0203)
  static let fourth = IPAddress(v4: 0xc000_0204)
}

extension MACAddress {
  static let nextHop = MACAddress(0x0200_0000_fe01)
  static let underlay = MACAddress(0x0200_0000_fe02)
}

/// A frame that left through a port.
struct Departure: Hashable, CustomStringConvertible {
  var port: Int
  var bytes: [UInt8]

  init(_ port: Int, _ bytes: [UInt8]) {
    self.port = port
    self.bytes = bytes
  }

  var description: String { "port \(port): \(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())" }

  /// The same without what may differ: identification, header checksum (if it is right) and UDP source port of packets on
  /// the underlay.
  var normalised: Departure {
    guard port == 0, bytes.count >= 50, onesComplementSum(Array(bytes[14..<34])) == 0xffff else { return self }
    var copy = self
    for offset in [18, 19, 24, 25, 34, 35] { copy.bytes[offset] = 0 }
    return copy
  }
}

/// One worker between memory ports.
struct Rig: ~Copyable {
  var worker: Worker
  let forwarding: Forwarding
  let control: WorkerControl
  private let network: Network

  init(_ network: Network, batch: Int = 8) throws {
    let forwarding = try Forwarding(maximumEntries: 1024)
    func vtep(_ address: IPAddress) -> Int { forwarding.vteps.add(Remote(address, port: network.settings.port))!.index }
    for address in network.listed { forwarding.vteps.setListed(vtep(address)) }
    for entry in network.entries {
      let destination: Destination
      switch entry.place {
      case .port(let port): destination = .port(port)
      case .vtep(let address): destination = .vtep(vtep(address))
      }
      precondition(forwarding.fdb.set(fdbKey(entry.segment, entry.mac), to: destination, entry.state, tick: 0))
    }
    var ports = Slots<Port>(capacity: network.wires.count)
    for _ in network.wires { ports.append(.memory(MemoryPort())) }
    let control = try WorkerControl(discovered: try Doorbell())
    let umem = try UMEM(chunkSize: 2048, chunkCount: network.chunks)
    let worker = try Worker(
      egress: Egress(umem: umem, ports: ports, batch: batch, events: control.events),
      topology: network.topology(vtep), forwarding: forwarding, settings: network.settings, batch: batch, control: control)
    self.worker = worker
    self.forwarding = forwarding
    self.control = control
    self.network = network
    for address in network.resolved { publish(network.header(to: address)) }
  }

  /// Makes known how to reach a VTEP.
  func publish(_ header: OuterHeader) {
    guard let (index, _) = forwarding.vteps.add(Remote(header.destination, port: network.settings.port)) else {
      preconditionFailure("no room for a VTEP")
    }
    forwarding.vteps.publish(header, at: index)
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
    for port in 0..<network.wires.count {
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

  func counter(_ counter: WorkerCounter) -> Int { Int(worker.egress.counters[counter.index]) }

  /// Drops so far, by reason.
  var drops: [DropReason: Int] {
    let counted = DropReason.allCases.map { ($0, Int(worker.egress.counters[$0.rawValue])) }
    return Dictionary(uniqueKeysWithValues: counted.filter { $0.1 != 0 })
  }

  /// What does not add up: every frame received or copied was sent, was dropped, or waits; and every chunk is in one place.
  mutating func imbalance() -> String? {
    var received = 0
    var sent = 0
    var held = 0
    for port in 0..<network.wires.count {
      received += Int(worker.egress.ports[port].counters[PortCounter.rxFrames.rawValue])
      sent += Int(worker.egress.ports[port].counters[PortCounter.txFrames.rawValue])
      held += worker.egress.ports[port].heldChunks
      held += worker.egress.ports[port].withMemory { $0.arriving.count + $0.sent.count }
    }
    let waiting = counter(.waitingEntered) - counter(.waitingLeft)
    let dropped = drops.values.reduce(0, +)
    if received + counter(.replicated) != sent + dropped + waiting {
      return "\(received) received + \(counter(.replicated)) copies, \(sent) sent + \(dropped) dropped + \(waiting) waiting"
    }
    let free = worker.egress.umem.freeCount
    if free + held + waiting != network.chunks { return "\(free) free + \(held) in ports + \(waiting) waiting of \(network.chunks) chunks" }
    return nil
  }
}

extension Port {
  /// Traps for a port that is not in memory.
  mutating func withMemory<Result>(_ body: (inout MemoryPort) -> Result) -> Result {
    guard case .memory(var memory) = consume self else { preconditionFailure("not a memory port") }
    let result = body(&memory)
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
