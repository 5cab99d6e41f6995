import PacketIO
import Wire

/// Takes frames from local ports to where they belong. In the order in which a frame meets them:
///
///     classify   VLAN tag to local port and segment; MAC addresses                      drop: VLAN, inner header
///     learn      the source is on this local port                                       drop: entryExists, localMAC
///     forward    look up the destination: a remote VTEP, another local port, or all     drop: noRemote, samePort
///     send       outer header into the headroom, what differs per packet patched        drop: packetTooBig; or wait
///
/// A batch goes through each stage as a whole, so that memory loads overlap.
public struct Encapsulator: ~Copyable, Sendable {
  // What the settings come to, number by number: a struct of this size is copied whole wherever a function reads it.
  let hashKey: UInt64
  let firstPort: UInt64
  let portCount: UInt64
  /// Of the inner packet's DS field, what goes outside as well, and what is added.
  let inheritedDS: UInt8
  let ds: UInt8
  /// DF as it stands, and where the inner packet has it.
  let df: UInt16
  let inheritedDF: UInt16
  let inheritsTTL: Bool
  let flowLabel: TunnelSettings.FlowLabel
  /// See `TunnelSettings.segmentSizeLimit`.
  let segmentSizeLimit: UInt16
  var frames: FixedBuffer<Classified>
  private var count = 0
  /// Outer IPv4 identification; differs between packets that may be fragmented on the way (RFC 6864 section 4.2).
  var identification = UInt16.random(in: .min ... .max)
  var waiting = WaitingRoom()
  /// Answers to frames that were too big in this second.
  var tooBigAnswers = (second: UInt32(0), count: 0)

  // Not private: see `Decapsulator.Packet`.
  struct Classified: BitwiseCopyable {
    var frame = Frame(start: 0, length: 0)
    var source: FDBKey = 0
    var destination: FDBKey = 0
    /// Their places in the FDB.
    var sourceHome: UInt32 = 0
    var destinationHome: UInt32 = 0
    /// Number of the local port, and index of its segment.
    var local: Int32 = -1
    var segment: Int32 = -1
  }

  public init(settings: TunnelSettings, batch: Int) {
    hashKey = settings.hashKey
    firstPort = UInt64(settings.sourcePorts.lowerBound)
    portCount = UInt64(settings.sourcePorts.count)
    switch settings.tos {
    case .fixed(let octet): (inheritedDS, ds) = (3, octet & ~3)
    case .inherit: (inheritedDS, ds) = (0xff, 0)
    }
    df = settings.df == .set ? 0x4000 : 0
    inheritedDF = settings.df == .inherit ? 0x4000 : 0
    inheritsTTL = settings.inheritsTTL
    flowLabel = settings.flowLabel
    segmentSizeLimit = settings.segmentSizeLimit
    frames = FixedBuffer(repeating: Classified(), count: batch)
  }

  /// Forwards or drops every frame of `batch`, which came from port `port`, and leaves it empty.
  @inline(never)
  mutating func process(
    _ batch: inout Batch, from port: Int, now: Tick, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    for index in 0..<batch.count {
      egress.umem.prefetch(batch[index])
      // Where the outer header will be.
      egress.umem.prefetch(batch[index], at: -64)
    }
    classify(batch, from: port, forwarding.fdb, topology, &egress)
    batch.removeAll()
    learn(now.seconds, forwarding.fdb, topology, &egress)
    forward(now, forwarding.fdb, forwarding, topology, &egress)
  }

  // MARK: Classify

  // A stage is a function of its own: see `Decapsulator`.
  @inline(never)
  private mutating func classify(
    _ batch: borrowing Batch, from port: Int, _ fdb: borrowing FDB, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    count = 0
    let untagged = topology.untagged[port]
    for index in 0..<batch.count { classify(batch[index], from: port, untagged, fdb, topology, &egress) }
  }

  @inline(__always)
  private mutating func classify(
    _ frame: Frame, from port: Int, _ untagged: Int32, _ fdb: borrowing FDB, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    var classified = Classified(frame: frame, local: untagged)
    if let reason = readHeader(&classified, port, topology, &egress.umem) { return egress.drop(classified.frame, reason) }
    classified.sourceHome = fdb.prefetch(classified.source)
    classified.destinationHome = fdb.prefetch(classified.destination)
    frames[count] = classified
    count &+= 1
  }

  @inline(__always)
  private func readHeader(_ frame: inout Classified, _ port: Int, _ topology: borrowing Topology, _ umem: inout UMEM) -> DropReason? {
    let (destination, source, isTagged): (MACAddress, MACAddress, Bool)
    do {
      let bytes = umem.bytes(frame.frame)
      guard bytes.byteCount >= Ethernet.headerLength else { return .frameTooSmall }
      (destination, source, isTagged) = (bytes.mac(at: 0), bytes.mac(at: 6), EtherType.isTag(bytes.big16(at: 12)))
    }
    guard !source.isMulticast && !source.isZero else { return .macInvalidSource }
    guard !destination.isLinkLocalGroup else { return .linkLocalGroup }
    if isTagged {
      // A copy: whose address a call has must be in memory, also where there is no tag.
      var tagged = frame
      let reason = Self.readTag(&tagged, port, topology, &umem)
      frame = tagged
      if let reason { return reason }
    } else if frame.local < 0 {
      return .vlanNotFound
    }
    frame.segment = topology.localPorts[Int(frame.local)].segment
    frame.destination = fdbKey(Int(frame.segment), destination)
    frame.source = fdbKey(Int(frame.segment), source)
    return nil
  }

  /// Finds the local port of a tagged frame, and takes the tag off unless it is a trunk's.
  @inline(never)
  private static func readTag(_ frame: inout Classified, _ port: Int, _ topology: borrowing Topology, _ umem: inout UMEM) -> DropReason? {
    if frame.local >= 0 && topology.localPorts[Int(frame.local)].isTrunk { return nil }
    guard frame.frame.length >= UInt16(Ethernet.headerLength) &+ 4 else { return .frameTooSmall }
    let (type, tci) = (umem.bytes(frame.frame).big16(at: 12), umem.bytes(frame.frame).big16(at: 14))
    let tagged = tci & 0xfff == 0 ? frame.local : topology.localPort(of: port, type: type, vid: tci)
    if tagged >= 0 {
      frame.local = tagged
      umem.popTag(&frame.frame)
      if keepsInnerTags(frame, topology) { return nil }
      let second = umem.bytes(frame.frame).vlanTag
      if second != 0 && VLAN.identifier(second) == 0 { umem.popTag(&frame.frame) }
      return EtherType.isTag(umem.bytes(frame.frame).big16(at: 12)) ? .innerVLAN : nil
    }
    guard frame.local >= 0 else { return .vlanNotFound }
    return keepsInnerTags(frame, topology) ? nil : .innerVLAN
  }

  private static func keepsInnerTags(_ frame: Classified, _ topology: borrowing Topology) -> Bool {
    topology.segments[Int(topology.localPorts[Int(frame.local)].segment)].keepsInnerTags
  }

  // MARK: Learn

  /// A bridge learns on its ports whether or not the tunnel does (`--no-learning` is about VTEPs).
  @inline(never)
  private mutating func learn(_ tick: UInt32, _ fdb: borrowing FDB, _ topology: borrowing Topology, _ egress: inout Egress) {
    var kept = 0
    for index in 0..<count {
      let (source, home, local) = (frames[index].source, frames[index].sourceHome, frames[index].local)
      switch fdb.learn(source, from: home, at: .port(Int(local)), tick: tick) {
      case .known: break
      case .added:
        egress.count(.learned)
        if topology.reportsLearning { report(.learned, index, egress) }
      case .moved:
        egress.count(.moved)
        if topology.reportsLearning { report(.moved, index, egress) }
      case .full: egress.count(.tableFull)
      case .conflict:
        egress.drop(frames[index].frame, .entryExists)
        continue
      case .ours:
        egress.drop(frames[index].frame, .localMAC)
        continue
      }
      if kept != index { frames[kept] = frames[index] }
      kept &+= 1
    }
    count = kept
  }

  private func report(_ kind: Event.Kind, _ index: Int, _ egress: borrowing Egress) {
    let frame = frames[index]
    egress.events.post(Event(kind, segment: Int(frame.segment), mac: MACAddress(frame.source), at: .port(Int(frame.local))))
  }

  // MARK: Forward

  @inline(never)
  private mutating func forward(
    _ now: Tick, _ fdb: borrowing FDB, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    for index in 0..<count { forward(index, now, fdb, forwarding, topology, &egress) }
  }

  @inline(__always)
  private mutating func forward(
    _ index: Int, _ now: Tick, _ fdb: borrowing FDB, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    var frame = frames[index].frame
    let segment = Int(frames[index].segment)
    let local = Int(frames[index].local)
    let destination = frames[index].destination
    // Of the segment's record only what is needed: it would be kept on the stack as a whole.
    let options = topology.segments[segment].options
    if options.answersNeighbours && answerNeighbour(frame, index, now, forwarding, topology, &egress) { return }
    let (inner, isSYN) = egress.completeChecksum(&frame, hashKey: hashKey)
    let isGroup = destination & 0x0100_0000_0000 != 0
    guard !isGroup || options.contains(.hasGroupEntries),
      let place = fdb.lookUp(destination, from: frames[index].destinationHome)?.destination
    else {
      return flood(frame, inner, isSYN, index, topology.segments[segment].remotes, now, forwarding, topology, &egress)
    }
    if isGroup || place.isList {
      // The bridge's other ports get their copies whatever the tunnel does.
      let list = place.isList ? topology.lists[place.index] : Topology.Span()
      return flood(frame, inner, isSYN, index, list, now, forwarding, topology, &egress)
    }
    if place.isVTEP {
      if isSYN && segmentSizeLimit != 0 { egress.lowerSegmentSize(frame, to: place.index, segmentSizeLimit, forwarding) }
      let vni = topology.segments[segment].vni
      encapsulate(frame, inner, to: place.index, vni: vni, from: local, now, forwarding, topology, &egress)
    } else if place.index == local {
      egress.drop(frame, .samePort)
    } else if let local = topology.localPort(place.index, of: Int32(segment)) {
      egress.deliver(frame, to: local)
    } else {
      egress.drop(frame, .noLocalPort)
    }
  }

  /// One copy for each remote of the list and each other local port; the last place gets the frame itself. What is rare gets the
  /// index in `frames`: see `Decapsulator.learn`.
  @inline(never)
  private mutating func flood(
    _ frame: Frame, _ inner: FrameHeaders, _ isSYN: Bool, _ index: Int, _ list: Topology.Span, _ now: Tick,
    _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    let classified = frames[index]
    let segment = topology.segments[Int(classified.segment)]
    let isAlone = segment.localPorts.count <= 1
    if list.count == 0 {
      if classified.destination & 0x0100_0000_0000 == 0 && segment.options.contains(.reportsL2Miss) {
        let miss = Event(.l2Miss, segment: Int(classified.segment), mac: MACAddress(classified.destination))
        egress.events.postMiss(miss, tick: now.seconds)
      }
      if isAlone { return egress.drop(frame, .noRemote) }
    }
    let remotes = list.range
    if isSYN && segmentSizeLimit != 0 {
      for index in remotes { egress.lowerSegmentSize(frame, to: Int(topology.remotes[index]), segmentSizeLimit, forwarding) }
    }
    // The frame itself goes to the local ports if there are others, else to the last remote.
    for index in isAlone ? remotes.dropLast() : remotes {
      guard let copy = egress.replicate(frame) else { continue }
      encapsulate(
        copy, inner, to: Int(topology.remotes[index]), vni: segment.vni, from: Int(classified.local), now, forwarding, topology, &egress)
    }
    if isAlone {
      let last = Int(topology.remotes[remotes.upperBound - 1])
      encapsulate(frame, inner, to: last, vni: segment.vni, from: Int(classified.local), now, forwarding, topology, &egress)
    } else {
      egress.deliver(frame, toAll: segment, but: Int(classified.local), topology)
    }
  }
}
