/// A buffer of values that can't be copied, used in place: ports, batches, sockets.
@safe
public struct Slots<Element: ~Copyable>: ~Copyable {
  @usableFromInline let base: UnsafeMutablePointer<Element>
  public let capacity: Int
  public private(set) var count = 0

  public init(capacity: Int) {
    unsafe base = .allocate(capacity: max(capacity, 1))
    self.capacity = capacity
  }

  deinit {
    unsafe base.deinitialize(count: count)
    unsafe base.deallocate()
  }

  /// Traps when the buffer is full.
  public mutating func append(_ element: consuming Element) {
    precondition(count < capacity)
    unsafe (base + count).initialize(to: element)
    count += 1
  }

  public mutating func swapAt(_ first: Int, _ second: Int) {
    precondition(isInside(first, count) && isInside(second, count))
    if first == second { return }
    let moved = unsafe (base + first).move()
    unsafe (base + first).moveInitialize(from: base + second, count: 1)
    unsafe (base + second).initialize(to: moved)
  }

  /// Traps when the buffer is empty.
  public mutating func removeLast() -> Element {
    precondition(count > 0)
    count -= 1
    return unsafe (base + count).move()
  }

  @inlinable
  public subscript(index: Int) -> Element {
    @inline(__always) unsafeAddress {
      precondition(isInside(index, count))
      return unsafe UnsafePointer(base + index)
    }
    @inline(__always) unsafeMutableAddress {
      precondition(isInside(index, count))
      return unsafe base + index
    }
  }
}

// It owns its elements and hands out no pointer that outlives an access.
extension Slots: @unchecked Sendable where Element: Sendable & ~Copyable {}
