import PacketIO
import Synchronization

/// Changes on their way from the control socket's thread to the control plane's, and the answers back.
final class ChangeQueue: Sendable {
  /// A change, and who waits for its end.
  final class Job: Sendable {
    let change: ControlChange
    fileprivate let response = Mutex<ControlResponse?>(nil)
    fileprivate init(_ change: ControlChange) { self.change = change }

    func finish(_ response: ControlResponse) { self.response.withLock { $0 = response } }
  }

  /// Rung when there is something to do.
  let bell: Doorbell
  /// Nil: the control plane takes no more.
  private let jobs = Mutex<[Job]?>([])

  init() throws(SystemError) { bell = try Doorbell() }

  /// Waits until the change is made or refused. Any thread but the control plane's.
  func ask(_ change: ControlChange) -> ControlResponse {
    let job = Job(change)
    let isOpen = jobs.withLock { jobs in
      jobs?.append(job)
      return jobs != nil
    }
    guard isOpen else { return .error("vxgw is stopping") }
    bell.ring()
    while true {
      if let response = job.response.withLock({ $0 }) { return response }
      Tick.pause(microseconds: 200)
    }
  }

  /// The control plane's side: what has been asked for. Every job has to be finished.
  func take() -> [Job] {
    _ = bell.clear()
    return jobs.withLock { jobs in
      defer { if jobs != nil { jobs = [] } }
      return jobs ?? []
    }
  }

  /// From now on everything is refused.
  func close() {
    for job in jobs.withLock({ $0.take() }) ?? [] { job.finish(.error("vxgw is stopping")) }
  }
}
