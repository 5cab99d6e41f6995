import CLinux
import PacketIO

/// How long a client may take to send a request once it is connected or has its last answer, and to take an answer.
struct Patience {
  var request = Duration.seconds(10)
  var answer = Duration.seconds(30)
}

/// A client of the control socket. Nothing waits here: the server's thread asks when poll(2) says so.
final class Connection {
  let socket: OwnedDescriptor
  /// Received, and not yet answered.
  private var input: [UInt8] = []
  /// Where the first line in `input` ends.
  private var lineEnd: Int?
  private var output: [UInt8] = []
  private var sent = 0
  /// What it monitors; nil: it makes requests.
  private(set) var topics: Set<MonitorTopic>?
  /// Events that did not fit since it last took all of its output.
  private(set) var lost = 0
  /// The client sends nothing more; what it asked for is still answered.
  private var isHalfClosed = false
  private var isBroken = false
  /// Until when the client has to send a request, or to take its answer.
  private(set) var deadline: ContinuousClock.Instant

  /// Longest request, in bytes.
  static let requestLimit = 65536
  /// Most that waits for a client that monitors, in bytes.
  static let eventLimit = 1 << 20
  private let patience: Patience

  init(_ socket: consuming OwnedDescriptor, _ patience: Patience) {
    self.socket = socket
    self.patience = patience
    deadline = .now + patience.request
  }

  var hasOutput: Bool { sent < output.count }
  /// A request that can be answered now: one at a time, so that who asks for much without reading costs no memory.
  var hasRequest: Bool { lineEnd != nil && !hasOutput && topics == nil }
  var isOver: Bool { isBroken || isHalfClosed && !(hasOutput && topics == nil) && !hasRequest }
  var isOverdue: Bool { topics == nil && !hasRequest && deadline < .now }

  /// What poll(2) waits for.
  var events: Int16 {
    if topics == nil { return hasOutput ? Int16(POLLOUT) : hasRequest ? 0 : Int16(POLLIN) }
    return Int16(POLLIN) | (hasOutput ? Int16(POLLOUT) : 0)
  }

  /// Takes in what has arrived.
  ///
  /// - Throws: EMSGSIZE for a request that is too long.
  func receive() throws(SystemError) {
    var chunk = [UInt8](repeating: 0, count: Self.requestLimit)
    guard let count = try attempt("recv", { unsafe recv(socket.number, &chunk, chunk.count, 0) }) else { return }
    // Who monitors has said everything, and ends it by closing.
    isHalfClosed = isHalfClosed || count == 0
    guard topics == nil else { return }
    let searched = input.count
    input += chunk[..<count]
    if lineEnd == nil { lineEnd = input[searched...].firstIndex(of: UInt8(ascii: "\n")) }
    if lineEnd == nil && input.count > Self.requestLimit { throw SystemError("a request without end", errno: .messageTooLong) }
  }

  /// The next request, without its newline.
  func takeRequest() -> [UInt8]? {
    guard hasRequest, let end = lineEnd else { return nil }
    let line = Array(input[..<end])
    input.removeSubrange(...end)
    lineEnd = input.firstIndex(of: UInt8(ascii: "\n"))
    return line
  }

  /// Leaves out whatever is still to be done.
  func end() { isBroken = true }

  func answer(_ line: [UInt8]) {
    append(line)
    deadline = .now + patience.answer
  }

  /// From now on the connection carries events on these.
  func monitor(_ topics: Set<MonitorTopic>) {
    self.topics = topics
    input = []
    lineEnd = nil
  }

  /// Adds an event to what is sent, unless the client is so far behind that it does not fit. It is told as soon as it has
  /// caught up.
  func tell(_ event: [UInt8]) {
    if lost == 0 && output.count - sent + event.count < Self.eventLimit { append(event) } else { lost += 1 }
  }

  /// Sends what the socket takes.
  func send() throws(SystemError) {
    let count = try attempt("send") {
      unsafe output.withUnsafeBytes {
        unsafe CLinux.send(socket.number, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
    }
    guard let count else { return }
    sent += count
    if hasOutput { return }
    output = []
    sent = 0
    deadline = .now + patience.request
  }

  /// The number of lost events, once the client has caught up.
  func takeLost() -> Int? {
    guard lost > 0 && !hasOutput else { return nil }
    defer { lost = 0 }
    return lost
  }

  private func append(_ line: [UInt8]) {
    if sent > Self.requestLimit {
      output.removeSubrange(..<sent)
      sent = 0
    }
    output += line
    output.append(UInt8(ascii: "\n"))
  }

  /// Nil: not now.
  private func attempt(_ call: String, _ body: () -> Int) throws(SystemError) -> Int? {
    let count = body()
    if count >= 0 { return count }
    let error = SystemError(call)
    if error.errno == .wouldBlock || error.errno == .interrupted { return nil }
    throw error
  }
}
