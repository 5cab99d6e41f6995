import TestSupport
import Wire

@testable import Datapath

extension StupidGateway {
  mutating func encapsulate(_ frame: [UInt8], _ segment: Int, _ remote: Remote, from number: Int) {
    guard network.resolved.contains(remote.address) else {
      if waiting[remote, default: 0] < 32 && waiting.values.reduce(0, +) < 128 {
        waiting[remote, default: 0] += 1
      } else {
        drops[.neighbourQueueFull, default: 0] += 1
      }
      return
    }
    let overhead = remote.address.isIPv4 ? 36 : 56
    guard frame.count + overhead <= Int(network.mtu) else {
      drops[.packetTooBig, default: 0] += 1
      answerTooBig(frame, overhead, from: number)
      return
    }
    let inner = StupidFrame.inherited(frame)
    var udp: [UInt8] = [0, 0]
    udp.append(big: remote.port)
    udp.append(big: UInt16(frame.count + 16))
    udp += [0, 0, 0x08, 0, 0, 0]
    udp.append(big: (remote.vni ?? network.segments[segment]?.vni ?? 0) << 8)
    udp += frame
    let ip = remote.address.isIPv4 ? ipv4(inner, remote, udp.count) : ipv6(inner, remote, udp.count)
    if network.udpChecksum {
      let sum = ~StupidFrame.udpSum(ip, udp)
      udp.replaceSubrange(6..<8, with: [UInt8](big: sum == 0 ? 0xffff : sum))
    }
    var ethernet: [UInt8] = []
    ethernet.append(network.header(to: remote).nextHop)
    ethernet.append(MACAddress.underlay)
    if let vlan = network.underlayVLAN { ethernet += [0x81, 0x00] + [UInt8](big: vlan) }
    sent.append(Departure(0, ethernet + (remote.address.isIPv4 ? [0x08, 0x00] : [0x86, 0xdd]) + ip + udp))
  }

  private func ds(_ inner: StupidFrame.Inherited) -> UInt8 {
    if case .fixed(let value) = network.settings.tos { value & 0xfc | inner.ds & 3 } else { inner.ds }
  }

  /// An inner TTL of zero says nothing, as there being none.
  private func ttl(_ inner: StupidFrame.Inherited) -> UInt8 {
    guard network.settings.inheritsTTL, let ttl = inner.ttl, ttl != 0 else { return network.ttl }
    return ttl
  }

  private func ipv4(_ inner: StupidFrame.Inherited, _ remote: Remote, _ length: Int) -> [UInt8] {
    let df = network.settings.df == .set || network.settings.df == .inherit && inner.isWhole
    var header = [0x45, ds(inner)] + [UInt8](big: UInt16(length + 20)) + [0, 0, df ? 0x40 : 0, 0, ttl(inner), 17, 0, 0]
    header.append(network.settings.local)
    header.append(remote.address)
    header.replaceSubrange(10..<12, with: [UInt8](big: ~onesComplementSum(header)))
    return header
  }

  /// With a flow label that can be foretold.
  private func ipv6(_ inner: StupidFrame.Inherited, _ remote: Remote, _ length: Int) -> [UInt8] {
    let label = network.settings.flowLabel == .inherit ? inner.flowLabel : network.flowLabel
    var header = [UInt8](big: 6 << 28 | UInt32(ds(inner)) << 20 | label) + [UInt8](big: UInt16(length)) + [17, ttl(inner)]
    header.append(network.settings.local)
    header.append(remote.address)
    return header
  }

  // MARK: From Wire

  private mutating func answerTooBig(_ frame: [UInt8], _ overhead: Int, from number: Int) {
    var answer = [UInt8](repeating: 0, count: PacketTooBig.maximumLength)
    var span = answer.mutableSpan
    var bytes = unsafe span.mutableBytes
    let length = unsafe PacketTooBig.answer(to: frame.span.bytes, mtu: Int(network.mtu) - overhead - 14, into: &bytes)
    guard let length, answers < 200 else { return }
    answers += 1
    deliver(Array(answer.prefix(length)), to: number)
  }

  func lowerSegmentSize(_ frame: inout [UInt8]) {
    guard network.settings.segmentSizeLimit != 0, StupidFrame.transport(frame)?.isSYN == true else { return }
    let mtu = Int(network.mtu) - (network.settings.local.isIPv4 ? 36 : 56) - 14
    var span = frame.mutableSpan
    var bytes = unsafe span.mutableBytes
    guard let header = TransportHeader(bytes.bytes) else { return }
    _ = TCPSegmentSize.lower(&bytes, header, mtu: mtu, limit: network.settings.segmentSizeLimit)
  }
}
