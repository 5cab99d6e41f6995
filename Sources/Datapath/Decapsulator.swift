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
  // What the settings come to, one by one: a struct of this size is copied whole wherever a function reads it.
  private let local: IPAddress
  private let port: UInt16
  private let isIPv4: Bool
  /// Whether anything may be wrong with a UDP checksum: one that is zero over IPv6, or one that is verified.
  private let looksAtUDPChecksum: Bool
  private let verifiesUDPChecksum: Bool
  private let acceptsZeroUDP: Bool
  private let reservedBits: UInt64
  private let segmentSizeLimit: UInt16
  private let learning: Bool
  private let onlyListed: Bool
  private var packets: FixedBuffer<Packet>
  private var count = 0
  // One-entry caches: packets come in runs from one VTEP for one VNI.
  private var lastSource = IPAddress(high: 0, low: 0)
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
    /// Their places in the FDB.
    var sourceHome: UInt32 = 0
    var destinationHome: UInt32 = 0
    var outerDS: UInt8 = 0
    /// A tag that is to be taken off.
    var hasPriorityTag = false
  }

  public init(settings: TunnelSettings, batch: Int) {
    local = settings.local
    port = settings.port
    isIPv4 = settings.local.isIPv4
    verifiesUDPChecksum = settings.verifiesUDPChecksum
    acceptsZeroUDP = settings.local.isIPv4 || settings.acceptsZeroUDP6
    looksAtUDPChecksum = settings.verifiesUDPChecksum || !settings.local.isIPv4 && !settings.acceptsZeroUDP6
    reservedBits = settings.reservedBits
    segmentSizeLimit = settings.segmentSizeLimit
    learning = settings.learning
    onlyListed = settings.onlyListed
    packets = FixedBuffer(repeating: Packet(), count: batch)
  }

  /// Forwards or drops every packet of `batch`, which came from the underlay, and leaves it empty.
  @inline(never)
  mutating func process(
    _ batch: inout Batch, tick: UInt32, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    for index in 0..<batch.count {
      egress.umem.prefetch(batch[index])
      // Inner IP and transport header.
      egress.umem.prefetch(batch[index], at: 64)
    }
    classify(batch, forwarding.fdb, forwarding, topology, &egress)
    batch.removeAll()
    learn(tick, forwarding.fdb, forwarding, topology, &egress)
    forward(forwarding.fdb, forwarding, topology, &egress)
  }

  // Each stage is a function of its own, with a loop: in one function for all, the optimiser has enough before everything that
  // handles a packet is inlined, and calls the rest for each. It gets the FDB besides `forwarding`, because a struct of that size is
  // copied wherever it is read from a class.

  // MARK: Classify

  @inline(never)
  private mutating func classify(
    _ batch: borrowing Batch, _ fdb: borrowing FDB, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    count = 0
    for index in 0..<batch.count { classify(batch[index], fdb, forwarding, topology, &egress) }
  }

  @inline(__always)
  private mutating func classify(
    _ frame: Frame, _ fdb: borrowing FDB, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    var packet = Packet()
    packet.frame = frame
    if let reason = readHeaders(&packet, forwarding, topology, egress.umem) { return egress.drop(frame, reason) }
    packet.sourceHome = fdb.prefetch(packet.source)
    packet.destinationHome = fdb.prefetch(packet.destination)
    packets[count] = packet
    count &+= 1
  }

  /// Ethernet with at most two tags, IP, UDP, VXLAN, inner Ethernet. Nil: accepted, and `packet` is filled in.
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
    var outer = Outer()
    if let reason = isIPv4 ? readIPv4(bytes, network, &outer) : readIPv6(bytes, network, &outer) { return reason }
    guard outer.destination == local || topology.listens(to: outer.destination) else { return .ipInvalidDestination }

    let udp = outer.udp
    let inner = udp &+ 16
    // UDP and VXLAN headers and inner Ethernet header, checked at once.
    let head = bytes.extracting(udp..<inner &+ Ethernet.headerLength)
    guard head.big16(at: 2) == port else { return .ipInvalidDestination }
    let udpLength = Int(head.big16(at: 4))
    guard udpLength >= 16 &+ Ethernet.headerLength, udpLength <= outer.room else { return .udpInvalidLength }
    if looksAtUDPChecksum, let reason = checkUDP(bytes, network, udp, udpLength) { return reason }
    let header = head.big64(at: 8)
    guard header & UInt64(VXLAN.validVNI) << 32 != 0 else { return .vxlanInvalidHeader }

    let vni = UInt32(truncatingIfNeeded: header) >> 8
    if vni != lastVNI {
      lastSegment = topology.segment(ofVNI: vni)
      lastVNI = vni
    }
    guard lastSegment >= 0 else { return .vniNotFound }
    guard header & reservedBits == 0 else { return .vxlanReservedBits }
    packet.segment = Int32(truncatingIfNeeded: lastSegment)
    if let reason = readSource(outer.source, forwarding) { return reason }
    packet.vtep = Int32(truncatingIfNeeded: lastVTEP)

    let destination = head.mac(at: 16)
    let source = head.mac(at: 22)
    guard !source.isMulticast && !source.isZero else { return .macInvalidSource }
    guard !destination.isLinkLocalGroup else { return .linkLocalGroup }
    if EtherType.isTag(head.big16(at: 28)) && !topology.segments[lastSegment].keepsInnerTags {
      guard Self.hasOnlyPriority(bytes, inner, end: udp &+ udpLength) else { return .innerVLAN }
      packet.hasPriorityTag = true
    }
    packet.destination = fdbKey(lastSegment, destination)
    packet.source = fdbKey(lastSegment, source)
    packet.outerDS = outer.ds
    packet.frame.narrow(from: inner, length: udpLength &- 16)
    return nil
  }

  /// Whether the only tag of the inner frame, which ends at `end`, is of VLAN 0, which is none (IEEE 802.1Q-2018, 6.9.1).
  @inline(never)
  private static func hasOnlyPriority(_ bytes: RawSpan, _ inner: Int, end: Int) -> Bool {
    end >= inner &+ 18 && bytes.big16(at: inner &+ 14) & 0xfff == 0 && !EtherType.isTag(bytes.big16(at: inner &+ 16))
  }

  /// What the outer IP header says.
  private struct Outer {
    /// Offset of the UDP header, and bytes from it to the end of the IP packet.
    var udp = 0
    var room = 0
    var source = IPAddress(high: 0, low: 0)
    var destination = IPAddress(high: 0, low: 0)
    var ds: UInt8 = 0
  }

  @inline(__always)
  private func readIPv4(_ bytes: RawSpan, _ network: Int, _ outer: inout Outer) -> DropReason? {
    guard bytes.big16(at: network &- 2) == EtherType.ipv4, bytes.byte(at: network) >> 4 == 4 else { return .ipInvalidHeader }
    guard bytes.byte(at: network) == 0x45, bytes.big16(at: network &+ 6) & 0x3fff == 0 else { return .ipFragment }
    let totalLength = Int(bytes.big16(at: network &+ 2))
    // Bytes after the IP packet are Ethernet padding; fewer than it says is a lie.
    guard totalLength >= 36 &+ Ethernet.headerLength, totalLength <= bytes.byteCount &- network else { return .ipInvalidHeader }
    guard Self.headerSum(bytes, network) == 0xffff else { return .ipChecksum }
    guard bytes.byte(at: network &+ 9) == IPProtocol.udp else { return .ipInvalidDestination }
    outer.udp = network &+ 20
    outer.room = totalLength &- 20
    outer.source = IPAddress(v4: bytes.big32(at: network &+ 12))
    outer.destination = IPAddress(v4: bytes.big32(at: network &+ 16))
    outer.ds = bytes.byte(at: network &+ 1)
    return nil
  }

  /// RFC 8200 section 3. Extension headers other than a fragment's stay with the kernel.
  @inline(__always)
  private func readIPv6(_ bytes: RawSpan, _ network: Int, _ outer: inout Outer) -> DropReason? {
    guard bytes.byteCount >= network &+ 56 &+ Ethernet.headerLength else { return .packetTooSmall }
    let first = bytes.big16(at: network)
    guard bytes.big16(at: network &- 2) == EtherType.ipv6, first >> 12 == 6 else { return .ipInvalidHeader }
    let next = bytes.byte(at: network &+ 6)
    guard next != IPProtocol.fragment else { return .ipFragment }
    let payload = Int(bytes.big16(at: network &+ 4))
    guard payload >= 16 &+ Ethernet.headerLength, payload <= bytes.byteCount &- network &- 40 else { return .ipInvalidHeader }
    guard next == IPProtocol.udp else { return .ipInvalidDestination }
    outer.udp = network &+ 40
    outer.room = payload
    outer.source = IPAddress(high: bytes.big64(at: network &+ 8), low: bytes.big64(at: network &+ 16))
    outer.destination = IPAddress(high: bytes.big64(at: network &+ 24), low: bytes.big64(at: network &+ 32))
    outer.ds = UInt8(truncatingIfNeeded: first >> 4)
    return nil
  }

  /// Zero is no checksum: always right over IPv4 (RFC 7348 section 5), over IPv6 where it is allowed (RFC 6935).
  @inline(never)
  private func checkUDP(_ bytes: RawSpan, _ network: Int, _ udp: Int, _ length: Int) -> DropReason? {
    if bytes.big16(at: udp &+ 6) == 0 { return acceptsZeroUDP ? nil : .udpChecksum }
    // The kernel leaves the outer checksum to a NIC as well; between veths there is none.
    guard verifiesUDPChecksum, !OuterChecksum.isPartial(bytes, ip: network, isIPv6: !isIPv4, datagram: udp..<udp &+ length) else {
      return nil
    }
    return OuterChecksum.isRight(bytes, ip: network, isIPv6: !isIPv4, datagram: udp..<udp &+ length) ? nil : .udpChecksum
  }

  /// The sum of the IPv4 header's ten 16-bit words, folded: 0xffff when the checksum is right (RFC 1071).
  @inline(__always)
  private static func headerSum(_ bytes: RawSpan, _ offset: Int) -> UInt16 {
    var sum = UInt64(bytes.big32(at: offset)) &+ UInt64(bytes.big32(at: offset &+ 4)) &+ UInt64(bytes.big32(at: offset &+ 8))
    sum &+= UInt64(bytes.big32(at: offset &+ 12)) &+ UInt64(bytes.big32(at: offset &+ 16))
    return Checksum.fold(sum)
  }

  /// Judges the outer source address and finds its VTEP.
  @inline(__always)
  private mutating func readSource(_ source: IPAddress, _ forwarding: borrowing Forwarding) -> DropReason? {
    if source == lastSource && lastVTEP >= 0 { return nil }
    return lookUpSource(source, forwarding)
  }

  @inline(never)
  private mutating func lookUpSource(_ source: IPAddress, _ forwarding: borrowing Forwarding) -> DropReason? {
    lastVTEP = -1
    // An IPv4-mapped address (RFC 4291 section 2.5.5.2) in an IPv6 header would become a VTEP that nobody can send to.
    guard !source.isMartianSource, source != local, source.isIPv4 == isIPv4 else { return .ipInvalidSource }
    let remote = Remote(source, port: port)
    if let index = forwarding.vteps.index(of: remote) {
      if onlyListed && !forwarding.vteps.isListed(index) { return .vtepNotListed }
      lastVTEP = index
    } else if onlyListed {
      return .vtepNotListed
    } else if learning, let (index, isNew) = forwarding.vteps.add(remote) {
      lastVTEP = index
      discovered = discovered || isNew
    }
    lastSource = source
    return nil
  }

  /// The tables have changed: what was remembered of them may be wrong.
  mutating func forget() {
    lastVNI = .max
    lastVTEP = -1
  }

  // MARK: Learn

  /// The whole batch learns before anything is forwarded. Packets that may not pass are dropped here. What is rare gets a packet's
  /// index: passing the packet would copy each to the stack, and reading it back at once stalls (measured: 6 ns).
  @inline(never)
  private mutating func learn(
    _ tick: UInt32, _ fdb: borrowing FDB, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    var kept = 0
    for index in 0..<count {
      switch verdict(packets[index], tick, fdb) {
      case .known: break
      case .added:
        egress.count(.learned)
        if topology.reportsLearning { report(.learned, index, egress) }
      case .moved:
        egress.count(.moved)
        if topology.reportsLearning { report(.moved, index, egress) }
      case .full: egress.count(.tableFull)
      case .conflict:
        if isWhereItBelongs(index, forwarding) { break }
        egress.drop(packets[index].frame, .entryExists)
        continue
      case .ours:
        egress.drop(packets[index].frame, .localMAC)
        continue
      }
      if kept != index { packets[kept] = packets[index] }
      kept &+= 1
    }
    count = kept
  }

  @inline(__always)
  private func verdict(_ packet: Packet, _ tick: UInt32, _ fdb: borrowing FDB) -> FDB.Verdict {
    if learning && packet.vtep >= 0 {
      return fdb.learn(packet.source, from: packet.sourceHome, at: .vtep(Int(packet.vtep)), tick: tick)
    }
    // Our own frames come back whether or not we learn.
    return fdb.lookUp(packet.source)?.isOurs ?? false ? .ours : .known
  }

  /// Whether the source has a static entry on a remote of the same address: VTEPs send from that, whatever port and VNI they are
  /// sent to (kernel: vxlan_snoop in drivers/net/vxlan/vxlan_core.c).
  @inline(never)
  private func isWhereItBelongs(_ index: Int, _ forwarding: borrowing Forwarding) -> Bool {
    let packet = packets[index]
    guard let place = forwarding.fdb.lookUp(packet.source)?.destination, place.isVTEP else { return false }
    return forwarding.vteps.address(place.index) == forwarding.vteps.address(Int(packet.vtep))
  }

  @inline(__always)
  private func report(_ kind: Event.Kind, _ index: Int, _ egress: borrowing Egress) {
    let packet = packets[index]
    egress.events.post(
      Event(kind, segment: Int(packet.segment), mac: MACAddress(packet.source), at: .vtep(Int(packet.vtep))))
  }

  // MARK: Forward

  @inline(never)
  private func forward(_ fdb: borrowing FDB, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress) {
    for index in 0..<count { forward(packets[index], fdb, forwarding, topology, &egress) }
  }

  @inline(__always)
  private func forward(
    _ packet: Packet, _ fdb: borrowing FDB, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    var frame = packet.frame
    if packet.hasPriorityTag { egress.umem.popTag(&frame) }
    if packet.outerDS & 3 != 0 && !Self.propagateCongestion(frame, packet.outerDS, &egress.umem) {
      return egress.drop(frame, .ipTunnelECN)
    }
    if let isSYN = egress.completeChecksum(&frame) {
      if isSYN && segmentSizeLimit != 0 && packet.vtep >= 0 {
        egress.lowerSegmentSize(frame, to: Int(packet.vtep), segmentSizeLimit, forwarding)
      }
    } else if topology.snoops && topology.segments[Int(packet.segment)].options.contains(.suppress) {
      egress.snoop(frame, Int(packet.segment), at: .vtep(Int(max(0, packet.vtep))), forwarding)
    }
    let isGroup = packet.destination & 0x0100_0000_0000 != 0
    if !isGroup, let entry = fdb.lookUp(packet.destination, from: packet.destinationHome) {
      guard entry.destination.isPort else { return egress.drop(frame, .splitHorizon) }
      guard let local = topology.localPort(entry.destination.index, of: packet.segment) else { return egress.drop(frame, .noLocalPort) }
      return egress.deliver(frame, to: local)
    }
    let segment = topology.segments[Int(packet.segment)]
    if segment.localPorts.count == 0 { return egress.drop(frame, .noLocalPort) }
    egress.deliver(frame, toAll: segment, topology)
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
