/// What the XDP program did with a frame, and why: `enum vxgw_verdict` in `bpf/vxgw.h`, in its order.
public enum XDPVerdict: Int, CaseIterable, Sendable {
  case redirected, forwarded
  case notIP, notUDP, otherAddress, otherPort, otherVLAN
  case fragment, options, extensionHeader
  case truncated
  case ownMAC
  case multiBuffer
  case noSocket
}

extension XDPVerdict: CustomStringConvertible {
  /// What `vxgw link show` calls it: the name in `bpf/vxgw.h`, in lower case and without its prefix.
  public var name: String {
    switch self {
    case .redirected: "redirected"
    case .forwarded: "forwarded"
    case .notIP: "passed_not_ip"
    case .notUDP: "passed_not_udp"
    case .otherAddress: "passed_other_address"
    case .otherPort: "passed_other_port"
    case .otherVLAN: "passed_other_vlan"
    case .fragment: "passed_fragment"
    case .options: "passed_options"
    case .extensionHeader: "passed_extension_header"
    case .truncated: "passed_truncated"
    case .ownMAC: "passed_own_mac"
    case .multiBuffer: "passed_multi_buffer"
    case .noSocket: "passed_no_socket"
    }
  }

  /// A sentence for the operator.
  public var description: String {
    switch self {
    case .redirected: "Taken by vxgw's workers."
    case .forwarded: "Forwarded by the XDP program itself (--fastpath)."
    case .notIP: "Left to the kernel: neither IPv4 nor IPv6."
    case .notUDP: "Left to the kernel: IP, but not UDP."
    case .otherAddress: "Left to the kernel: UDP to an address that is not the VTEP's."
    case .otherPort: "Left to the kernel: UDP to the VTEP's address, but to another port."
    case .otherVLAN: "Left to the kernel: in a VLAN, or without a tag, of which nothing is ours on this NIC."
    case .fragment:
      "Left to the kernel: a fragment behind the first. VTEPs must not fragment VXLAN packets (RFC 7348 section 4.3): raise the underlay's MTU."
    case .options: "Left to the kernel: UDP to the VTEP's address with IPv4 options."
    case .extensionHeader: "Left to the kernel: IPv6 extension headers in a packet to the VTEP's address."
    case .truncated: "Left to the kernel: it ends inside the Ethernet, VLAN, IP or UDP header."
    case .ownMAC: "Left to the kernel: addressed to the NIC's own MAC address."
    case .multiBuffer:
      "Left to the kernel: ours, but larger than a receive buffer. Lower the MTU, or switch off GRO and LRO here and TSO at a veth's peer."
    case .noSocket: "Left to the kernel: ours, but it came on a queue without a socket."
    }
  }
}
