import Foundation
import TestSupport
import Testing
import Wire

@testable import Control

/// Hosts on one switch, each in a network namespace of its own:
///
///     local ─ here   .1 ┐
///     vtep  ─ there  .2 ├ bridge in `network`
///     first ─ there .11 │ routers: nothing needs to be behind them, for the outer headers end with their MAC addresses
///     second ─ there .12┘
///
/// Host n has 192.0.2.n, 2001:db8:1::n and fe80::n, n in hexadecimal for IPv6, and MAC address 02:aa:00:00:00:n.
struct Fabric: ~Copyable {
  let local: NetworkNamespace
  let network: NetworkNamespace
  let vtep: NetworkNamespace
  let first: NetworkNamespace
  let second: NetworkNamespace

  init() throws {
    let network = try NetworkNamespace()
    let local = try NetworkNamespace()
    let vtep = try NetworkNamespace()
    let first = try NetworkNamespace()
    let second = try NetworkNamespace()
    try network.ip("link", "add", "br0", "type", "bridge")
    try network.ip("link", "set", "br0", "up")
    try Self.attach(local, "here", 1, network)
    try Self.attach(vtep, "there", 2, network)
    try Self.attach(first, "there", 11, network)
    try Self.attach(second, "there", 12, network)
    self.network = network
    self.local = local
    self.vtep = vtep
    self.first = first
    self.second = second
  }

  static func mac(_ host: Int) -> MACAddress { MACAddress(0x02aa_0000_0000 | UInt64(host)) }

  /// Connects `link` in a namespace to the switch. Addresses are usable at once: no duplicate address detection.
  static func attach(
    _ host: borrowing NetworkNamespace, _ link: String, _ number: Int, _ network: borrowing NetworkNamespace
  ) throws {
    let far = "port\(number)"
    let mac = "\(mac(number))"
    try network.ip("link", "add", far, "type", "veth", "peer", "name", link, "address", mac, "netns", host.name)
    try network.ip("link", "set", far, "master", "br0", "up")
    try host.ip("link", "set", link, "addrgenmode", "none")
    try host.ip("link", "set", link, "up")
    try host.ip("address", "add", "192.0.2.\(number)/24", "dev", link)
    try addIPv6(host, link, number)
    try network.waitForCarrier(far)
  }

  /// Again needed after a link was down: its IPv6 addresses went.
  static func addIPv6(_ host: borrowing NetworkNamespace, _ link: String, _ number: Int) throws {
    let hex = String(number, radix: 16)
    for address in ["2001:db8:1::\(hex)/64", "fe80::\(hex)/64"] { try host.ip("address", "add", address, "dev", link, "nodad") }
  }

  /// Runs ip(8) in the local namespace, arguments separated by spaces.
  func ip(_ arguments: String) throws {
    try runCommand(["ip", "-n", local.name] + arguments.split(separator: " ").map(String.init))
  }
}

/// The underlay's IP version, and the addresses that go with it.
enum Family: CaseIterable, CustomTestStringConvertible {
  case ipv4, ipv6

  var testDescription: String { self == .ipv4 ? "IPv4" : "IPv6" }
  var option: String { self == .ipv4 ? "-4" : "-6" }

  /// A host on the switch, as text.
  func host(_ number: Int) -> String { self == .ipv4 ? "192.0.2.\(number)" : "2001:db8:1::\(String(number, radix: 16))" }
  var local: IPAddress { IPAddress(host(1))! }
  /// VTEPs behind the routers, and the prefix of all of them.
  func remote(_ number: Int) -> IPAddress {
    self == .ipv4 ? IPAddress("198.51.100.\(number)")! : IPAddress("2001:db8:2::\(String(number, radix: 16))")!
  }
  var remotes: String { self == .ipv4 ? "198.51.100.0/24" : "2001:db8:2::/64" }
  var localPrefix: String { host(1) + (self == .ipv4 ? "/24" : "/64 nodad") }
}
