import PacketIO
import Wire

/// Takes VXLAN packets apart. In the order in which a packet meets them:
///
///     classify   outer headers, VNI to segment, source to VTEP; inner MAC addresses        drop: outer and inner headers
///     learn      inner source is behind the VTEP                                            drop: entryExists, localMAC
///     forward    look up inner destination; ECN, checksum; window moves over the headers   drop: splitHorizon, noLocalPort
///
/// A batch goes through each stage as a whole, so that memory loads overlap. What came from the underlay can only reach
/// local ports.
public struct Decapsulator: ~Copyable, Sendable {
  private let settings: TunnelSettings
  private var packets: FixedBuffer<Packet>
  private var count = 0
  // One-entry caches: packets come in runs from one VTEP for one VNI.
  private var lastSource: UInt32 = 0
  private var lastVTEP = -1
  private var lastVNI: UInt32 = .max
  private var lastSegment = -1
  /// Set when a VTEP was added to the table: the control plane has to find a header for it.
  var discovered = false

  // Not private: Swift 6.3.1 then emits a module that its own verifier refuses, in debug builds.
  struct Packet: BitwiseCopyable {
    /// The inner frame, once classified.
    var frame = Frame(start: 0, length: 0)
    var segment: Int32 = 0
    /// -1: not in the table.
    var vtep: Int32 = -1
    var source: FDBKey = 0
    var destination: FDBKey = 0
    var outerDS: UInt8 = 0
  }

  public init(settings: TunnelSettings, batch: Int) {
    self.settings = settings
    packets = FixedBuffer(repeating: Packet(), count: batch)
  }

  /// Forwards or drops every packet of `batch`, which came from the underlay, and leaves it empty.
  mutating func process(
    _ batch: inout Batch, tick: UInt32, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    for index in 0..<batch.count { egress.umem.prefetch(batch[index]) }
    count = 0
    for index in 0..<batch.count { classify(batch[index], forwarding, topology, &egress) }
    batch.removeAll()
    learn(tick, forwarding, &egress)
    for index in 0..<count { forward(packets[index], forwarding, topology, &egress) }
  }

  // MARK: Classify

  @inline(__always)
  private mutating func classify(_ frame: Frame, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress)
  {
    var packet = Packet()
    packet.frame = frame
    if let reason = readHeaders(&packet, forwarding, topology, egress.umem) { return egress.drop(frame, reason) }
    forwarding.fdb.prefetch(packet.source)
    forwarding.fdb.prefetch(packet.destination)
    packets[count] = packet
    count &+= 1
  }

  /// Ethernet with at most two tags, IPv4, UDP, VXLAN, inner Ethernet. Nil: accepted, and `packet` is filled in.
  @inline(__always)
  private mutating func readHeaders(
    _ packet: inout Packet, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ umem: borrowing UMEM
  ) -> DropReason? {
    let bytes = umem.bytes(packet.frame)
    guard bytes.byteCount >= VXLAN.overheadIPv4 &+ Ethernet.headerLength else { return .packetTooSmall }
    var network = Ethernet.headerLength
    if EtherType.isTag(bytes.big16(at: 12)) {
      network = EtherType.isTag(bytes.big16(at: 16)) ? 22 : 18
      guard bytes.byteCount >= network &+ 36 &+ Ethernet.headerLength else { return .packetTooSmall }
    }
    guard bytes.big16(at: network &- 2) == EtherType.ipv4, bytes.byte(at: network) >> 4 == 4 else { return .ipInvalidHeader }
    guard bytes.byte(at: network) == 0x45, bytes.big16(at: network &+ 6) & 0x3fff == 0 else { return .ipFragment }
    let totalLength = Int(bytes.big16(at: network &+ 2))
    // Bytes after the IP packet are Ethernet padding; fewer than it says is a lie.
    guard totalLength >= 36 &+ Ethernet.headerLength, totalLength <= bytes.byteCount &- network else { return .ipInvalidHeader }
    guard Self.headerSum(bytes, network) == 0xffff else { return .ipChecksum }
    guard bytes.big32(at: network &+ 16) == settings.local.v4, bytes.byte(at: network &+ 9) == IPProtocol.udp else {
      return .ipInvalidDestination
    }

    let udp = network &+ 20
    guard bytes.big16(at: udp &+ 2) == settings.port else { return .ipInvalidDestination }
    let udpLength = Int(bytes.big16(at: udp &+ 4))
    guard udpLength >= 16 &+ Ethernet.headerLength, udpLength <= totalLength &- 20 else { return .udpInvalidLength }
    guard bytes.big32(at: udp &+ 8) & VXLAN.validVNI != 0 else { return .vxlanInvalidHeader }

    let vni = bytes.big32(at: udp &+ 12) >> 8
    if vni != lastVNI {
      lastSegment = topology.segment(ofVNI: vni)
      lastVNI = vni
    }
    guard lastSegment >= 0 else { return .vniNotFound }
    packet.segment = Int32(truncatingIfNeeded: lastSegment)
    if let reason = readSource(bytes.big32(at: network &+ 12), forwarding) { return reason }
    packet.vtep = Int32(truncatingIfNeeded: lastVTEP)

    let inner = udp &+ 16
    let destination = bytes.mac(at: inner)
    let source = bytes.mac(at: inner &+ 6)
    guard !source.isMulticast && !source.isZero else { return .macInvalidSource }
    guard !destination.isLinkLocalGroup else { return .linkLocalGroup }
    if EtherType.isTag(bytes.big16(at: inner &+ 12)) && !topology.segments[lastSegment].keepsInnerTags { return .innerVLAN }
    packet.destination = fdbKey(lastSegment, destination)
    packet.source = fdbKey(lastSegment, source)
    packet.outerDS = bytes.byte(at: network &+ 1)
    packet.frame.removeFirst(inner)
    packet.frame.length = UInt16(truncatingIfNeeded: udpLength &- 16)
    return nil
  }

  /// The sum of the IPv4 header's ten 16-bit words, folded: 0xffff when the checksum is right (RFC 1071).
  @inline(__always)
  private static func headerSum(_ bytes: RawSpan, _ offset: Int) -> UInt64 {
    var sum = UInt64(bytes.big32(at: offset)) &+ UInt64(bytes.big32(at: offset &+ 4)) &+ UInt64(bytes.big32(at: offset &+ 8))
    sum &+= UInt64(bytes.big32(at: offset &+ 12)) &+ UInt64(bytes.big32(at: offset &+ 16))
    sum = (sum & 0xffff_ffff) &+ sum >> 32
    sum = (sum & 0xffff) &+ (sum >> 16)
    return (sum & 0xffff) &+ sum >> 16
  }

  /// Judges the outer source address and finds its VTEP.
  @inline(__always)
  private mutating func readSource(_ source: UInt32, _ forwarding: borrowing Forwarding) -> DropReason? {
    if source == lastSource && lastVTEP >= 0 { return nil }
    return lookUpSource(IPAddress(v4: source), forwarding)
  }

  @inline(never)
  private mutating func lookUpSource(_ source: IPAddress, _ forwarding: borrowing Forwarding) -> DropReason? {
    lastVTEP = -1
    guard !source.isMartianSource, source != settings.local else { return .ipInvalidSource }
    if let index = forwarding.vteps.index(of: source) {
      if settings.onlyListed && !forwarding.vteps.isListed(index) { return .vtepNotListed }
      lastVTEP = index
    } else if settings.onlyListed {
      return .vtepNotListed
    } else if settings.learning, let (index, isNew) = forwarding.vteps.add(source) {
      lastVTEP = index
      discovered = discovered || isNew
    }
    lastSource = source.v4
    return nil
  }

  // MARK: Learn

  /// The whole batch learns before anything is forwarded. Packets that may not pass are dropped here.
  @inline(__always)
  private mutating func learn(_ tick: UInt32, _ forwarding: borrowing Forwarding, _ egress: inout Egress) {
    var kept = 0
    for index in 0..<count {
      let packet = packets[index]
      switch verdict(packet, tick, forwarding) {
      case .known: break
      case .added: egress.count(.learned)
      case .moved: egress.count(.moved)
      case .full: egress.count(.tableFull)
      case .conflict:
        egress.drop(packet.frame, .entryExists)
        continue
      case .ours:
        egress.drop(packet.frame, .localMAC)
        continue
      }
      packets[kept] = packet
      kept &+= 1
    }
    count = kept
  }

  @inline(__always)
  private func verdict(_ packet: Packet, _ tick: UInt32, _ forwarding: borrowing Forwarding) -> FDB.Verdict {
    if settings.learning && packet.vtep >= 0 {
      return forwarding.fdb.learn(packet.source, at: .vtep(Int(packet.vtep)), tick: tick)
    }
    // Our own frames come back whether or not we learn.
    return forwarding.fdb.lookUp(packet.source)?.state == .permanent ? .ours : .known
  }

  // MARK: Forward

  @inline(__always)
  private func forward(_ packet: Packet, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress) {
    var frame = packet.frame
    if packet.outerDS & 3 != 0 && !Self.propagateCongestion(frame, packet.outerDS, &egress.umem) {
      return egress.drop(frame, .ipTunnelECN)
    }
    egress.completeChecksum(&frame)
    let isGroup = packet.destination & 0x0100_0000_0000 != 0
    if !isGroup, let entry = forwarding.fdb.lookUp(packet.destination) {
      if entry.destination.isVTEP { return egress.drop(frame, .splitHorizon) }
      let port = entry.destination.index
      return egress.deliver(frame, to: port, isWire: topology.isWire[port])
    }
    let ports = topology.segments[Int(packet.segment)].ports
    if ports == 0 { return egress.drop(frame, .noLocalPort) }
    egress.deliver(frame, toAll: ports, topology)
  }

  /// Carries the outer ECN codepoint into the inner header (RFC 6040). False: the frame must be dropped.
  @inline(never)
  private static func propagateCongestion(_ frame: Frame, _ outer: UInt8, _ umem: inout UMEM) -> Bool {
    let headers = FrameHeaders(umem.bytes(frame), key: 0)
    guard headers.isIP else { return true }
    guard let codepoint = ECN.decapsulated(inner: headers.dsField, outer: outer) else { return false }
    if codepoint != headers.dsField & 3 {
      var bytes = umem.mutableBytes(frame)
      bytes.setECN(codepoint, etherType: headers.etherType, networkOffset: headers.networkOffset)
    }
    return true
  }
}
