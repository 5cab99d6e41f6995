import PacketIO
import Synchronization

/// Events on their way from whoever sees them to those who monitor the gateway. Publishing never waits: what nobody listens
/// to costs one load, and what comes faster than it can be told is counted.
public final class ControlEvents: Sendable {
  private struct Queue {
    var events: [MonitorEvent] = []
    var lost = 0
  }
  private let queue = Mutex(Queue())
  private let listening = Atomic(false)
  private let listenersChanged: @Sendable (Bool) -> Void
  /// Rung when there are events to take.
  let bell: Doorbell

  /// Events that wait for the control socket's thread, at most.
  static let limit = 4096

  /// - Parameter listenersChanged: called with true when the first listener comes and with false when the last one goes, on
  ///   the control socket's thread, so that the data path need not report what nobody wants to know.
  public init(listenersChanged: @escaping @Sendable (Bool) -> Void = { _ in }) throws(SystemError) {
    bell = try Doorbell()
    self.listenersChanged = listenersChanged
  }

  /// Whether anybody listens. Any thread may ask.
  public var hasListeners: Bool { listening.load(ordering: .relaxed) }

  /// Tells an event to all who listen; it is not even made if nobody does. Any thread may call this.
  public func publish(_ event: @autoclosure () -> MonitorEvent) {
    guard hasListeners else { return }
    let event = event()
    let isFirst = queue.withLock { queue in
      guard queue.events.count < Self.limit else {
        queue.lost += 1
        return false
      }
      queue.events.append(event)
      return queue.events.count == 1
    }
    if isFirst { bell.ring() }
  }

  /// What was published since the last time, and how much of it was lost.
  func take() -> [MonitorEvent] {
    bell.clear()
    return queue.withLock { queue in
      defer { queue = Queue() }
      return queue.lost > 0 ? queue.events + [.lost(queue.lost)] : queue.events
    }
  }

  func setListening(_ isListening: Bool) {
    guard listening.exchange(isListening, ordering: .relaxed) != isListening else { return }
    listenersChanged(isListening)
  }
}
