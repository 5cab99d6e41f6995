import CLinux
import Synchronization

/// A fixed number of 64-bit words that several threads read and write, bounds-checked, zero at first, aligned to a page.
/// The kernel hands the memory out as it is touched, so a large table that is mostly empty costs little.
@safe
public struct AtomicWords: ~Copyable {
  @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
  public let count: Int

  /// - Throws: `SystemError` of mmap(2).
  public init(count: Int) throws(SystemError) {
    let size = max(count, 1) * MemoryLayout<UInt64>.stride
    let memory = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let memory = unsafe memory, unsafe memory != UnsafeMutableRawPointer(bitPattern: -1) /* MAP_FAILED */ else {
      throw SystemError("mmap of \(size) bytes for a table")
    }
    // An atomic word is its bits, and zeroed pages hold zeros.
    unsafe base = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
    self.count = count
  }

  deinit { unsafe munmap(base, max(count, 1) * MemoryLayout<UInt64>.stride) }

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
    precondition(isInside(index, count) && index &+ 8 <= count)
    return unsafe _overrideLifetime(Line(_base: UnsafePointer(base + index)), borrowing: self)
  }

  /// Copies the words from `index` on to `target`, byte for byte, in relaxed loads: `length` bytes from its first on. The
  /// last word ends there, so it overlaps the one before. Traps when something lies outside, or `length` is less than 8.
  @inlinable @inline(__always)
  public func copy(from index: Int, to target: inout MutableRawSpan, length: Int) {
    precondition(length >= 8 && length <= target.byteCount)
    precondition(isInside(index, count) && index &+ length / 8 < count)
    var word = unsafe base + index
    for offset in stride(from: 0, through: length &- 8, by: 8) {
      unsafe target.storeBytes(of: word.pointee.load(ordering: .relaxed), toUncheckedByteOffset: offset, as: UInt64.self)
      unsafe word += 1
    }
    unsafe target.storeBytes(of: word.pointee.load(ordering: .relaxed), toUncheckedByteOffset: length &- 8, as: UInt64.self)
  }

  /// Starts loading the cache line of a word.
  @inlinable @inline(__always)
  public func prefetch(_ index: Int) {
    precondition(isInside(index, count))
    unsafe vxgw_prefetch(base + index)
  }
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
