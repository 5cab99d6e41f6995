/// A message by which hosts find each other's MAC addresses: ARP for IPv4 on Ethernet (RFC 826), or a neighbour
/// solicitation or advertisement (RFC 4861).
public struct NeighbourMessage: Equatable, BitwiseCopyable, Sendable {
  public enum Kind: BitwiseCopyable, Sendable { case arpRequest, arpReply, solicitation, advertisement }

  public let kind: Kind
  /// ARP's sender, or the IPv6 source. Unspecified in a probe.
  public let sender: IPAddress
  /// Whom a request asks for, whom an advertisement is about, or to whom an ARP reply goes.
  public let target: IPAddress
  /// ARP's sender, or the link-layer address option of source (solicitation) or target (advertisement). Nil: no such option.
  public let mac: MACAddress?
  /// Flags R and S of an advertisement: the target is a router; this is an answer.
  public let isRouter: Bool
  public let isSolicited: Bool
  /// Whether the Ethernet destination is a single host, as in requests that confirm what is known already.
  public let isUnicast: Bool

  /// The Ethernet source, whom to answer when `mac` is nil.
  private let linkSource: MACAddress
  /// Bytes in front of the ARP message or the IPv6 header.
  private let networkOffset: Int

  /// A request of a host that has no address yet and looks whether somebody else has it (RFC 5227 section 1.1, RFC 4862
  /// section 5.4).
  public var isProbe: Bool { sender.isUnspecified }

  /// Whether the message tells everybody of its sender, rather than asking or answering (RFC 5227 section 1.1, RFC 4861
  /// section 7.2.6).
  public var isGratuitous: Bool { kind == .advertisement ? !isSolicited : sender == target }

  /// The address and MAC address that the message says belong together; nil if it doesn't, or if no host can have them.
  public var binding: (address: IPAddress, mac: MACAddress)? {
    let address = kind == .advertisement ? target : sender
    guard let mac, !mac.isMulticast, !mac.isZero, !address.isMartianSource else { return nil }
    return (address, mac)
  }

  /// Looks through at most two VLAN tags. Nil for every other frame, and for messages that must be ignored (RFC 4861 sections
  /// 7.1.1 and 7.1.2): malformed ones, and those that a router has forwarded.
  public init?(_ frame: RawSpan) {
    let headers = FrameHeaders(frame, key: 0)
    if headers.etherType == EtherType.arp {
      self.init(arp: frame, headers.networkOffset)
    } else if headers.etherType == EtherType.ipv6, headers.isIP {
      self.init(ipv6: frame, headers.networkOffset)
    } else {
      return nil
    }
  }

  private init?(arp frame: RawSpan, _ arp: Int) {
    guard arp + Self.arpLength <= frame.byteCount else { return nil }
    // Hardware Ethernet or IEEE 802, protocol IPv4, addresses of six and four bytes.
    let (hardware, operation) = (frame.big16(at: arp), frame.big16(at: arp + 6))
    guard hardware == 1 || hardware == 6, frame.big32(at: arp + 2) == 0x0800_0604, operation == 1 || operation == 2 else { return nil }
    kind = operation == 1 ? .arpRequest : .arpReply
    mac = frame.mac(at: arp + 8)
    sender = frame.ipv4(at: arp + 14)
    target = frame.ipv4(at: arp + 24)
    isRouter = false
    isSolicited = false
    isUnicast = !frame.mac(at: 0).isMulticast
    linkSource = frame.mac(at: 6)
    networkOffset = arp
  }

  private init?(ipv6 frame: RawSpan, _ ip: Int) {
    let (icmp, length) = (ip + 40, Int(frame.big16(at: ip + 4)))
    guard frame.byte(at: ip) >> 4 == 6, frame.byte(at: ip + 6) == IPProtocol.icmpv6, frame.byte(at: ip + 7) == 255,
      length >= 24, icmp + length <= frame.byteCount
    else { return nil }
    let (type, flags) = (frame.big16(at: icmp), frame.byte(at: icmp + 4))
    guard type == 0x8700 || type == 0x8800, let sender = frame.ipv6(at: ip + 8), let destination = frame.ipv6(at: ip + 24),
      let target = frame.ipv6(at: icmp + 8), !target.isMulticast
    else { return nil }
    kind = type == 0x8700 ? .solicitation : .advertisement
    self.sender = sender
    self.target = target
    isRouter = kind == .advertisement && flags & 0x80 != 0
    isSolicited = kind == .advertisement && flags & 0x40 != 0
    isUnicast = !frame.mac(at: 0).isMulticast
    linkSource = frame.mac(at: 6)
    networkOffset = ip
    let sum = Checksum.pseudoHeader(ipv6: frame, at: ip, protocol: IPProtocol.icmpv6, length: length)
    guard Checksum.fold(sum + Checksum.sum(frame, icmp..<icmp + length)) == 0xffff,
      case .some(let option) = Self.linkLayerAddress(frame, icmp + 24..<icmp + length, type: kind == .solicitation ? 1 : 2)
    else { return nil }
    mac = option
    if kind == .advertisement {
      guard !(isSolicited && destination.isMulticast) else { return nil }
    } else if sender.isUnspecified {
      guard mac == nil, destination == Self.solicitedNode(target) else { return nil }
    }
  }

  /// The MAC address in the first option of this type, or nil in it when there is none; nil when the options are malformed.
  private static func linkLayerAddress(_ frame: RawSpan, _ options: Range<Int>, type: UInt8) -> MACAddress?? {
    var offset = options.lowerBound
    var mac: MACAddress?
    while offset < options.upperBound {
      guard offset + 2 <= options.upperBound, case let length = Int(frame.byte(at: offset + 1)) * 8, length > 0,
        offset + length <= options.upperBound
      else { return .none }
      if frame.byte(at: offset) == type, length == 8, mac == nil { mac = frame.mac(at: offset + 2) }
      offset += length
    }
    return .some(mac)
  }

  /// ff02::1:ff00:0/104 and the low 24 bits of the address (RFC 4291 section 2.7.1).
  private static func solicitedNode(_ address: IPAddress) -> IPAddress {
    IPAddress(high: 0xff02 << 48, low: 0x1_ff00_0000 | address.low & 0xff_ffff)
  }
}

// MARK: Answering

extension NeighbourMessage {
  /// The longest reply, in bytes: an advertisement behind two tags.
  public static let maximumReplyLength = 22 + advertisementLength
  private static let arpLength = 28
  private static let advertisementLength = 72

  /// Turns the request's frame into the target's reply to it; its VLAN tags stay. Who probes for an address has none to be
  /// answered at: an advertisement goes to all nodes then (RFC 4861 section 7.2.4; the kernel's vxlan device sends it to `::`).
  ///
  /// - Parameters:
  ///   - frame: begins with the request; the reply may be longer. Traps when there is no room for it.
  ///   - mac: the target's.
  /// - Returns: the reply's length in bytes, without padding; nil when the message is no request, and nothing was written.
  public func writeReply(in frame: inout MutableRawSpan, mac: MACAddress, isRouter: Bool) -> Int? {
    switch kind {
    case .arpRequest:
      let requester = self.mac ?? linkSource
      frame.store(requester, at: 0)
      frame.store(mac, at: 6)
      frame.store(big16: 2, at: networkOffset + 6)
      frame.store(mac, at: networkOffset + 8)
      frame.store(target, at: networkOffset + 14)
      frame.store(requester, at: networkOffset + 18)
      frame.store(sender, at: networkOffset + 24)
      return networkOffset + Self.arpLength
    case .solicitation:
      writeAdvertisement(&frame, mac, isRouter)
      return networkOffset + Self.advertisementLength
    case .arpReply, .advertisement:
      return nil
    }
  }

  private func writeAdvertisement(_ frame: inout MutableRawSpan, _ mac: MACAddress, _ isRouter: Bool) {
    let allNodes = IPAddress(high: 0xff02 << 48, low: 1)
    let (ip, icmp) = (networkOffset, networkOffset + 40)
    let length = Self.advertisementLength - 40
    frame.store(isProbe ? OuterHeader.groupMAC(allNodes) : self.mac ?? linkSource, at: 0)
    frame.store(mac, at: 6)
    frame.store(big32: 6 << 28, at: ip)
    frame.store(big32: UInt32(length) << 16 | UInt32(IPProtocol.icmpv6) << 8 | 255, at: ip + 4)
    frame.store(target, at: ip + 8)
    frame.store(isProbe ? allNodes : sender, at: ip + 24)
    frame.store(big32: 136 << 24, at: icmp)
    // Override always; solicited unless it goes to all.
    frame.store(big32: (isRouter ? 0x8000_0000 : 0) | (isProbe ? 0 : 0x4000_0000) | 0x2000_0000, at: icmp + 4)
    frame.store(target, at: icmp + 8)
    frame.store(big16: 0x0201, at: icmp + 24)
    frame.store(mac, at: icmp + 26)
    let sum = Checksum.pseudoHeader(ipv6: frame.bytes, at: ip, protocol: IPProtocol.icmpv6, length: length)
    frame.store(big16: ~Checksum.fold(sum + Checksum.sum(frame.bytes, icmp..<icmp + length)), at: icmp + 2)
  }
}
