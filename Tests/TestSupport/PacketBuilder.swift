import Wire

/// One header, or the payload, of a packet under construction. See `packet(_:)`.
public protocol Layer: Sendable {
  /// What a lower Ethernet or VLAN header says in its EtherType field; nil if that can't be.
  var etherType: UInt16? { get }
  /// What a lower IP header says in its protocol or next header field; nil if that can't be.
  func ipProtocol(overIPv6: Bool) -> UInt8?
  /// This header in front of `payload`.
  func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8]
}

extension Layer {
  public var etherType: UInt16? { nil }
  public func ipProtocol(overIPv6: Bool) -> UInt8? { nil }
}

/// What a header must know of its neighbours.
public struct LayerContext {
  /// The layer that follows.
  public let next: (any Layer)?
  /// The nearest IP header below: addresses of the pseudo-header.
  public let ip: (any IPLayer)?
}

/// An IP header: what the checksums above it cover.
public protocol IPLayer: Layer {
  var source: IPAddress { get }
  var destination: IPAddress { get }
  var isIPv6: Bool { get }
}

/// The bytes of a frame, from its layers, lowest first. Types, lengths and checksums follow from the neighbours unless a
/// layer overrides them:
///
///     packet(EthernetHeader(), IPv4Header(), UDPHeader(to: 4789), VXLANHeader(vni: 1), EthernetHeader(), ARPMessage())
///
/// Nothing is padded to the minimum length on its own.
public func packet(_ layers: any Layer...) -> [UInt8] { packet(layers) }

/// See `packet(_:)`.
public func packet(_ layers: [any Layer]) -> [UInt8] {
  var bytes: [UInt8] = []
  for index in layers.indices.reversed() {
    let next = index + 1 < layers.count ? layers[index + 1] : nil
    let ip = layers[..<index].last { $0 is any IPLayer } as? any IPLayer
    bytes = layers[index].encode(bytes, in: LayerContext(next: next, ip: ip))
  }
  return bytes
}

extension [UInt8] {
  /// Appends a number in network order, as many bytes as its type has.
  public mutating func append<Number: FixedWidthInteger>(big number: Number) {
    for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: number >> shift)) }
  }

  public mutating func append(_ mac: MACAddress) { append(contentsOf: [UInt8](big: mac.value).dropFirst(2)) }

  /// Four or 16 bytes.
  public mutating func append(_ address: IPAddress) {
    if address.isIPv4 { append(big: address.v4) } else { self += [UInt8](big: address.high) + [UInt8](big: address.low) }
  }

  public init<Number: FixedWidthInteger>(big number: Number) {
    self = []
    append(big: number)
  }

  mutating func store(_ number: UInt16, at offset: Int) {
    replaceSubrange(offset..<offset + 2, with: [UInt8](big: number))
  }
}

/// The one's complement sum of 16-bit words, not complemented (RFC 1071), the plain way.
public func onesComplementSum(_ bytes: [UInt8]) -> UInt16 {
  var sum = 0
  for (index, byte) in bytes.enumerated() { sum += index.isMultiple(of: 2) ? Int(byte) << 8 : Int(byte) }
  while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
  return UInt16(sum)
}

/// What goes into a TCP or UDP checksum field.
public enum ChecksumField: Sendable {
  case correct
  /// The folded pseudo-header sum alone, as the kernel leaves it to a NIC (CHECKSUM_PARTIAL).
  case partial
  case value(UInt16)

  /// - Parameter segment: header and payload, with zero in the checksum field.
  func value(for segment: [UInt8], protocol number: UInt8, over ip: any IPLayer) -> UInt16 {
    var pseudoHeader: [UInt8] = []
    pseudoHeader.append(ip.source)
    pseudoHeader.append(ip.destination)
    pseudoHeader.append(big: UInt32(number))
    pseudoHeader.append(big: UInt32(segment.count))
    return switch self {
    case .correct: ~onesComplementSum(pseudoHeader + segment)
    case .partial: onesComplementSum(pseudoHeader)
    case .value(let value): value
    }
  }
}

/// Bytes as they are.
public struct Payload: Layer {
  public var bytes: [UInt8]

  public init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// `count` bytes 0, 1, 2, …
  public init(count: Int) { bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) } }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] { bytes + payload }
}
