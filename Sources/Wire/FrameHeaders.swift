/// What the data path needs to know of an Ethernet frame beyond its MAC addresses: where the network header is, its DS
/// field, and a hash of its flow. Never traps: what is cut short is not looked into.
public struct FrameHeaders: BitwiseCopyable {
  /// The type behind the tags: a tag's own when it is the third or the frame ends behind it, 0 when the frame has no type.
  public var etherType: UInt16
  /// Bytes before the network header: 14, 18 or 22 (12 when the frame has no type).
  public var networkOffset: Int
  /// Whether there is a whole IPv4 or IPv6 header; the fields below come from it.
  public var isIP: Bool
  /// IPv4 TOS or IPv6 traffic class; 0 when the frame is neither. DSCP in the upper six bits, ECN in the lower two.
  public var dsField: UInt8
  /// IPv4 DF as it stands; true for IPv6, whose routers never fragment.
  public var dontFragment: Bool
  /// The same for both directions of a flow: IP addresses, protocol and ports; MAC addresses and type when it is not IP.
  /// Not the same in two processes (`key`).
  public var flowHash: UInt32

  /// Looks through at most two VLAN tags.
  ///
  /// - Parameter key: secret of this process, so that nobody outside can choose flows that share a source port.
  @inlinable @inline(__always)
  public init(_ frame: RawSpan, key: UInt64) {
    etherType = 0
    networkOffset = 12
    isIP = false
    dsField = 0
    dontFragment = false
    flowHash = 0
    guard frame.byteCount >= Ethernet.headerLength else { return }
    etherType = frame.big16(at: 12)
    networkOffset = 14
    while EtherType.isTag(etherType) && networkOffset < 22 && frame.byteCount >= networkOffset &+ 4 {
      etherType = frame.big16(at: networkOffset &+ 2)
      networkOffset &+= 4
    }
    let room = frame.byteCount &- networkOffset
    if etherType == EtherType.ipv4 && room >= 20 {
      readIPv4(frame, room, key)
    } else if etherType == EtherType.ipv6 && room >= 40 {
      readIPv6(frame, room, key)
    } else {
      flowHash = Self.hash(frame.mac(at: 0).value, frame.mac(at: 6).value, UInt64(etherType), key)
    }
  }

  /// The same for a frame whose transport header is known: what it took to find that is not done again.
  @inlinable @inline(__always)
  public init(_ frame: RawSpan, _ transport: TransportHeader, key: UInt64) {
    networkOffset = transport.ip
    isIP = true
    let ports = frame.big32(at: transport.start)
    var (source, destination): (UInt64, UInt64)
    if transport.isIPv6 {
      etherType = EtherType.ipv6
      dsField = UInt8(truncatingIfNeeded: frame.big16(at: transport.ip) >> 4)
      dontFragment = true
      source = Self.mix(frame.big64(at: transport.ip &+ 8), key) ^ frame.big64(at: transport.ip &+ 16)
      destination = Self.mix(frame.big64(at: transport.ip &+ 24), key) ^ frame.big64(at: transport.ip &+ 32)
    } else {
      etherType = EtherType.ipv4
      dsField = frame.byte(at: transport.ip &+ 1)
      dontFragment = frame.byte(at: transport.ip &+ 6) & 0x40 != 0
      let addresses = frame.big64(at: transport.ip &+ 12)
      (source, destination) = (addresses >> 32, addresses & 0xffff_ffff)
    }
    source ^= UInt64(ports >> 16) << 32
    destination ^= UInt64(ports & 0xffff) << 32
    flowHash = Self.hash(source, destination, UInt64(transport.protocolNumber), key)
  }

  /// IPv4 TTL or IPv6 hop limit; 0 when the frame is neither. Read when asked for, so that it costs nothing otherwise.
  ///
  /// - Parameter frame: the same as before.
  @inlinable @inline(__always)
  public func hopLimit(_ frame: RawSpan) -> UInt8 {
    guard isIP else { return 0 }
    return frame.byte(at: networkOffset &+ (etherType == EtherType.ipv6 ? 7 : 8))
  }

  /// IPv6 flow label, 20 bits, host order; 0 when the frame is not IPv6. Read when asked for.
  ///
  /// - Parameter frame: the same as before.
  @inlinable @inline(__always)
  public func flowLabel(_ frame: RawSpan) -> UInt32 {
    isIP && etherType == EtherType.ipv6 ? frame.big32(at: networkOffset) & 0xf_ffff : 0
  }

  @inlinable @inline(__always)
  mutating func readIPv4(_ frame: RawSpan, _ room: Int, _ key: UInt64) {
    isIP = true
    dsField = frame.byte(at: networkOffset &+ 1)
    let fragment = frame.big16(at: networkOffset &+ 6)
    dontFragment = fragment & 0x4000 != 0
    let transport = Int(frame.byte(at: networkOffset) & 0xf) &* 4
    let number = frame.byte(at: networkOffset &+ 9)
    var source = UInt64(frame.big32(at: networkOffset &+ 12))
    var destination = UInt64(frame.big32(at: networkOffset &+ 16))
    // Ports are in the first fragment only: all fragments of a datagram must hash alike.
    if Self.hasPorts(number) && fragment & 0x3fff == 0 && transport >= 20 && room >= transport &+ 4 {
      source |= UInt64(frame.big16(at: networkOffset &+ transport)) << 32
      destination |= UInt64(frame.big16(at: networkOffset &+ transport &+ 2)) << 32
    }
    flowHash = Self.hash(source, destination, UInt64(number), key)
  }

  @inlinable @inline(__always)
  mutating func readIPv6(_ frame: RawSpan, _ room: Int, _ key: UInt64) {
    isIP = true
    dsField = UInt8(truncatingIfNeeded: frame.big16(at: networkOffset) >> 4)
    dontFragment = true
    let number = frame.byte(at: networkOffset &+ 6)
    var source = Self.mix(frame.big64(at: networkOffset &+ 8), key) ^ frame.big64(at: networkOffset &+ 16)
    var destination = Self.mix(frame.big64(at: networkOffset &+ 24), key) ^ frame.big64(at: networkOffset &+ 32)
    if Self.hasPorts(number) && room >= 44 {
      source ^= UInt64(frame.big16(at: networkOffset &+ 40)) << 32
      destination ^= UInt64(frame.big16(at: networkOffset &+ 42)) << 32
    }
    flowHash = Self.hash(source, destination, UInt64(number), key)
  }

  /// TCP, UDP, SCTP, UDP-Lite and DCCP start with two ports.
  @inlinable @inline(__always)
  static func hasPorts(_ number: UInt8) -> Bool {
    number == IPProtocol.tcp || number == IPProtocol.udp || number == 132 || number == 136 || number == 33
  }

  /// Both ends are mixed alone and then added, so that the order does not matter.
  @inlinable @inline(__always)
  static func hash(_ a: UInt64, _ b: UInt64, _ kind: UInt64, _ key: UInt64) -> UInt32 {
    let sum = mix(a, key) &+ mix(b, key) &+ kind
    return UInt32(truncatingIfNeeded: mix(sum, key) >> 32)
  }

  /// A multiply and a shift (the finaliser of MurmurHash3, halved).
  @inlinable @inline(__always)
  static func mix(_ value: UInt64, _ key: UInt64) -> UInt64 {
    let product = (value ^ key) &* 0x9e37_79b9_7f4a_7c15
    return product ^ (product >> 29)
  }
}
