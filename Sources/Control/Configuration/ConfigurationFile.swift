import PacketIO
import SystemPackage
import Yams

/// What a YAML file says, as settings: the rules for their values are those of the command line.
public struct ConfigurationFile: Sendable {
  /// As the operator named it.
  let name: String
  /// In the order of the file.
  private(set) var values: [Given] = []
  /// What is wrong with keys and with the kinds of values.
  private(set) var mistakes: [Told] = []
  /// Settings that these are about, as far as one can tell.
  private(set) var wrong: Set<Setting> = []

  /// - Throws: `ConfigurationError` if the file can't be read or is not YAML. Other mistakes are told with those of the settings.
  public init(path: String) throws(ConfigurationError) {
    do {
      let bytes = try Self.contents(path)
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw ConfigurationError(mistakes: ["--config \(path): not UTF-8 text"])
      }
      try self.init(text: text, name: path)
    } catch let error as ConfigurationError {
      throw error
    } catch {
      throw ConfigurationError(mistakes: ["--config \(path): \(error)"])
    }
  }

  /// - Throws: `ConfigurationError` if the text is not YAML.
  init(text: String, name: String) throws(ConfigurationError) {
    self.name = name
    do {
      guard let root = try Yams.compose(yaml: text) else {
        throw ConfigurationError(mistakes: ["--config \(name): empty; it needs at least iface and vnis"])
      }
      guard case .mapping(let mapping) = root else {
        throw ConfigurationError(mistakes: ["\(name):\(root.mark?.description ?? "1:1"): not a list of KEY: VALUE, such as iface: eth0"])
      }
      read(mapping)
    } catch let error as ConfigurationError {
      throw error
    } catch {
      throw ConfigurationError(mistakes: ["\(name):\(Self.describe(error, text))"])
    }
  }

  private static func contents(_ path: String) throws -> [UInt8] {
    do {
      let file = try FileDescriptor.open(FilePath(path), .readOnly)
      return try file.closeAfter {
        var contents: [UInt8] = []
        while true {
          let chunk = unsafe try [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
            count = unsafe try file.read(into: UnsafeMutableRawBufferPointer(buffer))
          }
          if chunk.isEmpty { return contents }
          contents += chunk
        }
      }
    } catch let errno as Errno {
      throw SystemError("cannot be read", errno: errno)
    }
  }

  /// LINE:COLUMN and what is wrong there.
  private static func describe(_ error: any Error, _ text: String) -> String {
    switch error {
    case YamlError.scanner(_, let problem, let mark, _), YamlError.parser(_, let problem, let mark, _),
      YamlError.composer(_, let problem, let mark, _):
      return "\(mark): not YAML: \(problem)"
    case YamlError.reader(let problem, let offset, _, _):
      let before = text.prefix(offset ?? 0)
      let line = before.count { $0.isNewline } + 1
      let column = before.count - (before.lastIndex { $0.isNewline }.map { before.distance(from: before.startIndex, to: $0) + 1 } ?? 0) + 1
      return "\(line):\(column): not YAML: \(problem)"
    case YamlError.duplicatedKeysInMapping(let keys, let context):
      return "\(context.mark): \(keys.joined(separator: ", ")): given twice, the first time here"
    default:
      return "1:1: \(error)"
    }
  }
}

// MARK: Keys

extension ConfigurationFile {
  /// netplan's words for tunnels (netplan-yaml(5)), and plurals.
  private static let synonyms: [String: Setting] = [
    "id": .vni, "link": .iface, "port": .dstport, "port-range": .srcport, "mac-learning": .learning, "aging": .ageing, "limit": .maxFDB,
    "arp-proxy": .proxy, "neigh-suppress": .suppress, "type-of-service": .tos, "flow-label": .flowlabel, "do-not-fragment": .df,
    "remotes": .remote,
  ]
  /// What netplan puts into lists of words.
  private static let notifications: [String: Setting] = ["l2-miss": .l2miss, "l3-miss": .l3miss]
  private static let checksums = ["udp", "zero-udp6-tx", "zero-udp6-rx"]
  private static let keys =
    Setting.allCases.map(\.rawValue) + synonyms.keys.sorted() + ["vnis", "notifications", "checksums"]
  private static let segmentKeys = ["vni", "id", "ports", "remotes", "remote", "group"]

  private mutating func read(_ mapping: Node.Mapping) {
    var lines: [Setting: Int] = [:]
    for (keyNode, value) in mapping {
      guard let key = scalar(keyNode, "key")?.text else { continue }
      switch key {
      case "vnis": readSegments(value)
      case "notifications": readNotifications(value)
      case "checksums": readChecksums(value)
      default:
        guard let setting = Setting(rawValue: key) ?? Self.synonyms[key] else {
          unknown(keyNode, key, Self.keys)
          continue
        }
        let line = keyNode.mark?.line ?? 1
        if let other = lines.updateValue(line, forKey: setting) {
          mistake(keyNode, key, "line \(other) says the same in another word; keep one")
        } else {
          read(setting, value, key)
        }
      }
    }
  }

  private mutating func read(_ setting: Setting, _ node: Node, _ key: String) {
    switch setting {
    case _ where setting.isList:
      for item in items(node, key) { add(setting, item.text, item, key) }
    case .srcport: join(node, key, setting, "-")
    case .cpus, .udp6zerocsum: join(node, key, setting, ",")
    default:
      guard let value = scalar(node, key) else { return }
      add(setting, key == "do-not-fragment" ? Self.df(value.text) : setting.isFlag ? Self.toggle(value.text) : value.text, value, key)
    }
  }

  /// YAML has many words for two values.
  private static func toggle(_ text: String) -> String {
    switch text.lowercased() {
    case "true", "yes", "on": "on"
    case "false", "no", "off": "off"
    default: text
    }
  }

  private static func df(_ text: String) -> String {
    switch toggle(text) {
    case "on": "set"
    case "off": "unset"
    default: text
    }
  }

  /// One text, or a list of its parts.
  private mutating func join(_ node: Node, _ key: String, _ setting: Setting, _ separator: String) {
    let parts = items(node, key)
    guard let first = parts.first else { return }
    let text = parts.map(\.text).joined(separator: separator)
    values.append(Given(setting, text, origin(first.node, key)))
  }

  private mutating func readNotifications(_ node: Node) {
    for item in items(node, "notifications") {
      if let setting = Self.notifications[item.text] {
        add(setting, "on", item, "notifications")
      } else {
        unknown(item.node, item.text, Self.notifications.keys.sorted(), in: "notifications")
      }
    }
  }

  private mutating func readChecksums(_ node: Node) {
    let words = items(node, "checksums")
    for word in words where !Self.checksums.contains(word.text) {
      unknown(word.node, word.text, Self.checksums, in: "checksums")
    }
    if let udp = words.first(where: { $0.text == "udp" }) { add(.udpcsum, "on", udp, "checksums") }
    let zero = words.filter { $0.text.hasPrefix("zero-udp6-") && Self.checksums.contains($0.text) }
    guard let first = zero.first else { return }
    add(.udp6zerocsum, zero.map { String($0.text.suffix(2)) }.joined(separator: ","), first, "checksums")
  }
}

// MARK: Segments

extension ConfigurationFile {
  /// A list of VNIs, or of mappings with what belongs to them.
  private mutating func readSegments(_ node: Node) {
    guard case .sequence(let sequence) = node else {
      return mistake(node, "vnis", "a list, such as - {vni: 4100, ports: [eth1:100], remotes: [192.0.2.2]}")
    }
    for item in sequence {
      if case .mapping(let mapping) = item {
        readSegment(item, mapping)
      } else if let vni = scalar(item, "vnis"), let vnis = vnis(vni, "vnis") {
        addTAPs(vnis, vni)
      }
    }
  }

  private mutating func readSegment(_ node: Node, _ mapping: Node.Mapping) {
    var vni: (text: String, node: Node)?
    var fields: [(key: String, value: Node)] = []
    for (keyNode, value) in mapping {
      guard let key = scalar(keyNode, "key")?.text else { continue }
      switch key {
      case "vni", "id":
        guard let value = scalar(value, key) else { return }
        vni = value
      case _ where Self.segmentKeys.contains(key): fields.append((key, value))
      default: unknown(keyNode, key, Self.segmentKeys)
      }
    }
    guard let vni else { return mistake(node, "vnis", "an item without vni") }
    guard let vnis = vnis(vni, "vni") else { return }
    if !fields.contains(where: { $0.key == "ports" }) { addTAPs(vnis, vni) }
    for (key, value) in fields {
      let setting: Setting = key == "ports" ? .map : key == "group" ? .group : .remote
      for item in items(value, key) { add(setting, "\(vni.text)=\(item.text)", item, key) }
    }
  }

  private mutating func vnis(_ value: Value, _ key: String) -> ClosedRange<UInt32>? {
    do {
      return try Configuration.vnis(value.text)
    } catch {
      mistake(value.node, key, "\(value.text): \(error)")
      return nil
    }
  }

  /// VNIs without ports have TAP devices, as with `--vni` alone. They are mapped, so that the segments stay in order.
  private mutating func addTAPs(_ vnis: ClosedRange<UInt32>, _ value: Value) {
    guard vnis.count <= Configuration.deviceLimit else {
      return mistake(
        value.node, "vni", "\(value.text): \(vnis.count) VNIs without ports; TAP devices are at most \(Configuration.deviceLimit)")
    }
    for vni in vnis { add(.map, "\(vni)=tap:vxgw\(vni)", value, "vni") }
  }
}

// MARK: Values

extension ConfigurationFile {
  private typealias Value = (text: String, node: Node)

  private mutating func add(_ setting: Setting, _ text: String, _ value: Value, _ key: String) {
    values.append(Given(setting, text, shown: value.node.scalar?.string, origin(value.node, key)))
  }

  private func origin(_ node: Node, _ key: String) -> Given.Origin {
    .file(name: name, line: node.mark?.line ?? 1, column: node.mark?.column ?? 1, key: key)
  }

  /// The node's text as it is written; what YAML would make of `on`, `0x10` or `1e3` is none of our rules.
  private mutating func scalar(_ node: Node, _ key: String) -> Value? {
    guard case .scalar(let scalar) = node else {
      mistake(node, key, "one value, not a list or a mapping")
      return nil
    }
    guard !scalar.string.isEmpty else {
      mistake(node, key, "no value")
      return nil
    }
    return (scalar.string, node)
  }

  /// The texts of a list; one alone needs no brackets.
  private mutating func items(_ node: Node, _ key: String) -> [Value] {
    guard case .sequence(let sequence) = node else { return scalar(node, key).map { [$0] } ?? [] }
    if sequence.isEmpty { mistake(node, key, "an empty list; leave it out") }
    return sequence.compactMap { scalar($0, key) }
  }

  /// A key that there isn't; or a word, in the list of a key.
  private mutating func unknown(_ node: Node, _ word: String, _ candidates: [String], in key: String? = nil) {
    let hint = nearestWord(to: word, among: candidates)
    let remedy =
      hint.map { "Did you mean \($0)?" }
      ?? (candidates.count > 10 ? "See vxgw help run" : "There are \(candidates.joined(separator: ", "))")
    mistake(node, key ?? word, (key == nil ? "no such key. " : "\(word): no such word. ") + remedy)
    if let hint { wrong.formUnion(Self.settings(of: hint)) }
  }

  private mutating func mistake(_ node: Node, _ key: String, _ rule: String) {
    let (line, column) = (node.mark?.line ?? 1, node.mark?.column ?? 1)
    mistakes.append(Told("\(name):\(line):\(column): \(key): \(rule)", line: line, column: column))
    wrong.formUnion(Self.settings(of: key))
  }

  private static func settings(of key: String) -> [Setting] {
    switch key {
    case "vnis", "ports": [.vni]
    default: (Setting(rawValue: key) ?? synonyms[key]).map { [$0] } ?? []
    }
  }
}
