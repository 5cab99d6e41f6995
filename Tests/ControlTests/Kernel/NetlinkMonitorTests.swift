import CLinux
import Foundation
import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

extension NetlinkMonitor {
  /// Waits for an event that is as described; everything else on the way is skipped.
  borrowing func expect(
    within seconds: Double, sourceLocation: SourceLocation = #_sourceLocation, _ isExpected: (KernelEvent) -> Bool
  ) throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    var seen: [KernelEvent] = []
    while ContinuousClock.now < deadline {
      let events = try events()
      if events.contains(where: isExpected) { return }
      seen += events
      var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      _ = unsafe poll(&wait, 1, 20)
    }
    Issue.record("not among \(seen)", sourceLocation: sourceLocation)
  }
}

@Suite("Kernel events")
struct NetlinkMonitorTests {
  @Test("links, addresses, routes, rules and neighbours")
  func changes() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.run {
      let monitor = try NetlinkMonitor()
      let index = interfaceIndex("here")
      #expect(try monitor.events().isEmpty)

      try namespace.ip("link", "set", "here", "down")
      try monitor.expect(within: 1) { if case .link(let link) = $0 { link.index == index && !link.isUp } else { false } }
      try namespace.ip("link", "set", "here", "up")
      try monitor.expect(within: 1) { if case .link(let link) = $0 { link.index == index && link.isUp && link.hasCarrier } else { false } }

      for address in ["192.0.2.1/24", "2001:db8::1/64"] {
        for verb in ["add", "del"] {
          try namespace.ip("address", verb, address, "dev", "here")
          try monitor.expect(within: 1) { $0 == .addressesChanged(interfaceIndex: index) }
        }
      }
      try namespace.ip("address", "add", "192.0.2.1/24", "dev", "here")
      try namespace.ip("address", "add", "2001:db8::1/64", "dev", "here", "nodad")
      for change in [
        ["route", "add", "198.51.100.0/24", "via", "192.0.2.2"], ["route", "del", "198.51.100.0/24"],
        ["-6", "route", "add", "2001:db8:2::/64", "via", "2001:db8::2"], ["-6", "route", "del", "2001:db8:2::/64"],
        ["rule", "add", "to", "198.51.100.0/24", "blackhole"], ["-6", "rule", "add", "to", "2001:db8:2::/64", "blackhole"],
        ["nexthop", "add", "id", "1", "via", "192.0.2.2", "dev", "here"],
        ["nexthop", "replace", "id", "1", "via", "192.0.2.3", "dev", "here"],
        ["nexthop", "del", "id", "1"],
      ] {
        try settle(monitor)
        try runCommand(["ip", "-n", namespace.name] + change)
        try monitor.expect(within: 1) { $0 == .routesChanged }
      }
      try neighbours(namespace, monitor, index)
    }
  }

  private func neighbours(_ namespace: borrowing NetworkNamespace, _ monitor: borrowing NetlinkMonitor, _ index: UInt32) throws {
    let entry = ["192.0.2.2", "lladdr", "02:aa:00:00:00:02", "dev", "here"]
    let neighbour = Neighbour(
      address: IPAddress(v4: 0xc000_0202), interfaceIndex: index, mac: MACAddress(0x02aa_0000_0002), state: .permanent)
    try runCommand(["ip", "-n", namespace.name, "neighbour", "add"] + entry)
    try monitor.expect(within: 1) { $0 == .neighbour(neighbour) }
    try runCommand(["ip", "-n", namespace.name, "neighbour", "del"] + entry)
    try monitor.expect(within: 1) {
      if case .neighbourGone(let gone) = $0 { gone.address == neighbour.address && gone.interfaceIndex == index } else { false }
    }
  }

  @Test("a link that leaves its bridge is not gone; a link that is deleted or moves away is")
  func gone() throws {
    let namespace = try NetworkNamespace()
    let other = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.ip("link", "add", "br0", "type", "bridge")
    try namespace.ip("link", "set", "here", "master", "br0")
    try namespace.run {
      let monitor = try NetlinkMonitor()
      let index = interfaceIndex("here")
      try namespace.ip("link", "set", "here", "nomaster")
      let events = try monitor.events()
      #expect(events.contains { if case .link(let link) = $0 { link.index == index && link.master == nil } else { false } })
      #expect(!events.contains { if case .linkGone = $0 { true } else { false } })

      let peer = interfaceIndex("there")
      try namespace.ip("link", "set", "there", "netns", other.name)
      try monitor.expect(within: 1) { $0 == .linkGone(index: peer, name: "there") }
      try namespace.ip("link", "del", "here")
      try monitor.expect(within: 1) { $0 == .linkGone(index: index, name: "here") }
    }
  }

  @Test("more than the socket holds is an overrun, and then it goes on")
  func overrun() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.ip("address", "add", "192.0.2.1/24", "dev", "here")
    let batch = FileManager.default.temporaryDirectory.appendingPathComponent("\(namespace.name).batch")
    let lines = (0..<20000).map { "route add 198.18.\($0 / 256).\($0 % 256)/32 via 192.0.2.2\n" }
    try Data(lines.joined().utf8).write(to: batch)
    defer { try? FileManager.default.removeItem(at: batch) }
    try namespace.run {
      let monitor = try NetlinkMonitor()
      try namespace.ip("-batch", batch.path)
      let events = try monitor.events()
      #expect(events.contains(.overrun) && events.count < 10, "repetitions are merged")
      try settle(monitor)
      try namespace.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.2")
      try monitor.expect(within: 1) { $0 == .routesChanged }
    }
  }

  /// Takes what came so far, so that what is expected next can't be older.
  private func settle(_ monitor: borrowing NetlinkMonitor) throws { _ = try monitor.events() }
}
