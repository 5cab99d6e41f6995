import CLinux
import SystemPackage
import Wire

/// Membership in a multicast group on one interface, through the kernel: it sends the reports (IGMP, MLD), answers queries, and
/// opens the NIC's filter. It ends with this value.
///
/// Each has a socket of its own: the kernel's limit (net.ipv4.igmp_max_memberships, 20) is one per socket. The socket has no
/// port, so nothing is ever delivered to it.
public struct GroupMembership: ~Copyable, Sendable {
  private let socket: OwnedDescriptor
  private let subject: Subject

  /// - Parameters:
  ///   - interface: index.
  ///   - name: the interface's, for error messages.
  /// - Throws: `SystemError`: ENODEV without the interface, ENOBUFS when the limit is 0, EINVAL when it is no group.
  public init(_ group: IPAddress, interface: UInt32, name: String) throws(SystemError) {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(
      try systemCall("opening a UDP socket") { CLinux.socket(group.isIPv4 ? AF_INET : AF_INET6, type, 0) })
    let subject = Subject(group: group, interface: interface, name: name)
    try subject.join(socket)
    self.socket = socket
    self.subject = subject
  }

  /// Leaves and joins, which reports the membership anew: a switch forgets it when the link goes down.
  public func rejoin() throws(SystemError) {
    do { try subject.leave(socket) } catch {
      // EADDRNOTAVAIL, ENODEV: the kernel has ended it, with what the interface had of IP.
      guard error.errno == .addressNotAvailable || error.errno == .operationNotSupportedByDevice else { throw error }
    }
    try subject.join(socket)
  }
}

/// What a membership is of.
private struct Subject {
  let group: IPAddress
  let interface: UInt32
  let name: String

  func join(_ socket: borrowing OwnedDescriptor) throws(SystemError) {
    let call = "\(name): joining multicast group \(group.text)"
    do { try change(socket, IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP, call) } catch {
      guard error.errno == .noBufferSpace else { throw error }
      throw SystemError("\(call) (see sysctl net.ipv4.igmp_max_memberships)", errno: error.errno)
    }
  }

  func leave(_ socket: borrowing OwnedDescriptor) throws(SystemError) {
    try change(socket, IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, "\(name): leaving multicast group \(group.text)")
  }

  private func change(_ socket: borrowing OwnedDescriptor, _ v4: Int32, _ v6: Int32, _ call: String) throws(SystemError) {
    guard group.isIPv4 else {
      // `struct ipv6_mreq` of linux/in6.h: the group's 16 octets, the interface's index.
      return try socket.set(Int32(IPPROTO_IPV6), v6, to: (vxgw_address(group).words, interface), call)
    }
    var request = ip_mreqn()
    request.imr_multiaddr.s_addr = group.v4.bigEndian
    request.imr_ifindex = Int32(bitPattern: interface)
    try socket.set(Int32(IPPROTO_IP), v4, to: request, call)
  }
}
