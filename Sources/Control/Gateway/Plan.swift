import CLinux
import Datapath
import PacketIO
import Wire

/// What will run: the operator's configuration, held against what the kernel has. Making it changes nothing.
struct Plan: Sendable {
  var configuration: Configuration
  /// This VTEP's address.
  var local: IPAddress
  /// The interface that the kernel's routes, neighbours and addresses of the underlay are on: the underlay NIC, or a VLAN
  /// interface on it.
  var routing: Link
  /// 802.1Q VLAN of outer packets on the underlay NIC.
  var underlayVLAN: UInt16?
  /// The underlay first.
  var nics: [NIC]
  /// The underlay first, then local ports' devices.
  var devices: [Overlay.Device]
  var workers: Int
  /// Bytes per chunk of packet memory when every NIC uses AF_XDP, and when none does.
  var xdpChunkSize: Int
  var rawChunkSize: Int
  /// What the operator should know although it is no mistake.
  var warnings: [String] = []

  var underlay: NIC { nics[0] }

  /// A chunk may be this large with AF_XDP: a page (net/xdp/xdp_umem.c).
  static let largestXDPChunk = 4096
  /// Ethernet header and two VLAN tags.
  private static let linkHeader = 22
  /// The largest MTU whose frames fit a chunk.
  static func largestMTU(chunk: Int) -> Int { chunk - UMEM.headroom - linkHeader }

  /// - Throws: `GatewayError` with every mistake, one a line.
  init(_ configuration: Configuration, _ netlink: borrowing NetlinkSocket) throws {
    self.configuration = configuration
    var problems: [String] = []
    let links = try netlink.links()
    guard let named = Self.find(configuration.iface, "--iface", links, &problems) else {
      throw GatewayError(problems.joined(separator: "\n"))
    }
    let (nic, vlan, routing) = Self.underlay(named, configuration.underlayVLAN, links)
    self.routing = routing
    underlayVLAN = vlan
    local = try Self.localAddress(configuration, routing, netlink, &problems) ?? IPAddress(v4: 0)
    nics = []
    devices = []
    workers = 1
    xdpChunkSize = 2048
    rawChunkSize = 2048
    nics = [try Self.describe(nic, netlink)]
    devices = [.init(name: nic.name, kind: .nic(0))]
    for port in configuration.segments.flatMap(\.ports) { try addDevice(port, links, netlink, &problems) }
    chooseSizes(&problems)
    if !problems.isEmpty { throw GatewayError(problems.joined(separator: "\n")) }
    warn()
  }

  /// The NIC that carries outer packets, their VLAN tag there, and the interface that the kernel routes them on. A VLAN
  /// interface's packets pass its parent tagged, and AF_XDP is on the parent.
  private static func underlay(_ named: Link, _ vlan: UInt16?, _ links: [Link]) -> (nic: Link, vlan: UInt16?, routing: Link) {
    if let own = named.vlan, let parent = links.first(where: { $0.index == own.parent }) { return (parent, own.id, named) }
    guard let vlan else { return (named, nil, named) }
    let interface = links.first { $0.vlan.map { $0.parent == named.index && $0.id == vlan } ?? false }
    return (named, vlan, interface ?? named)
  }

  /// The device of a local port, unless it is there already.
  private mutating func addDevice(
    _ port: Configuration.LocalPort, _ links: [Link], _ netlink: borrowing NetlinkSocket, _ problems: inout [String]
  ) throws {
    if devices.contains(where: { $0.name == port.name }) { return }
    switch port.device {
    case .tap(let name):
      if links.contains(where: { $0.name == name }) {
        problems.append("--tap \(name): an interface of that name exists. Choose another name, or delete it (ip link del \(name))")
      }
      devices.append(.init(name: name, kind: .tap))
    case .nic(let name):
      guard let link = Self.find(name, "--lan", links, &problems) else { return }
      nics.append(try Self.describe(link, netlink))
      devices.append(.init(name: name, kind: .nic(nics.count - 1)))
    }
  }

  static func describe(_ link: Link, _ netlink: borrowing NetlinkSocket) throws -> NIC {
    let driver = try EthernetDriver(of: link)
    // Where the kernel can't be asked, which is before Linux 6.3, an attempt will show.
    let mayHaveZeroCopy = (try? XDPFeatures().hasZeroCopy(link.index)) ?? true
    return NIC(link: link, driver: driver.name, queues: max(1, driver.rxQueues), mayHaveZeroCopy: mayHaveZeroCopy)
  }

  static func find(_ name: String, _ option: String, _ links: [Link], _ problems: inout [String]) -> Link? {
    if let link = links.first(where: { $0.name == name }) { return link }
    let names = links.map(\.name).filter { $0 != "lo" }
    let hint = nearestWord(to: name, among: names).map { "did you mean \($0)?" } ?? "there are \(names.joined(separator: ", "))"
    problems.append("\(option) \(name): no such interface (see `ip link`); \(hint)")
    return nil
  }

  /// The configured address if the interface has it, else its primary one: IPv4 unless the remotes are IPv6, or it has none.
  private static func localAddress(
    _ configuration: Configuration, _ underlay: Link, _ netlink: borrowing NetlinkSocket, _ problems: inout [String]
  ) throws -> IPAddress? {
    let all = try netlink.addresses(of: underlay.index).filter { $0.scope != .host }
    if let wanted = configuration.local {
      if all.contains(where: { $0.address == wanted }) { return wanted }
      let list = all.filter { $0.address.isIPv4 == wanted.isIPv4 }.map { "\($0.address)" }.joined(separator: ", ")
      let has = list.isEmpty ? "it has no \(wanted.isIPv4 ? "IPv4" : "IPv6") address" : "it has \(list)"
      problems.append(
        "--local \(wanted): not an address of \(underlay.name); \(has). "
          + "Add it: ip addr add \(wanted)/\(wanted.isIPv4 ? 24 : 64) dev \(underlay.name)")
      return nil
    }
    for isIPv6 in configuration.isIPv6.map({ [$0] }) ?? [false, true] {
      if let primary = all.primary(isIPv4: !isIPv6) { return primary }
    }
    let family = configuration.isIPv6.map { $0 ? "IPv6 " : "IPv4 " } ?? "IP "
    problems.append("--iface \(underlay.name): it has no \(family)address to be the VTEP's. Add one (ip addr add … dev \(underlay.name))")
    return nil
  }

  /// Chunks hold the largest frame of any NIC; workers share the NIC with the fewest queues.
  private mutating func chooseSizes(_ problems: inout [String]) {
    let mtu = nics.map(\.link.mtu).max() ?? 1500
    rawChunkSize = configuration.frameSize ?? 2048
    while Self.largestMTU(chunk: rawChunkSize) < mtu && rawChunkSize < 1 << 17 { rawChunkSize *= 2 }
    xdpChunkSize = min(configuration.frameSize ?? rawChunkSize, Self.largestXDPChunk)
    let queues = nics.map(\.queues).min() ?? 1
    workers = configuration.workers ?? min(queues, Self.processorCount)
    if let wanted = configuration.workers, wanted > queues, configuration.io == .xdp || configuration.io == .xdpSKB,
      let nic = nics.first(where: { $0.queues == queues })
    {
      problems.append(
        "--workers \(wanted): \(nic.name) has \(queues) queue\(queues == 1 ? "" : "s"), and each worker needs one of every NIC. "
          + "Give it more (ethtool -L \(nic.name) combined \(wanted)), or ask for fewer workers")
    }
  }

  /// Bytes per chunk of packet memory. With zero-copy the driver receives into chunks itself, and some (igb; ixgbe on the
  /// 82599) only use whole KiB of the room behind the headroom: one of 1792 bytes.
  func chunkSize(usesXDP: Bool, zeroCopy: Bool) -> Int {
    guard usesXDP else { return rawChunkSize }
    let room = (xdpChunkSize - UMEM.headroom) & ~1023
    let isTooSmall = zeroCopy && nics.contains { $0.link.mtu + Self.linkHeader > room }
    return configuration.frameSize ?? (isTooSmall ? Self.largestXDPChunk : xdpChunkSize)
  }

  /// Why AF_XDP can't serve a NIC whatever its driver; nil when it can.
  func obstacleToXDP(_ nic: NIC) -> String? {
    if configuration.io == .auto, let obstacle = tagsBeside(nic) { return obstacle }
    let limit = Self.largestMTU(chunk: xdpChunkSize)
    guard nic.link.mtu > limit else { return nil }
    let size = configuration.frameSize.map { "--frame-size \($0)" } ?? "the largest frame of \(Self.largestXDPChunk) bytes"
    return
      "its MTU \(nic.link.mtu) is too large for AF_XDP: \(size) holds an MTU of \(limit). Lower it (ip link set \(nic.name) mtu \(limit))"
  }

  /// A veth hands VLAN tags over beside the frame, where XDP does not see them, and only its peer can change that.
  private func tagsBeside(_ nic: NIC) -> String? {
    let needsTags =
      nic.name == underlay.name && underlayVLAN != nil
      || configuration.segments.flatMap(\.ports).contains { $0.name == nic.name && $0.vlan != .untagged }
    return nic.handsTagsBeside && needsTags ? Self.tagsBesideReason : nil
  }

  static let tagsBesideReason = "a veth hands VLAN tags over where XDP does not see them"
  /// What to do about that, but for `--io raw`.
  static let tagsBesideAdvice = "put them into the frames at its peer (ethtool -K PEER tx-vlan-hw-insert off tx-vlan-stag-hw-insert off)"

  /// Bytes that the outer headers take from the underlay's MTU.
  var overhead: Int { local.isIPv4 ? VXLAN.overheadIPv4 : VXLAN.overheadIPv6 }

  /// Bytes of the largest IP packet that gets through from any port to any other: what super-frames are cut into. At
  /// least IPv4's 68 (RFC 791).
  var segmentMTU: Int { max(68, nics.dropFirst().reduce(underlay.link.mtu - overhead) { min($0, $1.link.mtu) }) }

  private static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

  private mutating func warn() {
    warnings += configuration.warnings
    if !underlay.link.isUp {
      warnings.append("\(underlay.name) is down: nothing will pass until it is up (ip link set \(underlay.name) up)")
    }
    for nic in nics where configuration.io == .xdp || configuration.io == .xdpSKB {
      guard let obstacle = tagsBeside(nic) else { continue }
      warnings.append(
        "\(nic.name): \(obstacle): \(Self.tagsBesideAdvice), or use --io raw")
    }
    for nic in nics.dropFirst() {
      if !nic.link.isUp { warnings.append("\(nic.name) is down: nothing will pass until it is up (ip link set \(nic.name) up)") }
      let room = underlay.link.mtu - overhead
      if nic.link.mtu > room {
        warnings.append(
          "\(nic.name) has MTU \(nic.link.mtu), but only \(room) fits through \(underlay.name) (MTU \(underlay.link.mtu), less \(overhead) "
            + "for the outer headers). Set \(room) on the LAN's hosts, or raise the underlay's MTU to \(nic.link.mtu + overhead)")
      }
    }
    if configuration.remotes.isEmpty && configuration.groups.isEmpty {
      warnings.append("no --remote: broadcast and unknown destinations have nowhere to go until a VTEP has been heard of")
    }
  }
}
