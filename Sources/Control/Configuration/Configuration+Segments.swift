import Datapath
import Wire

// Which local port and which remotes belong to which segment. `--vni` with `--lan` or `--tap` is for the simple cases, `--map`
// for all.

extension Configuration {
  mutating func readSegments(_ reader: inout SettingsReader) {
    if reader.all(.vni).isEmpty, reader.all(.map).isEmpty, reader.areRight(.vni, .map, .preset) {
      reader.mistake(.vni, "missing; name the segment, such as --vni 1, or use --map 1=eth1")
    }
    let vnis = readVNIs(&reader)
    readLANs(vnis, &reader)
    readTAPs(vnis, &reader)
    for given in reader.all(.map) {
      for mapping in reader.read(given, Self.mappings) ?? [] { place(mapping.port, in: mapping.vni, given, &reader) }
    }
    for (vni, given) in zip(vnis, reader.all(.vni)) {
      guard let vni, let segment = segments.first(where: { $0.vni == vni }), segment.ports.isEmpty else { continue }
      place(LocalPort(.tap("vxgw\(vni)")), in: vni, given, &reader)
    }
  }

  /// One per `--vni`; nil for those that are wrong.
  private mutating func readVNIs(_ reader: inout SettingsReader) -> [UInt32?] {
    reader.all(.vni).map { given in
      guard let vni = reader.read(given, Self.vni) else { return nil }
      if !addSegment(vni, given, &reader) { reader.mistake(given, "given twice") }
      return vni
    }
  }

  private mutating func readLANs(_ vnis: [UInt32?], _ reader: inout SettingsReader) {
    for given in reader.all(.lan) {
      guard let port = reader.read(given, { (text) throws(Mistake) in try LocalPort(parsing: text) }) else { continue }
      if vnis.count > 1 {
        reader.mistake(given, "which of the \(vnis.count) VNIs is it for? Use --map \(reader.all(.vni)[0].text)=\(given.text)")
      } else if let vni = vnis.first {
        if let vni { place(port, in: vni, given, &reader) }
      } else {
        reader.mistake(given, "no --vni to put it into; use --map VNI=\(given.text)")
      }
    }
  }

  private mutating func readTAPs(_ vnis: [UInt32?], _ reader: inout SettingsReader) {
    let taps = reader.all(.tap)
    guard taps.isEmpty || taps.count == vnis.count else {
      return reader.mistake(
        taps[0], "\(taps.count) for \(vnis.count) --vni; give one for each, in the same order, or use --map VNI=tap:\(taps[0].text)")
    }
    for (vni, given) in zip(vnis, taps) {
      guard let name = reader.read(given, Self.interfaceName), let vni else { continue }
      place(LocalPort(.tap(name)), in: vni, given, &reader)
    }
  }

  /// False if the segment is there already.
  private mutating func addSegment(_ vni: UInt32, _ given: Given, _ reader: inout SettingsReader) -> Bool {
    guard !segments.contains(where: { $0.vni == vni }) else { return false }
    if let preset, let rule = preset.vniRule, !rule.range.contains(vni) {
      reader.mistake(given, "\(rule.reason) (--preset \(preset.rawValue))")
    }
    segments.append(Segment(vni: vni, ports: []))
    return true
  }

  /// Puts the port into the segment, which comes into being with its first.
  private mutating func place(_ port: LocalPort, in vni: UInt32, _ given: Given, _ reader: inout SettingsReader) {
    _ = addSegment(vni, given, &reader)
    if let obstacle = obstacle(to: port, in: vni) { return reader.mistake(given, obstacle) }
    segments[segments.firstIndex { $0.vni == vni }!].ports.append(port)
  }

  /// Most devices with local ports. The underlay NIC has a port of its own, whether or not it is one of them.
  static let deviceLimit = Topology.portLimit - 1

  /// What is against a further local port; nil when nothing is.
  ///
  /// - Complexity: O(local ports).
  func obstacle(to port: LocalPort, in vni: UInt32) -> String? {
    if port.name == iface, let obstacle = obstacleOnUnderlay(port) { return obstacle }
    var devices: Set<String> = []
    var count = 0
    for segment in segments {
      for other in segment.ports {
        devices.insert(other.name)
        count += 1
        guard other.name == port.name else { continue }
        if other.device != port.device { return "\(port.name) can't be a NIC and a TAP device: \(other) is a port of VNI \(segment.vni)" }
        if other == port { return segment.vni == vni ? "\(port) is given twice" : "\(port) is a port of VNI \(segment.vni)" }
        if other.vlan == .trunk || port.vlan == .trunk {
          return "\(other) is a port of VNI \(segment.vni); a trunk takes all frames of its NIC, and leaves none for another port"
        }
      }
    }
    if devices.count == Self.deviceLimit, !devices.contains(port.name) {
      return "one process has at most \(Self.deviceLimit) NICs and TAP devices as local ports"
    }
    return count < Datapath.LocalPort.limit ? nil : "one process has at most \(Datapath.LocalPort.limit) local ports"
  }

  private func obstacleOnUnderlay(_ port: LocalPort) -> String? {
    switch (port.device, port.vlan) {
    case (.tap, _): "\(iface) is the underlay (--iface); choose another name for the TAP device"
    case (.nic, .untagged): "\(iface) is the underlay (--iface); it can be a local port only with a VLAN, such as \(iface):100"
    case (.nic, .trunk): "\(iface) is the underlay (--iface); a trunk would take the outer packets, too. Name single VLANs"
    case (.nic, .tagged(let id, false)) where id == underlayVLAN: "VLAN \(id) of \(iface) is the underlay (--iface)"
    case (.nic, .tagged): nil
    }
  }
}

/// Who gets a copy of BUM frames, as it is put together: a VNI with remotes or a group of its own does not get the common ones.
struct ReplicationPlan {
  struct List {
    var remotes: [IPAddress] = []
    var group: IPAddress?
  }

  /// An address that has the IP version of all.
  var reference: IPAddress?
  private var common = List()
  private var own: [UInt32: List] = [:]

  init(reference: IPAddress?) { self.reference = reference }

  subscript(vni: UInt32?) -> List {
    get { vni.map { own[$0] ?? List() } ?? common }
    set { if let vni { own[vni] = newValue } else { common = newValue } }
  }

  func list(for vni: UInt32) -> List { own[vni] ?? common }
}

extension Configuration {
  mutating func readReplication(_ reader: inout SettingsReader) {
    var plan = ReplicationPlan(reference: local)
    for given in reader.all(.remote) { readRemotes(given, into: &plan, &reader) }
    for given in reader.all(.group) { readGroup(given, into: &plan, &reader) }
    for index in segments.indices {
      let list = plan.list(for: segments[index].vni)
      segments[index].remotes = list.remotes
      segments[index].group = list.group
    }
  }

  /// [VNI=]ADDR[,ADDR].
  private func readRemotes(_ given: Given, into plan: inout ReplicationPlan, _ reader: inout SettingsReader) {
    guard let (vnis, addresses) = split(given, &reader) else { return }
    for text in addresses.split(separator: ",", omittingEmptySubsequences: false) {
      let part = given.part(text)
      guard let remote = reader.read(part, Self.vtepAddress), isLike(plan.reference, remote, part, &reader) else { continue }
      plan.reference = plan.reference ?? remote
      if remote == local {
        reader.mistake(part, "that is --local, this VTEP itself")
      } else if vnis.contains(where: { plan[$0].remotes.contains(remote) }) {
        reader.mistake(part, "given twice; every remote VTEP would get two copies")
      } else {
        for vni in vnis { plan[vni].remotes.append(remote) }
      }
    }
  }

  /// [VNI=]ADDR.
  private func readGroup(_ given: Given, into plan: inout ReplicationPlan, _ reader: inout SettingsReader) {
    guard let (vnis, text) = split(given, &reader), let group = reader.read(given.part(text), Self.groupAddress),
      isLike(plan.reference, group, given, &reader)
    else { return }
    plan.reference = plan.reference ?? group
    for vni in vnis {
      if let other = plan[vni].group { return reader.mistake(given, "a VNI has one group, and this has \(other) already") }
      plan[vni].group = group
    }
  }

  /// The VNIs that a value is for, nil for all, and what it says of them.
  private func split(_ given: Given, _ reader: inout SettingsReader) -> (vnis: [UInt32?], rest: Substring)? {
    guard let equals = given.text.firstIndex(of: "=") else { return ([nil], Substring(given.text)) }
    let prefix = String(given.text[..<equals])
    guard let vnis = reader.read(given.part(prefix), { (text) throws(Mistake) in try Self.vnis(text) }) else { return nil }
    if reader.areRight(.vni, .map), let stranger = vnis.first(where: { vni in !segments.contains { $0.vni == vni } }) {
      reader.mistake(given, "VNI \(stranger) is not one of --vni or --map")
    }
    return (vnis.map { $0 }, given.text[given.text.index(after: equals)...])
  }

  /// Whether the address has the reference's IP version.
  func isLike(_ reference: IPAddress?, _ address: IPAddress, _ given: Given, _ reader: inout SettingsReader) -> Bool {
    guard let reference, reference.isIPv4 != address.isIPv4 else { return true }
    let other = (reference == local ? "--local " : "") + "\(reference)"
    reader.mistake(given, "\(address.version), but \(other) is \(reference.version); all VTEPs and groups have one IP version")
    return false
  }
}

extension IPAddress {
  var version: String { isIPv4 ? "IPv4" : "IPv6" }
}
