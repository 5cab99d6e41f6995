/// A value that can't be copied, on the heap: moving it moves a pointer.
@safe
public struct Box<Value: ~Copyable>: ~Copyable {
  private let pointer: UnsafeMutablePointer<Value>

  public init(_ value: consuming Value) {
    unsafe pointer = .allocate(capacity: 1)
    unsafe pointer.initialize(to: value)
  }

  deinit {
    unsafe pointer.deinitialize(count: 1)
    unsafe pointer.deallocate()
  }

  public var value: Value {
    unsafeAddress { unsafe UnsafePointer(pointer) }
    unsafeMutableAddress { unsafe pointer }
  }
}

// It owns its value and hands out no pointer that outlives an access.
extension Box: @unchecked Sendable where Value: Sendable & ~Copyable {}
