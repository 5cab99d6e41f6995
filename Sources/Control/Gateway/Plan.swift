import CLinux
import Datapath
import PacketIO
import Wire

/// What will run: the operator's configuration, held against what the kernel has. Making it changes nothing.
struct Plan: Sendable {
  enum Port: Sendable {
    /// Index in `nics`.
    case nic(Int)
    case tap(name: String)
  }

  var configuration: Configuration
  /// This VTEP's address.
  var local: IPAddress
  /// The underlay first.
  var nics: [NIC]
  /// Port 0 is the underlay, as the data path has it.
  var ports: [Port]
  var segments: [(vni: UInt32, ports: [Int])]
  var workers: Int
  /// Bytes per chunk of packet memory when every NIC uses AF_XDP, and when none does.
  var xdpChunkSize: Int
  var rawChunkSize: Int
  /// What the operator should know although it is no mistake.
  var warnings: [String] = []

  var underlay: NIC { nics[0] }
  func name(ofPort port: Int) -> String {
    switch ports[port] {
    case .nic(let index): nics[index].name
    case .tap(let name): name
    }
  }

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
    guard let underlay = Self.find(configuration.iface, "--iface", links, &problems) else {
      throw GatewayError(problems.joined(separator: "\n"))
    }
    local = try Self.localAddress(configuration, underlay, netlink, links, &problems) ?? IPAddress(v4: 0)
    nics = []
    ports = []
    segments = []
    workers = 1
    xdpChunkSize = 2048
    rawChunkSize = 2048
    addNIC(try Self.describe(underlay, role: .underlay(port: configuration.destinationPort, addresses: [local]), netlink))
    for segment in configuration.segments {
      let numbers = try segment.ports.map { try addPort($0, links, netlink, &problems) }
      segments.append((segment.vni, numbers.compactMap { $0 }))
    }
    chooseSizes(&problems)
    if !problems.isEmpty { throw GatewayError(problems.joined(separator: "\n")) }
    warn()
  }

  private mutating func addNIC(_ nic: NIC) {
    nics.append(nic)
    ports.append(.nic(nics.count - 1))
  }

  private mutating func addPort(
    _ port: Configuration.LocalPort, _ links: [Link], _ netlink: borrowing NetlinkSocket, _ problems: inout [String]
  ) throws -> Int? {
    switch port.device {
    case .tap(let name):
      if links.contains(where: { $0.name == name }) {
        problems.append("--tap \(name): an interface of that name exists. Choose another name, or delete it (ip link del \(name))")
        return nil
      }
      ports.append(.tap(name: name))
    case .nic(let name):
      guard let link = Self.find(name, "--lan", links, &problems) else { return nil }
      addNIC(try Self.describe(link, role: .lan(mac: link.mac), netlink))
    }
    return ports.count - 1
  }

  private static func describe(_ link: Link, role: NICRole, _ netlink: borrowing NetlinkSocket) throws -> NIC {
    let driver = try EthernetDriver(of: link)
    return NIC(link: link, role: role, driver: driver.name, queues: max(1, driver.rxQueues))
  }

  private static func find(_ name: String, _ option: String, _ links: [Link], _ problems: inout [String]) -> Link? {
    if let link = links.first(where: { $0.name == name }) { return link }
    let names = links.map(\.name).filter { $0 != "lo" }
    let hint = nearestWord(to: name, among: names).map { "did you mean \($0)?" } ?? "there are \(names.joined(separator: ", "))"
    problems.append("\(option) \(name): no such interface (see `ip link`); \(hint)")
    return nil
  }

  /// The configured address if the NIC has it, else the NIC's primary IPv4 address.
  private static func localAddress(
    _ configuration: Configuration, _ underlay: Link, _ netlink: borrowing NetlinkSocket, _ links: [Link], _ problems: inout [String]
  ) throws -> IPAddress? {
    let addresses = try netlink.addresses(of: underlay.index).filter { $0.address.isIPv4 && $0.scope != .host }
    let list = addresses.map { "\($0.address)" }.joined(separator: ", ")
    if let wanted = configuration.local {
      if addresses.contains(where: { $0.address == wanted }) { return wanted }
      let has = list.isEmpty ? "it has no IPv4 address" : "it has \(list)"
      problems.append(
        "--local \(wanted): not an address of \(underlay.name); \(has). Add it: ip addr add \(wanted)/24 dev \(underlay.name)")
      return nil
    }
    if let primary = (addresses.first { !$0.isSecondary && $0.scope == .global } ?? addresses.first) { return primary.address }
    problems.append("--iface \(underlay.name): it has no IPv4 address to be the VTEP's. Add one (ip addr add … dev \(underlay.name))")
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
    let limit = Self.largestMTU(chunk: xdpChunkSize)
    guard nic.link.mtu > limit else { return nil }
    let size = configuration.frameSize.map { "--frame-size \($0)" } ?? "the largest frame of \(Self.largestXDPChunk) bytes"
    return
      "its MTU \(nic.link.mtu) is too large for AF_XDP: \(size) holds an MTU of \(limit). Lower it (ip link set \(nic.name) mtu \(limit))"
  }

  /// Bytes of the largest IP packet that gets through from any port to any other: what super-frames are cut into. At
  /// least IPv4's 68 (RFC 791).
  var segmentMTU: Int {
    let tunnel = underlay.link.mtu - (local.isIPv4 ? VXLAN.overheadIPv4 : VXLAN.overheadIPv6)
    return max(68, nics.dropFirst().reduce(tunnel) { min($0, $1.link.mtu) })
  }

  private static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

  private mutating func warn() {
    warnings += configuration.warnings
    if !underlay.link.isUp {
      warnings.append("\(underlay.name) is down: nothing will pass until it is up (ip link set \(underlay.name) up)")
    }
    for nic in nics.dropFirst() {
      if !nic.link.isUp { warnings.append("\(nic.name) is down: nothing will pass until it is up (ip link set \(nic.name) up)") }
      let room = underlay.link.mtu - VXLAN.overheadIPv4
      if nic.link.mtu > room {
        warnings.append(
          "\(nic.name) has MTU \(nic.link.mtu), but only \(room) fits through \(underlay.name) (MTU \(underlay.link.mtu), less \(VXLAN.overheadIPv4) "
            + "for the outer headers). Set \(room) on the LAN's hosts, or raise the underlay's MTU to \(nic.link.mtu + VXLAN.overheadIPv4)")
      }
    }
    if configuration.remotes.isEmpty && configuration.groups.isEmpty {
      warnings.append("no --remote: broadcast and unknown destinations have nowhere to go until a VTEP has been heard of")
    }
  }
}
