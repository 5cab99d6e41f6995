#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

// The protocol of the control socket: one JSON object a line, each request answered by one.
//
//     {"command":"fdb show"}
//     {"fdb":[{"dst":"192.0.2.2","flags":["self"],"ifname":"vxgw1","mac":"02:aa:00:00:00:01","state":"permanent","vni":1}]}

/// What is asked of a running gateway.
public struct ControlRequest: Codable, Sendable, Equatable {
  public enum Command: String, Codable, CaseIterable, Sendable {
    case fdbShow = "fdb show"
    case vniShow = "vni show"
    case vtepShow = "vtep show"
    case linkShow = "link show"
    case stats
  }
  public var command: Command

  public init(_ command: Command) { self.command = command }
}

/// The answer: an object with one key, which names what it holds.
public enum ControlResponse: Sendable, Equatable {
  case fdb([Report.FDBEntry])
  case vni([Report.VNI])
  case vtep([Report.VTEP])
  case link([Report.Link])
  case stats(Report.Stats)
  /// A sentence for the operator.
  case error(String)
}

/// Who answers for the gateway. Called on the control socket's thread.
public protocol ControlResponder: Sendable {
  func respond(to request: ControlRequest) -> ControlResponse
}

extension ControlResponse: Codable {
  private enum Key: String, CodingKey { case fdb, vni, vtep, link, stats, error }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    switch container.allKeys.first {
    case .fdb: self = .fdb(try container.decode([Report.FDBEntry].self, forKey: .fdb))
    case .vni: self = .vni(try container.decode([Report.VNI].self, forKey: .vni))
    case .vtep: self = .vtep(try container.decode([Report.VTEP].self, forKey: .vtep))
    case .link: self = .link(try container.decode([Report.Link].self, forKey: .link))
    case .stats: self = .stats(try container.decode(Report.Stats.self, forKey: .stats))
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
    case .stats(let stats): try container.encode(stats, forKey: .stats)
    case .error(let message): try container.encode(message, forKey: .error)
    }
  }

  /// What the answer holds, as JSON on one line, as `ip -j` prints it: an array, or an object for `stats`.
  public func json() throws -> String {
    let bytes =
      switch self {
      case .fdb(let entries): try JSON.encode(entries)
      case .vni(let segments): try JSON.encode(segments)
      case .vtep(let vteps): try JSON.encode(vteps)
      case .link(let links): try JSON.encode(links)
      case .stats(let stats): try JSON.encode(stats)
      case .error(let message): try JSON.encode(["error": message])
      }
    return String(decoding: bytes, as: UTF8.self)
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
