#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

// The protocol of the control socket: one JSON object a line, each request answered by one, in order.
//
//     {"command":"fdb show"}
//     {"fdb":[{"dst":"192.0.2.2","flags":["self"],"ifname":"vxgw1","mac":"02:aa:00:00:00:01","state":"permanent","vni":1}]}
//     {"command":"fdb append","dst":"192.0.2.3","mac":"00:00:00:00:00:00"}
//     {"done":true}
//     {"command":"monitor","topics":["fdb"]}
//     {"done":true}
//     {"event":"learned","flags":["self"],"ifname":"vxgw1",…}
//
// After "monitor" the connection carries events until one of the two ends it.

/// What is asked of a running gateway.
public enum ControlRequest: Sendable, Equatable {
  case query(ControlQuery)
  case change(ControlChange)
  /// Events on these as they happen.
  case monitor(Set<MonitorTopic>)
}

/// What can be asked for without changing anything.
public enum ControlQuery: String, CaseIterable, Sendable {
  case fdbShow = "fdb show"
  case vniShow = "vni show"
  case vtepShow = "vtep show"
  case linkShow = "link show"
  case neighShow = "neigh show"
  case configShow = "config show"
  case stats
}

/// What events are about.
public enum MonitorTopic: String, Codable, CaseIterable, Sendable { case fdb, neigh, vtep, link }

/// The answer: an object with one key, which names what it holds.
public enum ControlResponse: Sendable, Equatable {
  case fdb([Report.FDBEntry])
  case vni([Report.VNI])
  case vtep([Report.VTEP])
  case link([Report.Link])
  case neigh([Report.Neighbour])
  /// A configuration file.
  case config(String)
  case stats(Report.Stats)
  case done
  /// A sentence for the operator.
  case error(String)
}

/// Who answers for the gateway. Called on the control socket's thread, which answers nobody else meanwhile.
public protocol ControlResponder: Sendable {
  func respond(to query: ControlQuery) -> ControlResponse

  /// Makes the change: `.done` once every worker goes by it, or `.error`. May wait for the control plane and the workers.
  func perform(_ change: ControlChange) -> ControlResponse
}

extension ControlResponse {
  /// `.done`, or as an error what was to be changed and why it was not:
  /// "fdb add 02:aa:00:00:00:01: it exists already (EEXIST); use replace".
  public init(performing change: ControlChange, _ body: () throws -> Void) {
    do {
      try body()
      self = .done
    } catch {
      self = .error("\(change.subject): \(error)")
    }
  }
}

extension ControlRequest: Codable {
  enum Key: String, CodingKey { case command, topics }

  static let commands = ControlQuery.allCases.map(\.rawValue) + ["monitor"] + ControlChange.commands

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    let command = try container.decode(String.self, forKey: .command)
    if let query = ControlQuery(rawValue: command) {
      self = .query(query)
    } else if command == "monitor" {
      self = .monitor(Set(try container.decodeIfPresent([MonitorTopic].self, forKey: .topics) ?? MonitorTopic.allCases))
    } else if let change = try ControlChange(command, from: decoder) {
      self = .change(change)
    } else {
      throw DecodingError.dataCorruptedError(
        forKey: .command, in: container, debugDescription: "\(command): none of \(Self.commands.joined(separator: ", "))")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    switch self {
    case .query(let query): try container.encode(query.rawValue, forKey: .command)
    case .monitor(let topics):
      try container.encode("monitor", forKey: .command)
      try container.encode(topics.map(\.rawValue).sorted(), forKey: .topics)
    case .change(let change):
      try container.encode(change.command, forKey: .command)
      try change.encodeRecord(to: encoder)
    }
  }
}

extension ControlResponse: Codable {
  private enum Key: String, CodingKey { case fdb, vni, vtep, link, neigh, config, stats, done, error }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    switch container.allKeys.first {
    case .fdb: self = .fdb(try container.decode([Report.FDBEntry].self, forKey: .fdb))
    case .vni: self = .vni(try container.decode([Report.VNI].self, forKey: .vni))
    case .vtep: self = .vtep(try container.decode([Report.VTEP].self, forKey: .vtep))
    case .link: self = .link(try container.decode([Report.Link].self, forKey: .link))
    case .neigh: self = .neigh(try container.decode([Report.Neighbour].self, forKey: .neigh))
    case .config: self = .config(try container.decode(String.self, forKey: .config))
    case .stats: self = .stats(try container.decode(Report.Stats.self, forKey: .stats))
    case .done: self = .done
    case .error: self = .error(try container.decode(String.self, forKey: .error))
    case nil:
      throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "an answer without a known key"))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    switch self {
    case .fdb(let entries): try container.encode(entries, forKey: .fdb)
    case .vni(let segments): try container.encode(segments, forKey: .vni)
    case .vtep(let vteps): try container.encode(vteps, forKey: .vtep)
    case .link(let links): try container.encode(links, forKey: .link)
    case .neigh(let neighbours): try container.encode(neighbours, forKey: .neigh)
    case .config(let text): try container.encode(text, forKey: .config)
    case .stats(let stats): try container.encode(stats, forKey: .stats)
    case .done: try container.encode(true, forKey: .done)
    case .error(let message): try container.encode(message, forKey: .error)
    }
  }

  /// What the answer holds, as JSON on one line, as `ip -j` prints it: an array, or an object for what is no list.
  public func json() throws -> String {
    let bytes =
      switch self {
      case .fdb(let entries): try JSON.encode(entries)
      case .vni(let segments): try JSON.encode(segments)
      case .vtep(let vteps): try JSON.encode(vteps)
      case .link(let links): try JSON.encode(links)
      case .neigh(let neighbours): try JSON.encode(neighbours)
      case .stats(let stats): try JSON.encode(stats)
      case .config, .done, .error: try JSON.encode(self)
      }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension ControlRequest {
  /// From a line of the protocol.
  ///
  /// - Throws: `ControlError` for a line that is not a request. A key that the request does not have is a mistake too: what is
  ///   ignored would be missed later.
  init(line: [UInt8]) throws(ControlError) {
    do {
      self = try JSON.decode(ControlRequest.self, from: line)
      let unknown = try JSON.decode(Keys.self, from: line).names.subtracting(JSON.decode(Keys.self, from: JSON.encode(self)).names)
      guard unknown.isEmpty else { throw ControlError("unknown: \(unknown.sorted().joined(separator: ", "))") }
    } catch let error as ControlError {
      throw error
    } catch let error as DecodingError {
      throw ControlError(error.sentence)
    } catch {
      throw ControlError("\(error)")
    }
  }

  /// The keys of a JSON object that have a value.
  private struct Keys: Decodable {
    struct Name: CodingKey {
      let stringValue: String
      var intValue: Int? { nil }
      init(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }
    let names: Set<String>

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Name.self)
      names = Set(try container.allKeys.filter { try !container.decodeNil(forKey: $0) }.map(\.stringValue))
    }
  }
}

extension DecodingError {
  /// What is wrong, for who wrote the JSON: "mac: not an address: x".
  fileprivate var sentence: String {
    switch self {
    case .keyNotFound(let key, _): "\(key.stringValue): missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
      (context.codingPath.map(\.stringValue) + [context.debugDescription]).joined(separator: ": ")
    @unknown default: "\(self)"
    }
  }
}

/// JSON without line breaks and with keys in alphabetical order, so that it can be compared.
enum JSON {
  static func encode(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return [UInt8](try encoder.encode(value))
  }

  static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
    try JSONDecoder().decode(type, from: Data(bytes))
  }
}
