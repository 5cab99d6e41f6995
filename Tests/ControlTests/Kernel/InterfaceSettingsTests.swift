import PacketIO
import TestSupport
import Testing

@testable import Control

@Suite("Interface settings")
struct InterfaceSettingsTests {
  @Test("promiscuous mode is counted, and goes with its owner")
  func promiscuity() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.run {
      let link = try #require(try NetlinkSocket().link(named: "here"))
      func shown() throws -> Int { try namespace.shownLink("here").promiscuity }
      let before = try shown()
      do {
        let first = try Promiscuity(link)
        #expect(try shown() == before + 1)
        do {
          let second = try Promiscuity(link)
          #expect(try shown() == before + 2)
          _ = consume second
        }
        #expect(try shown() == before + 1)
        _ = consume first
      }
      #expect(try shown() == before)
      try namespace.ip("link", "del", "here")
      let error = #expect(throws: SystemError.self) { _ = try Promiscuity(link) }
      #expect(error?.call == "promiscuous mode of here" && error?.errno == .operationNotSupportedByDevice)
    }
  }

  /// ethtool's lines that are not the same in both.
  private func difference(_ before: String, _ after: String) -> [String] {
    zip(before.split(separator: "\n"), after.split(separator: "\n")).filter { $0 != $1 }.map { String($1) }
  }

  @Test("offloads go off and come back as they were", arguments: [true, false])
  func offloads(_ explicitly: Bool) throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    func shown() throws -> String { try namespace.execute("ethtool", "-k", "here") }
    try namespace.run {
      let link = try #require(try NetlinkSocket().link(named: "here"))
      let before = try shown()
      do {
        var offloads = try Offloads(switchingOff: Offloads.vlanStripping + Offloads.vlanFiltering + Offloads.merging, on: link)
        #expect(offloads.switchedOff == ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"])
        #expect(offloads.stillOn == [])
        #expect(difference(before, try shown()) == ["rx-vlan-offload: off", "rx-vlan-stag-hw-parse: off"])
        // A new name is no obstacle.
        try namespace.ip("link", "set", "here", "down")
        try namespace.ip("link", "set", "here", "name", "renamed")
        if explicitly {
          try offloads.restore()
          #expect(offloads.switchedOff == [])
        }
        try namespace.ip("link", "set", "renamed", "name", "here")
      }
      #expect(difference(before, try shown()) == [])
    }
  }

  @Test("what was off before stays off; what is fixed is named; a NIC that is gone is an error")
  func notOurs() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.execute("ethtool", "-K", "here", "rx-vlan-stag-hw-parse", "off")
    try namespace.run {
      let socket = try NetlinkSocket()
      let lo = try #require(try socket.link(named: "lo"))
      let fixed = try Offloads(switchingOff: ["rx-checksum", "no-such-offload"], on: lo)
      #expect(fixed.stillOn == ["rx-checksum"] && fixed.switchedOff == [])

      let here = try #require(try socket.link(named: "here"))
      let before = try namespace.execute("ethtool", "-k", "here")
      var offloads = try Offloads(switchingOff: Offloads.vlanStripping, on: here)
      #expect(offloads.switchedOff == ["rx-vlan-hw-parse"])
      try offloads.restore()
      #expect(difference(before, try namespace.execute("ethtool", "-k", "here")) == [])

      var orphaned = try Offloads(switchingOff: Offloads.vlanStripping, on: here)
      try namespace.ip("link", "del", "here")
      do {
        try orphaned.restore()
        Issue.record("restored the offloads of nothing")
      } catch let error as SystemError {
        #expect(error.call == "changing offloads of here" && error.errno == .operationNotSupportedByDevice)
      }
    }
  }

  @Test("driver and queues in use")
  func driver() throws {
    let namespace = try NetworkNamespace()
    try namespace.ip("link", "add", "here", "numrxqueues", "4", "numtxqueues", "4", "type", "veth", "peer", "name", "there")
    try namespace.ip("link", "add", "br0", "type", "bridge")
    try namespace.execute("ethtool", "-L", "here", "rx", "2", "tx", "3")
    try namespace.run {
      let socket = try NetlinkSocket()
      let veth = try #require(try socket.link(named: "here"))
      #expect(try EthernetDriver(of: veth) == EthernetDriver(name: "veth", bus: "", rxQueues: 2, txQueues: 3))
      let bridge = try #require(try socket.link(named: "br0"))
      #expect(
        try EthernetDriver(of: bridge)
          == EthernetDriver(name: "bridge", bus: "N/A", rxQueues: bridge.rxQueues, txQueues: bridge.txQueues))
      // Loopback has no driver.
      let lo = try #require(try socket.link(named: "lo"))
      #expect(try EthernetDriver(of: lo).name == nil)
    }
  }
}
