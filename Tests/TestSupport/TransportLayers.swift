import Wire

/// A UDP header (RFC 768).
public struct UDPHeader: Layer {
  public var destination: UInt16
  public var source: UInt16
  public var checksum: ChecksumField
  /// Overrides the real length.
  public var length: UInt16?

  public init(
    to destination: UInt16, from source: UInt16 = 49152, checksum: ChecksumField = .correct, length: UInt16? = nil
  ) {
    self.destination = destination
    self.source = source
    self.checksum = checksum
    self.length = length
  }

  public func ipProtocol(overIPv6: Bool) -> UInt8? { 17 }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    var bytes = [UInt8](big: source) + [UInt8](big: destination)
    bytes.append(big: length ?? UInt16(8 + payload.count))
    bytes += [0, 0] + payload
    guard let ip = context.ip else { return bytes }
    let value = checksum.value(for: bytes, protocol: 17, over: ip)
    // A correct sum of zero is sent as all ones: zero means that there is none.
    if case .correct = checksum, value == 0 { bytes.store(0xffff, at: 6) } else { bytes.store(value, at: 6) }
    return bytes
  }
}

/// A TCP header (RFC 9293).
public struct TCPHeader: Layer {
  public struct Flags: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let fin = Flags(rawValue: 1)
    public static let syn = Flags(rawValue: 2)
    public static let rst = Flags(rawValue: 4)
    public static let psh = Flags(rawValue: 8)
    public static let ack = Flags(rawValue: 16)
    public static let cwr = Flags(rawValue: 128)
  }

  public var destination: UInt16
  public var source: UInt16
  public var flags: Flags
  public var sequence: UInt32 = 0
  public var acknowledgement: UInt32 = 0
  public var window: UInt16 = 65535
  /// Padded with zeros (end of options) to a multiple of four bytes.
  public var options: [UInt8]
  public var checksum: ChecksumField

  public init(
    to destination: UInt16, from source: UInt16 = 49152, flags: Flags = .ack, options: [UInt8] = [],
    checksum: ChecksumField = .correct
  ) {
    self.destination = destination
    self.source = source
    self.flags = flags
    self.options = options
    self.checksum = checksum
  }

  /// The option "maximum segment size" (RFC 9293 section 3.7.1).
  public static func mss(_ bytes: UInt16) -> [UInt8] { [2, 4] + [UInt8](big: bytes) }

  public func ipProtocol(overIPv6: Bool) -> UInt8? { 6 }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    let padded = options + [UInt8](repeating: 0, count: (4 - options.count % 4) % 4)
    var bytes = [UInt8](big: source) + [UInt8](big: destination)
    bytes.append(big: sequence)
    bytes.append(big: acknowledgement)
    bytes += [UInt8((20 + padded.count) / 4) << 4, flags.rawValue]
    bytes.append(big: window)
    bytes += [0, 0, 0, 0] + padded + payload
    guard let ip = context.ip else { return bytes }
    bytes.store(checksum.value(for: bytes, protocol: 6, over: ip), at: 16)
    return bytes
  }
}

/// A VXLAN header (RFC 7348 section 5).
public struct VXLANHeader: Layer {
  /// 24 bits.
  public var vni: UInt32
  /// 0x08 is the I flag.
  public var flags: UInt8
  /// The 24 reserved bits behind the flags.
  public var reserved: UInt32
  /// The eight reserved bits behind the VNI.
  public var reserved2: UInt8

  public init(vni: UInt32, flags: UInt8 = 0x08, reserved: UInt32 = 0, reserved2: UInt8 = 0) {
    self.vni = vni
    self.flags = flags
    self.reserved = reserved
    self.reserved2 = reserved2
  }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    [UInt8](big: UInt32(flags) << 24 | reserved) + [UInt8](big: vni << 8 | UInt32(reserved2)) + payload
  }
}
