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
    case .tooBig: refuse(frame, info, vni, from: local, now, topology, &egress)
    case .headerChanged: wait(frame, vtep, vni, local, now, &egress)
    }
  }

  private enum Outcome { case sent, tooBig, headerChanged }

  @inline(__always)
  private mutating func write(
    _ frame: Frame, _ inner: FrameHeaders, _ vtep: Int, _ info: VTEPTable.HeaderInfo, _ vni: UInt32, _ forwarding: borrowing Forwarding,
    _ egress: inout Egress
  ) -> Outcome {
    let totalLength = Int(frame.length) &+ info.overhead
    guard totalLength <= info.mtu else { return .tooBig }
    var packet = frame
    packet.prepend(info.length)
    var bytes = egress.umem.mutableBytes(packet)
    guard forwarding.vteps.writeHeader(vtep, info, into: &bytes) else { return .headerChanged }
    let vni = info.hasVNI ? forwarding.vteps.remote(vtep).vni ?? vni : vni
    if isPlain(info) {
      patchIPv4(&bytes, info, inner, totalLength)
      patchUDP(&bytes, info, inner, totalLength &- 20, vni)
    } else {
      patchMore(&bytes, info, inner, totalLength, vni)
    }
    egress.send(packet, to: Topology.underlay)
    return .sent
  }

  /// Whether the outer header is IPv4's with a TTL of its own and no UDP checksum: the common case, kept short.
  @inline(__always)
  private func isPlain(_ info: VTEPTable.HeaderInfo) -> Bool { !info.isIPv6 && !info.hasUDPChecksum && !inheritsTTL }

  /// RFC 791.
  @inline(__always)
  private mutating func patchIPv4(_ bytes: inout MutableRawSpan, _ info: VTEPTable.HeaderInfo, _ inner: FrameHeaders, _ length: Int) {
    identification &+= 1
    let ds = inner.dsField & inheritedDS | ds
    let fragment = df | (inner.dontFragment ? inheritedDF : 0)
    let sum = info.partialSum &+ UInt32(ds) &+ UInt32(truncatingIfNeeded: length) &+ UInt32(identification) &+ UInt32(fragment)
    let network = info.length &- OuterHeader.FromEnd.ipv4
    var header = bytes._mutatingExtracting(network..<network &+ 20)
    header.store(ds, at: 1)
    header.store(big16: UInt16(truncatingIfNeeded: length), at: 2)
    header.store(big16: identification, at: 4)
    header.store(big16: fragment, at: 6)
    header.store(big16: ~Checksum.fold(word: sum), at: 10)
  }

  /// RFC 768, RFC 7348 section 5. `length` in bytes, with the UDP header.
  @inline(__always)
  private func patchUDP(_ bytes: inout MutableRawSpan, _ info: VTEPTable.HeaderInfo, _ inner: FrameHeaders, _ length: Int, _ vni: UInt32) {
    let udp = info.length &- OuterHeader.FromEnd.udp
    var header = bytes._mutatingExtracting(udp..<udp &+ OuterHeader.FromEnd.udp)
    header.store(big16: sourcePort(inner), at: 0)
    header.store(big16: UInt16(truncatingIfNeeded: length), at: 4)
    header.store(big32: vni << 8, at: 12)
  }

  /// The upper bits of a 32-bit hash scaled to the range: no division, no bias worth speaking of.
  @inline(__always)
  private func sourcePort(_ inner: FrameHeaders) -> UInt16 {
    UInt16(truncatingIfNeeded: firstPort &+ (UInt64(inner.flowHash) &* portCount) >> 32)
  }

  // MARK: What is not always there

  /// What the outer header takes from the inner frame besides `FrameHeaders`.
  private struct More {
    /// Running sum of the frame, where there is a UDP checksum.
    let sum: UInt64
    /// TTL or hop limit of the outer header; 0: the remote's.
    let hopLimit: UInt8
    /// Flow label of an outer IPv6 header, where it is not the remote's.
    let flowLabel: UInt32
  }

  private func readMore(_ frame: RawSpan, _ inner: FrameHeaders, _ info: VTEPTable.HeaderInfo) -> More {
    More(
      sum: info.hasUDPChecksum ? OuterChecksum.innerSum(frame, TransportHeader(frame)) : 0,
      hopLimit: inheritsTTL ? inner.hopLimit(frame) : 0,
      flowLabel: flowLabel == .inherit ? inner.flowLabel(frame) : inner.flowHash & 0xf_ffff)
  }

  @inline(never)
  private mutating func patchMore(
    _ bytes: inout MutableRawSpan, _ info: VTEPTable.HeaderInfo, _ inner: FrameHeaders, _ length: Int, _ vni: UInt32
  ) {
    let more = readMore(bytes.bytes.extracting(info.length...), inner, info)
    let network = info.length &- info.overhead
    if info.isIPv6 {
      // RFC 8200 section 3: version, traffic class and flow label; payload length; hop limit.
      let label = flowLabel == .fixed ? bytes.bytes.big32(at: network) & 0xf_ffff : more.flowLabel
      bytes.store(big32: label | UInt32(inner.dsField & inheritedDS | ds) << 20 | 6 << 28, at: network)
      bytes.store(big16: UInt16(truncatingIfNeeded: length &- 40), at: network &+ 4)
      if more.hopLimit != 0 { bytes.store(more.hopLimit, at: network &+ 7) }
    } else {
      patchIPv4(&bytes, info, inner, length)
      if more.hopLimit != 0 {
        // TTL and protocol share a word of the checksum.
        let old = bytes.bytes.big16(at: network &+ 8)
        bytes.store(more.hopLimit, at: network &+ 8)
        let checksum = Checksum.updated(bytes.bytes.big16(at: network &+ 10), from: old, to: bytes.bytes.big16(at: network &+ 8))
        bytes.store(big16: checksum, at: network &+ 10)
      }
    }
    let udpLength = length &- (info.isIPv6 ? 40 : 20)
    patchUDP(&bytes, info, inner, udpLength, vni)
    guard info.hasUDPChecksum else { return }
    // The length counts twice: in the pseudo-header and in the header.
    var sum = more.sum &+ UInt64(info.udpPartialSum) &+ UInt64(sourcePort(inner)) &+ UInt64(truncatingIfNeeded: 2 &* udpLength)
    sum &+= UInt64(vni >> 8) &+ UInt64(vni & 0xff) << 8
    bytes.store(big16: Checksum.udp(sum), at: info.length &- OuterHeader.FromEnd.udp &+ 6)
  }

  // MARK: What does not fit

  /// Most answers that a worker sends in a second.
  private static let answersPerSecond = 200

  /// Drops a frame that does not fit, and tells its sender what does (RFC 1191, RFC 8201): a VTEP must not fragment (RFC 7348
  /// section 4.3).
  @inline(never)
  private mutating func refuse(
    _ frame: Frame, _ info: VTEPTable.HeaderInfo, _ vni: UInt32, from local: Int, _ now: Tick, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    answerTooBig(frame, info, vni, from: local, now, topology, &egress)
    egress.drop(frame, .packetTooBig)
  }

  private mutating func answerTooBig(
    _ frame: Frame, _ info: VTEPTable.HeaderInfo, _ vni: UInt32, from local: Int, _ now: Tick, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) {
    if tooBigAnswers.second != now.seconds { tooBigAnswers = (now.seconds, 0) }
    // The frame may have waited while its local port went away, or became another segment's.
    guard tooBigAnswers.count < Self.answersPerSecond, case let place = topology.localPorts[local], place.segment >= 0,
      topology.segments[Int(place.segment)].vni == vni, var answer = egress.umem.allocate()
    else { return }
    answer.length = UInt16(PacketTooBig.maximumLength)
    guard let length = egress.umem.write(answer, from: frame, { PacketTooBig.answer(to: $0, mtu: info.innerMTU, into: &$1) }) else {
      return egress.umem.release(answer)
    }
    tooBigAnswers.count += 1
    answer.length = UInt16(length)
    answer.checksumIsComplete = true
    egress.count(.replicated)
    egress.count(.tooBigAnswered)
    egress.deliver(answer, to: place)
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
        let inner = egress.readOther(entry.frame, hashKey: hashKey)
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
