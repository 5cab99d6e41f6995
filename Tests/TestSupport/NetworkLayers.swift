import Wire

extension IPAddress {
  /// Documentation addresses (RFC 5737, RFC 3849): 192.0.2.1 and .2, 2001:db8::1 and ::2.
  public static let local = IPAddress(v4: 0xc000_0201)
  public static let remote = IPAddress(v4: 0xc000_0202)
  public static let local6 = IPAddress(high: 0x2001_0db8_0000_0000, low: 1)
  public static let remote6 = IPAddress(high: 0x2001_0db8_0000_0000, low: 2)
}

/// An IPv4 header (RFC 791).
public struct IPv4Header: IPLayer {
  public var source: IPAddress
  public var destination: IPAddress
  public var ttl: UInt8
  /// DSCP and ECN.
  public var tos: UInt8
  public var identification: UInt16 = 0
  public var dontFragment: Bool
  public var moreFragments: Bool
  /// In bytes, a multiple of eight.
  public var fragmentOffset: Int
  /// Padded with zeros to a multiple of four bytes.
  public var options: [UInt8]
  /// These override what follows from the rest.
  public var totalLength: UInt16?
  public var version: UInt8 = 4
  public var protocolNumber: UInt8?
  public var checksum: UInt16?

  public init(
    to destination: IPAddress = .local, from source: IPAddress = .remote, ttl: UInt8 = 64, tos: UInt8 = 0,
    dontFragment: Bool = false, moreFragments: Bool = false, fragmentOffset: Int = 0, options: [UInt8] = [],
    totalLength: UInt16? = nil
  ) {
    self.source = source
    self.destination = destination
    self.ttl = ttl
    self.tos = tos
    self.dontFragment = dontFragment
    self.moreFragments = moreFragments
    self.fragmentOffset = fragmentOffset
    self.options = options
    self.totalLength = totalLength
  }

  public var isIPv6: Bool { false }
  public var etherType: UInt16? { 0x0800 }
  public func ipProtocol(overIPv6: Bool) -> UInt8? { 4 }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    let padded = options + [UInt8](repeating: 0, count: (4 - options.count % 4) % 4)
    let length = 20 + padded.count
    var bytes = [version << 4 | UInt8(length / 4), tos]
    bytes.append(big: totalLength ?? UInt16(length + payload.count))
    bytes.append(big: identification)
    bytes.append(big: UInt16(dontFragment ? 0x4000 : 0) | UInt16(moreFragments ? 0x2000 : 0) | UInt16(fragmentOffset / 8))
    bytes += [ttl, protocolNumber ?? context.next?.ipProtocol(overIPv6: false) ?? 0xff, 0, 0]
    bytes.append(source)
    bytes.append(destination)
    bytes += padded
    bytes.store(checksum ?? ~onesComplementSum(bytes), at: 10)
    return bytes + payload
  }
}

/// An IPv6 header (RFC 8200).
public struct IPv6Header: IPLayer {
  public var source: IPAddress
  public var destination: IPAddress
  public var hopLimit: UInt8
  public var trafficClass: UInt8
  /// 20 bits.
  public var flowLabel: UInt32 = 0
  /// These override what follows from the rest.
  public var version: UInt32 = 6
  public var nextHeader: UInt8?
  public var payloadLength: UInt16?

  public init(
    to destination: IPAddress = .local6, from source: IPAddress = .remote6, hopLimit: UInt8 = 64, trafficClass: UInt8 = 0
  ) {
    self.source = source
    self.destination = destination
    self.hopLimit = hopLimit
    self.trafficClass = trafficClass
  }

  public var isIPv6: Bool { true }
  public var etherType: UInt16? { 0x86dd }
  public func ipProtocol(overIPv6: Bool) -> UInt8? { 41 }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    var bytes = [UInt8](big: version << 28 | UInt32(trafficClass) << 20 | flowLabel)
    bytes.append(big: payloadLength ?? UInt16(payload.count))
    bytes += [nextHeader ?? context.next?.ipProtocol(overIPv6: true) ?? 59, hopLimit]
    bytes.append(source)
    bytes.append(destination)
    return bytes + payload
  }
}

/// An IPv6 extension header with arbitrary content (RFC 8200 section 4): hop-by-hop (0), routing (43), destination
/// options (60) and those that are built alike.
public struct IPv6ExtensionHeader: Layer {
  public var type: UInt8
  /// Padded with zeros (Pad1) to a multiple of eight bytes less the two in front.
  public var content: [UInt8]

  public init(_ type: UInt8, content: [UInt8] = []) {
    self.type = type
    self.content = content
  }

  public func ipProtocol(overIPv6: Bool) -> UInt8? { type }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    let padded = content + [UInt8](repeating: 0, count: (14 - content.count % 8) % 8)
    return [context.next?.ipProtocol(overIPv6: true) ?? 59, UInt8((padded.count + 2) / 8 - 1)] + padded + payload
  }
}

/// An IPv6 fragment header (RFC 8200 section 4.5).
public struct IPv6FragmentHeader: Layer {
  /// In bytes, a multiple of eight.
  public var offset: Int
  public var more: Bool
  public var identification: UInt32 = 1

  public init(offset: Int = 0, more: Bool = false) {
    self.offset = offset
    self.more = more
  }

  public func ipProtocol(overIPv6: Bool) -> UInt8? { 44 }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    var bytes = [context.next?.ipProtocol(overIPv6: true) ?? 17, 0]
    bytes.append(big: UInt16(offset) | (more ? 1 : 0))
    bytes.append(big: identification)
    return bytes + payload
  }
}

/// A neighbour solicitation (135) or advertisement (136), over IPv6 with hop limit 255 (RFC 4861 section 4). Options are
/// bytes as they are.
public func neighbourMessage(_ type: UInt8, flags: UInt32 = 0, target: IPAddress, options: [UInt8] = []) -> [any Layer] {
  var bytes: [UInt8] = []
  bytes.append(target)
  return [ICMPMessage(type: type, rest: flags << 24), Payload(bytes + options)]
}

/// The option "source (1) or target (2) link-layer address" (RFC 4861 section 4.6.1).
public func linkLayerAddress(_ type: UInt8, _ mac: MACAddress) -> [UInt8] { [type, 1] + [UInt8](big: mac.value).dropFirst(2) }

/// ICMP or ICMPv6, whichever the IP header below makes it (RFC 792, RFC 4443).
public struct ICMPMessage: Layer {
  public var type: UInt8
  public var code: UInt8
  /// The four bytes behind the checksum.
  public var rest: UInt32

  public init(type: UInt8, code: UInt8 = 0, rest: UInt32 = 0) {
    self.type = type
    self.code = code
    self.rest = rest
  }

  public func ipProtocol(overIPv6: Bool) -> UInt8? { overIPv6 ? 58 : 1 }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    var bytes = [type, code, 0, 0] + [UInt8](big: rest) + payload
    if let ip = context.ip, ip.isIPv6 {
      bytes.store(ChecksumField.correct.value(for: bytes, protocol: 58, over: ip), at: 2)
    } else {
      bytes.store(~onesComplementSum(bytes), at: 2)
    }
    return bytes
  }
}
