import CLinux
import Logging
import PacketIO

/// Those who are connected to the control socket, and the loop that serves them: poll(2), then each one's turn.
struct Clients {
  private let responder: any ControlResponder
  private let events: ControlEvents
  private let log: Logger
  private let patience: Patience
  private var connections: [Connection] = []
  /// Nobody is accepted before, because that failed.
  private var acceptTime = ContinuousClock.Instant.now

  /// How many are served at once, and how many of them may monitor: there is always room for a command.
  static let limit = 64
  static let monitorLimit = 32

  init(_ responder: any ControlResponder, _ events: ControlEvents, _ log: Logger, _ patience: Patience) {
    self.responder = responder
    self.events = events
    self.log = log
    self.patience = patience
  }

  /// What the control socket's thread does, until the bell rings.
  mutating func serve(_ listener: borrowing UnixSocket, until bell: Doorbell) {
    while true {
      let isAccepting = connections.count < Self.limit && acceptTime <= .now
      // poll(2) skips descriptor -1.
      var polled = [
        pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: events.bell.descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: isAccepting ? listener.descriptor : -1, events: Int16(POLLIN), revents: 0),
      ]
      polled += connections.map { pollfd(fd: $0.socket.number, events: $0.events, revents: 0) }
      // It fails only when a signal comes, or the kernel has no memory at the moment: then nothing is ready.
      let ready = unsafe poll(&polled, nfds_t(polled.count), timeout())
      if ready > 0 && polled[0].revents != 0 { break }
      if ready > 0 && polled[1].revents != 0 { tell(events.take()) }
      for (index, connection) in connections.enumerated() {
        attend(to: connection, ready > 0 ? polled[index + 3].revents : 0)
      }
      connections.removeAll(where: \.isOver)
      events.setListening(connections.contains { $0.topics != nil })
      if ready > 0 && polled[2].revents != 0 { accept(listener) }
    }
    events.setListening(false)
  }

  /// Milliseconds until something is due; -1: nothing is.
  private func timeout() -> Int32 {
    if connections.contains(where: \.hasRequest) { return 0 }
    var due = connections.filter { $0.topics == nil }.map(\.deadline)
    if acceptTime > .now { due.append(acceptTime) }
    guard let first = due.min() else { return -1 }
    return Int32(clamping: max(0, Int((first - .now) / .milliseconds(1)) + 1))
  }

  private mutating func accept(_ listener: borrowing UnixSocket) {
    do {
      if let socket = try listener.accept() { connections.append(Connection(socket, patience)) }
    } catch {
      log.warning("control socket: \(error)")
      // Without descriptors or memory the same would fail again at once.
      acceptTime = .now + .milliseconds(100)
    }
  }

  /// A client's turn: takes in what it sent, answers one request, sends what it takes.
  private func attend(to connection: Connection, _ ready: Int16) {
    do {
      // A monitor that hangs up, and any other whose answer is not underway, says so when it is read from.
      if ready & ~Int16(POLLOUT) != 0 && !(connection.hasOutput && connection.topics == nil) { try connection.receive() }
      if let request = connection.takeRequest() { connection.answer(answer(request, connection)) }
      if connection.hasOutput { try connection.send() }
      if let lost = connection.takeLost() { connection.tell(encode(MonitorEvent.lost(lost))) }
      guard ready == 0 && connection.isOverdue else { return }
      log.debug("control socket: a client took too long")
    } catch {
      log.debug("control socket: \(error)")
    }
    connection.end()
  }

  private func answer(_ line: [UInt8], _ connection: Connection) -> [UInt8] {
    do {
      switch try ControlRequest(line: line) {
      case .query(let query): return encode(responder.respond(to: query))
      case .change(let change):
        if let error = change.mistake { return encode(ControlResponse(performing: change) { throw error }) }
        return encode(responder.perform(change))
      case .monitor(let topics):
        guard connections.count(where: { $0.topics != nil }) < Self.monitorLimit else {
          return encode(ControlResponse.error("\(Self.monitorLimit) clients monitor this gateway already; end one of them"))
        }
        connection.monitor(topics)
        // Before the answer, so that no event is missed after it.
        events.setListening(true)
        return encode(ControlResponse.done)
      }
    } catch {
      return encode(ControlResponse.error("not a request: \(error)"))
    }
  }

  private func tell(_ events: [MonitorEvent]) {
    for event in events {
      let listeners = connections.filter { $0.topics.map(event.isAbout) ?? false }
      if listeners.isEmpty { continue }
      let line = encode(event)
      for listener in listeners {
        listener.tell(line)
        if listener.lost == 1 { log.warning("control socket: a client that monitors does not keep up, and misses events") }
      }
    }
  }

  private func encode(_ value: some Encodable) -> [UInt8] {
    // Integers, strings and lists of them: there is nothing that JSON could refuse.
    do { return try JSON.encode(value) } catch { preconditionFailure("\(error)") }
  }
}
