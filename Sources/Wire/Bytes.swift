// Loads and stores of header fields. This is the only file of this target that says `unsafe` in an expression: every
// access is checked against the span's bounds first (safe `RawSpan.load` is not in Swift 6.3).
//
// All multi-byte fields of the protocols are big-endian (network byte order, RFC 1700); values are in host order.

extension RawSpan {
  /// The byte at `offset`. Traps when it lies outside.
  @inlinable @inline(__always)
  public func byte(at offset: Int) -> UInt8 {
    precondition(offset >= 0 && offset < byteCount)
    return unsafe unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self)
  }

  /// Two bytes in network order. Traps when they lie outside.
  @inlinable @inline(__always)
  public func big16(at offset: Int) -> UInt16 {
    precondition(offset >= 0 && offset &+ 2 <= byteCount)
    return unsafe UInt16(bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt16.self))
  }

  /// Four bytes in network order. Traps when they lie outside.
  @inlinable @inline(__always)
  public func big32(at offset: Int) -> UInt32 {
    precondition(offset >= 0 && offset &+ 4 <= byteCount)
    return unsafe UInt32(bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt32.self))
  }

  /// Eight bytes in network order. Traps when they lie outside.
  @inlinable @inline(__always)
  public func big64(at offset: Int) -> UInt64 {
    precondition(offset >= 0 && offset &+ 8 <= byteCount)
    return unsafe UInt64(bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self))
  }

  /// The sum of a range's 32-bit words in the machine's byte order, an incomplete last one left out. Traps when the range
  /// lies outside. One check for all, because a check per word costs the vector instructions (measured: twice the time).
  func nativeWordSum(_ range: Range<Int>) -> UInt64 {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
    var sum: UInt64 = 0
    for word in 0..<range.count / 4 {
      sum &+= unsafe UInt64(unsafeLoadUnaligned(fromUncheckedByteOffset: range.lowerBound &+ word &* 4, as: UInt32.self))
    }
    return sum
  }

  /// The MAC address at `offset`. Traps when it lies outside.
  @inlinable @inline(__always)
  public func mac(at offset: Int) -> MACAddress {
    MACAddress(UInt64(big32(at: offset)) << 16 | UInt64(big16(at: offset &+ 4)))
  }

  /// The IPv4 address at `offset`. Traps when it lies outside.
  @inlinable @inline(__always)
  public func ipv4(at offset: Int) -> IPAddress { IPAddress(v4: big32(at: offset)) }

  /// The IPv6 address at `offset`; nil for an IPv4-mapped one, which no packet may carry (RFC 6890) and which `IPAddress`
  /// takes for IPv4. Traps when it lies outside.
  @inlinable @inline(__always)
  public func ipv6(at offset: Int) -> IPAddress? {
    let address = IPAddress(high: big64(at: offset), low: big64(at: offset &+ 8))
    return address.isIPv4 ? nil : address
  }
}

extension MutableRawSpan {
  /// Stores one byte. Traps when it lies outside.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func store(_ value: UInt8, at offset: Int) {
    storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
  }

  /// Stores two bytes in network order. Traps when they lie outside.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func store(big16 value: UInt16, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
  }

  /// Stores four bytes in network order. Traps when they lie outside.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func store(big32 value: UInt32, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
  }

  /// Stores eight bytes in network order. Traps when they lie outside.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func store(big64 value: UInt64, at offset: Int) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
  }

  /// Stores a MAC address. Traps when it lies outside.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func store(_ mac: MACAddress, at offset: Int) {
    store(big32: UInt32(truncatingIfNeeded: mac.value >> 16), at: offset)
    store(big16: UInt16(truncatingIfNeeded: mac.value), at: offset &+ 4)
  }

  /// Stores an IP address: four bytes or 16. Traps when they lie outside.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func store(_ address: IPAddress, at offset: Int) {
    if address.isIPv4 {
      store(big32: address.v4, at: offset)
    } else {
      store(big64: address.high, at: offset)
      store(big64: address.low, at: offset &+ 8)
    }
  }

  /// Copies `range` of `source` to `offset`. Traps when either lies outside.
  @_lifetime(self: copy self)
  mutating func copy(_ range: Range<Int>, of source: RawSpan, to offset: Int) {
    let part = source.extracting(range)
    precondition(offset >= 0 && offset &+ range.count <= byteCount)
    unsafe withUnsafeMutableBytes { target in
      unsafe part.withUnsafeBytes { bytes in
        unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: bytes)
      }
    }
  }
}
