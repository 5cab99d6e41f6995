import PacketIO
import Wire

// The last stage: an outer header in front of the frame, or a place to wait for one.

extension Encapsulator {
  /// Puts the remote's outer header in front of the frame and sends it; a frame whose next hop is not known yet waits.
  ///
  /// - Parameters:
  ///   - vni: the segment's; the remote may have one of its own.
  ///   - local: number of the local port that the frame came from.
  @inline(__always)
  mutating func encapsulate(
    _ frame: Frame, _ inner: FrameHeaders, to vtep: Int, vni: UInt32, from local: Int, _ now: Tick, _ forwarding: borrowing Forwarding,
    _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    guard let info = forwarding.vteps.headerInfo(vtep) else { return wait(frame, vtep, vni, local, now, &egress) }
    switch write(frame, inner, vtep, info, vni, forwarding, &egress) {
    case .sent: break
    case .tooBig: refuse(frame, info, from: local, now, topology, &egress)
    case .headerChanged: wait(frame, vtep, vni, local, now, &egress)
    }
  }

  private enum Outcome { case sent, tooBig, headerChanged }

  @inline(__always)
  private mutating func write(
    _ frame: Frame, _ inner: FrameHeaders, _ vtep: Int, _ info: VTEPTable.HeaderInfo, _ vni: UInt32, _ forwarding: borrowing Forwarding, _ egress: inout Egress
  ) -> Outcome {
    let totalLength = Int(frame.length) &+ info.overhead
    guard totalLength <= info.mtu else { return .tooBig }
    var sum: UInt64 = 0
    if info.hasUDPChecksum { sum = Self.innerSum(egress.umem.bytes(frame)) }
    let hopLimit = settings.inheritsTTL ? inner.hopLimit(egress.umem.bytes(frame)) : 0
    let label = settings.flowLabel == .inherit ? inner.flowLabel(egress.umem.bytes(frame)) : inner.flowHash & 0xf_ffff
    var packet = frame
    packet.prepend(info.length)
    var bytes = egress.umem.mutableBytes(packet)
    guard forwarding.vteps.writeHeader(vtep, info, into: &bytes) else { return .headerChanged }
    let vni = info.hasVNI ? forwarding.vteps.remote(vtep).vni ?? vni : vni
    let outer = Outer(info: info, inner: inner, hopLimit: hopLimit, flowLabel: label, length: totalLength, vni: vni, innerSum: sum)
    if info.isIPv6 { patchIPv6(&bytes, outer) } else { patchIPv4(&bytes, outer) }
    egress.send(packet, to: Topology.underlay)
    return .sent
  }

  @inline(never)
  private static func innerSum(_ frame: RawSpan) -> UInt64 { OuterChecksum.innerSum(frame, TransportHeader(frame)) }

  /// What the fields that differ from packet to packet are made from.
  private struct Outer {
    let info: VTEPTable.HeaderInfo
    let inner: FrameHeaders
    /// Of the outer header; 0: the remote's.
    let hopLimit: UInt8
    /// Of the outer IPv6 header, where it is not the remote's.
    let flowLabel: UInt32
    /// Of the IP packet, in bytes.
    let length: Int
    let vni: UInt32
    /// Running sum of the inner frame, where there is a UDP checksum.
    let innerSum: UInt64
  }

  /// RFC 791, RFC 768, RFC 7348 section 5.
  @inline(__always)
  private mutating func patchIPv4(_ bytes: inout MutableRawSpan, _ outer: Outer) {
    identification &+= 1
    let ds = dsField(outer.inner)
    var fragment: UInt16 = 0
    switch settings.df {
    case .unset: break
    case .set: fragment = 0x4000
    case .inherit: fragment = outer.inner.dontFragment ? 0x4000 : 0
    }
    let network = outer.info.length &- OuterHeader.FromEnd.ipv4
    var sum = outer.info.partialSum &+ UInt32(ds) &+ UInt32(truncatingIfNeeded: outer.length) &+ UInt32(identification) &+ UInt32(fragment)
    if outer.hopLimit != 0 {
      // TTL is the upper half of its word; adding the complement takes the old one out (RFC 1624).
      sum &+= UInt32(outer.hopLimit) << 8 &+ (0xffff &- UInt32(bytes.bytes.byte(at: network &+ 8)) << 8)
      bytes.store(outer.hopLimit, at: network &+ 8)
    }
    sum = (sum & 0xffff) &+ sum >> 16
    sum = (sum & 0xffff) &+ sum >> 16
    // IPv4 20 bytes, UDP 8, VXLAN 8, checked at once.
    var header = bytes._mutatingExtracting(network..<network &+ OuterHeader.FromEnd.ipv4)
    header.store(ds, at: 1)
    header.store(big16: UInt16(truncatingIfNeeded: outer.length), at: 2)
    header.store(big16: identification, at: 4)
    header.store(big16: fragment, at: 6)
    header.store(big16: ~UInt16(truncatingIfNeeded: sum), at: 10)
    patchUDP(&header, outer, at: 20)
  }

  /// RFC 8200 section 3: version, traffic class, flow label; payload length.
  @inline(never)
  private func patchIPv6(_ bytes: inout MutableRawSpan, _ outer: Outer) {
    let network = outer.info.length &- OuterHeader.FromEnd.ipv6
    if outer.hopLimit != 0 { bytes.store(outer.hopLimit, at: network &+ 7) }
    let label = settings.flowLabel == .fixed ? bytes.bytes.big32(at: network) & 0xf_ffff : outer.flowLabel
    var header = bytes._mutatingExtracting(network..<network &+ OuterHeader.FromEnd.ipv6)
    header.store(big32: label | UInt32(dsField(outer.inner)) << 20 | 6 << 28, at: 0)
    header.store(big16: UInt16(truncatingIfNeeded: outer.length &- 40), at: 4)
    patchUDP(&header, outer, at: 40)
  }

  @inline(__always)
  private func patchUDP(_ header: inout MutableRawSpan, _ outer: Outer, at udp: Int) {
    // The upper bits of a 32-bit hash scaled to the range: no division, no bias worth speaking of.
    let ports = UInt64(settings.sourcePorts.upperBound) &- UInt64(settings.sourcePorts.lowerBound) &+ 1
    let port = UInt64(settings.sourcePorts.lowerBound) &+ (UInt64(outer.inner.flowHash) &* ports) >> 32
    let length = outer.length &- udp
    header.store(big16: UInt16(truncatingIfNeeded: port), at: udp)
    header.store(big16: UInt16(truncatingIfNeeded: length), at: udp &+ 4)
    header.store(big32: outer.vni << 8, at: udp &+ 12)
    guard outer.info.hasUDPChecksum else { return }
    // The length counts twice: in the pseudo-header and in the header.
    var sum = outer.innerSum &+ UInt64(outer.info.udpPartialSum) &+ port &+ UInt64(truncatingIfNeeded: 2 &* length)
    sum &+= UInt64(outer.vni >> 8) &+ UInt64(outer.vni & 0xff) << 8
    let checksum = ~Checksum.fold(sum)
    header.store(big16: checksum == 0 ? 0xffff : checksum, at: udp &+ 6)
  }

  @inline(__always)
  private func dsField(_ inner: FrameHeaders) -> UInt8 {
    if case .fixed(let value) = settings.tos { return value & ~3 | inner.dsField & 3 }
    return inner.dsField
  }

  /// A frame that does not fit.
  @inline(never)
  private mutating func refuse(
    _ frame: Frame, _ info: VTEPTable.HeaderInfo, from local: Int, _ now: Tick, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    egress.drop(frame, .packetTooBig)
  }
}

// MARK: Waiting for a neighbour

extension Encapsulator {
  @inline(never)
  private mutating func wait(_ frame: Frame, _ vtep: Int, _ vni: UInt32, _ local: Int, _ now: Tick, _ egress: inout Egress) {
    let deadline = now.milliseconds &+ WaitingRoom.patience
    if waiting.add(WaitingRoom.Entry(frame: frame, vtep: vtep, vni: vni, local: local, deadline: deadline)) {
      egress.count(.waitingEntered)
    } else {
      egress.drop(frame, .neighbourQueueFull)
    }
  }

  /// Sends what has waited for long enough: for its header, which is there now, or for its deadline.
  mutating func retryWaiting(
    _ now: Tick, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    for _ in 0..<waiting.count {
      guard let entry = waiting.removeFirst() else { return }
      if forwarding.vteps.isResolved(entry.vtep) {
        egress.count(.waitingLeft)
        let inner = readOther(entry.frame, egress.umem)
        encapsulate(entry.frame, inner, to: entry.vtep, vni: entry.vni, from: entry.local, now, forwarding, topology, &egress)
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
