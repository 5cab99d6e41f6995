import CLinux
import PacketIO
import SystemPackage
import Wire

/// Where the kernel would send a packet (RTM_NEWROUTE in answer to RTM_GETROUTE).
public struct Route: Sendable, Equatable {
  public enum Kind: Sendable, Equatable {
    case unicast
    /// An address of this host.
    case local
    case broadcast, multicast
    /// A route that says "nowhere": with ICMP host unreachable, silently, or with ICMP prohibited.
    case unreachable, blackhole, prohibit
  }

  public let kind: Kind
  /// Zero for a route to nowhere.
  public let interfaceIndex: UInt32
  /// The next hop; nil when the destination is on the link. May be IPv6 for an IPv4 destination (RFC 5549).
  public let gateway: IPAddress?
  /// The source address that was asked for, or else the one that the kernel would choose.
  public let preferredSource: IPAddress?
  /// The route's own MTU in bytes, set by the administrator or found by path MTU discovery; nil: the interface's.
  public let mtu: Int?
  /// The MTU is not to be lowered by path MTU discovery ("mtu lock").
  public let isMTULocked: Bool
  /// Number of the routing table that it is from.
  public let table: UInt32
}

extension Route.Kind {
  /// From an RTN_ constant of linux/rtnetlink.h; nil for those that don't come as routes.
  fileprivate init?(_ type: UInt8) {
    switch Int(type) {
    case RTN_UNICAST: self = .unicast
    case RTN_LOCAL, RTN_ANYCAST: self = .local
    case RTN_BROADCAST: self = .broadcast
    case RTN_MULTICAST: self = .multicast
    default: return nil
    }
  }

  /// Routes to nowhere come as errors (fib_props, net/ipv4/fib_semantics.c; ip6_rt_type_to_error, net/ipv6/route.c).
  fileprivate init?(_ errno: Errno) {
    switch errno {
    case .noRouteToHost: self = .unreachable
    case .invalidArgument: self = .blackhole
    case .permissionDenied: self = .prohibit
    default: return nil
    }
  }
}

extension Route {
  init?(_ message: NetlinkMessage, source: IPAddress?) {
    guard let header = message.payload.load(rtmsg.self), let kind = Kind(header.rtm_type) else { return nil }
    let attributes = message.attributes(after: rtmsg.self)
    self.kind = kind
    interfaceIndex = attributes.integer(RTA_OIF.rawValue) ?? 0
    // struct rtvia: two bytes of address family, and the address.
    let via = attributes[RTA_VIA.rawValue].flatMap { IPAddress(octets: $0.dropFirst(2)) }
    gateway = attributes.address(RTA_GATEWAY.rawValue) ?? via
    preferredSource = source ?? attributes.address(RTA_PREFSRC.rawValue)
    let metrics = attributes.nested(RTA_METRICS.rawValue)
    mtu = metrics.integer(RTAX_MTU).map { Int($0) }
    isMTULocked = (metrics.integer(RTAX_LOCK) ?? 0) & 1 << RTAX_MTU != 0
    table = attributes.integer(RTA_TABLE.rawValue) ?? UInt32(header.rtm_table)
  }
}

extension NetlinkSocket {
  /// The route that a packet of this host would take, by one look-up in the kernel's tables and rules. Of an ECMP route it is
  /// one leg: that of the hash which the kernel makes of such a packet (fib_multipath_hash_policy: of the addresses, or
  /// of addresses and ports). Legs whose interface is down are out (RTNH_F_DEAD), and those without carrier if
  /// ignore_routes_with_linkdown says so.
  ///
  /// - Parameters:
  ///   - source: the packet's source address; must be one of this host's. Nil: the kernel's choice.
  ///   - interface: index of the interface that it must leave through: link-local and multicast destinations need it, rules
  ///     and VRFs look at it. For IPv6 it is a wish. For IPv4 the first leg through it is taken, without hashing
  ///     (fib_select_path, net/ipv4/fib_semantics.c).
  ///   - port: UDP destination port, host order, for rules and hashes that look at it.
  /// - Returns: nil when no route matches, or when `source` isn't an address of this host.
  public func route(
    to destination: IPAddress, from source: IPAddress? = nil, through interface: UInt32? = nil, port: UInt16? = nil
  ) throws(SystemError) -> Route? {
    var header = rtmsg()
    header.rtm_family = destination.family
    header.rtm_dst_len = UInt8(destination.bitWidth)
    header.rtm_src_len = UInt8(source?.bitWidth ?? 0)
    // IPv6 always names the table, and refuses the flag.
    if destination.isIPv4 { header.rtm_flags = UInt32(RTM_F_LOOKUP_TABLE) }
    var request = NetlinkRequest(RTM_GETROUTE, header: header)
    request.append(RTA_DST.rawValue, octets: destination.octets)
    if let source { request.append(RTA_SRC.rawValue, octets: source.octets) }
    if let interface { request.append(RTA_OIF.rawValue, interface) }
    if let port {
      request.append(RTA_IP_PROTO.rawValue, octets: [IPProtocol.udp])
      request.append(RTA_DPORT.rawValue, octets: [UInt8(port >> 8), UInt8(port & 0xff)])
    }
    do {
      let route = try self.request(request, "route to \(destination)").first.flatMap { Route($0, source: source) }
      // IPv4 takes what no table has for a neighbour, if only the interface is given (ip_route_output_key_hash_rcu).
      return route?.kind == .unicast && route?.table == UInt32(RT_TABLE_UNSPEC.rawValue) ? nil : route
    } catch {
      if error.errno == .networkUnreachable { return nil }
      guard let kind = Route.Kind(error.errno) else { throw error }
      return Route(
        kind: kind, interfaceIndex: 0, gateway: nil, preferredSource: nil, mtu: nil, isMTULocked: false,
        table: UInt32(RT_TABLE_UNSPEC.rawValue))
    }
  }
}
