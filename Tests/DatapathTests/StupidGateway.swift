import TestSupport
import Wire

@testable import Datapath

/// What a gateway should do with one frame, written from RFC 7348, RFC 6040 and the list of drop reasons in the most
/// obvious way: arrays of bytes and dictionaries. Its FDB is never full and its memory neither.
struct StupidGateway {
  enum Place: Hashable { case port(Int), vtep(UInt32) }
  struct Host: Hashable {
    var segment: Int
    var mac: [UInt8]
  }

  let network: Network
  var hosts: [Host: (place: Place, state: FDBEntry.State)] = [:]
  /// Frames that wait for a VTEP's next hop.
  var waiting: [UInt32: Int] = [:]
  /// What became of the last frame.
  var sent: [Departure] = []
  var drops: [DropReason: Int] = [:]

  init(_ network: Network) {
    self.network = network
    for entry in network.entries {
      let place: Place
      switch entry.place {
      case .port(let port): place = .port(port)
      case .vtep(let address): place = .vtep(address.v4)
      }
      hosts[Host(segment: entry.segment, mac: Array([UInt8](big: entry.mac.value).dropFirst(2)))] = (place, entry.state)
    }
  }

  mutating func receive(_ frame: [UInt8], at port: Int) {
    (sent, drops) = ([], [:])
    if let reason = port == 0 ? decapsulate(frame) : bridge(frame, from: port) { drops[reason, default: 0] += 1 }
  }

  // MARK: From the underlay

  private mutating func decapsulate(_ packet: [UInt8]) -> DropReason? {
    guard packet.count >= 14 + 36 + 14 else { return .packetTooSmall }
    let ip = Self.networkOffset(packet)
    guard packet.count >= ip + 36 + 14 else { return .packetTooSmall }
    guard packet.number(ip - 2, 2) == 0x0800, packet[ip] >> 4 == 4 else { return .ipInvalidHeader }
    guard packet[ip] & 0xf == 5, packet.number(ip + 6, 2) & 0x3fff == 0 else { return .ipFragment }
    let total = packet.number(ip + 2, 2)
    guard total >= 36 + 14, ip + total <= packet.count else { return .ipInvalidHeader }
    guard onesComplementSum(Array(packet[ip..<ip + 20])) == 0xffff else { return .ipChecksum }
    guard packet.number(ip + 16, 4) == network.settings.local.v4, packet[ip + 9] == 17, packet.number(ip + 22, 2) == network.settings.port
    else { return .ipInvalidDestination }
    let udpLength = packet.number(ip + 24, 2)
    guard udpLength >= 16 + 14, udpLength <= total - 20 else { return .udpInvalidLength }
    guard packet[ip + 28] & 0x08 != 0 else { return .vxlanInvalidHeader }
    let vni = packet.number(ip + 32, 3)
    guard let segment = network.segments.firstIndex(where: { $0.vni == vni }) else { return .vniNotFound }
    let source = UInt32(packet.number(ip + 12, 4))
    guard ![0, 127].contains(packet[ip + 12]), packet[ip + 12] < 224, source != network.settings.local.v4 else { return .ipInvalidSource }
    if network.settings.onlyListed && !network.listed.contains(IPAddress(v4: source)) { return .vtepNotListed }

    var inner = Array(packet[(ip + 36)..<(ip + 20 + udpLength)])
    if let reason = refusal(inner) ?? refusal(ofTags: inner, segment) { return reason }
    if network.settings.learning {
      if let reason = learn(inner, segment, .vtep(source)) { return reason }
    } else if hosts[Host(segment: segment, mac: Array(inner[6..<12]))]?.state == .permanent {
      return .localMAC
    }
    guard Self.carryCongestion(packet[ip + 1] & 3, &inner) else { return .ipTunnelECN }
    Self.completeChecksum(&inner)
    switch destination(inner, segment) {
    case .vtep: return .splitHorizon
    case .port(let port): deliver(inner, port)
    case nil:
      if network.segments[segment].ports.isEmpty { return .noLocalPort }
      for port in network.segments[segment].ports { deliver(inner, port) }
    }
    return nil
  }

  // MARK: From a local port

  private mutating func bridge(_ frame: [UInt8], from port: Int) -> DropReason? {
    guard let segment = network.segments.firstIndex(where: { $0.ports.contains(port) }) else { return nil }
    guard frame.count >= 14 else { return .frameTooSmall }
    if let reason = refusal(frame) { return reason }
    var frame = frame
    if isTagged(frame) {
      guard frame.count >= 18 else { return .frameTooSmall }
      if frame.number(14, 2) & 0xfff == 0 { frame.removeSubrange(12..<16) }
    }
    if let reason = refusal(ofTags: frame, segment) ?? learn(frame, segment, .port(port)) { return reason }
    Self.completeChecksum(&frame)
    switch destination(frame, segment) {
    case .port(port): return .samePort
    case .port(let other): deliver(frame, other)
    case .vtep(let vtep): encapsulate(frame, segment, vtep)
    case nil:
      let others = network.segments[segment].ports.filter { $0 != port }
      if others.isEmpty && network.segments[segment].remotes.isEmpty { return .noRemote }
      for other in others { deliver(frame, other) }
      for remote in network.segments[segment].remotes { encapsulate(frame, segment, remote.v4) }
    }
    return nil
  }

  private mutating func encapsulate(_ frame: [UInt8], _ segment: Int, _ vtep: UInt32) {
    guard network.resolved.contains(IPAddress(v4: vtep)) else {
      if waiting[vtep, default: 0] < 32 && waiting.values.reduce(0, +) < 128 {
        waiting[vtep, default: 0] += 1
      } else {
        drops[.neighbourQueueFull, default: 0] += 1
      }
      return
    }
    guard frame.count + 36 <= network.mtu else {
      drops[.packetTooBig, default: 0] += 1
      return
    }
    let (ds, isWhole) = Self.inherited(frame)
    let tos: UInt8
    if case .fixed(let value) = network.settings.tos { tos = value & 0xfc | ds & 3 } else { tos = ds }
    let df = network.settings.df == .set || network.settings.df == .inherit && isWhole
    var packet: [UInt8] = []
    packet.append(MACAddress.nextHop)
    packet.append(MACAddress.underlay)
    packet += [0x08, 0x00, 0x45, tos] + [UInt8](big: UInt16(frame.count + 36)) + [0, 0, df ? 0x40 : 0, 0, network.ttl, 17, 0, 0]
    packet += [UInt8](big: network.settings.local.v4) + [UInt8](big: vtep)
    packet += [0, 0] + [UInt8](big: network.settings.port) + [UInt8](big: UInt16(frame.count + 16)) + [0, 0]
    packet += [0x08, 0, 0, 0] + [UInt8](big: network.segments[segment].vni << 8) + frame
    sent.append(Departure(0, packet))
  }

  // MARK: Both ways

  private func refusal(_ frame: [UInt8]) -> DropReason? {
    if frame[6] & 1 != 0 || frame[6..<12].allSatisfy({ $0 == 0 }) { return .macInvalidSource }
    if frame[0..<5] == [0x01, 0x80, 0xc2, 0, 0] && frame[5] < 16 { return .linkLocalGroup }
    return nil
  }

  private func refusal(ofTags frame: [UInt8], _ segment: Int) -> DropReason? {
    isTagged(frame) && !network.segments[segment].keepsInnerTags ? .innerVLAN : nil
  }

  private func isTagged(_ frame: [UInt8]) -> Bool { [0x8100, 0x88a8].contains(frame.number(12, 2)) }

  private mutating func learn(_ frame: [UInt8], _ segment: Int, _ place: Place) -> DropReason? {
    let host = Host(segment: segment, mac: Array(frame[6..<12]))
    if let (known, state) = hosts[host], state != .learned {
      return known == place ? nil : state == .permanent ? .localMAC : .entryExists
    }
    hosts[host] = (place, .learned)
    return nil
  }

  private func destination(_ frame: [UInt8], _ segment: Int) -> Place? {
    frame[0] & 1 != 0 ? nil : hosts[Host(segment: segment, mac: Array(frame[0..<6]))]?.place
  }

  private mutating func deliver(_ frame: [UInt8], _ port: Int) {
    sent.append(Departure(port, network.wires[port] ? padded(frame) : frame))
  }

  // MARK: Inside frames

  /// Behind at most two tags; the type is in front of it.
  private static func networkOffset(_ frame: [UInt8]) -> Int {
    var offset = 14
    while offset < 22, offset + 4 <= frame.count, [0x8100, 0x88a8].contains(frame.number(offset - 2, 2)) { offset += 4 }
    return offset
  }

  /// Where a whole IP header is, and its version by EtherType.
  private static func ipHeader(_ frame: [UInt8]) -> (offset: Int, version: Int)? {
    let offset = networkOffset(frame)
    switch frame.number(offset - 2, 2) {
    case 0x0800 where frame.count >= offset + 20: return (offset, 4)
    case 0x86dd where frame.count >= offset + 40: return (offset, 6)
    default: return nil
    }
  }

  /// DS field, and whether routers may not fragment.
  private static func inherited(_ frame: [UInt8]) -> (UInt8, Bool) {
    switch ipHeader(frame) {
    case (let offset, 4)?: (frame[offset + 1], frame[offset + 6] & 0x40 != 0)
    case (let offset, _)?: (frame[offset] << 4 | frame[offset + 1] >> 4, true)
    case nil: (0, false)
    }
  }

  /// RFC 6040 section 4.2. False: drop.
  private static func carryCongestion(_ outer: UInt8, _ frame: inout [UInt8]) -> Bool {
    guard let (offset, version) = ipHeader(frame) else { return true }
    let old = inherited(frame).0 & 3
    let new: UInt8
    switch (old, outer) {
    case (0, 3): return false
    case (1, 3), (2, 3): new = 3
    case (2, 1): new = 1
    default: new = old
    }
    if version == 6 {
      frame[offset + 1] = frame[offset + 1] & 0xcf | new << 4
    } else if new != old {
      let before = UInt16(frame.number(offset, 2))
      frame[offset + 1] = frame[offset + 1] & 0xfc | new
      // RFC 1624, equation 3.
      let sum = [UInt8](big: ~UInt16(frame.number(offset + 10, 2))) + [UInt8](big: ~before) + frame[offset..<offset + 2]
      frame.replaceSubrange(offset + 10..<offset + 12, with: [UInt8](big: ~onesComplementSum(sum)))
    }
    return true
  }

  /// A TCP or UDP checksum that is the pseudo-header's sum alone becomes the real one.
  private static func completeChecksum(_ frame: inout [UInt8]) {
    guard let (ip, version) = ipHeader(frame), Int(frame[ip] >> 4) == version else { return }
    let header = version == 4 ? Int(frame[ip] & 0xf) * 4 : 40
    if version == 4 && (header < 20 || frame.number(ip + 6, 2) & 0x3fff != 0) { return }
    let end = version == 4 ? ip + frame.number(ip + 2, 2) : ip + 40 + frame.number(ip + 4, 2)
    let number = frame[ip + (version == 4 ? 9 : 6)]
    let start = ip + header
    guard number == 6 || number == 17, start + (number == 6 ? 20 : 8) <= end, end <= frame.count else { return }
    let addresses = version == 4 ? frame[ip + 12..<ip + 20] : frame[ip + 8..<ip + 40]
    let pseudoHeader = Array(addresses) + [UInt8](big: UInt32(end - start)) + [0, 0, 0, number]
    let field = start + (number == 6 ? 16 : 6)
    let partial = onesComplementSum(pseudoHeader)
    guard frame.number(field, 2) == partial else { return }
    frame.replaceSubrange(field..<field + 2, with: [0, 0])
    let sum = ~onesComplementSum(pseudoHeader + frame[start..<end])
    frame.replaceSubrange(field..<field + 2, with: [UInt8](big: sum == 0 ? 0xffff : sum))
  }
}

extension [UInt8] {
  /// `count` bytes from `offset` on, as a number.
  func number(_ offset: Int, _ count: Int) -> Int { self[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) } }
}
