import CLinux
import PacketIO
import SystemPackage

/// Something changed in the kernel's tables.
public enum KernelEvent: Sendable, Equatable {
  /// New, or changed in any way. The kernel does not report IPv4 routes that go with their link: look those up again.
  case link(Link)
  /// Deleted, or moved to another network namespace.
  case linkGone(index: UInt32, name: String)
  /// New, or another state or MAC address.
  case neighbour(Neighbour)
  case neighbourGone(Neighbour)
  /// An IP address of this interface was added, changed or removed.
  case addressesChanged(interfaceIndex: UInt32)
  /// A route, rule or next hop object, no matter which.
  case routesChanged
  /// The kernel had more to say than the socket could hold: events are lost, and everything is to be read again.
  case overrun
}

/// Follows links, neighbours, addresses, routes and rules of the network namespace in which it was made.
public struct NetlinkMonitor: ~Copyable {
  private let socket: NetlinkSocket

  /// - Throws: `SystemError` of the calls that open the socket.
  public init() throws(SystemError) {
    let socket = try NetlinkSocket(groups: [
      RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
      RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP,
    ])
    // A routing daemon that starts changes thousands of routes in one go; the default holds a few hundred.
    try socket.descriptor.set(SOL_SOCKET, SO_RCVBUFFORCE, to: Int32(4 << 20), "enlarging the buffer for kernel events")
    self.socket = socket
  }

  /// Polls readable when there are events. Belongs to the monitor.
  public var descriptor: Int32 { socket.descriptor.number }

  /// What has happened since the last call, in order, without repetitions in a row. Never blocks.
  /// - Throws: `SystemError` of recv(2).
  public func events() throws(SystemError) -> [KernelEvent] {
    var events: [KernelEvent] = []
    while true {
      do {
        for message in NetlinkMessage.parse(try socket.receive("receiving kernel events")) {
          if let event = KernelEvent(message), event != events.last { events.append(event) }
        }
      } catch {
        switch error.errno {
        case .resourceTemporarilyUnavailable: return events
        case .noBufferSpace: events.append(.overrun)
        default: throw error
        }
      }
    }
  }
}

extension KernelEvent {
  /// Nil for messages that are none of these events.
  init?(_ message: NetlinkMessage) {
    let event: KernelEvent? =
      switch message.type {
      case RTM_NEWLINK: Link(message).map { .link($0) }
      case RTM_DELLINK: Link(message).map { .linkGone(index: $0.index, name: $0.name) }
      case RTM_NEWNEIGH: Neighbour(message).map { .neighbour($0) }
      case RTM_DELNEIGH: Neighbour(message).map { .neighbourGone($0) }
      case RTM_NEWADDR, RTM_DELADDR:
        message.payload.load(ifaddrmsg.self).map { .addressesChanged(interfaceIndex: $0.ifa_index) }
      case RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE: .routesChanged
      // Routes may name a next hop object, or a group of them, that changes without them (ip-nexthop(8)).
      case RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_NEWNEXTHOPBUCKET: .routesChanged
      default: nil
      }
    guard let event else { return nil }
    self = event
  }
}
