/// The options of `vxgw run`. The raw value is the option's name without its dashes.
public enum Setting: String, CaseIterable, Sendable {
  case iface, vni, lan, tap, map, local, remote, dstport, srcport, ttl, tos, df, learning, ageing
  case maxFDB = "max-fdb"
  case vteps, io
  case zeroCopy = "zero-copy"
  case workers, cpus, batch, ring, frames
  case frameSize = "frame-size"
  case poll, socket
  case logLevel = "log-level"
}

/// What the operator gave, as text and in order; what is absent was not given. `learning` is "on" or "off".
public typealias Settings = [Setting: [String]]

/// Everything that is wrong with a configuration, one line each, ready for the operator.
public struct ConfigurationError: Error {
  public let mistakes: [String]
}

/// Reads settings one by one and keeps what is wrong with them, so that all mistakes are told at once.
struct SettingsReader {
  private let settings: Settings
  private(set) var mistakes: [String] = []
  private var wrong: Set<Setting> = []

  init(_ settings: Settings) { self.settings = settings }

  /// Every text given for a setting that may be repeated.
  func texts(_ setting: Setting) -> [String] { settings[setting] ?? [] }

  /// The text of a setting that has one value: the last counts, as in most tools.
  func text(_ setting: Setting) -> String? { settings[setting]?.last }

  /// - Parameter rule: what the operator should know: the reason, and what to do.
  mutating func mistake(_ setting: Setting, _ text: String?, _ rule: String) {
    wrong.insert(setting)
    mistakes.append("--\(setting.rawValue)" + (text.map { " " + $0 } ?? "") + ": " + rule)
  }

  /// Whether nothing is wrong with these so far. Rules between settings ask, so that one mistake is not told twice.
  func areRight(_ settings: Setting...) -> Bool { wrong.isDisjoint(with: settings) }

  /// The setting as a number; nil when it was not given, or is wrong.
  mutating func number(_ setting: Setting, in range: ClosedRange<Int>, _ rule: String) -> Int? {
    guard let text = text(setting) else { return nil }
    if let number = decimal(text), range.contains(number) { return number }
    mistake(setting, text, rule)
    return nil
  }

  /// The setting as one of the words of `Word`; nil when it was not given, or is wrong.
  mutating func word<Word>(_ setting: Setting) -> Word? where Word: CaseIterable & RawRepresentable<String> {
    guard let text = text(setting) else { return nil }
    if let word = Word(rawValue: text) { return word }
    let words = Word.allCases.map(\.rawValue)
    mistake(setting, text, "one of \(words.joined(separator: ", "))\(suggestion(text, words))")
    return nil
  }
}

/// ". Did you mean xdp?", or nothing.
func suggestion(_ word: String, _ candidates: [String]) -> String {
  nearestWord(to: word, among: candidates).map { ". Did you mean \($0)?" } ?? ""
}

/// The text as a number: decimal digits only, no sign.
func decimal(_ text: some StringProtocol) -> Int? {
  guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
  return Int(text)
}
