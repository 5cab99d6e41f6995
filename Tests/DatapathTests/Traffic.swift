import TestSupport
import Wire

@testable import Datapath

/// Frames at random: most of them in order, the others with some bytes changed or cut off.
struct Traffic {
  private let network: Network
  private var random: Seeded
  /// Whether hosts mostly stay where they are, and nothing signals congestion.
  private let isSettled: Bool

  init(_ network: Network, seed: UInt64, isSettled: Bool = false) {
    self.network = network
    self.isSettled = isSettled
    random = Seeded(seed)
  }

  /// Whether this frame is like most.
  private mutating func isUsual() -> Bool { isSettled && random.below(8) != 0 }

  /// A port and what arrives there.
  mutating func next() -> (Int, [UInt8]) {
    let port = max(0, random.below(2 * network.portCount) - network.portCount)
    let isLocal = port != 0 || random.below(2) == 0 && network.localPorts.contains { $0?.port == 0 }
    var frame = isLocal ? ethernet(tags: lanTags(port), from: [.host1, .host1, .host2, .host3][min(port, 3)]) : tunnelled()
    if !isUsual() && random.below(3) == 0 { damage(&frame, isPacket: !isLocal) }
    return (port, frame)
  }

  private mutating func damage(_ frame: inout [UInt8], isPacket: Bool) {
    for _ in 0..<1 + random.below(3) {
      let offset = random.below(min(frame.count, 130))
      frame[offset] = random.below(2) == 0 ? frame[offset] ^ 1 << UInt8(random.below(8)) : UInt8(random.below(256))
    }
    if random.below(4) == 0 { frame.removeLast(random.below(frame.count + 1)) }
    // Otherwise hardly anything would come past the header checksum.
    if isPacket && network.settings.local.isIPv4 && random.below(4) != 0 && frame.count >= 34 {
      frame.replaceSubrange(24..<26, with: [0, 0])
      frame.replaceSubrange(24..<26, with: [UInt8](big: ~onesComplementSum(Array(frame[14..<34]))))
    }
  }

  private mutating func pick<Value>(_ values: [Value]) -> Value { values[random.below(values.count)] }

  /// One of the hosts that everybody knows, or a group.
  private mutating func mac(group: Bool) -> MACAddress {
    let hosts: [MACAddress] = [.host1, .host2, .host3, .remote1, .remote2, MACAddress(0x0200_0000_0100 | UInt64(random.below(32)))]
    let groups = [MACAddress.broadcast, MACAddress(0x3333_0000_0001), MACAddress(0x0180_c200_000e), MACAddress(0)]
    return group && random.below(4) == 0 ? pick(groups) : pick(hosts)
  }

  private mutating func tag() -> VLANTag { VLANTag(UInt16(random.below(4096)), type: pick([0x8100, 0x88a8])) }

  /// Mostly a tag of the port's local ports, if they have any; now and then none, a priority, another, or more.
  private mutating func lanTags(_ port: Int) -> [VLANTag] {
    let own = network.localPorts.compactMap { local -> VLANTag? in
      guard let local, local.port == port, case .tagged(let id, let service) = local.vlan else { return nil }
      return VLANTag(id, type: service ? 0x88a8 : 0x8100)
    }
    var tags = own.isEmpty || random.below(4) == 0 ? [] : [changed(pick(own)) { $0.priority = UInt16(random.below(8)) }]
    switch random.below(16) {
    case 0: tags.insert(VLANTag(0, priority: 5, type: pick([0x8100, 0x88a8])), at: 0)
    case 1...2: tags += (0..<1 + random.below(3)).map { _ in tag() }
    default: break
    }
    return tags
  }

  /// - Parameter home: who is where the frame comes from.
  private mutating func ethernet(tags: [VLANTag], from home: MACAddress) -> [UInt8] {
    let source = isUsual() ? home : random.below(50) == 0 ? mac(group: true) : mac(group: false)
    var layers: [any Layer] = [EthernetHeader(to: mac(group: true), from: source)] + tags
    let (ds, ttl) = (UInt8(random.below(256)), pick([64, 1, 255, 0] as [UInt8]))
    switch random.below(8) {
    case 0: return packet(layers + [ARPMessage()])
    case 1...2:
      let label = UInt32(random.below(1 << 20))
      layers.append(changed(IPv6Header(hopLimit: ttl, trafficClass: ds)) { $0.flowLabel = label })
    default:
      layers.append(
        IPv4Header(
          ttl: ttl, tos: ds, dontFragment: random.below(2) == 0, moreFragments: random.below(16) == 0,
          options: random.bytes(pick([0, 0, 0, 4]))))
    }
    let sum = pick([ChecksumField.correct, .correct, .partial, .value(0)])
    switch random.below(4) {
    case 0: layers.append(TCPHeader(to: 80, checksum: sum))
    case 1:
      layers.append(
        TCPHeader(to: 80, flags: .syn, options: pick([[], [1], [1, 1]]) + TCPHeader.mss(pick([536, 1460, 8960])), checksum: sum))
    default: layers.append(UDPHeader(to: 53, checksum: sum))
    }
    let length = random.below(10) == 0 ? random.below(1600) : random.below(100)
    return packet(layers + [Payload(random.bytes(length))]) + [UInt8](repeating: 0, count: pick([0, 0, 0, 6]))
  }

  private mutating func tunnelled() -> [UInt8] {
    let isIPv4 = network.settings.local.isIPv4
    let anyone = isIPv4 ? IPAddress(v4: UInt32(truncatingIfNeeded: random.next())) : IPAddress(high: random.next(), low: random.next())
    let vteps: [IPAddress] = [.remote, .remote, .third, .third, .fourth]
    let source = pick(vteps.map { isIPv4 ? $0 : $0.overIPv6 } + [anyone])
    let destination = pick([network.settings.local, network.settings.local, network.settings.local] + network.groups)
    let ds = UInt8(random.below(256)) & (isUsual() ? 0xfc : 0xff)
    let ip: any IPLayer =
      isIPv4 ? IPv4Header(to: destination, from: source, tos: ds) : IPv6Header(to: destination, from: source, trafficClass: ds)
    let wrong = ChecksumField.value(UInt16(random.below(65536)))
    let udp = UDPHeader(to: network.settings.port, checksum: pick([.value(0), .correct, .correct, .partial, wrong]))
    let few = isUsual() ? 1 : 2
    let (reserved, reserved2) = (UInt32(random.below(few) * random.below(1 << 24)), UInt8(random.below(few) * random.below(256)))
    let vxlan = VXLANHeader(vni: pick([100, 100, 100, 100, 200, 200, 300, 999]), reserved: reserved, reserved2: reserved2)
    let tags = random.below(8) == 0 ? (0..<1 + random.below(2)).map { _ in tag() } : []
    let inner = ethernet(
      tags: random.below(8) == 0 ? (0..<1 + random.below(3)).map { _ in tag() } : [],
      from: source == vteps[0] || source == vteps[0].overIPv6 ? .remote1 : MACAddress(0x0200_0000_0100))
    return packet([EthernetHeader(to: .underlay, from: .nextHop)] + tags + [ip, udp, vxlan, Payload(inner)])
  }
}
