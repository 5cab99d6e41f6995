import Wire

/// Everything that is wrong with the words of a command, one line each, ready for the operator.
public struct UsageError: Error, Equatable {
  public let mistakes: [String]
}

/// What may follow a command, as iproute2 has it: some words stand for themselves, the others are keywords, in any order.
struct Grammar: Sendable {
  /// The names of words without a keyword, in their order: "MAC".
  var leading: [String] = []
  /// What has to be there, of `leading` and `values`.
  var required: [String] = []
  /// Any number of words without a keyword may follow those: "PORT".
  var rest: String?
  /// Keywords whose value is the next word.
  var values: [String] = []
  /// Keywords without a value.
  var flags: [String] = []
  /// Keywords of iproute2 that there is no use for here, and why. Those in `refusedValues` have a value.
  var refused: [String: String] = [:]
  var refusedValues: Set<String> = []

  var keywords: [String] { values + flags }
}

/// A command's words, sorted by its grammar and read one by one. What is wrong is kept, so that all mistakes are told at once.
struct Words {
  private let command: String
  private let grammar: Grammar
  private var values: [String: String] = [:]
  private var flags: Set<String> = []
  private(set) var rest: [String] = []
  private(set) var mistakes: [String] = []

  init(_ words: [String], of command: String, _ grammar: Grammar) {
    self.command = command
    self.grammar = grammar
    var leading = grammar.leading[...]
    var words = words[...]
    while let word = words.popFirst() {
      if grammar.values.contains(word) {
        takeValue(word, &words)
      } else if grammar.flags.contains(word) {
        flags.insert(word)
      } else if let reason = grammar.refused[word] {
        mistake("\(word): \(reason)")
        if grammar.refusedValues.contains(word) { _ = words.popFirst() }
      } else if let keyword = misspelt(word) {
        mistake("\(word): no such word. Did you mean \(keyword)?")
        if grammar.values.contains(keyword) { _ = words.popFirst() }
      } else if let name = leading.popFirst() {
        values[name] = word
      } else if grammar.rest != nil {
        rest.append(word)
      } else {
        let expected = grammar.keywords.isEmpty ? "Nothing follows" : "There are \(grammar.keywords.joined(separator: ", "))"
        mistake("\(word): no such word. \(expected)")
      }
    }
    for name in grammar.required where values[name] == nil { mistake("\(name) is missing") }
  }

  /// A word that nearly is a keyword. What may be any text, such as the name of an interface, is not judged.
  private func misspelt(_ word: String) -> String? {
    grammar.rest == nil ? nearestWord(to: word, among: grammar.keywords) : nil
  }

  private mutating func takeValue(_ keyword: String, _ words: inout ArraySlice<String>) {
    guard let value = words.popFirst() else { return mistake("\(keyword): its value is missing") }
    if values.updateValue(value, forKey: keyword) != nil { mistake("\(keyword): given twice") }
  }

  mutating func mistake(_ text: String) { mistakes.append("\(command): \(text)") }
}

// Reading. A name is a keyword or that of a leading word; nil: it was not given, or is wrong.

extension Words {
  func has(_ flag: String) -> Bool { flags.contains(flag) }

  func text(_ name: String) -> String? { values[name] }

  mutating func mac(_ name: String) -> MACAddress? {
    read(name, "a MAC address such as 02:00:00:00:00:01") { MACAddress($0) }
  }

  mutating func address(_ name: String) -> IPAddress? { read(name, "an IPv4 or IPv6 address") { IPAddress($0) } }

  mutating func addresses(_ name: String) -> [IPAddress] {
    read(name, "IPv4 or IPv6 addresses, separated by commas") { text in
      let addresses = text.split(separator: ",", omittingEmptySubsequences: false).map { IPAddress(String($0)) }
      return addresses.contains(nil) ? nil : addresses.compactMap(\.self)
    } ?? []
  }

  mutating func vni(_ name: String) -> UInt32? {
    read(name, "a VNI, 0 to \(VXLAN.maximumVNI)") { text in
      decimal(text).flatMap { $0 <= Int(VXLAN.maximumVNI) ? UInt32($0) : nil }
    }
  }

  mutating func port(_ name: String) -> UInt16? {
    read(name, "a UDP port, 1 to 65535") { text in decimal(text).flatMap { $0 > 0 ? UInt16(exactly: $0) : nil } }
  }

  /// The only one of some flags that is given.
  mutating func choice<Value: Equatable>(_ meanings: KeyValuePairs<String, Value>) -> Value? {
    let given = meanings.filter { has($0.key) }
    if let first = given.first, let other = given.first(where: { $0.value != first.value }) {
      mistake("\(first.key) and \(other.key) exclude each other")
    }
    return given.first?.value
  }

  private mutating func read<Value>(_ name: String, _ rule: String, _ parse: (String) -> Value?) -> Value? {
    guard let text = values[name] else { return nil }
    if let value = parse(text) { return value }
    mistake((grammar.leading.contains(name) ? text : "\(name) \(text)") + ": not \(rule)")
    return nil
  }
}
