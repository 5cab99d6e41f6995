import CLinux
import Datapath
import Logging
import PacketIO
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Control

/// Log lines, kept.
final class CapturedLog: LogHandler, Sendable {
  private let captured = Mutex<[String]>([])
  var lines: [String] { captured.withLock { $0 } }

  func log(event: LogEvent) { captured.withLock { $0.append(StandardErrorLog.line(event.level, event.message.description)) } }

  var logLevel: Logger.Level {
    get { .info }
    set {}
  }
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  var logger: Logger { Logger(label: "test") { _ in self } }
}

/// A resolver with the kernel of a namespace, driven as the control plane drives it.
struct ResolverRig: ~Copyable {
  let forwarding: Forwarding
  let netlink: NetlinkSocket
  private let monitor: NetlinkMonitor
  var resolver: Resolver
  let log = CapturedLog()

  /// Sockets belong to the namespace in which they were opened, wherever they are used.
  init(in namespace: borrowing NetworkNamespace, _ underlay: Underlay) throws {
    let sockets = try namespace.run { Sockets(netlink: try NetlinkSocket(), monitor: try NetlinkMonitor()) }
    let interface = try #require(try sockets.netlink.link(named: underlay.interface))
    forwarding = try Forwarding(maximumEntries: 1024)
    resolver = Resolver(forwarding, underlay: underlay, interface: interface, log: log.logger)
    netlink = sockets.netlink
    monitor = sockets.monitor
  }

  private struct Sockets: ~Copyable {
    let netlink: NetlinkSocket
    let monitor: NetlinkMonitor
  }

  /// With the settings that tests of other things need.
  init(in namespace: borrowing NetworkNamespace, _ family: Family) throws {
    try self.init(in: namespace, Underlay(interface: "here", local: family.local, udpChecksum: false))
  }

  /// Adds a remote, named by the operator or heard of.
  func add(_ address: IPAddress, port: UInt16 = VXLAN.defaultPort, isListed: Bool = true) throws -> Int {
    let added = forwarding.vteps.add(Remote(address, port: port))
    let index = try #require(added?.index)
    if isListed { forwarding.vteps.setListed(index) }
    return index
  }

  /// One round of the control plane's loop.
  mutating func step() throws {
    for event in try monitor.events() { resolver.note(event) }
    resolver.work(netlink, now: .now)
    #expect(resolver.nextDeadline > 0)
  }

  /// Runs until the VTEP's way is as described, at most for `seconds`.
  mutating func expect(
    _ vtep: Int, within seconds: Double = 1, sourceLocation: SourceLocation = #_sourceLocation, _ isExpected: (Resolver.Way.State?) -> Bool
  ) throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      try step()
      let state = resolver.ways[vtep]?.state
      if isExpected(state) {
        let header: OuterHeader? = if case .resolved(let header) = state { header } else { nil }
        #expect((header != nil) == forwarding.vteps.isResolved(vtep), sourceLocation: sourceLocation)
        return
      }
      guard ContinuousClock.now < deadline else {
        Issue.record("it is \(String(describing: state)); log: \(log.lines)", sourceLocation: sourceLocation)
        return
      }
      let now = Tick.now.milliseconds
      let wait = resolver.nextDeadline > now ? resolver.nextDeadline - now + 10 : 0
      var descriptor = pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0)
      _ = unsafe poll(&descriptor, 1, Int32(min(wait, 1000)))
    }
  }

  /// Runs until packets to the VTEP go to `mac`.
  mutating func expect(
    _ vtep: Int, through mac: MACAddress, within seconds: Double = 1, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try expect(vtep, within: seconds, sourceLocation: sourceLocation) { $0?.header?.nextHop == mac }
  }

  /// Runs until there is no way to the VTEP, for this reason.
  mutating func expect(_ vtep: Int, unreachable reason: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    try expect(vtep, sourceLocation: sourceLocation) { $0 == .unreachable(reason) }
  }
}

extension Resolver.Way.State {
  var header: OuterHeader? {
    if case .resolved(let header) = self { header } else { nil }
  }
}
