import CLinux

/// Packet memory: chunks of one size, and the pool of those that nobody uses. One per worker; every NIC of the worker
/// shares it, so a frame received on one is transmitted on another without a copy. Sockets without AF_XDP read into the
/// same chunks.
///
/// This file holds the only unsafe accesses to packet bytes: a frame's window is checked against its chunk here, and
/// against its own bounds in `RawSpan` from then on.
@safe
public struct UMEM: ~Copyable {
  @usableFromInline let base: UnsafeMutableRawPointer
  /// Bytes per chunk: a power of two.
  public let chunkSize: Int
  public let chunkCount: Int
  /// All chunks, in bytes.
  @usableFromInline let size: Int
  /// Bytes in front of a frame that was allocated here: room for the outer headers (AF_XDP leaves as much on its own,
  /// XDP_PACKET_HEADROOM in linux/bpf.h).
  public static let headroom = 256

  @usableFromInline var free: FixedBuffer<UInt32>
  /// Chunks in the pool.
  public private(set) var freeCount: Int

  /// - Throws: `SystemError` of mmap(2).
  public init(chunkSize: Int, chunkCount: Int) throws(SystemError) {
    precondition(chunkSize.nonzeroBitCount == 1 && chunkSize >= 2048 && chunkCount > 0)
    precondition(chunkSize * chunkCount <= 1 << 32)
    size = chunkSize * chunkCount
    let memory = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory = unsafe memory, unsafe memory != UnsafeMutableRawPointer(bitPattern: -1) /* MAP_FAILED */ else {
      throw SystemError("mmap of \(size) bytes of packet memory")
    }
    unsafe base = memory
    self.chunkSize = chunkSize
    self.chunkCount = chunkCount
    free = FixedBuffer(repeating: 0, count: chunkCount)
    // The pool is a stack: the chunk freed last is the warmest, and low addresses go out first.
    for index in 0..<chunkCount { free[index] = UInt32((chunkCount - 1 - index) * chunkSize) }
    freeCount = chunkCount
  }

  deinit { unsafe munmap(base, size) }

  /// Takes a chunk from the pool: an empty frame behind the headroom. Nil when the pool is empty.
  @inlinable @inline(__always)
  public mutating func allocate() -> Frame? {
    guard freeCount > 0 else { return nil }
    _setFreeCount(freeCount &- 1)
    return Frame(start: free[freeCount] &+ UInt32(truncatingIfNeeded: Self.headroom), length: 0)
  }

  /// Puts the frame's chunk back into the pool.
  @inlinable @inline(__always)
  public mutating func release(_ frame: Frame) { release(chunkAt: frame.start) }

  /// Puts the chunk around `address` back into the pool (the completion ring gives addresses).
  @inlinable @inline(__always)
  public mutating func release(chunkAt address: UInt32) {
    free[freeCount] = address & ~UInt32(truncatingIfNeeded: chunkSize &- 1)
    _setFreeCount(freeCount &+ 1)
  }

  @usableFromInline @inline(__always)
  mutating func _setFreeCount(_ value: Int) { freeCount = value }

  /// Bytes from the frame's first byte to the end of its chunk, as far as a frame's length can say.
  @inlinable @inline(__always)
  public func room(_ frame: Frame) -> Int { min(chunkSize &- offsetInChunk(frame), Int(UInt16.max)) }

  @inlinable @inline(__always)
  func offsetInChunk(_ frame: Frame) -> Int { Int(frame.start) & (chunkSize &- 1) }

  @inlinable @inline(__always)
  func check(_ frame: Frame) {
    precondition(offsetInChunk(frame) &+ Int(frame.length) <= chunkSize && Int(frame.start) < size)
  }

  /// The frame's bytes, to read. Traps when the frame is not inside one chunk.
  @inlinable @inline(__always) @_lifetime(borrow self)
  public func bytes(_ frame: Frame) -> RawSpan {
    check(frame)
    let span = unsafe RawSpan(_unsafeStart: base + Int(frame.start), byteCount: Int(frame.length))
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// The frame's bytes, to change. Traps when the frame is not inside one chunk.
  @inlinable @inline(__always) @_lifetime(&self)
  public mutating func mutableBytes(_ frame: Frame) -> MutableRawSpan {
    check(frame)
    let span = unsafe MutableRawSpan(_unsafeStart: base + Int(frame.start), byteCount: Int(frame.length))
    return unsafe _overrideLifetime(span, mutating: &self)
  }

  /// Writes one frame from what another says. Returns what `body` does: how many bytes it wrote, or nil. Traps when either is not
  /// inside one chunk, or both are in the same.
  public mutating func write(_ target: Frame, from source: Frame, _ body: (RawSpan, inout MutableRawSpan) -> Int?) -> Int? {
    check(source)
    check(target)
    precondition(Int(source.start) / chunkSize != Int(target.start) / chunkSize)
    let read = unsafe RawSpan(_unsafeStart: base + Int(source.start), byteCount: Int(source.length))
    var written = unsafe MutableRawSpan(_unsafeStart: base + Int(target.start), byteCount: Int(target.length))
    return body(read, &written)
  }

  /// Copies bytes into the frame. Traps when there are not as many as it has.
  mutating func fill(_ frame: Frame, with bytes: RawSpan) {
    check(frame)
    precondition(bytes.byteCount == Int(frame.length))
    guard bytes.byteCount > 0 else { return }
    unsafe bytes.withUnsafeBytes { unsafe (base + Int(frame.start)).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
  }

  /// Where the frame's bytes are, for a system call or a ring. Traps when the frame is not inside one chunk.
  @unsafe
  func pointer(_ frame: Frame) -> UnsafeMutableRawPointer {
    check(frame)
    return unsafe base + Int(frame.start)
  }

  /// All of it, to register with the kernel.
  @unsafe
  func withMemory<R>(_ body: (UnsafeMutableRawPointer, Int) -> R) -> R { unsafe body(base, size) }

  /// Starts loading the cache line that is `offset` bytes from the frame's first. Nothing is checked: this neither reads nor faults.
  @inlinable @inline(__always)
  public func prefetch(_ frame: Frame, at offset: Int = 0) { unsafe vxgw_prefetch(base + Int(frame.start) + offset) }

  /// A copy of the frame in a chunk of its own; nil when the pool is empty.
  @inlinable
  public mutating func copy(_ frame: Frame) -> Frame? {
    check(frame)
    guard var copy = allocate() else { return nil }
    copy.length = frame.length
    copy.checksumIsComplete = frame.checksumIsComplete
    check(copy)
    unsafe (base + Int(copy.start)).copyMemory(from: base + Int(frame.start), byteCount: Int(frame.length))
    return copy
  }
}

// One worker owns it; it is handed over once, when the worker's thread starts.
extension UMEM: @unchecked Sendable {}
