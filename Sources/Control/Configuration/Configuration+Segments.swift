import Datapath

// Which local port belongs to which segment. `--vni` with `--lan` or `--tap` is for the simple cases, `--map` for all.

extension SettingsReader {
  mutating func segments(underlay: String) -> [Configuration.Segment] {
    var plan = SegmentPlan(underlay: underlay)
    if texts(.vni).isEmpty && texts(.map).isEmpty {
      mistake(.vni, nil, "missing; name the segment, such as --vni 1, or use --map 1=eth1")
    }
    let vnis = readVNIs(&plan)
    readLANs(vnis, &plan)
    readTAPs(vnis, &plan)
    for text in texts(.map) { readMap(text, &plan) }
    for vni in vnis.compactMap(\.self) where plan.isEmpty(vni) { place(.tap("vxgw\(vni)"), in: vni, .vni, "\(vni)", &plan) }
    return plan.segments
  }

  /// One per `--vni`; nil for those that are wrong.
  private mutating func readVNIs(_ plan: inout SegmentPlan) -> [UInt32?] {
    var vnis: [UInt32?] = []
    for text in texts(.vni) {
      let vni = vni(text, .vni, text)
      if let vni, !plan.add(vni) { mistake(.vni, text, "given twice") }
      vnis.append(vni)
    }
    return vnis
  }

  private mutating func readLANs(_ vnis: [UInt32?], _ plan: inout SegmentPlan) {
    for text in texts(.lan) {
      guard let port = port(text, .lan, text) else { continue }
      if vnis.count > 1 {
        mistake(.lan, text, "which of the \(vnis.count) VNIs is it for? Use --map \(texts(.vni)[0])=\(text)")
      } else if let vni = vnis.first {
        if let vni { place(port, in: vni, .lan, text, &plan) }
      } else {
        mistake(.lan, text, "no --vni to put it into; use --map VNI=\(text)")
      }
    }
  }

  private mutating func readTAPs(_ vnis: [UInt32?], _ plan: inout SegmentPlan) {
    let names = texts(.tap)
    guard names.isEmpty || names.count == vnis.count else {
      let rule = "\(names.count) for \(vnis.count) --vni; give one for each, in the same order, or use --map VNI=tap:\(names[0])"
      return mistake(.tap, names.joined(separator: " --tap "), rule)
    }
    for (vni, name) in zip(vnis, names) {
      guard checkInterfaceName(name, .tap, name), let vni else { continue }
      place(.tap(name), in: vni, .tap, name, &plan)
    }
  }

  /// VNI=PORT, where PORT is a NIC or tap:NAME.
  private mutating func readMap(_ text: String, _ plan: inout SegmentPlan) {
    guard let equals = text.firstIndex(of: "=") else {
      return mistake(.map, text, "not VNI=PORT, such as 1=eth1 or 1=tap:vxgw1")
    }
    let vni = vni(String(text[..<equals]), .map, text)
    let port = port(String(text[text.index(after: equals)...]), .map, text)
    guard let vni else { return }
    _ = plan.add(vni)
    if let port { place(port, in: vni, .map, text, &plan) }
  }

  private mutating func vni(_ digits: String, _ setting: Setting, _ text: String) -> UInt32? {
    guard let number = decimal(digits), number < 1 << 24 else {
      mistake(setting, text, "a VNI has 24 bits, 0 to 16777215 (RFC 7348 section 5)")
      return nil
    }
    return UInt32(number)
  }

  /// A NIC, or tap:NAME if the setting is `map`.
  private mutating func port(_ name: String, _ setting: Setting, _ text: String) -> Configuration.LocalPort? {
    let isTAP = setting == .map && name.hasPrefix("tap:")
    let name = isTAP ? String(name.dropFirst(4)) : name
    guard !name.contains(":") else {
      mistake(setting, text, "VLANs on --\(setting.rawValue) are not supported yet; make a VLAN interface and name that")
      return nil
    }
    guard checkInterfaceName(name, setting, text) else { return nil }
    return isTAP ? .tap(name) : .nic(name)
  }

  private mutating func place(
    _ port: Configuration.LocalPort, in vni: UInt32, _ setting: Setting, _ text: String, _ plan: inout SegmentPlan
  ) {
    if let rule = plan.place(port, in: vni) { mistake(setting, text, rule) }
  }

  /// The kernel's rule for the name of an interface (dev_valid_name in net/core/dev.c); `%` it would replace by a number.
  @discardableResult
  mutating func checkInterfaceName(_ name: String, _ setting: Setting, _ text: String) -> Bool {
    let isRight =
      (1...15).contains(name.utf8.count) && name != "." && name != ".."
      && !name.contains { $0 == "/" || $0 == ":" || $0 == "%" || $0.isWhitespace }
    if !isRight {
      mistake(setting, text, "an interface's name has 1 to 15 bytes, without spaces, \"/\", \":\" and \"%\"")
    }
    return isRight
  }
}

/// Segments as they are put together.
private struct SegmentPlan {
  let underlay: String
  private(set) var segments: [Configuration.Segment] = []
  private var vniOfPort: [String: UInt32] = [:]

  init(underlay: String) { self.underlay = underlay }

  /// False if the segment is there already.
  mutating func add(_ vni: UInt32) -> Bool {
    guard !segments.contains(where: { $0.vni == vni }) else { return false }
    segments.append(.init(vni: vni, ports: []))
    return true
  }

  func isEmpty(_ vni: UInt32) -> Bool { segments.contains { $0.vni == vni && $0.ports.isEmpty } }

  /// Puts the port into a segment that has been added. What is against it otherwise.
  mutating func place(_ port: Configuration.LocalPort, in vni: UInt32) -> String? {
    if port.name == underlay { return "\(port.name) is the underlay (--iface); it can be a local port only with a VLAN" }
    if let other = vniOfPort[port.name] {
      return other == vni
        ? "\(port.name) is given twice" : "\(port.name) is a port of VNI \(other); without VLANs a port belongs to one VNI"
    }
    // The underlay is a port too.
    if vniOfPort.count == Topology.portLimit - 1 { return "one process has at most \(Topology.portLimit - 1) local ports" }
    vniOfPort[port.name] = vni
    segments[segments.firstIndex { $0.vni == vni }!].ports.append(port)
    return nil
  }
}
