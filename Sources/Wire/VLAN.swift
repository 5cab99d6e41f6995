/// VLAN tags (IEEE 802.1Q-2018, 9.6): behind the MAC addresses, two bytes of type (TPID) and two of control: three bits of
/// priority, one of drop eligibility, 12 of VID. A tag as a number is TPID and control, as the 32 bits on the wire.
public enum VLAN {
  /// Bytes.
  public static let tagLength = 4
  /// The VID in a tag; 0 says that there is none, only a priority (9.6).
  @inlinable @inline(__always)
  public static func identifier(_ tag: UInt32) -> UInt16 { UInt16(truncatingIfNeeded: tag & 0xfff) }

  @inlinable @inline(__always)
  public static func tag(type: UInt16, identifier: UInt16) -> UInt32 { UInt32(type) << 16 | UInt32(identifier & 0xfff) }
}

extension RawSpan {
  /// A frame's outermost VLAN tag; 0 when it has none or is too short for one and the type behind it.
  @inlinable @inline(__always)
  public var vlanTag: UInt32 {
    guard byteCount >= Ethernet.headerLength &+ VLAN.tagLength, EtherType.isTag(big16(at: 12)) else { return 0 }
    return big32(at: 12)
  }
}

extension MutableRawSpan {
  /// Takes a frame's outermost tag off: moves the MAC addresses over it. The frame begins four bytes later then. Traps when
  /// there are fewer than 16 bytes.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func removeVLANTag() {
    let (high, low) = (bytes.big64(at: 0), bytes.big32(at: 8))
    store(big64: high, at: 4)
    store(big32: low, at: 12)
  }

  /// Puts a tag in front of a frame that begins four bytes behind the start of this span: moves its MAC addresses there.
  /// Traps when there are fewer than 16 bytes.
  @inlinable @inline(__always) @_lifetime(self: copy self)
  public mutating func insertVLANTag(_ tag: UInt32) {
    let (high, low) = (bytes.big64(at: 4), bytes.big32(at: 12))
    store(big64: high, at: 0)
    store(big32: low, at: 8)
    store(big32: tag, at: 12)
  }
}
