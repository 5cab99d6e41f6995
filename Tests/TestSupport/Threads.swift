import Glibc

/// Runs `body` in as many threads as `count` says, more than there are cores if need be, and waits for all.
public func inThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  final class Start: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  let threads = (0..<count).map { index in
    var thread = pthread_t()
    let start = unsafe Unmanaged.passRetained(Start { body(index) }).toOpaque()
    let error = unsafe pthread_create(
      &thread, nil,
      { start in
        guard let start = unsafe start else { return nil }
        unsafe Unmanaged<Start>.fromOpaque(start).takeRetainedValue().body()
        return nil
      }, start)
    precondition(error == 0, "pthread_create: \(error)")
    return thread
  }
  for thread in threads { pthread_join(thread, nil) }
}
