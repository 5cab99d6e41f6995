/// The options of `vxgw run`, in the order of the manual. The raw value is the option's name without its dashes, and the
/// key in a file.
public enum Setting: String, CaseIterable, Sendable {
  case iface, vni, lan, tap, map, preset, local, remote, group, dstport, srcport, ttl, tos, df, flowlabel, udpcsum, udp6zerocsum
  case verifyUDPChecksum = "verify-udpcsum"
  case reservedBits = "reserved-bits"
  case innerVLAN = "inner-vlan"
  case mtu
  case mssClamp = "mss-clamp"
  case learning, ageing
  case maxFDB = "max-fdb"
  case vteps, proxy, suppress, l2miss, l3miss, io
  case zeroCopy = "zero-copy"
  case fastPath = "fastpath"
  case workers, cpus, batch, ring, frames
  case frameSize = "frame-size"
  case poll, socket
  case logLevel = "log-level"

  /// Whether it has no value on the command line: --proxy, --no-proxy. As text it is "on" or "off".
  var isFlag: Bool { [.verifyUDPChecksum, .learning, .proxy, .suppress, .l2miss, .l3miss].contains(self) }

  /// Whether it may be given several times; of the others the last counts, as in most tools.
  var isList: Bool { [.vni, .lan, .tap, .map, .remote, .group, .udpcsum].contains(self) }

  /// Those that together say which segments there are.
  static let ofSegments: Set<Setting> = [.vni, .lan, .tap, .map]
}

/// What the operator gave on the command line, as text and in order; what is absent was not given.
public typealias Settings = [Setting: [String]]

/// One value of a setting, and where it comes from.
struct Given: Sendable, Equatable {
  enum Origin: Sendable, Equatable {
    case commandLine
    case preset(Preset)
    /// Line and column from 1; the key as the file has it.
    case file(name: String, line: Int, column: Int, key: String)
  }

  let setting: Setting
  /// As on the command line.
  var text: String
  /// As it was written, for messages.
  var shown: String
  let origin: Origin

  init(_ setting: Setting, _ text: String, shown: String? = nil, _ origin: Origin = .commandLine) {
    self.setting = setting
    self.text = text
    self.shown = shown ?? text
    self.origin = origin
  }

  /// A part of the value, such as one address of a list.
  func part(_ text: some StringProtocol) -> Given { Given(setting, String(text), origin) }

  /// Where and what, for the beginning of a message.
  var place: String {
    switch origin {
    case .commandLine: "--\(setting.rawValue)" + (setting.isFlag ? "" : " \(shown)")
    case .preset(let preset): "--preset \(preset.rawValue): \(setting.rawValue) \(shown)"
    case .file(let name, let line, let column, let key): "\(name):\(line):\(column): \(key): \(shown)"
    }
  }
}

/// A mistake as the operator reads it.
struct Told: Sendable {
  let text: String
  /// Line and column, where it is a file's.
  let place: [Int]?

  init(_ text: String, line: Int, column: Int) {
    self.text = text
    place = [line, column]
  }

  init(_ text: String, _ given: Given?) {
    self.text = text
    place = if case .file(_, let line, let column, _) = given?.origin { [line, column] } else { nil }
  }
}

/// Everything that is wrong with a configuration, one line each, ready for the operator.
public struct ConfigurationError: Error {
  public let mistakes: [String]
}

/// Reads settings one by one and keeps what is wrong with them, so that all mistakes are told at once. Where a setting comes
/// from, command line, file or preset, its rules are the same.
struct SettingsReader {
  let preset: Preset?
  private let given: [Setting: [Given]]
  private var told: [Told]
  private var wrong: Set<Setting>

  /// What the command line says of a setting replaces what the file says, and that what the preset says.
  init(_ settings: Settings, _ file: ConfigurationFile? = nil) {
    told = file?.mistakes ?? []
    wrong = file?.wrong ?? []
    var given = settings.reduce(into: [Setting: [Given]]()) { all, setting in
      if !setting.value.isEmpty { all[setting.key] = setting.value.map { Given(setting.key, $0) } }
    }
    let namesSegments = !Setting.ofSegments.isDisjoint(with: given.keys)
    let rest = (file?.values ?? []).filter { value in
      guard given[value.setting] == nil else { return false }
      return !namesSegments || !(Setting.ofSegments.contains(value.setting) || value.isOfOneVNI)
    }
    given.merge(Dictionary(grouping: rest) { $0.setting }) { commandLine, _ in commandLine }
    preset = given[.preset]?.last.flatMap { Preset(rawValue: $0.text) }
    if let preset {
      for (setting, text) in preset.settings where given[setting] == nil {
        // A preset's VNI is for those who name none.
        if setting == .vni && given[.map] != nil { continue }
        given[setting] = [Given(setting, text, .preset(preset))]
      }
    }
    self.given = given
  }

  /// Every value given for a setting that may be repeated.
  func all(_ setting: Setting) -> [Given] { given[setting] ?? [] }

  /// The value of a setting that has one.
  func last(_ setting: Setting) -> Given? { given[setting]?.last }

  /// Every mistake: those of the command line in the order of the manual, then those of the file in its order.
  var mistakes: [String] {
    // Several at one place stay in order: the sort is stable. No place comes before any.
    told.sorted { ($0.place ?? []).lexicographicallyPrecedes($1.place ?? []) }.map(\.text)
  }

  /// - Parameter rule: what the operator should know: the reason, and what to do.
  mutating func mistake(_ given: Given, _ rule: String) {
    wrong.insert(given.setting)
    told.append(Told("\(given.place): \(rule)", given))
  }

  /// A mistake in the setting's last value; nothing given is one, too.
  mutating func mistake(_ setting: Setting, _ rule: String) {
    if let given = last(setting) { return mistake(given, rule) }
    wrong.insert(setting)
    told.append(Told("--\(setting.rawValue): \(rule)", nil))
  }

  /// Whether nothing is wrong with these so far. Rules between settings ask, so that one mistake is not told twice.
  func areRight(_ settings: Setting...) -> Bool { wrong.isDisjoint(with: settings) }

  /// What `parse` makes of the value; nil when it breaks a rule, which is told.
  mutating func read<Value>(_ given: Given, _ parse: (String) throws(Mistake) -> Value) -> Value? {
    do {
      return try parse(given.text)
    } catch {
      mistake(given, error.description)
      return nil
    }
  }

  /// The setting's value as `Value` is written; nil when it was not given, or is wrong.
  mutating func value<Value: LosslessStringConvertible>(_ setting: Setting, _ rule: String, words: [String] = []) -> Value? {
    guard let given = last(setting) else { return nil }
    if let value = Value(given.text) { return value }
    mistake(given, rule + suggestion(given.text, words))
    return nil
  }

  /// The setting as a number; nil when it was not given, or is wrong.
  mutating func number(_ setting: Setting, in range: ClosedRange<Int>, _ rule: String) -> Int? {
    guard let given = last(setting) else { return nil }
    if let number = decimal(given.text), range.contains(number) { return number }
    mistake(given, rule)
    return nil
  }

  /// The setting as one of the words of `Word`; nil when it was not given, or is wrong.
  mutating func word<Word>(_ setting: Setting) -> Word? where Word: CaseIterable & RawRepresentable<String> {
    last(setting).flatMap { word($0) }
  }

  mutating func word<Word>(_ given: Given) -> Word? where Word: CaseIterable & RawRepresentable<String> {
    if let word = Word(rawValue: given.text) { return word }
    let words = Word.allCases.map(\.rawValue)
    mistake(given, "one of \(words.joined(separator: ", "))\(suggestion(given.text, words))")
    return nil
  }

  /// A setting that is on or off.
  mutating func flag(_ setting: Setting) -> Bool? { word(setting).map { (toggle: Toggle) in toggle == .on } }
}

enum Toggle: String, CaseIterable { case on, off }

extension Given {
  /// Whether it is for one VNI or a range, as in 4100=192.0.2.2.
  var isOfOneVNI: Bool { (setting == .remote || setting == .group) && text.contains("=") }
}
