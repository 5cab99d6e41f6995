import PacketIO
#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A connection to a running gateway.
public struct ControlClient: ~Copyable {
  private let path: String
  private var socket: UnixSocket

  /// How long the gateway may take for a whole answer.
  static let answerTime = Duration.seconds(30)

  /// - Parameter path: the gateway's socket; nil: that of the only gateway that runs.
  /// - Throws: `ControlError`.
  public init(path: String?) throws(ControlError) {
    try self.init(path: path, directory: Configuration.socketDirectory)
  }

  init(path: String?, directory: String) throws(ControlError) {
    let path = if let path { path } else { try Self.find(in: directory) }
    do { socket = try UnixSocket.connect(to: path) } catch { throw Self.explain(error, path) }
    self.path = path
  }

  /// - Throws: `ControlError`, also when the gateway answers with an error.
  public mutating func send(_ request: ControlRequest) throws(ControlError) -> ControlResponse {
    let response: ControlResponse
    do {
      let end = ContinuousClock.now + Self.answerTime
      try socket.writeLine(JSON.encode(request), until: end)
      response = try JSON.decode(ControlResponse.self, from: socket.readLine(limit: .max, until: end))
    } catch UnixSocket.Interruption.closed {
      throw ControlError("\(path): the gateway closed the connection before it answered")
    } catch {
      throw explain(error)
    }
    if case .error(let message) = response { throw ControlError(message) }
    return response
  }

  /// Calls `body` with each event on the topics as it happens, and with its JSON, until the gateway ends.
  ///
  /// - Throws: `ControlError`: that it ended, or did not answer.
  public mutating func monitor(
    _ topics: Set<MonitorTopic>, _ body: (MonitorEvent, _ json: String) -> Void
  ) throws(ControlError) -> Never {
    _ = try send(.monitor(topics))
    while true {
      do {
        let line = try socket.readLine(limit: .max, until: nil)
        body(try JSON.decode(MonitorEvent.self, from: line), String(decoding: line, as: UTF8.self))
      } catch UnixSocket.Interruption.closed {
        throw ControlError("\(path): the gateway ended")
      } catch {
        throw explain(error)
      }
    }
  }

  private func explain(_ error: any Error) -> ControlError {
    switch error {
    case UnixSocket.Interruption.timeout: ControlError("\(path): no answer within \(Self.answerTime)")
    case UnixSocket.Interruption.failed(let error): ControlError("\(path): \(error)")
    default: ControlError("\(path): not an answer of this version of vxgw: \(error)")
    }
  }

  /// The path of the only gateway whose socket is in the directory.
  private static func find(in directory: String) throws(ControlError) -> String {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    let paths = names.filter { $0.hasSuffix(".sock") }.sorted().map { directory + "/" + $0 }
    if paths.isEmpty {
      throw ControlError("no gateway runs: no socket in \(directory). One with a socket elsewhere is named with --socket")
    }
    var living: [String] = []
    var failures: [ControlError] = []
    for path in paths {
      do throws(SystemError) {
        _ = try UnixSocket.connect(to: path)
        living.append(path)
      } catch {
        failures.append(explain(error, path))
      }
    }
    guard living.count < 2 else {
      throw ControlError("several gateways run; choose one with --socket: \(living.joined(separator: ", "))")
    }
    guard let path = living.first else { throw failures[0] }
    return path
  }

  private static func explain(_ error: SystemError, _ path: String) -> ControlError {
    switch error.errno {
    case .noSuchFileOrDirectory: ControlError("\(path): no such socket; no gateway runs with it")
    case .connectionRefused: ControlError("\(path): connection refused: no gateway is running there any more")
    case .permissionDenied: ControlError("\(path): \(error). The socket belongs to who runs the gateway; use sudo")
    default: ControlError("\(path): \(error)")
    }
  }
}
