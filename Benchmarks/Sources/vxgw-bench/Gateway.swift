import Datapath
import PacketIO
import Wire

/// What a run sends through the gateway.
enum Case: String, CaseIterable {
  /// From the one remote VTEP to the one LAN port.
  case decapsulate
  /// From the LAN port to the remote VTEP.
  case encapsulate
  /// Broadcasts from the LAN port to 16 remote VTEPs.
  case flood

  var remotes: Int { self == .flood ? 16 : 1 }
}

/// A worker between two replayed ports, with every MAC address learned and every outer header published, and hashes that
/// are the same in each run.
struct Gateway: ~Copyable {
  static let frames = 4096
  static let batch = 64
  private static let chunkSize = 2048
  private static let now = Tick(milliseconds: 5000)

  private var worker: Worker
  /// Of the port that the frames leave through.
  private let sink: Counters

  /// - Parameter macs: addresses in the FDB, half of them behind the first VTEP.
  init(_ kind: Case, macs: Int) throws {
    let forwarding = try Forwarding(maximumEntries: max(macs, 1024), seed: 0x5eed)
    let remotes = Self.addRemotes(kind.remotes, forwarding.vteps)
    var random = SplitMix64()
    let addresses = Self.learn(macs, remotes[0], forwarding.fdb, &random)

    var umem = try UMEM(chunkSize: Self.chunkSize, chunkCount: 2 * Self.frames)
    let frames = (0..<Self.frames).map { _ in
      let near = addresses[Int(random.next() % UInt64(macs / 2)) * 2]
      let far = addresses[Int(random.next() % UInt64(macs / 2)) * 2 + 1]
      let bytes =
        switch kind {
        case .decapsulate: Frames.encapsulated(Frames.inner(to: near, from: far, &random))
        case .encapsulate: Frames.inner(to: far, from: near, &random)
        case .flood: Frames.inner(to: .broadcast, from: near, &random)
        }
      return Self.put(bytes, into: &umem)
    }

    let end = UInt32(Self.frames * Self.chunkSize)
    let underlay = ReplayPort(kind == .decapsulate ? frames : [], replayedBefore: end)
    let lan = ReplayPort(kind == .decapsulate ? [] : frames, replayedBefore: end)
    let sink = kind == .decapsulate ? lan.counters : underlay.counters
    var ports = Slots<Port>(capacity: 2)
    ports.append(.replay(underlay))
    ports.append(.replay(lan))
    let control = try WorkerControl(discovered: Doorbell())
    var settings = TunnelSettings(local: Frames.local)
    settings.hashKey = 0x5eed
    let topology = Topology(
      segments: [.init(vni: Frames.vni, remotes: remotes)], localPorts: [nil, LocalPort(port: 1, segment: 0, isWire: true)])
    let worker = try Worker(
      egress: Egress(umem: umem, ports: ports, batch: Self.batch, events: control.events), topology: topology,
      forwarding: forwarding, settings: settings, batch: Self.batch, control: control)
    self.worker = worker
    self.sink = sink
  }

  private static func put(_ bytes: [UInt8], into umem: inout UMEM) -> Frame {
    guard var frame = umem.allocate() else { preconditionFailure("there are more chunks than frames") }
    frame.length = UInt16(bytes.count)
    var target = umem.mutableBytes(frame)
    for (offset, byte) in bytes.enumerated() { target.store(byte, at: offset) }
    return frame
  }

  /// The VTEPs' indexes.
  private static func addRemotes(_ count: Int, _ vteps: borrowing VTEPTable) -> [Int] {
    (0..<count).map { number in
      let address = IPAddress(v4: Frames.firstRemote + UInt32(number))
      guard let (index, _) = vteps.add(Remote(address)) else { preconditionFailure("the table of VTEPs is empty") }
      let header = OuterHeader(
        nextHop: Frames.remoteMAC, sourceMAC: Frames.localMAC, source: Frames.local, destination: address, ttl: 64,
        destinationPort: VXLAN.defaultPort, mtu: 1500)
      vteps.publish(header, at: index)
      return index
    }
  }

  /// Random addresses: even ones on the LAN port, odd ones behind the VTEP.
  private static func learn(_ count: Int, _ vtep: Int, _ fdb: borrowing FDB, _ random: inout SplitMix64) -> [MACAddress] {
    var addresses: [MACAddress] = []
    for index in 0..<count {
      let address = MACAddress(0x0200_0000_0000 | random.next() & 0xff_ffff_fffe | UInt64(index & 1))
      _ = fdb.learn(fdbKey(0, address), at: index & 1 == 0 ? .port(1) : .vtep(vtep), tick: now.seconds)
      addresses.append(address)
    }
    return addresses
  }

  /// Sends every frame `passes` times.
  mutating func run(passes: Int) {
    for _ in 0..<passes * Self.frames / Self.batch { worker.round(Self.now) }
  }

  var transmitted: UInt64 { sink[PortCounter.txFrames.rawValue] }
}
