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
    try namespace.ip("address", "add", "203.0.113.1", "peer", "203.0.113.2/32", "dev", "here", "scope", "link")
    let shown = try namespace.shownLink("here").addr_info
    let names: [InterfaceAddress.Scope.RawValue: String] = [0: "global", 253: "link", 254: "host"]
    let addresses = try namespace.run { try NetlinkSocket().addresses(of: interfaceIndex("here")) }
    #expect(
      addresses.map {
        ShownLink.Address(
          local: $0.address.description, prefixlen: $0.prefixLength, scope: names[$0.scope.rawValue] ?? "",
          secondary: $0.isSecondary ? true : nil, tentative: $0.isTentative ? true : nil)
      } == shown)
    #expect(addresses.count == 6 && addresses.contains { $0.isSecondary } && addresses.contains { $0.isTentative })
    #expect(try namespace.run { try NetlinkSocket().addresses(of: interfaceIndex("lo")) }.first?.scope == .host)
  }
}
