import CLinux
import Synchronization

/// A fixed number of 64-bit words that several threads read and write, bounds-checked, zero at first, aligned to a page.
/// The kernel hands the memory out as it is touched, so a large table that is mostly empty costs little.
@safe
public struct AtomicWords: ~Copyable {
  @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
  public let count: Int
  /// How many places there are for the first of eight words.
  @usableFromInline let lines: Int
  /// The BPF map that these words are as well; -1: none.
  let descriptor: Int32

  /// - Throws: `SystemError` of mmap(2).
  public init(count: Int) throws(SystemError) {
    let size = max(count, 1) * MemoryLayout<UInt64>.stride
    let memory = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    try unsafe self.init(memory, count: count, descriptor: -1)
  }

  /// Words that BPF programs read and write as well, as an array map of records. The kernel takes their memory at once.
  ///
  /// - Parameters:
  ///   - name: of the map, for `bpftool map`; at most 15 characters.
  ///   - count: a multiple of `record`.
  ///   - record: words of one element of the map.
  /// - Throws: `SystemError`: EPERM without CAP_BPF, ENOMEM, EINVAL before Linux 5.5.
  public init(sharedAs name: String, count: Int, record: Int) throws(SystemError) {
    let descriptor = try BPFMap.create(
      BPF_MAP_TYPE_ARRAY, name, value: record * MemoryLayout<UInt64>.stride, entries: count / record, flags: UInt32(BPF_F_MMAPABLE))
    let memory = unsafe mmap(nil, count * MemoryLayout<UInt64>.stride, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    try unsafe self.init(memory, count: count, descriptor: descriptor)
  }

  private init(_ memory: UnsafeMutableRawPointer?, count: Int, descriptor: Int32) throws(SystemError) {
    guard let memory = unsafe memory, unsafe memory != UnsafeMutableRawPointer(bitPattern: -1) /* MAP_FAILED */ else {
      let error = SystemError("mmap of \(count * MemoryLayout<UInt64>.stride) bytes for a table")
      if descriptor >= 0 { close(descriptor) }
      throw error
    }
    // An atomic word is its bits, and zeroed pages hold zeros.
    unsafe base = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
    self.count = count
    lines = max(0, count - 7)
    self.descriptor = descriptor
  }

  deinit {
    unsafe munmap(base, max(count, 1) * MemoryLayout<UInt64>.stride)
    if descriptor >= 0 { close(descriptor) }
  }

  @inlinable
  public subscript(index: Int) -> Atomic<UInt64> {
    @inline(__always) unsafeAddress {
      precondition(isInside(index, count))
      return unsafe UnsafePointer(base + index)
    }
  }

  /// The eight words from `index` on, checked once. Traps when one of them lies outside.
  @inlinable @inline(__always) @_lifetime(borrow self)
  public func line(at index: Int) -> Line {
    precondition(isInside(index, lines))
    return unsafe _overrideLifetime(Line(_base: UnsafePointer(base + index)), borrowing: self)
  }

  /// Copies the words from `index` on to `target`, byte for byte, in relaxed loads: `length` bytes from its first on. The
  /// last word ends there, so it overlaps the one before. Traps when something lies outside, or `length` is less than 8.
  @inlinable @inline(__always)
  public func copy(from index: Int, to target: inout MutableRawSpan, length: Int) {
    precondition(length >= 8 && length <= target.byteCount)
    precondition(index >= 0 && index < count &- length / 8)
    let last = length &- 8
    var word = unsafe base + index
    var offset = 0
    // No `stride`: that does not unroll.
    while offset < last {
      unsafe target.storeBytes(of: word.pointee.load(ordering: .relaxed), toUncheckedByteOffset: offset, as: UInt64.self)
      offset &+= 8
      unsafe word += 1
    }
    unsafe target.storeBytes(of: word.pointee.load(ordering: .relaxed), toUncheckedByteOffset: last, as: UInt64.self)
  }

  /// Starts loading the cache line of a word. Nothing is checked: this neither reads nor faults.
  @inlinable @inline(__always)
  public func prefetch(_ index: Int) { unsafe vxgw_prefetch(base + index) }
}

extension AtomicWords {
  /// Eight words of a table, borrowed.
  @safe
  public struct Line: ~Escapable {
    @usableFromInline let base: UnsafePointer<Atomic<UInt64>>

    @inlinable @inline(__always) @_lifetime(immortal)
    init(_base base: UnsafePointer<Atomic<UInt64>>) { unsafe self.base = base }

    @inlinable
    public subscript(index: Int) -> Atomic<UInt64> {
      @inline(__always) unsafeAddress {
        precondition(isInside(index, 8))
        return unsafe base + index
      }
    }
  }
}

// Atomics, and nothing else, behind a pointer that never changes.
extension AtomicWords: @unchecked Sendable {}
