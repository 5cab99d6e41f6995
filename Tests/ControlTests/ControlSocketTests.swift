import CLinux
import FoundationEssentials
import Logging
import PacketIO
import Synchronization
import Testing
import Wire
@testable import Control

/// A directory of its own for every test, gone with it.
private final class TemporaryDirectory {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/vxgw-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Answers with what it was asked.
private struct Echo: ControlResponder {
  func respond(to query: ControlQuery) -> ControlResponse { .config(query.rawValue) }
  func perform(_ change: ControlChange) -> ControlResponse { ControlResponse(performing: change) { throw ChangeError.noFDBEntry } }
}

private struct Empty: ControlResponder {
  func respond(to query: ControlQuery) -> ControlResponse { .fdb([]) }
  func perform(_ change: ControlChange) -> ControlResponse { .done }
}

/// Has a lot to say.
private struct Talkative: ControlResponder {
  static let answer = ControlResponse.config(String(repeating: "x", count: 8 << 20))
  func respond(to query: ControlQuery) -> ControlResponse { Self.answer }
  func perform(_ change: ControlChange) -> ControlResponse { .done }
}

private func server(
  _ path: String, _ responder: some ControlResponder = Empty(), _ events: ControlEvents? = nil, _ patience: Patience = Patience()
) throws -> ControlServer {
  let events = try events ?? ControlEvents()
  let server = try ControlServer(
    path: path, responder: responder, events: events, log: StandardErrorLog.logger(level: .error), patience: patience)
  try server.start()
  return server
}

private func mode(_ path: String) -> UInt32? {
  var status = stat()
  return unsafe lstat(path, &status) == 0 ? status.st_mode & 0o777 : nil
}

/// A descriptor that keeps the connection: an array can't hold a `UnixSocket`.
private func keep(_ socket: consuming UnixSocket) -> Int32 {
  let descriptor = dup(socket.descriptor)
  withExtendedLifetime(socket) {}
  return descriptor
}

/// A socket whose owner is gone.
private func leaveStale(_ path: String) throws {
  _ = try UnixSocket.listen(at: path)
}

@Suite("control socket")
struct ControlSocketTests {
  private let directory: TemporaryDirectory
  private var path: String { directory.path + "/a.sock" }

  init() throws { directory = try TemporaryDirectory() }

  @Test("requests are answered, in order, and the socket goes with the server")
  func answers() throws {
    do {
      let server = try server(path, Echo())
      defer { server.stop() }
      #expect(mode(path) == 0o600)
      var client = try ControlClient(path: path)
      for query in ControlQuery.allCases { #expect(try client.send(.query(query)) == .config(query.rawValue)) }
      let change = ControlChange.fdb(.del, .init(mac: MACAddress(0x02aa_0000_0001)))
      let error = #expect(throws: ControlError.self) { try client.send(.change(change)) }
      #expect(error?.description == "fdb del 02:aa:00:00:00:01: no such entry (ENOENT); vxgw fdb show lists them")
    }
    #expect(mode(path) == nil)
  }

  @Test("the directory is made")
  func makesDirectory() throws {
    let server = try server(directory.path + "/made/a.sock")
    server.stop()
    #expect(mode(directory.path + "/made") == 0o755)
  }

  @Test("a stale socket is replaced")
  func stale() throws {
    try leaveStale(path)
    #expect(mode(path) == 0o600)
    let server = try server(path)
    defer { server.stop() }
    var client = try ControlClient(path: path)
    #expect(try client.send(.query(.fdbShow)) == .fdb([]))
  }

  @Test("a living socket is refused and goes on")
  func live() throws {
    let first = try server(path)
    defer { first.stop() }
    let error = #expect(throws: ControlError.self) { _ = try server(path) }
    #expect(error?.description == "\(path): another vxgw answers here. Stop it, or name another socket with --socket")
    var client = try ControlClient(path: path)
    #expect(try client.send(.query(.stats)) == .fdb([]))
  }

  @Test("a file is never removed")
  func file() throws {
    let descriptor = unsafe creat(path, 0o644)
    close(descriptor)
    let error = #expect(throws: ControlError.self) { _ = try server(path) }
    #expect(error?.description == "\(path): exists and is not a socket. Remove it, or name another with --socket")
    #expect(mode(path) == 0o644)
  }

  @Test(
    "what is no request gets an error, and the connection goes on",
    arguments: [
      ("", "The given data was not valid JSON."), ("{}", "command: missing"),
      (#"{"command":"fdb"}"#, "command: fdb: none of \(ControlRequest.commands.joined(separator: ", "))"),
      (#"{"command":"fdb add"}"#, "mac: missing"),
      (#"{"command":"fdb add","mac":"x"}"#, "mac: not an address: x"),
      (#"{"command":"fdb add","mac":"02:00:00:00:00:01","dst":null,"dts":"192.0.2.1"}"#, "unknown: dts"),
      (#"{"command":"stats","mac":"02:00:00:00:00:01"}"#, "unknown: mac"),
    ])
  func garbage(_ line: String, _ expected: String) throws {
    let server = try server(path)
    defer { server.stop() }
    var socket = try UnixSocket.connect(to: path)
    let end = ContinuousClock.now + .seconds(5)
    try socket.writeLine(Array(line.utf8), until: end)
    let answer = try JSON.decode(ControlResponse.self, from: socket.readLine(limit: .max, until: end))
    #expect(answer == .error("not a request: " + expected))
    try socket.writeLine(Array(#"{"command":"fdb show"}"#.utf8), until: end)
    #expect(try String(decoding: socket.readLine(limit: .max, until: end), as: UTF8.self) == #"{"fdb":[]}"#)
  }

  @Test("many requests at once are answered one by one, also to a client that sends no more")
  func pipelined() throws {
    let server = try server(path)
    defer { server.stop() }
    var socket = try UnixSocket.connect(to: path)
    let end = ContinuousClock.now + .seconds(5)
    let requests = [String](repeating: #"{"command":"fdb show"}"#, count: 100).joined(separator: "\n")
    try socket.writeLine(Array(requests.utf8), until: end)
    shutdown(socket.descriptor, Int32(SHUT_WR))
    for _ in 0..<100 { #expect(try socket.readLine(limit: .max, until: end) == Array(#"{"fdb":[]}"#.utf8)) }
    #expect(throws: UnixSocket.Interruption.self) { _ = try socket.readLine(limit: .max, until: end) }
  }

  @Test("a request without end is cut off")
  func endless() throws {
    let server = try server(path)
    defer { server.stop() }
    let socket = try UnixSocket.connect(to: path)
    let end = ContinuousClock.now + .seconds(5)
    #expect(throws: UnixSocket.Interruption.self) {
      while true { try socket.writeLine([UInt8](repeating: 0x20, count: 1 << 20), until: end) }
    }
    #expect(ContinuousClock.now < end)
    var client = try ControlClient(path: path)
    #expect(try client.send(.query(.fdbShow)) == .fdb([]))
  }

  @Test("clients that are silent, or take nothing of a long answer, hold up nobody")
  func slow() throws {
    let server = try server(path, Talkative())
    defer { server.stop() }
    let silent = try UnixSocket.connect(to: path)
    var deaf: [Int32] = []
    defer { for descriptor in deaf { close(descriptor) } }
    for _ in 0..<4 {
      let socket = try UnixSocket.connect(to: path)
      try socket.writeLine(Array(#"{"command":"stats"}"#.utf8), until: .now + .seconds(1))
      deaf.append(keep(socket))
    }
    let start = ContinuousClock.now
    var client = try ControlClient(path: path)
    #expect(try client.send(.query(.stats)) == Talkative.answer)
    #expect(ContinuousClock.now - start < .seconds(4))
    withExtendedLifetime(silent) {}
  }

  @Test("clients that are silent, or take nothing of an answer, are cut off; those that monitor are not")
  func patience() throws {
    let events = try ControlEvents()
    let server = try server(path, Talkative(), events, Patience(request: .milliseconds(50), answer: .milliseconds(100)))
    defer { server.stop() }
    var monitor = try monitor(#""fdb""#)
    var silent = try UnixSocket.connect(to: path)
    var deaf = try UnixSocket.connect(to: path)
    let start = ContinuousClock.now, end = start + .seconds(5)
    try deaf.writeLine(Array(#"{"command":"stats"}"#.utf8), until: end)
    #expect(throws: UnixSocket.Interruption.self) { _ = try silent.readLine(limit: .max, until: end) }
    #expect(ContinuousClock.now - start > .milliseconds(40))
    Tick.pause(microseconds: 200_000)
    #expect(throws: UnixSocket.Interruption.self) { _ = try deaf.readLine(limit: .max, until: end) }
    #expect(ContinuousClock.now < end)
    events.publish(Self.event)
    #expect(try next(&monitor) == Self.event)
  }

  @Test("who connects while all places are taken waits for one")
  func crowd() throws {
    let server = try server(path)
    defer { server.stop() }
    var crowd: [Int32] = []
    for _ in 0..<Clients.limit { crowd.append(keep(try UnixSocket.connect(to: path))) }
    var socket = try UnixSocket.connect(to: path)
    try socket.writeLine(Array(#"{"command":"stats"}"#.utf8), until: .now + .seconds(1))
    #expect(throws: UnixSocket.Interruption.self) { _ = try socket.readLine(limit: .max, until: .now + .milliseconds(200)) }
    for descriptor in crowd { close(descriptor) }
    #expect(try socket.readLine(limit: .max, until: .now + .seconds(5)) == Array(#"{"fdb":[]}"#.utf8))
  }

  @Test("stop does not wait for a silent client")
  func stopsAtOnce() throws {
    let server = try server(path)
    let silent = try UnixSocket.connect(to: path)
    let start = ContinuousClock.now
    server.stop()
    #expect(ContinuousClock.now - start < .milliseconds(900))
    withExtendedLifetime(silent) {}
  }

  @Test("the client finds the only gateway")
  func discovery() throws {
    func find() throws(ControlError) -> ControlResponse {
      var client = try ControlClient(path: nil, directory: directory.path)
      return try client.send(.query(.fdbShow))
    }
    func failure() -> String? { #expect(throws: ControlError.self) { _ = try find() }?.description }

    #expect(failure() == "no gateway runs: no socket in \(directory.path). One with a socket elsewhere is named with --socket")
    try leaveStale(path)
    #expect(failure() == "\(path): connection refused: no gateway is running there any more")
    let second = try server(directory.path + "/b.sock")
    defer { second.stop() }
    #expect(try find() == .fdb([]))
    let first = try server(path)
    defer { first.stop() }
    #expect(failure() == "several gateways run; choose one with --socket: \(path), \(directory.path)/b.sock")
  }

  @Test("a path without a gateway is told")
  func noGateway() {
    let error = #expect(throws: ControlError.self) { _ = try ControlClient(path: path) }
    #expect(error?.description == "\(path): no such socket; no gateway runs with it")
  }

  // MARK: Monitoring

  private static let event = MonitorEvent.l2miss(.init(mac: MACAddress(0x02aa_0000_0001), ifname: "vxgw1", vni: 1))

  /// A connection that monitors.
  private func monitor(_ topics: String) throws -> UnixSocket {
    var socket = try UnixSocket.connect(to: path)
    let end = ContinuousClock.now + .seconds(5)
    try socket.writeLine(Array(#"{"command":"monitor","topics":[\#(topics)]}"#.utf8), until: end)
    #expect(try socket.readLine(limit: .max, until: end) == Array(#"{"done":true}"#.utf8))
    return socket
  }

  private func next(_ socket: inout UnixSocket) throws -> MonitorEvent {
    try JSON.decode(MonitorEvent.self, from: socket.readLine(limit: .max, until: .now + .seconds(5)))
  }

  @Test("events reach those who asked for them, in order, while others are answered")
  func events() throws {
    let changes = Mutex([Bool]())
    let events = try ControlEvents { isListening in changes.withLock { $0.append(isListening) } }
    let server = try server(path, Empty(), events)
    #expect(!events.hasListeners)
    events.publish(.lost(-1))
    var all = try monitor(#""fdb","neigh","vtep","link""#)
    #expect(events.hasListeners)
    do {
      var links = try monitor(#""link""#)
      events.publish(Self.event)
      events.publish(.link(.changed, .init(ifname: "eth1", mtu: 1500, up: true)))
      #expect(try next(&all) == Self.event)
      #expect(try next(&all) == .link(.changed, .init(ifname: "eth1", mtu: 1500, up: true)))
      #expect(try next(&links) == .link(.changed, .init(ifname: "eth1", mtu: 1500, up: true)))
      var client = try ControlClient(path: path)
      #expect(try client.send(.query(.stats)) == .fdb([]))
    }
    #expect(events.hasListeners)
    server.stop()
    #expect(throws: UnixSocket.Interruption.self) { try next(&all) }
    #expect(!events.hasListeners)
    #expect(changes.withLock { $0 } == [true, false])
  }

  @Test("who does not read is told how much was lost, once it reads")
  func slowMonitor() throws {
    let events = try ControlEvents()
    let server = try server(path, Empty(), events)
    defer { server.stop() }
    var slow = try monitor(#""fdb""#)
    var fast = try monitor(#""fdb""#)
    // More than the connection's buffer and the kernel's hold, told one by one so that none is lost before.
    let count = 40_000
    for _ in 0..<count {
      events.publish(Self.event)
      #expect(try next(&fast) == Self.event)
    }
    var received = 0, lost = 0
    while received + lost < count {
      if case .lost(let some) = try next(&slow) { lost += some } else { received += 1 }
    }
    #expect(received + lost == count && lost > 0 && received * 71 > Connection.eventLimit)
    events.publish(Self.event)
    #expect(try next(&slow) == Self.event)
  }

  @Test("what is published faster than it can be told is counted")
  func overrun() throws {
    let events = try ControlEvents()
    events.setListening(true)
    for _ in 0..<ControlEvents.limit + 3 { events.publish(Self.event) }
    let taken = events.take()
    #expect(taken.count == ControlEvents.limit + 1 && taken.last == .lost(3))
    #expect(events.take().isEmpty)
  }

  @Test("commands have room beside the monitors")
  func monitorLimit() throws {
    let server = try server(path)
    defer { server.stop() }
    var monitors: [Int32] = []
    defer { for descriptor in monitors { close(descriptor) } }
    for _ in 0..<Clients.monitorLimit { monitors.append(keep(try monitor(""))) }
    var client = try ControlClient(path: path)
    let error = #expect(throws: ControlError.self) { try client.send(.monitor([.fdb])) }
    #expect(error?.description == "\(Clients.monitorLimit) clients monitor this gateway already; end one of them")
    #expect(try client.send(.query(.stats)) == .fdb([]))
  }

  @Test("a client that monitors is told when the gateway ends")
  func end() throws {
    let events = try ControlEvents()
    let server = try server(path, Empty(), events)
    var client = try ControlClient(path: path)
    var seen: [MonitorEvent] = []
    let stopper = Task.detached {
      while !events.hasListeners { await Task.yield() }
      events.publish(Self.event)
    }
    let error = #expect(throws: ControlError.self) {
      try client.monitor([.fdb]) { event, json in
        seen.append(event)
        #expect(json == #"{"event":"l2miss","ifname":"vxgw1","mac":"02:aa:00:00:00:01","vni":1}"#)
        server.stop()
      }
    }
    #expect(error?.description == "\(path): the gateway ended")
    #expect(seen == [Self.event])
    withExtendedLifetime(stopper) {}
  }
}
