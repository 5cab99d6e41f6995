import CLinux
import Foundation
import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

/// What `ip -j -d address show` says of an interface.
struct ShownLink: Decodable {
  struct Info: Decodable { let info_kind: String? }
  struct Address: Decodable, Equatable {
    let local: String
    let prefixlen: Int
    let scope: String
    let secondary: Bool?
    let tentative: Bool?
    let deprecated: Bool?
    let dadfailed: Bool?
  }
  let ifindex: UInt32
  let ifname: String
  let flags: [String]
  let mtu: Int
  let master: String?
  let address: String?
  let promiscuity: Int
  let linkinfo: Info?
  let num_rx_queues: Int
  let num_tx_queues: Int
  let addr_info: [Address]
}

extension NetworkNamespace {
  func shownLinks() throws -> [ShownLink] { try decode(["-d", "address", "show"]) }

  func shownLink(_ name: String) throws -> ShownLink { try #require(try shownLinks().first { $0.ifname == name }) }

  /// What ip(8) prints as JSON.
  func decode<Value: Decodable>(_ arguments: [String]) throws -> Value {
    let output = try runCommand(["ip", "-n", name, "-j"] + arguments)
    return try JSONDecoder().decode(Value.self, from: Data(output.utf8))
  }
}

@Suite("Links and addresses")
struct LinkTests {
  @Test("are what ip(8) shows")
  func equalToIP() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.ip("link", "add", "br0", "type", "bridge")
    try namespace.ip("link", "set", "there", "master", "br0")
    try namespace.ip("link", "set", "here", "mtu", "1450")
    try namespace.ip("link", "add", "many", "numrxqueues", "3", "numtxqueues", "4", "type", "veth", "peer", "name", "quiet")
    try namespace.ip("tuntap", "add", "tap0", "mode", "tap")
    try namespace.ip("tuntap", "add", "tun0", "mode", "tun")
    try namespace.run {
      let socket = try NetlinkSocket()
      let shown = try namespace.shownLinks()
      let links = try socket.links()
      #expect(links.map(\.index) == shown.map(\.ifindex))
      for (link, shown) in zip(links, shown) {
        #expect(link.name == shown.ifname && link.mtu == shown.mtu)
        #expect(link.mac == shown.address.flatMap { MACAddress($0) } ?? MACAddress(0))
        #expect(link.isUp == shown.flags.contains("UP"))
        #expect(link.hasCarrier == shown.flags.contains("LOWER_UP"))
        #expect(link.kind == shown.linkinfo?.info_kind)
        #expect(link.master == links.first { $0.name == shown.master }?.index)
        #expect(link.rxQueues == shown.num_rx_queues && link.txQueues == shown.num_tx_queues)
        #expect(link.xdp == nil)
        #expect(try socket.link(index: link.index) == link)
        #expect(try socket.link(named: link.name) == link)
      }
      #expect(links.contains { $0.hasCarrier } && links.contains { !$0.hasCarrier } && links.contains { $0.master != nil })
    }
  }

  /// IFLA_INFO_KIND, VID, protocol on the wire, whether the parent is elsewhere (IFLA_LINK_NETNSID), and what is made of it.
  static let vlans: [(String, UInt16, [UInt8], Bool, Link.VLAN?)] = [
    ("vlan", 100, [0x81, 0x00], false, Link.VLAN(id: 100, isServiceTag: false, parent: 7)),
    ("vlan", 4094, [0x88, 0xa8], false, Link.VLAN(id: 4094, isServiceTag: true, parent: 7)),
    ("vlan", 1, [], false, Link.VLAN(id: 1, isServiceTag: false, parent: 7)),
    ("vlan", 5, [0x81, 0x00], true, Link.VLAN(id: 5, isServiceTag: false, parent: nil)),
    // IFLA_LINK is also a veth's other end, and attribute 1 means something else to each kind.
    ("veth", 100, [0x81, 0x00], false, nil),
  ]

  @Test("VLAN interfaces: tag and parent", arguments: vlans)
  func vlan(_ kind: String, _ id: UInt16, _ type: [UInt8], _ isElsewhere: Bool, _ expected: Link.VLAN?) throws {
    func attribute(_ type: some BinaryInteger, _ octets: [UInt8]) -> [UInt8] {
      let length = 4 + octets.count
      return [UInt8(length), 0, UInt8(type), 0] + octets + [UInt8](repeating: 0, count: (4 - length % 4) % 4)
    }
    var message = NetlinkRequest(Int(RTM_NEWLINK), header: ifinfomsg())
    message.append(IFLA_IFNAME, octets: Array("here\0".utf8))
    message.append(IFLA_MTU, 1500)
    message.append(IFLA_LINK, 7)
    if isElsewhere { message.append(IFLA_LINK_NETNSID, 0) }
    var data = attribute(IFLA_VLAN_ID, [UInt8(id & 0xff), UInt8(id >> 8)]) + attribute(IFLA_VLAN_FLAGS, [1, 0, 0, 0, 255, 255, 255, 255])
    if !type.isEmpty { data += attribute(IFLA_VLAN_PROTOCOL, type) }
    message.append(IFLA_LINKINFO, octets: attribute(IFLA_INFO_KIND, Array(kind.utf8)) + attribute(IFLA_INFO_DATA, data))
    let link = try #require(NetlinkMessage.parse(message.bytes(sequence: 1)).first.flatMap { Link($0) })
    #expect(link.kind == kind && link.vlan == expected)
  }

  @Test("are found by alternative name, and nil when absent")
  func names() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.ip("link", "property", "add", "dev", "here", "altname", "short", "altname", "longer-than-fifteen")
    try namespace.run {
      let socket = try NetlinkSocket()
      #expect(try socket.link(named: "short")?.name == "here")
      #expect(try socket.link(named: "longer-than-fifteen")?.name == "here")
      for absent in ["", "nowhere", "nowhere-to-be-found-here"] { #expect(try socket.link(named: absent) == nil) }
      #expect(try socket.link(index: 9999) == nil)
      #expect(try socket.addresses(of: socket.link(named: "here")!.index).allSatisfy { !$0.address.isIPv4 })
      let error = #expect(throws: SystemError.self) { try socket.addresses(of: 9999) }
      #expect(error?.errno == .operationNotSupportedByDevice && error?.call.hasPrefix("listing addresses of interface 9999") == true)
    }
  }

  @Test("the XDP program is known by mode and number", arguments: [(XDPMode.native, Link.XDP.Mode.native), (.generic, .generic)])
  func xdp(_ mode: XDPMode, _ expected: Link.XDP.Mode) throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.run {
      let socket = try NetlinkSocket()
      let link = try #require(try socket.link(named: "here"))
      let program = try XDPProgram(
        interfaceIndex: link.index, interfaceName: "here", role: .lan(mac: link.mac), queues: 1, mode: mode)
      let current = try #require(XDPProgram.current(on: link.index))
      #expect(try socket.link(index: link.index)?.xdp == Link.XDP(mode: expected, programID: current.id))
      _ = try program.counts()
    }
  }

  @Test("are changed as asked, and the kernel's reason is told when not")
  func change() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.run {
      let socket = try NetlinkSocket()
      let index = interfaceIndex("here")
      let before = try #require(try socket.link(index: index))
      let mac = MACAddress(0x02aa_0000_0001)
      try socket.setLink(index: index, mtu: 1450, mac: mac)
      let after = try #require(try socket.link(index: index))
      #expect(after.mtu == 1450 && after.mac == mac && after.isUp == before.isUp)
      try socket.setLink(index: index, up: false)
      #expect(try socket.link(index: index)?.isUp == false)
      try socket.setLink(index: index, up: true)
      #expect(try socket.link(index: index)?.isUp == true)
      let error = #expect(throws: SystemError.self) { try socket.setLink(index: index, up: true, mtu: 10) }
      #expect(error?.call == "setting interface \(index) up, MTU 10 (mtu less than device minimum)")
      #expect(error?.errno == .invalidArgument)
    }
  }

  @Test("addresses are what ip(8) shows, in its order")
  func addresses() throws {
    let namespace = try NetworkNamespace()
    try namespace.ip("link", "add", "here", "type", "veth", "peer", "name", "there")
    for link in ["here", "there"] { try namespace.ip("link", "set", link, "addrgenmode", "none") }
    try namespace.ip("link", "set", "here", "up")
    // Without carrier the first IPv6 address stays tentative.
    for address in ["2001:db8::1/64", "192.0.2.1/24", "192.0.2.9/24", "198.51.100.1/32"] {
      try namespace.ip("address", "add", address, "dev", "here")
    }
    try namespace.ip("address", "add", "2001:db8::2/128", "dev", "here", "nodad")
    try namespace.ip("address", "add", "2001:db8::3/128", "dev", "here", "nodad", "preferred_lft", "0")
    try namespace.ip("address", "add", "203.0.113.1", "peer", "203.0.113.2/32", "dev", "here", "scope", "link")
    let shown = try namespace.shownLink("here").addr_info
    let names: [InterfaceAddress.Scope.RawValue: String] = [0: "global", 253: "link", 254: "host"]
    let addresses = try namespace.run { try NetlinkSocket().addresses(of: interfaceIndex("here")) }
    #expect(
      addresses.map {
        ShownLink.Address(
          local: $0.address.description, prefixlen: $0.prefixLength, scope: names[$0.scope.rawValue] ?? "",
          secondary: $0.isSecondary ? true : nil, tentative: $0.isTentative ? true : nil,
          deprecated: $0.isDeprecated ? true : nil, dadfailed: $0.isDuplicate ? true : nil)
      } == shown)
    #expect(addresses.count == 7 && addresses.contains { $0.isSecondary } && addresses.contains { $0.isTentative })
    #expect(addresses.contains { $0.isDeprecated })
    #expect(try namespace.run { try NetlinkSocket().addresses(of: interfaceIndex("lo")) }.first?.scope == .host)
  }

  /// Addresses with their flags, in the kernel's order, and the ones that a VTEP takes over IPv4 and IPv6.
  static let primaries: [([(String, String)], String?, String?)] = [
    ([], nil, nil),
    ([("192.0.2.1", ""), ("192.0.2.2", "secondary"), ("2001:db8::1", ""), ("fe80::1", "link")], "192.0.2.1", "2001:db8::1"),
    ([("192.0.2.1", "secondary")], "192.0.2.1", nil),
    ([("127.0.0.1", "host"), ("169.254.0.1", "link"), ("192.0.2.1", "")], "192.0.2.1", nil),
    ([("169.254.0.1", "link"), ("::1", "host")], "169.254.0.1", nil),
    ([("2001:db8::2", "secondary"), ("2001:db8::3", "deprecated"), ("2001:db8::4", "duplicate"), ("2001:db8::1", "")], nil, "2001:db8::1"),
    ([("2001:db8::2", "tentative"), ("2001:db8::1", "")], nil, "2001:db8::1"),
    ([("2001:db8::2", "tentative"), ("fe80::1", "link")], nil, "2001:db8::2"),
    ([("2001:db8::2", "duplicate"), ("fe80::1", "link")], nil, nil),
  ]

  @Test("the primary address", arguments: primaries)
  func primary(_ list: [(String, String)], _ ipv4: String?, _ ipv6: String?) throws {
    let addresses = try list.map { text, flag in
      InterfaceAddress(
        address: try #require(IPAddress(text)), prefixLength: 24, isSecondary: flag == "secondary",
        isTentative: flag == "tentative" || flag == "duplicate", isDuplicate: flag == "duplicate", isDeprecated: flag == "deprecated",
        scope: flag == "link" ? .link : flag == "host" ? .host : .global)
    }
    #expect(addresses.primary(isIPv4: true)?.description == ipv4)
    #expect(addresses.primary(isIPv4: false)?.description == ipv6)
  }
}
