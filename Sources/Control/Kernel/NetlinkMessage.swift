import CLinux
import Wire

// Netlink messages as bytes (netlink(7), rtnetlink(7)): a header, a fixed struct, attributes; each 4-byte aligned, in host
// byte order. Nothing that arrives is trusted to be complete: what is missing or cut off reads as nil.

extension ArraySlice<UInt8> {
  /// The value at `offset` from the slice's start, in host byte order; nil when it reaches beyond the end.
  func load<Value: BitwiseCopyable>(_ type: Value.Type, at offset: Int = 0) -> Value? {
    guard offset >= 0, offset <= count, MemoryLayout<Value>.size <= count - offset else { return nil }
    return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: type) }
  }

  /// The text up to the first NUL or the end.
  var text: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }
}

/// One received message.
struct NetlinkMessage {
  /// NLMSG_ or RTM_ constant.
  let type: Int
  /// NLM_F_ constants.
  let flags: Int32
  /// That of the request that it answers.
  let sequence: UInt32
  let payload: ArraySlice<UInt8>

  /// The messages of one datagram, up to the first one that is cut off.
  static func parse(_ datagram: [UInt8]) -> [NetlinkMessage] {
    var rest = datagram[...]
    var messages: [NetlinkMessage] = []
    while let header = rest.load(nlmsghdr.self) {
      let length = Int(header.nlmsg_len)
      guard length >= MemoryLayout<nlmsghdr>.size, length <= rest.count else { break }
      messages.append(
        NetlinkMessage(
          type: Int(header.nlmsg_type), flags: Int32(header.nlmsg_flags), sequence: header.nlmsg_seq,
          payload: rest.prefix(length).dropFirst(MemoryLayout<nlmsghdr>.size)))
      rest = rest.dropFirst(aligned(length))
    }
    return messages
  }

  /// The attributes behind the fixed struct `Header`.
  func attributes<Header: BitwiseCopyable>(after header: Header.Type) -> NetlinkAttributes {
    NetlinkAttributes(payload.dropFirst(aligned(MemoryLayout<Header>.size)))
  }
}

/// Attributes of a message, or nested in another attribute, by type. Of several with the same type the last counts.
struct NetlinkAttributes {
  private var values: [Int: ArraySlice<UInt8>] = [:]

  /// Parses up to the first attribute that is cut off.
  init(_ bytes: ArraySlice<UInt8>) {
    var rest = bytes
    while let header = rest.load(nlattr.self) {
      let length = Int(header.nla_len)
      guard length >= MemoryLayout<nlattr>.size, length <= rest.count else { break }
      // The two upper bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
      values[Int(header.nla_type & 0x3fff)] = rest.prefix(length).dropFirst(MemoryLayout<nlattr>.size)
      rest = rest.dropFirst(aligned(length))
    }
  }

  subscript(type: some BinaryInteger) -> ArraySlice<UInt8>? { values[Int(type)] }

  func integer<Value: FixedWidthInteger & BitwiseCopyable>(_ type: some BinaryInteger, as: Value.Type = UInt32.self) -> Value? {
    self[type]?.load(Value.self)
  }

  func address(_ type: some BinaryInteger) -> IPAddress? { self[type].flatMap { IPAddress(octets: $0) } }

  /// Nil also for hardware addresses that aren't 48 bits long.
  func mac(_ type: some BinaryInteger) -> MACAddress? {
    guard let octets = self[type], octets.count == 6 else { return nil }
    return MACAddress(octets.reduce(0) { $0 << 8 | UInt64($1) })
  }

  /// The attributes nested in this one; none when it is absent.
  func nested(_ type: some BinaryInteger) -> NetlinkAttributes { NetlinkAttributes(self[type] ?? []) }
}

/// A request: the message header is completed when it is sent.
struct NetlinkRequest {
  private let type: UInt16
  private let flags: UInt16
  /// The fixed struct and the attributes.
  private var payload: [UInt8] = []

  /// - Parameters:
  ///   - type: an RTM_ constant.
  ///   - flags: NLM_F_ constants besides NLM_F_REQUEST and NLM_F_ACK.
  init(_ type: Int, flags: Int32 = 0, header: some BitwiseCopyable) {
    self.type = UInt16(type)
    self.flags = UInt16(flags | NLM_F_REQUEST | NLM_F_ACK)
    append(header)
  }

  mutating func append(_ type: some BinaryInteger, octets: some Collection<UInt8>) {
    append(nlattr(nla_len: UInt16(MemoryLayout<nlattr>.size + octets.count), nla_type: UInt16(type)))
    payload += octets
    pad()
  }

  mutating func append(_ type: some BinaryInteger, _ value: UInt32) {
    append(nlattr(nla_len: UInt16(MemoryLayout<nlattr>.size + MemoryLayout<UInt32>.size), nla_type: UInt16(type)))
    append(value)
  }

  private mutating func append(_ value: some BitwiseCopyable) {
    unsafe withUnsafeBytes(of: value) { unsafe payload.append(contentsOf: $0) }
    pad()
  }

  private mutating func pad() { payload += [UInt8](repeating: 0, count: aligned(payload.count) - payload.count) }

  /// The whole message.
  func bytes(sequence: UInt32) -> [UInt8] {
    let header = nlmsghdr(
      nlmsg_len: UInt32(MemoryLayout<nlmsghdr>.size + payload.count), nlmsg_type: type, nlmsg_flags: flags,
      nlmsg_seq: sequence, nlmsg_pid: 0)
    return unsafe withUnsafeBytes(of: header) { unsafe [UInt8]($0) } + payload
  }
}

/// NLMSG_ALIGN and NLA_ALIGN.
private func aligned(_ length: Int) -> Int { (length + 3) & ~3 }
