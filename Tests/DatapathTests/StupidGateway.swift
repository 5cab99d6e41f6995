import TestSupport
import Wire

@testable import Datapath

/// What a gateway should do with one frame, written from RFC 7348, RFC 6040 and the list of drop reasons in the most
/// obvious way: arrays of bytes and dictionaries. Its FDB is never full and its memory neither, and no time passes. Answers to
/// frames that don't fit and lower segment sizes it takes from `Wire`, which has tests of its own for their bytes.
struct StupidGateway {
  typealias Place = Network.Place
  struct Host: Hashable {
    var segment: Int
    var mac: [UInt8]
  }

  let network: Network
  var hosts: [Host: (place: Place, state: FDBEntry.State)] = [:]
  /// Frames that wait for a next hop.
  var waiting: [Remote: Int] = [:]
  /// Frames that were too big and answered: so many in a second.
  var answers = 0
  /// What became of the last frame.
  var sent: [Departure] = []
  var drops: [DropReason: Int] = [:]

  init(_ network: Network) {
    self.network = network
    for entry in network.entries {
      hosts[Host(segment: entry.segment, mac: Array([UInt8](big: entry.mac.value).dropFirst(2)))] = (entry.place, entry.state)
    }
  }

  mutating func receive(_ frame: [UInt8], at port: Int) {
    (sent, drops) = ([], [:])
    let isLocal = port != 0 || frame.count >= 18 && StupidFrame.isTagged(frame) && localPort(of: frame, at: 0) != nil
    if let reason = isLocal ? bridge(frame, from: port) : decapsulate(frame) { drops[reason, default: 0] += 1 }
  }

  // MARK: From the underlay

  private struct Outer {
    var source: IPAddress
    var destination: IPAddress
    var ds: UInt8
    var network: Int
    var udp: Int
    /// Of the IP packet.
    var end: Int
  }

  private mutating func decapsulate(_ packet: [UInt8]) -> DropReason? {
    guard packet.count >= 14 + 36 + 14 else { return .packetTooSmall }
    let ip = StupidFrame.networkOffset(packet)
    guard packet.count >= ip + 36 + 14 else { return .packetTooSmall }
    switch network.settings.local.isIPv4 ? readIPv4(packet, ip) : readIPv6(packet, ip) {
    case .success(let outer): return decapsulate(packet, outer)
    case .failure(let refusal): return refusal.reason
    }
  }

  private struct Refusal: Error {
    var reason: DropReason
    init(_ reason: DropReason) { self.reason = reason }
  }

  private func readIPv4(_ packet: [UInt8], _ ip: Int) -> Result<Outer, Refusal> {
    guard packet.number(ip - 2, 2) == 0x0800, packet[ip] >> 4 == 4 else { return .failure(Refusal(.ipInvalidHeader)) }
    guard packet[ip] & 0xf == 5, packet.number(ip + 6, 2) & 0x3fff == 0 else { return .failure(Refusal(.ipFragment)) }
    let end = ip + packet.number(ip + 2, 2)
    guard end >= ip + 36 + 14, end <= packet.count else { return .failure(Refusal(.ipInvalidHeader)) }
    guard onesComplementSum(Array(packet[ip..<ip + 20])) == 0xffff else { return .failure(Refusal(.ipChecksum)) }
    guard packet[ip + 9] == 17 else { return .failure(Refusal(.ipInvalidDestination)) }
    func address(_ offset: Int) -> IPAddress { IPAddress(v4: UInt32(packet.number(offset, 4))) }
    return .success(
      Outer(source: address(ip + 12), destination: address(ip + 16), ds: packet[ip + 1], network: ip, udp: ip + 20, end: end))
  }

  private func readIPv6(_ packet: [UInt8], _ ip: Int) -> Result<Outer, Refusal> {
    guard packet.count >= ip + 56 + 14 else { return .failure(Refusal(.packetTooSmall)) }
    guard packet.number(ip - 2, 2) == 0x86dd, packet[ip] >> 4 == 6 else { return .failure(Refusal(.ipInvalidHeader)) }
    guard packet[ip + 6] != 44 else { return .failure(Refusal(.ipFragment)) }
    let end = ip + 40 + packet.number(ip + 4, 2)
    guard end >= ip + 56 + 14, end <= packet.count else { return .failure(Refusal(.ipInvalidHeader)) }
    guard packet[ip + 6] == 17 else { return .failure(Refusal(.ipInvalidDestination)) }
    func half(_ offset: Int) -> UInt64 { packet[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    return .success(
      Outer(
        source: IPAddress(high: half(ip + 8), low: half(ip + 16)), destination: IPAddress(high: half(ip + 24), low: half(ip + 32)),
        ds: packet[ip] << 4 | packet[ip + 1] >> 4, network: ip, udp: ip + 40, end: end))
  }

  private mutating func decapsulate(_ packet: [UInt8], _ outer: Outer) -> DropReason? {
    let (settings, udp) = (network.settings, outer.udp)
    guard outer.destination == settings.local || network.groups.contains(outer.destination), packet.number(udp + 2, 2) == settings.port
    else { return .ipInvalidDestination }
    let udpLength = packet.number(udp + 4, 2)
    guard udpLength >= 16 + 14, udp + udpLength <= outer.end else { return .udpInvalidLength }
    guard isRight(udpChecksumOf: packet, outer, udp..<udp + udpLength) else { return .udpChecksum }
    guard packet[udp + 8] & 0x08 != 0 else { return .vxlanInvalidHeader }
    let vni = UInt32(packet.number(udp + 12, 3))
    guard let segment = network.segments.firstIndex(where: { $0?.vni == vni }) else { return .vniNotFound }
    for bit in 0..<64 where settings.reservedBits >> UInt64(63 - bit) & 1 != 0 && packet[udp + 8 + bit / 8] >> UInt8(7 - bit % 8) & 1 != 0 {
      return .vxlanReservedBits
    }
    // An IPv4 address has no business in an IPv6 header (RFC 4291 section 2.5.5.2).
    guard !outer.source.isMartianSource, outer.source != settings.local, outer.source.isIPv4 == settings.local.isIPv4 else {
      return .ipInvalidSource
    }
    if settings.onlyListed && !network.listed.contains(outer.source) { return .vtepNotListed }

    var inner = Array(packet[(udp + 16)..<(udp + udpLength)])
    if !keepsTags(segment), hasPriorityTag(inner), !StupidFrame.isTagged(Self.withoutTag(inner)) { inner = Self.withoutTag(inner) }
    if let reason = refusal(inner) ?? refusal(ofTags: inner, segment) { return reason }
    if settings.learning {
      if let reason = learn(inner, segment, .remote(Remote(outer.source, port: settings.port))) { return reason }
    } else if let (place, state) = hosts[Host(segment: segment, mac: Array(inner[6..<12]))], state == .permanent, place.isPort {
      return .localMAC
    }
    guard var inner = StupidFrame.withCongestion(outer.ds, inner).map(StupidFrame.withCompleteChecksum) else { return .ipTunnelECN }
    if network.resolved.contains(outer.source) { lowerSegmentSize(&inner) }
    return forward(inner, segment)
  }

  private mutating func forward(_ inner: [UInt8], _ segment: Int) -> DropReason? {
    switch inner[0] & 1 != 0 ? nil : destination(inner, segment) {
    case .remote, .list: return .splitHorizon
    case .port(let number):
      if network.localPorts[number]?.segment != segment { return .noLocalPort }
      deliver(inner, to: number)
    case nil:
      let numbers = localPorts(of: segment)
      if numbers.isEmpty { return .noLocalPort }
      for number in numbers { deliver(inner, to: number) }
    }
    return nil
  }

  private func isRight(udpChecksumOf packet: [UInt8], _ outer: Outer, _ datagram: Range<Int>) -> Bool {
    let isIPv4 = network.settings.local.isIPv4
    if packet.number(outer.udp + 6, 2) == 0 { return isIPv4 || network.settings.acceptsZeroUDP6 }
    if !network.settings.verifiesUDPChecksum { return true }
    let ip = Array(packet[outer.network..<outer.udp])
    // A partial checksum says nothing: it is the pseudo-header's sum alone, as if nothing but zeros were behind that.
    let partial = StupidFrame.udpSum(ip, [UInt8](repeating: 0, count: datagram.count))
    return packet.number(outer.udp + 6, 2) == partial || StupidFrame.udpSum(ip, Array(packet[datagram])) == 0xffff
  }

  // MARK: From a local port

  /// By the tag of the frame, which is complete; and whether that is the local port's, or says nothing, and is taken off.
  private func localPort(of frame: [UInt8], at port: Int) -> (number: Int, removesTag: Bool)? {
    func number(_ isWanted: (LocalPort.VLAN) -> Bool) -> Int? {
      network.localPorts.firstIndex { $0.map { $0.port == port && isWanted($0.vlan) } ?? false }
    }
    if let trunk = number({ $0 == .trunk }) { return (trunk, false) }
    let untagged = number { $0 == .untagged }
    guard StupidFrame.isTagged(frame) else { return untagged.map { ($0, false) } }
    let vid = UInt16(frame.number(14, 2) & 0xfff)
    if vid == 0 { return untagged.map { ($0, true) } }
    if let tagged = number({ $0 == .tagged(id: vid, service: frame[12] == 0x88) }) { return (tagged, true) }
    return untagged.map { ($0, false) }
  }

  private mutating func bridge(_ frame: [UInt8], from port: Int) -> DropReason? {
    guard frame.count >= 14 else { return .frameTooSmall }
    if let reason = refusal(frame) { return reason }
    let isTrunk = network.localPorts.contains { $0?.port == port && $0?.vlan == .trunk }
    if StupidFrame.isTagged(frame) && frame.count < 18 && !isTrunk { return .frameTooSmall }
    guard let (number, removesTag) = localPort(of: frame, at: port), let local = network.localPorts[number] else { return .vlanNotFound }
    var frame = removesTag ? Self.withoutTag(frame) : frame
    if removesTag && !keepsTags(local.segment) && hasPriorityTag(frame) { frame = Self.withoutTag(frame) }
    if !isTrunk, let reason = refusal(ofTags: frame, local.segment) { return reason }
    if let reason = learn(frame, local.segment, .port(number)) { return reason }
    return forward(StupidFrame.withCompleteChecksum(frame), local.segment, from: number)
  }

  private mutating func forward(_ frame: [UInt8], _ segment: Int, from number: Int) -> DropReason? {
    let place = destination(frame, segment)
    switch place {
    case .port(number): return .samePort
    case .port(let other):
      if network.localPorts[other]?.segment != segment { return .noLocalPort }
      deliver(frame, to: other)
    case .remote(let remote):
      var frame = frame
      if network.resolved.contains(remote.address) { lowerSegmentSize(&frame) }
      encapsulate(frame, segment, remote, from: number)
    case .list, nil:
      let others = localPorts(of: segment).filter { $0 != number }
      let remotes = place?.remotes ?? network.segments[segment]?.remotes ?? []
      if others.isEmpty && remotes.isEmpty { return .noRemote }
      var frame = frame
      if remotes.contains(where: { network.resolved.contains($0.address) }) { lowerSegmentSize(&frame) }
      for other in others { deliver(frame, to: other) }
      for remote in remotes { encapsulate(frame, segment, remote, from: number) }
    }
    return nil
  }

  // MARK: Both ways

  private func refusal(_ frame: [UInt8]) -> DropReason? {
    if frame[6] & 1 != 0 || frame[6..<12].allSatisfy({ $0 == 0 }) { return .macInvalidSource }
    if frame[0..<5] == [0x01, 0x80, 0xc2, 0, 0] && frame[5] < 16 { return .linkLocalGroup }
    return nil
  }

  private func refusal(ofTags frame: [UInt8], _ segment: Int) -> DropReason? {
    StupidFrame.isTagged(frame) && !keepsTags(segment) ? .innerVLAN : nil
  }

  private func keepsTags(_ segment: Int) -> Bool { network.segments[segment]?.options.contains(.keepsInnerTags) ?? false }

  /// A whole tag of VLAN 0, which is none.
  private func hasPriorityTag(_ frame: [UInt8]) -> Bool {
    frame.count >= 18 && StupidFrame.isTagged(frame) && frame.number(14, 2) & 0xfff == 0
  }

  private static func withoutTag(_ frame: [UInt8]) -> [UInt8] { Array(frame[..<12] + frame[16...]) }

  private mutating func learn(_ frame: [UInt8], _ segment: Int, _ place: Place) -> DropReason? {
    let host = Host(segment: segment, mac: Array(frame[6..<12]))
    if let (known, state) = hosts[host], state != .learned {
      // A VTEP sends from its address, whatever port and VNI it is sent to.
      if known == place || !place.isPort && known.remotes.map(\.address) == place.remotes.map(\.address) { return nil }
      return state == .permanent && known.isPort ? .localMAC : .entryExists
    }
    hosts[host] = (place, .learned)
    return nil
  }

  /// Where a frame goes; nil: to all. Groups from local ports go to all as well, unless their entry lists remotes.
  private func destination(_ frame: [UInt8], _ segment: Int) -> Place? {
    let place = hosts[Host(segment: segment, mac: Array(frame[0..<6]))]?.place
    if frame[0] & 1 == 0 { return place }
    guard network.segments[segment]?.options.contains(.hasGroupEntries) == true, case .list? = place else { return nil }
    return place
  }

  private func localPorts(of segment: Int) -> [Int] {
    network.localPorts.indices.filter { network.localPorts[$0]?.segment == segment }
  }

  mutating func deliver(_ frame: [UInt8], to number: Int) {
    guard let local = network.localPorts[number] else { return }
    var frame = frame
    if case .tagged(let id, let service) = local.vlan {
      frame.insert(contentsOf: [UInt8](big: service ? 0x88a8 : 0x8100 as UInt16) + [UInt8](big: id), at: 12)
    }
    sent.append(Departure(local.port, local.isWire ? padded(frame) : frame))
  }
}

extension Network.Place {
  var isPort: Bool {
    if case .port = self { true } else { false }
  }
}
