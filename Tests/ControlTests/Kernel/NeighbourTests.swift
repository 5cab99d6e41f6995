import Foundation
import PacketIO
import TestSupport
import Testing
import Wire

@testable import Control

/// What `ip -j neighbour show` says.
private struct ShownNeighbour: Decodable {
  let dst: String
  let lladdr: String?
  let state: [String]
}

@Suite("Neighbours")
struct NeighbourTests {
  @Test("resolve finds a peer within a second, and the monitor tells", arguments: ["192.0.2.2", "2001:db8:1::2"])
  func resolve(_ text: String) throws {
    let wire = try TwoNamespaces()
    try waitForLinkLocal(wire.local, "here")
    try waitForLinkLocal(wire.remote, "there")
    let address = try #require(IPAddress(text))
    let peer = try #require(try wire.remote.shownLink("there").address.flatMap { MACAddress($0) })
    try wire.local.run {
      let socket = try NetlinkSocket()
      let index = interfaceIndex("here")
      #expect(try socket.neighbour(address, on: index) == nil)
      let monitor = try NetlinkMonitor()
      try socket.resolve(address, on: index)
      try monitor.expect(within: 1) { event in
        guard case .neighbour(let neighbour) = event else { return false }
        return neighbour.address == address && neighbour.interfaceIndex == index && neighbour.isUsable && neighbour.mac == peer
      }
      let neighbour = try #require(try socket.neighbour(address, on: index))
      #expect(neighbour.mac == peer && neighbour.isUsable)
      let shown: [ShownNeighbour] = try wire.local.decode(["neighbour", "show", text, "dev", "here"])
      #expect(shown.count == 1 && shown[0].lladdr == peer.description && shown[0].state == ["REACHABLE"])
    }
  }

  /// NDP has no address to ask from before; it comes up to a second after the link.
  private func waitForLinkLocal(_ namespace: borrowing NetworkNamespace, _ link: String) throws {
    let deadline = ContinuousClock.now + .seconds(5)
    while try !namespace.shownLink(link).addr_info.contains(where: { $0.scope == "link" && $0.tentative == nil }) {
      try #require(ContinuousClock.now < deadline)
      usleep(20_000)
    }
  }

  @Test("nobody there: an entry that is not usable")
  func nobody() throws {
    let wire = try TwoNamespaces()
    try wire.local.run {
      let socket = try NetlinkSocket()
      let address = IPAddress(v4: 0xc000_0263)
      try socket.resolve(address, on: interfaceIndex("here"))
      let neighbour = try #require(try socket.neighbour(address, on: interfaceIndex("here")))
      #expect(neighbour.state == .incomplete && !neighbour.isUsable && neighbour.mac == nil)
      #expect(throws: SystemError.self) { try socket.resolve(address, on: 9999) }
    }
  }

  /// State as ip(8) names it; whether it is usable and confirmed; the state that resolve leaves behind. Not "delay": the timer of
  /// an entry that is added so ends it at once (neigh_timer_handler in net/core/neighbour.c).
  static let stateTable: [(String, Bool, Bool, Neighbour.State)] = [
    ("permanent", true, true, .permanent), ("noarp", true, true, .noARP), ("reachable", true, true, .reachable),
    ("stale", true, false, .delay), ("probe", true, false, .probe),
  ]

  @Test("a router stays one", arguments: ["2001:db8:1::50", "fe80::50"])
  func router(_ text: String) throws {
    let wire = try TwoNamespaces()
    try wire.local.ip("neighbour", "add", text, "lladdr", "02:aa:00:00:00:50", "dev", "here", "nud", "stale", "router")
    try wire.local.run {
      let socket = try NetlinkSocket()
      let address = try #require(IPAddress(text))
      try socket.resolve(address, on: interfaceIndex("here"))
      #expect(try socket.neighbour(address, on: interfaceIndex("here"))?.state.contains(.stale) == false)
    }
    // Without this flag the kernel drops its default routes through the neighbour.
    #expect(try wire.local.ip("-6", "neighbour", "show", text, "dev", "here").contains(" router "))
  }

  @Test("states, and what resolve makes of them", arguments: stateTable)
  func states(_ state: String, _ isUsable: Bool, _ isConfirmed: Bool, _ after: Neighbour.State) throws {
    let wire = try TwoNamespaces()
    // The states must not pass by themselves while a busy machine comes to look.
    for timer in ["delay_first_probe_time=60", "retrans_time_ms=60000"] {
      try wire.local.execute("sysctl", "-qw", "net.ipv4.neigh.here.\(timer)")
    }
    try wire.local.ip("neighbour", "add", "192.0.2.50", "lladdr", "02:aa:00:00:00:50", "dev", "here", "nud", state)
    try wire.local.run {
      let socket = try NetlinkSocket()
      let address = IPAddress(v4: 0xc000_0232)
      let neighbour = try #require(try socket.neighbour(address, on: interfaceIndex("here")))
      #expect(neighbour.mac == MACAddress(0x02aa_0000_0050))
      #expect(neighbour.isUsable == isUsable && neighbour.isConfirmed == isConfirmed)
      try socket.resolve(address, on: interfaceIndex("here"))
      #expect(try socket.neighbour(address, on: interfaceIndex("here"))?.state == after)
    }
  }
}
