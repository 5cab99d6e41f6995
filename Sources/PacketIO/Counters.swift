import Synchronization

/// Counters that one thread adds to and any thread reads, without locks and without lost updates: the writer alone adds,
/// so a relaxed load and store are enough.
///
/// A handle: copies mean the same counters. They live as long as the process, since a reader may hold a handle longer
/// than the worker that counts.
@safe
public struct Counters: @unchecked Sendable {
  @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
  public let count: Int

  public init(count: Int) {
    // Padded by a cache line pair on both sides: two workers' counters never share a line.
    let padding = 16
    let memory = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: count + 2 * padding)
    for index in 0..<count + 2 * padding { unsafe (memory + index).initialize(to: Atomic(0)) }
    unsafe base = memory + padding
    self.count = count
  }

  /// Adds `amount` to a counter. Only the owning thread may call it.
  @inlinable @inline(__always)
  public func add(_ amount: Int, to index: Int) {
    precondition(isInside(index, count))
    let value = unsafe base[index].load(ordering: .relaxed)
    unsafe base[index].store(value &+ UInt64(truncatingIfNeeded: amount), ordering: .relaxed)
  }

  /// Sets a counter that is a level. Only the owning thread may call it.
  public func set(_ index: Int, to value: UInt64) {
    precondition(isInside(index, count))
    unsafe base[index].store(value, ordering: .relaxed)
  }

  /// The counter's value; any thread may ask.
  @inlinable
  public subscript(index: Int) -> UInt64 {
    precondition(isInside(index, count))
    return unsafe base[index].load(ordering: .relaxed)
  }
}
