import Datapath
import PacketIO
import Wire

/// A worker between two replayed ports, with every MAC address learned and every outer header published, and hashes that
/// are the same in each run.
struct Gateway: Workload, ~Copyable {
  static let now = Tick(milliseconds: 5000)
  /// Of all hashes.
  static let seed: UInt64 = 0x5eed
  private static let chunkSize = 2048

  let operations: Int
  private let batch: Int
  /// Frames that one becomes.
  private let copies: Int
  private var worker: Worker
  /// Of the port that the frames leave through.
  private let sink: Counters

  static func forwarding(_ setup: Setup) throws -> Forwarding { try Forwarding(maximumEntries: setup.limit, seed: seed) }

  init(_ setup: Setup, _ forwarding: Forwarding) throws {
    let remotes = Self.addRemotes(setup.vteps, forwarding.vteps)
    var random = SplitMix64()
    let addresses = Self.learn(setup, remotes, forwarding.fdb, &random)
    var umem = try UMEM(chunkSize: Self.chunkSize, chunkCount: 2 * setup.frames)
    let frames = (0..<setup.frames).map { _ in Self.put(Self.frame(setup, addresses, &random), into: &umem) }

    let isInwards = setup.name != .encapsulate && setup.name != .flood
    let end = UInt32(setup.frames * Self.chunkSize)
    let underlay = ReplayPort(isInwards ? frames : [], replayedBefore: end)
    let lan = ReplayPort(isInwards ? [] : frames, replayedBefore: end)
    let sink = isInwards ? lan.counters : underlay.counters
    var ports = Slots<Port>(capacity: 2)
    ports.append(.replay(Box(underlay)))
    ports.append(.replay(Box(lan)))
    let control = try WorkerControl(discovered: Doorbell())
    var settings = TunnelSettings(local: Frames.local)
    settings.hashKey = Self.seed
    // Every segment has one local port, on the LAN, and all VTEPs.
    let topology = Topology(
      segments: (0..<setup.vnis).map { .init(vni: Frames.firstVNI + UInt32($0), remotes: remotes) },
      localPorts: [nil] + (0..<setup.vnis).map { LocalPort(port: 1, segment: $0, isWire: true) })
    let worker = try Worker(
      egress: Egress(umem: umem, ports: ports, batch: setup.batch, events: control.events), topology: topology,
      forwarding: forwarding, settings: settings, batch: setup.batch, control: control)
    self.worker = worker
    self.sink = sink
    operations = setup.frames
    batch = setup.batch
    copies = setup.name == .flood ? setup.vteps : 1
  }

  private static func frame(_ setup: Setup, _ addresses: [MACAddress], _ random: inout SplitMix64) -> [UInt8] {
    let pairs = UInt64(setup.macs / 2)
    let near = Int(random.next() % pairs)
    let segment = near % setup.vnis
    let far = Int(random.next() % (pairs / UInt64(setup.vnis))) * setup.vnis + segment
    let (inside, outside) = (addresses[2 * near], addresses[2 * far + 1])
    switch setup.name {
    case .encapsulate: return Frames.inner(to: outside, from: inside, &random)
    case .flood: return Frames.inner(to: .broadcast, from: inside, &random)
    default:
      let inner = Frames.inner(to: inside, from: outside, &random)
      return Frames.encapsulated(inner, from: far % setup.vteps, vni: Frames.firstVNI + UInt32(segment))
    }
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
      guard let (index, _) = vteps.add(Remote(address)) else { preconditionFailure("the table of VTEPs is full") }
      let header = OuterHeader(
        nextHop: Frames.remoteMAC, sourceMAC: Frames.localMAC, source: Frames.local, destination: address, ttl: 64,
        destinationPort: VXLAN.defaultPort, mtu: 1500)
      vteps.publish(header, at: index)
      return index
    }
  }

  /// Pairs of addresses, the even one on a local port, the odd one behind a VTEP, go round the segments and the VTEPs. Of as many
  /// as the FDB may hold, one in some hundreds finds no place: others are taken. While all are in one place, none evicts another.
  private static func learn(_ setup: Setup, _ remotes: [Int], _ fdb: borrowing FDB, _ random: inout SplitMix64) -> [MACAddress] {
    var addresses: [MACAddress] = []
    for index in 0..<setup.macs {
      var address: MACAddress
      repeat {
        address = Frames.address(Frames.knownBlock, index, &random)
      } while fdb.learn(fdbKey(index / 2 % setup.vnis, address), at: .port(1), tick: now.seconds) == .full
      addresses.append(address)
    }
    for (index, address) in addresses.enumerated() {
      let segment = index / 2 % setup.vnis
      let destination = index & 1 == 0 ? Destination.port(segment + 1) : .vtep(remotes[index / 2 % setup.vteps])
      _ = fdb.learn(fdbKey(segment, address), at: destination, tick: now.seconds)
    }
    return addresses
  }

  mutating func round() { worker.round(Self.now) }

  @inline(never)
  mutating func measured() { for _ in 0..<operations / batch { round() } }

  /// Frames that left, and every copy of them.
  var succeeded: Int { Int(sink[PortCounter.txFrames.rawValue]) / copies }
}
