import CLinux
import FoundationEssentials
import Logging
import PacketIO
import Testing
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

/// Answers with the name of the command.
private struct Echo: ControlResponder {
  func respond(to request: ControlRequest) -> ControlResponse { .error(request.command.rawValue) }
}

private struct Empty: ControlResponder {
  func respond(to request: ControlRequest) -> ControlResponse { .fdb([]) }
}

private func server(_ path: String, _ responder: some ControlResponder = Empty()) throws -> ControlServer {
  let server = try ControlServer(path: path, responder: responder, log: StandardErrorLog.logger(level: .error))
  try server.start()
  return server
}

private func mode(_ path: String) -> UInt32? {
  var status = stat()
  return unsafe lstat(path, &status) == 0 ? status.st_mode & 0o777 : nil
}

/// A socket whose owner is gone.
private func leaveStale(_ path: String) throws {
  _ = try UnixSocket.listen(at: path, bell: Doorbell())
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
      for command in ControlRequest.Command.allCases {
        let error = #expect(throws: ControlError.self) { try client.send(ControlRequest(command)) }
        #expect(error?.description == "\(path): \(command.rawValue)")
      }
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
    #expect(try client.send(ControlRequest(.fdbShow)) == .fdb([]))
  }

  @Test("a living socket is refused and goes on")
  func live() throws {
    let first = try server(path)
    defer { first.stop() }
    let error = #expect(throws: ControlError.self) { _ = try server(path) }
    #expect(error?.description == "\(path): another vxgw answers here. Stop it, or name another socket with --socket")
    var client = try ControlClient(path: path)
    #expect(try client.send(ControlRequest(.stats)) == .fdb([]))
  }

  @Test("a file is never removed")
  func file() throws {
    let descriptor = unsafe creat(path, 0o644)
    close(descriptor)
    let error = #expect(throws: ControlError.self) { _ = try server(path) }
    #expect(error?.description == "\(path): exists and is not a socket. Remove it, or name another with --socket")
    #expect(mode(path) == 0o644)
  }

  @Test("garbage gets an error, and the connection goes on", arguments: ["", "x", "{}", #"{"command":"fdb"}"#, "[1]"])
  func garbage(_ line: String) throws {
    let server = try server(path)
    defer { server.stop() }
    var socket = try UnixSocket.connect(to: path)
    let end = ContinuousClock.now + .seconds(5)
    try socket.writeLine(Array(line.utf8), until: end)
    let answer = try JSON.decode(ControlResponse.self, from: socket.readLine(limit: .max, until: end))
    let commands = "fdb show, vni show, vtep show, link show, stats"
    #expect(answer == .error("not a request: one JSON object a line, with a \"command\" out of \(commands)"))
    try socket.writeLine(Array(#"{"command":"fdb show"}"#.utf8), until: end)
    #expect(try String(decoding: socket.readLine(limit: .max, until: end), as: UTF8.self) == #"{"fdb":[]}"#)
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
    #expect(try client.send(ControlRequest(.fdbShow)) == .fdb([]))
  }

  @Test("a silent client holds up the next one for a second, not longer")
  func silent() throws {
    let server = try server(path)
    defer { server.stop() }
    let silent = try UnixSocket.connect(to: path)
    let start = ContinuousClock.now
    var client = try ControlClient(path: path)
    #expect(try client.send(ControlRequest(.fdbShow)) == .fdb([]))
    let waited = ContinuousClock.now - start
    #expect(waited > .milliseconds(900) && waited < .seconds(5))
    withExtendedLifetime(silent) {}
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
      return try client.send(ControlRequest(.fdbShow))
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
}
