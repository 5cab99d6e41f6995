/// A buffer of fixed size whose elements are read and written in place, bounds-checked, without reference counts.
///
/// An `Array` or `InlineArray` that is a stored property is copied when the loop indexes it (measured: four times the
/// cost of the whole packet), so the hot path keeps its tables in these.
@safe
public struct FixedBuffer<Element: BitwiseCopyable>: ~Copyable {
  @usableFromInline let base: UnsafeMutablePointer<Element>
  public let count: Int

  public init(repeating value: Element, count: Int) {
    unsafe base = .allocate(capacity: max(count, 1))
    unsafe base.initialize(repeating: value, count: count)
    self.count = count
  }

  deinit { unsafe base.deallocate() }

  @inlinable
  public subscript(index: Int) -> Element {
    @inline(__always) get {
      precondition(isInside(index, count))
      return unsafe base[index]
    }
    @inline(__always) set {
      precondition(isInside(index, count))
      unsafe base[index] = newValue
    }
  }
}

/// Whether `index` is in `0..<count`, in one comparison: a negative number without its sign is larger than any count.
@inlinable @inline(__always)
public func isInside(_ index: Int, _ count: Int) -> Bool { UInt(bitPattern: index) < UInt(bitPattern: count) }

// The buffer owns its memory and hands out no pointer.
extension FixedBuffer: @unchecked Sendable where Element: Sendable {}
