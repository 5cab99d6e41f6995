/// A frame: a window into one chunk of a `UMEM`. Decapsulation moves the window forward, encapsulation moves it back
/// into the headroom; the payload stays where it is.
///
/// A frame is in exactly one place: a fill ring, an RX ring, a batch, a TX ring, a completion ring or the pool. Whoever
/// takes it out of one puts it into the next; `UMEM.freeCount` and the ports' `heldChunks` show at run time that none is lost.
public struct Frame: BitwiseCopyable, Sendable {
  /// Start in bits 31…0, length in 47…32, whether the checksum is complete in bit 48. One word, because the fields of a
  /// struct are loaded, stored and passed one by one.
  @usableFromInline var word: UInt64

  @inlinable @inline(__always)
  public init(start: UInt32, length: UInt16, checksumIsComplete: Bool = false) {
    word = UInt64(start) | UInt64(length) << 32 | (checksumIsComplete ? 1 << 48 : 0)
  }

  /// Offset of the first byte from the start of the UMEM, in bytes.
  @inlinable
  public var start: UInt32 {
    @inline(__always) get { UInt32(truncatingIfNeeded: word) }
    @inline(__always) set { word = word & ~0xffff_ffff | UInt64(newValue) }
  }

  /// In bytes, without FCS.
  @inlinable
  public var length: UInt16 {
    @inline(__always) get { UInt16(truncatingIfNeeded: word >> 32) }
    @inline(__always) set { word = word & ~0xffff_0000_0000 | UInt64(newValue) << 32 }
  }

  /// True once the transport checksum is known to be complete, so that nobody needs to look again. Ports that are told
  /// by the kernel (virtio-net header) set it; AF_XDP ports can't know (see `Wire.PartialChecksum`).
  @inlinable
  public var checksumIsComplete: Bool {
    @inline(__always) get { word & 1 << 48 != 0 }
    @inline(__always) set { word = word & ~(1 << 48) | (newValue ? 1 << 48 : 0) }
  }

  /// Moves the window's first byte forward: the bytes before it leave the frame. Traps when the frame is shorter.
  @inlinable @inline(__always)
  public mutating func removeFirst(_ bytes: Int) {
    start += UInt32(truncatingIfNeeded: bytes)
    length -= UInt16(truncatingIfNeeded: bytes)
  }

  /// Leaves `length` bytes of the frame, `offset` bytes from its first on. Traps when the frame is shorter.
  @inlinable @inline(__always)
  public mutating func narrow(from offset: Int, length: Int) {
    precondition(offset >= 0 && length >= 0 && offset &+ length <= Int(self.length))
    self = Frame(
      start: start &+ UInt32(truncatingIfNeeded: offset), length: UInt16(truncatingIfNeeded: length),
      checksumIsComplete: checksumIsComplete)
  }

  /// Moves the window's first byte back into the headroom. `UMEM` checks that it stays inside the chunk when the bytes
  /// are next looked at.
  @inlinable @inline(__always)
  public mutating func prepend(_ bytes: Int) {
    start -= UInt32(truncatingIfNeeded: bytes)
    length += UInt16(truncatingIfNeeded: bytes)
  }
}

/// Frames on their way from one stage to the next, in order.
public struct Batch: ~Copyable, Sendable {
  @usableFromInline var frames: FixedBuffer<Frame>
  public private(set) var count: Int

  public init(capacity: Int) {
    frames = FixedBuffer(repeating: Frame(start: 0, length: 0), count: capacity)
    count = 0
  }

  @inlinable public var capacity: Int { frames.count }
  @inlinable public var isFull: Bool { !isInside(count, frames.count) }
  @inlinable public var isEmpty: Bool { count == 0 }

  @inlinable
  public subscript(index: Int) -> Frame {
    @inline(__always) get {
      precondition(index < count)
      return frames[index]
    }
    @inline(__always) set {
      precondition(index < count)
      frames[index] = newValue
    }
  }

  /// Traps when the batch is full.
  @inlinable @inline(__always)
  public mutating func append(_ frame: Frame) {
    frames[count] = frame
    _setCount(count &+ 1)
  }

  /// False: the batch is full, and takes nothing.
  @inlinable @inline(__always)
  public mutating func appendIfRoom(_ frame: Frame) -> Bool {
    if isFull { return false }
    append(frame)
    return true
  }

  @inlinable @inline(__always)
  public mutating func removeAll() { _setCount(0) }

  /// Forgets the last `number` frames; others have them. Traps when there are fewer.
  public mutating func removeLast(_ number: Int) {
    precondition(number >= 0 && number <= count)
    _setCount(count - number)
  }

  @usableFromInline @inline(__always)
  mutating func _setCount(_ value: Int) { count = value }
}
