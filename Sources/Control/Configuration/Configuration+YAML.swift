import Wire

extension Configuration {
  /// What runs, as a file that makes an equal configuration when it is read again. Options that have their default value are
  /// comments. Without a newline at the end.
  public var yaml: String {
    let defaults = defaults
    var lines: [String] = []
    for setting in Setting.allCases where !Setting.ofSegments.contains(setting) && setting != .remote && setting != .group {
      let texts = texts(of: setting)
      let isDefault = setting != .iface && setting != .preset && texts == defaults.texts(of: setting)
      let value = texts.isEmpty ? whatNothingMeans(setting) : Self.yaml(texts)
      lines.append("\(isDefault || texts.isEmpty ? "# " : "")\(setting.rawValue): \(value)")
      if setting == .preset { lines += segmentLines }
    }
    return lines.joined(separator: "\n")
  }

  private var segmentLines: [String] {
    var lines = ["vnis:"]
    for segment in segments {
      lines += ["  - vni: \(segment.vni)", "    ports: \(Self.flow(segment.ports))"]
      if !segment.remotes.isEmpty { lines.append("    remotes: \(Self.flow(segment.remotes))") }
      if let group = segment.group { lines.append("    group: \(Self.scalar(group.description))") }
    }
    return lines
  }

  /// What this configuration would be if nothing but the interface, the preset and the segments had been given.
  private var defaults: Configuration {
    var reader = SettingsReader([.iface: texts(of: .iface), .preset: texts(of: .preset)])
    var defaults = Configuration(&reader)
    if reader.last(.vteps) == nil { defaults.vteps = usualVTEPs }
    return defaults
  }

  /// What must be given so that a setting has the value that it has here; nothing if that is to be left out.
  private func texts(of setting: Setting) -> [String] {
    switch setting {
    case .iface: [iface + (underlayVLAN.map { ":\($0)" } ?? "")]
    case .preset: Self.list(preset?.rawValue)
    case .vni, .lan, .tap, .map, .remote, .group: []  // Said by `segmentLines`.
    case .local: Self.list(local)
    case .dstport: ["\(destinationPort)"]
    case .srcport: ["\(sourcePorts.lowerBound)-\(sourcePorts.upperBound)"]
    case .ttl: [ttl.description]
    case .tos: [tos.description]
    case .df: [df.rawValue]
    case .flowlabel: [flowLabel.description]
    case .udpcsum: [udpChecksum.rawValue] + udpChecksumOf.map { "\($0)=\($1 ? "on" : "off")" }.sorted()
    case .udp6zerocsum: [udp6ZeroChecksum.description]
    case .verifyUDPChecksum: Self.flag(verifiesUDPChecksum)
    case .reservedBits: [reservedBitsText]
    case .innerVLAN: [innerVLAN.rawValue]
    case .mtu: Self.list(mtu)
    case .mssClamp: [mssClamp.description]
    case .learning: Self.flag(learning)
    case .ageing: ["\(ageing)"]
    case .maxFDB: ["\(maxFDB)"]
    case .vteps: [vteps.rawValue]
    case .proxy: Self.flag(proxy)
    case .suppress: Self.flag(suppress)
    case .l2miss: Self.flag(l2miss)
    case .l3miss: Self.flag(l3miss)
    case .io: [io.rawValue]
    case .zeroCopy: [zeroCopy.rawValue]
    case .fastPath: [fastPath.rawValue]
    case .workers: Self.list(workers)
    case .cpus: cpus.isEmpty ? [] : [cpus.map(\.description).joined(separator: ",")]
    case .batch: ["\(batch)"]
    case .ring: ["\(ring)"]
    case .frames: Self.list(frames)
    case .frameSize: Self.list(frameSize)
    case .poll: [poll.rawValue]
    case .socket: [socket]
    case .logLevel: [logLevel.rawValue]
    }
  }

  /// In words, for settings that may be left out.
  private func whatNothingMeans(_ setting: Setting) -> String {
    switch setting {
    case .local: "the primary address of \(iface)"
    case .mtu: "what fits through \(iface)"
    case .workers: "one per queue pair"
    case .cpus: "any"
    case .frames: "what the rings need"
    case .frameSize: "what the MTU needs"
    default: "none"
    }
  }

  private var reservedBitsText: String {
    switch reservedBits {
    case 0: "ignore"
    case Self.strictReservedBits: "strict"
    default: "0x" + String(reservedBits, radix: 16)
    }
  }

  private static func list(_ value: (some CustomStringConvertible)?) -> [String] { value.map { [$0.description] } ?? [] }

  private static func flag(_ isOn: Bool) -> [String] { [isOn ? "on" : "off"] }

  private static func yaml(_ texts: [String]) -> String { texts.count == 1 ? scalar(texts[0]) : flow(texts) }

  private static func flow(_ values: [some CustomStringConvertible]) -> String {
    "[" + values.map { scalar($0.description) }.joined(separator: ", ") + "]"
  }

  /// A plain scalar where every YAML reader takes it for one, else a double-quoted one (YAML 1.2, 7.3).
  private static func scalar(_ text: String) -> String {
    let plain = text.unicodeScalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "./-_=".unicodeScalars.contains($0))
    }
    if plain, let first = text.first, first != "-", first != "=" { return text }
    let escaped = text.unicodeScalars.map { scalar in
      switch scalar {
      case "\"", "\\": "\\\(scalar)"
      case _ where scalar.value < 0x20 || scalar.value == 0x7f: "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
      default: String(scalar)
      }
    }
    return "\"" + escaped.joined() + "\""
  }
}
