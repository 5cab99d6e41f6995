/// Why a frame was not forwarded. Names are the kernel's where it has one (include/net/dropreason-core.h, and
/// drivers/net/vxlan/drop.h), so people can look up both.
public enum DropReason: Int, CaseIterable, Sendable {
  // Outer headers, in the order in which they are checked.
  case packetTooSmall
  case ipInvalidHeader
  case ipChecksum
  case ipFragment
  case ipInvalidDestination
  case ipInvalidSource
  case udpInvalidLength
  case udpChecksum
  case vxlanInvalidHeader
  case vxlanReservedBits
  case vniNotFound
  case vtepNotListed
  // The inner frame, or a frame from a local port.
  case frameTooSmall
  case macInvalidSource
  case localMAC
  case entryExists
  case linkLocalGroup
  case vlanNotFound
  case innerVLAN
  case neighbourSuppressed
  case ipTunnelECN
  // Forwarding.
  case noLocalPort
  case splitHorizon
  case samePort
  case noRemote
  case packetTooBig
  case neighbourQueueFull
  case neighbourFailed
  case noMemory
  case stopped

  /// How many there are.
  public static var count: Int { Self.stopped.rawValue + 1 }

  /// What `vxgw stats` calls it.
  public var name: String { Self.table[rawValue].name }

  /// What it means, in the operator's words.
  public var sentence: String { Self.table[rawValue].sentence }

  private static let table: [(name: String, sentence: String)] = [
    ("PKT_TOO_SMALL", "a packet from the underlay is too short to hold the outer headers and an Ethernet frame"),
    ("IP_INHDR", "the outer IP header's version or lengths are wrong"),
    ("IP_CSUM", "the outer IP header's checksum is wrong"),
    (
      "FRAG_NOT_SUPPORTED",
      "the outer packet is a fragment or has IP options; VTEPs must not fragment (RFC 7348 4.3): check the underlay's MTU"
    ),
    ("IP_INVALID_DEST", "the outer destination is not this VTEP's address or port, nor a group that it listens to"),
    ("IP_INVALID_SOURCE", "the outer source can't be a VTEP: martian, multicast, or this VTEP's own address"),
    ("UDP_INVALID_LEN", "the outer UDP length does not fit the packet"),
    ("UDP_CSUM", "the outer UDP checksum is wrong, or is missing over IPv6 where --udp6zerocsum rx does not allow it"),
    ("VXLAN_INVALID_HDR", "the VXLAN header's I flag is not set"),
    ("VXLAN_RESERVED_BITS", "the VXLAN header has reserved bits set that --reserved-bits forbids (another dialect: GBP, GPE?)"),
    ("VXLAN_VNI_NOT_FOUND", "the VNI is not configured here: compare `vxgw vni show` with the sender"),
    ("VXLAN_VTEP_NOT_LISTED", "the sender is none of the --remote VTEPs; --vteps any accepts everybody"),
    ("FRAME_TOO_SMALL", "the frame is shorter than an Ethernet header"),
    ("MAC_INVALID_SOURCE", "the frame's source MAC address is zero or multicast"),
    ("LOCAL_MAC", "a frame arrived with one of our own MAC addresses as its source: a loop, or a duplicate MAC address"),
    ("VXLAN_ENTRY_EXISTS", "the source MAC address has a static entry that points elsewhere"),
    ("LINK_LOCAL_GROUP", "a frame to 01:80:c2:00:00:0x (STP, LLDP, LACP, pause) does not leave its link"),
    ("VLAN_NOT_FOUND", "no local port on this NIC has the frame's VLAN: see --lan IF:VLAN"),
    ("INNER_VLAN", "the frame has a VLAN tag and the VNI carries none (RFC 7348 6.1): see --inner-vlan"),
    ("NEIGH_SUPPRESSED", "ARP or neighbour discovery that --proxy does not send into the tunnel, and that had no answer here"),
    ("IP_TUNNEL_ECN", "congestion was signalled outside to a transport inside that can't be told (RFC 6040)"),
    ("NO_LOCAL_PORT", "the segment has no other local port to deliver to"),
    ("SPLIT_HORIZON", "a frame from one VTEP is for a MAC address behind another VTEP; VTEPs reach each other directly"),
    ("SAME_PORT", "the destination is on the port that the frame came from"),
    ("VXLAN_NO_REMOTE", "the destination is unknown, or a group, and there is no VTEP to send it to: see --remote"),
    ("PKT_TOO_BIG", "the frame with its outer headers exceeds the underlay's MTU: lower the MTU of the sender"),
    ("NEIGH_QUEUEFULL", "too many frames already wait for the VTEP's next hop to answer ARP"),
    ("NEIGH_FAILED", "the VTEP's next hop did not answer ARP within a second, or there is no route to it"),
    ("NOMEM", "no free frame in packet memory: see --frames"),
    ("STOPPED", "the frame still waited for a VTEP's next hop when vxgw stopped"),
  ]
}

/// What a worker counts besides drops; follows the drop reasons in the same `Counters`.
public enum WorkerCounter: Int, CaseIterable, Sendable {
  /// Copies made because a frame goes to several places.
  case replicated
  /// Frames that wait for a neighbour: entered and left.
  case waitingEntered, waitingLeft
  /// FDB entries learned, moved to another place, and not learned because the table is full.
  case learned, moved, tableFull
  /// Partial transport checksums completed.
  case checksumsCompleted
  /// ARP requests and neighbour solicitations answered, frames too big answered, TCP SYNs whose MSS was lowered.
  case neighboursAnswered, tooBigAnswered, segmentSizesLowered
  /// Rounds of the loop, and those that found nothing; times that the worker slept.
  case rounds, emptyRounds, sleeps
  /// Chunks in the pool and in kernel rings at the end of the last round: levels, not sums.
  case poolChunks, heldChunks

  /// Its place behind the drop reasons.
  public var index: Int { DropReason.count + rawValue }

  /// Drop reasons and these together.
  public static var blockSize: Int { DropReason.count + Self.heldChunks.rawValue + 1 }
}
