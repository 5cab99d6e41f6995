import PacketIO
import Wire

/// Takes frames from local ports to where they belong. In the order in which a frame meets them:
///
///     classify   MAC addresses                                                          drop: inner header
///     learn      the source is on this port                                             drop: entryExists, localMAC
///     forward    look up the destination: a remote VTEP, another local port, or all     drop: noRemote, samePort
///     send       outer header into the headroom, five fields patched                    drop: packetTooBig; or wait
///
/// A batch goes through each stage as a whole, so that memory loads overlap.
public struct Encapsulator: ~Copyable, Sendable {
  private let settings: TunnelSettings
  private var frames: FixedBuffer<Classified>
  private var count = 0
  /// Outer IPv4 identification; differs between packets that may be fragmented on the way (RFC 6864 section 4.2).
  private var identification = UInt16.random(in: .min ... .max)
  private(set) var waiting = WaitingRoom()

  // Not private: see `Decapsulator.Packet`.
  struct Classified: BitwiseCopyable {
    var frame = Frame(start: 0, length: 0)
    var source: FDBKey = 0
    var destination: FDBKey = 0
  }

  public init(settings: TunnelSettings, batch: Int) {
    self.settings = settings
    frames = FixedBuffer(repeating: Classified(), count: batch)
  }

  /// Forwards or drops every frame of `batch`, which came from local port `port`, and leaves it empty.
  mutating func process(
    _ batch: inout Batch, from port: Int, now: Tick, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    let segment = Int(topology.segmentOfPort[port])
    for index in 0..<batch.count { egress.umem.prefetch(batch[index]) }
    count = 0
    for index in 0..<batch.count { classify(batch[index], segment, forwarding, topology, &egress) }
    batch.removeAll()
    learn(at: port, now.seconds, forwarding, &egress)
    for index in 0..<count { forward(frames[index], from: port, segment, now, forwarding, topology, &egress) }
  }

  // MARK: Classify

  @inline(__always)
  private mutating func classify(
    _ frame: Frame, _ segment: Int, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    var classified = Classified(frame: frame)
    if let reason = readAddresses(&classified, segment, topology, egress.umem) { return egress.drop(frame, reason) }
    forwarding.fdb.prefetch(classified.source)
    forwarding.fdb.prefetch(classified.destination)
    frames[count] = classified
    count &+= 1
  }

  @inline(__always)
  private func readAddresses(_ frame: inout Classified, _ segment: Int, _ topology: borrowing Topology, _ umem: borrowing UMEM)
    -> DropReason?
  {
    let bytes = umem.bytes(frame.frame)
    guard bytes.byteCount >= Ethernet.headerLength else { return .frameTooSmall }
    let destination = bytes.mac(at: 0)
    let source = bytes.mac(at: 6)
    guard !source.isMulticast && !source.isZero else { return .macInvalidSource }
    guard !destination.isLinkLocalGroup else { return .linkLocalGroup }
    if EtherType.isTag(bytes.big16(at: 12)) && !topology.segments[segment].keepsInnerTags { return .innerVLAN }
    frame.destination = fdbKey(segment, destination)
    frame.source = fdbKey(segment, source)
    return nil
  }

  // MARK: Learn

  /// A bridge learns on its ports whether or not the tunnel does (`--no-learning` is about VTEPs).
  @inline(__always)
  private mutating func learn(at port: Int, _ tick: UInt32, _ forwarding: borrowing Forwarding, _ egress: inout Egress) {
    var kept = 0
    for index in 0..<count {
      let frame = frames[index]
      switch forwarding.fdb.learn(frame.source, at: .port(port), tick: tick) {
      case .known: break
      case .added: egress.count(.learned)
      case .moved: egress.count(.moved)
      case .full: egress.count(.tableFull)
      case .conflict:
        egress.drop(frame.frame, .entryExists)
        continue
      case .ours:
        egress.drop(frame.frame, .localMAC)
        continue
      }
      frames[kept] = frame
      kept &+= 1
    }
    count = kept
  }

  // MARK: Forward

  @inline(__always)
  private mutating func forward(
    _ classified: Classified, from port: Int, _ segment: Int, _ now: Tick, _ forwarding: borrowing Forwarding,
    _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    var frame = classified.frame
    egress.completeChecksum(&frame)
    let isGroup = classified.destination & 0x0100_0000_0000 != 0
    guard !isGroup, let entry = forwarding.fdb.lookUp(classified.destination) else {
      return flood(frame, from: port, segment, now, forwarding, topology, &egress)
    }
    let index = entry.destination.index
    if entry.destination.isVTEP {
      encapsulate(frame, to: index, vni: topology.segments[segment].vni, now, forwarding, &egress)
    } else if index == port {
      egress.drop(frame, .samePort)
    } else {
      egress.deliver(frame, to: index, isWire: topology.isWire[index])
    }
  }

  /// One copy for each VTEP of the replication list and each other local port; the last place gets the frame itself.
  @inline(never)
  private mutating func flood(
    _ frame: Frame, from port: Int, _ segment: Int, _ now: Tick, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    let record = topology.segments[segment]
    let ports = record.ports & ~(1 << UInt64(port))
    if record.remoteCount == 0 && ports == 0 { return egress.drop(frame, .noRemote) }
    let first = Int(record.firstRemote)
    let last = first + Int(record.remoteCount)
    // The frame itself goes to the local ports if there are any, else to the last VTEP.
    for index in first..<(ports == 0 ? last - 1 : last) {
      guard let copy = egress.replicate(frame) else { continue }
      encapsulate(copy, to: Int(topology.remotes[index]), vni: record.vni, now, forwarding, &egress)
    }
    if ports == 0 {
      encapsulate(frame, to: Int(topology.remotes[last - 1]), vni: record.vni, now, forwarding, &egress)
    } else {
      egress.deliver(frame, toAll: ports, topology)
    }
  }

  // MARK: Send

  /// Puts the VTEP's outer header in front of the frame and sends it; a frame whose next hop is not known yet waits.
  @inline(__always)
  private mutating func encapsulate(
    _ frame: Frame, to vtep: Int, vni: UInt32, _ now: Tick, _ forwarding: borrowing Forwarding, _ egress: inout Egress
  ) {
    guard let info = forwarding.vteps.headerInfo(vtep) else { return wait(frame, vtep, vni, now, &egress) }
    switch write(frame, vtep, info, vni, forwarding, &egress) {
    case .sent: break
    case .tooBig: egress.drop(frame, .packetTooBig)
    case .headerChanged: wait(frame, vtep, vni, now, &egress)
    }
  }

  private enum Outcome { case sent, tooBig, headerChanged }

  @inline(__always)
  private mutating func write(
    _ frame: Frame, _ vtep: Int, _ info: VTEPTable.HeaderInfo, _ vni: UInt32, _ forwarding: borrowing Forwarding, _ egress: inout Egress
  ) -> Outcome {
    let totalLength = Int(frame.length) &+ OuterHeader.FromEnd.ipv4
    guard totalLength <= info.mtu else { return .tooBig }
    let inner = FrameHeaders(egress.umem.bytes(frame), key: settings.hashKey)
    var packet = frame
    packet.prepend(info.length)
    var bytes = egress.umem.mutableBytes(packet)
    guard forwarding.vteps.writeHeader(vtep, info, into: &bytes) else { return .headerChanged }
    patch(&bytes, info, inner, totalLength, vni)
    egress.send(packet, to: Topology.underlay)
    return .sent
  }

  /// The fields that differ from packet to packet (RFC 791, RFC 768, RFC 7348 section 5).
  @inline(__always)
  private mutating func patch(
    _ bytes: inout MutableRawSpan, _ info: VTEPTable.HeaderInfo, _ inner: FrameHeaders, _ totalLength: Int, _ vni: UInt32
  ) {
    identification &+= 1
    var ds = inner.dsField
    if case .fixed(let value) = settings.tos { ds = value & ~3 | ds & 3 }
    var fragment: UInt16 = 0
    switch settings.df {
    case .unset: break
    case .set: fragment = 0x4000
    case .inherit: fragment = inner.dontFragment ? 0x4000 : 0
    }
    var sum = info.partialSum &+ UInt32(ds) &+ UInt32(truncatingIfNeeded: totalLength) &+ UInt32(identification) &+ UInt32(fragment)
    sum = (sum & 0xffff) &+ sum >> 16
    sum = (sum & 0xffff) &+ sum >> 16
    // IPv4 20 bytes, UDP 8, VXLAN 8, checked at once.
    let network = info.length &- OuterHeader.FromEnd.ipv4
    var header = bytes._mutatingExtracting(network..<network &+ OuterHeader.FromEnd.ipv4)
    header.store(ds, at: 1)
    header.store(big16: UInt16(truncatingIfNeeded: totalLength), at: 2)
    header.store(big16: identification, at: 4)
    header.store(big16: fragment, at: 6)
    header.store(big16: ~UInt16(truncatingIfNeeded: sum), at: 10)
    // The upper bits of a 32-bit hash scaled to the range: no division, no bias worth speaking of.
    let ports = UInt64(settings.sourcePorts.upperBound) &- UInt64(settings.sourcePorts.lowerBound) &+ 1
    let port = UInt64(settings.sourcePorts.lowerBound) &+ (UInt64(inner.flowHash) &* ports) >> 32
    header.store(big16: UInt16(truncatingIfNeeded: port), at: 20)
    header.store(big16: UInt16(truncatingIfNeeded: totalLength &- 20), at: 24)
    header.store(big32: vni << 8, at: 32)
  }
}

// MARK: Waiting for a neighbour

extension Encapsulator {
  @inline(never)
  private mutating func wait(_ frame: Frame, _ vtep: Int, _ vni: UInt32, _ now: Tick, _ egress: inout Egress) {
    if waiting.add(frame, vtep: vtep, vni: vni, until: now.milliseconds &+ WaitingRoom.patience) {
      egress.count(.waitingEntered)
    } else {
      egress.drop(frame, .neighbourQueueFull)
    }
  }

  /// Sends what has waited for long enough: for its header, which is there now, or for its deadline.
  mutating func retryWaiting(_ now: Tick, _ forwarding: borrowing Forwarding, _ egress: inout Egress) {
    for _ in 0..<waiting.count {
      guard let entry = waiting.removeFirst() else { return }
      if forwarding.vteps.isResolved(entry.vtep) {
        egress.count(.waitingLeft)
        encapsulate(entry.frame, to: entry.vtep, vni: entry.vni, now, forwarding, &egress)
      } else if now.milliseconds >= entry.deadline {
        egress.count(.waitingLeft)
        egress.drop(entry.frame, .neighbourFailed)
      } else {
        waiting.putBack(entry)
      }
    }
  }

  /// Drops everything that waits.
  mutating func abandonWaiting(_ egress: inout Egress) {
    while let entry = waiting.removeFirst() {
      egress.count(.waitingLeft)
      egress.drop(entry.frame, .stopped)
    }
  }
}

/// Frames whose VTEP has no outer header yet, in order of arrival. Small: the kernel resolves a neighbour in less time
/// than it takes to fill, and who does not answer must not hold memory.
struct WaitingRoom: ~Copyable, Sendable {
  /// Milliseconds that a frame waits at most.
  static let patience: UInt64 = 1000
  static let capacity = 128
  /// Of one VTEP, so that one that is down leaves room for others.
  static let perVTEP = 32

  struct Entry: BitwiseCopyable {
    var frame: Frame
    var vtep: Int
    var vni: UInt32
    /// Milliseconds of the monotonic clock.
    var deadline: UInt64
  }

  private var entries = FixedBuffer(repeating: Entry(frame: Frame(start: 0, length: 0), vtep: 0, vni: 0, deadline: 0), count: capacity)
  private var first = 0
  private(set) var count = 0

  /// False: no room.
  mutating func add(_ frame: Frame, vtep: Int, vni: UInt32, until deadline: UInt64) -> Bool {
    var same = 0
    for offset in 0..<count where entries[(first + offset) % Self.capacity].vtep == vtep { same += 1 }
    guard count < Self.capacity, same < Self.perVTEP else { return false }
    putBack(Entry(frame: frame, vtep: vtep, vni: vni, deadline: deadline))
    return true
  }

  mutating func removeFirst() -> Entry? {
    guard count > 0 else { return nil }
    let entry = entries[first]
    first = (first + 1) % Self.capacity
    count -= 1
    return entry
  }

  /// At the end; there is room, since the entry has just been taken out.
  mutating func putBack(_ entry: Entry) {
    entries[(first + count) % Self.capacity] = entry
    count += 1
  }
}
