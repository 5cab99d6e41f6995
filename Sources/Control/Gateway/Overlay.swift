import Datapath
import Wire

/// Segments, local ports and lists of remotes as they are now, under the numbers by which FDB entries and workers know them. The
/// control plane changes it and makes topologies of it; others get copies to read.
struct Overlay: Sendable {
  /// A device that frames come from and go to. Its index is that of its port in the data path.
  struct Device: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
      /// Index in `Assembly.nics`.
      case nic(Int)
      case tap
    }
    var name: String
    var kind: Kind
  }

  struct Segment: Sendable {
    let vni: UInt32
    /// The replication list: indexes in the `VTEPTable`.
    var remotes: [Int]
    var options: Topology.Segment.Options
  }

  /// A local port of a segment.
  struct End: Sendable {
    let port: Configuration.LocalPort
    let device: Int
    let segment: Int
  }

  private(set) var devices: [Device?]
  private(set) var segments: [Segment?] = []
  private(set) var ends: [End?] = []
  /// Destinations of FDB entries that have several: multicast addresses'.
  private(set) var lists: [[Int]?] = []
  /// Which remotes are multicast groups.
  private var groupOf: [Int: IPAddress] = [:]
  /// How often each remote is named by the operator, in replication lists, lists and FDB entries.
  private(set) var references: [Int: Int] = [:]
  /// Whether workers report what they learn.
  var reportsLearning = false

  init(underlay: Device) { devices = [underlay] }

  // MARK: Looking up

  /// Index of the segment that `vni` names.
  func segment(_ vni: UInt32) -> Int? { segments.firstIndex { $0?.vni == vni } }
  var vnis: [UInt32] { segments.compactMap { $0?.vni } }

  func device(named name: String) -> Int? { devices.firstIndex { $0?.name == name } }

  /// Numbers of the segment's local ports.
  func ends(of segment: Int) -> [Int] { ends.indices.filter { ends[$0]?.segment == segment } }

  /// Number of the local port that is written so.
  func end(_ port: Configuration.LocalPort) -> Int? { ends.firstIndex { $0?.port == port } }

  /// Number of the local port that an operator means by `name` in the segment: as it is written, or its device's name if that
  /// says it all.
  func end(named name: String, in segment: Int) -> Int? {
    let own = ends(of: segment)
    if let exact = own.first(where: { ends[$0]?.port.description == name }) { return exact }
    let onDevice = own.filter { ends[$0]?.port.name == name }
    return onDevice.count == 1 ? onDevice[0] : nil
  }

  /// Segments that a local port or a device of this name belongs to, or that go by the name.
  func segments(of name: String) -> [Int] {
    segments.indices.filter { segment in
      segments[segment] != nil
        && (self.name(of: segment) == name
          || ends(of: segment).contains { ends[$0]?.port.name == name || ends[$0]?.port.description == name })
    }
  }

  /// What stands for the kernel's vxlan device in the entries of remote hosts.
  func name(of segment: Int) -> String {
    ends(of: segment).first.flatMap { ends[$0]?.port.name } ?? segments[segment].map { "vxgw\($0.vni)" } ?? ""
  }

  /// What a local port is called: its device, and its VLAN if it has one.
  func name(ofEnd number: Int) -> String {
    guard ends.indices.contains(number), let port = ends[number]?.port else { return "" }
    return port.vlan == .untagged ? port.name : port.description
  }

  // MARK: Changing

  mutating func addDevice(_ device: Device) -> Int { Self.put(device, into: &devices) }

  mutating func setDevice(_ index: Int, _ device: Device) { devices[index] = device }

  mutating func removeDevice(_ index: Int) { devices[index] = nil }

  func isUsed(_ device: Int) -> Bool { device == Topology.underlay || ends.contains { $0?.device == device } }

  mutating func addSegment(_ segment: Segment) -> Int {
    for remote in segment.remotes { refer(to: remote) }
    return Self.put(segment, into: &segments)
  }

  /// Its local ports must have gone before.
  mutating func removeSegment(_ index: Int) {
    for remote in segments[index]?.remotes ?? [] { forget(remote) }
    segments[index] = nil
  }

  mutating func addEnd(_ end: End) -> Int {
    let number = Self.put(end, into: &ends)
    setTrunk(end.segment)
    return number
  }

  mutating func removeEnd(_ number: Int) {
    guard let end = ends[number] else { return }
    ends[number] = nil
    setTrunk(end.segment)
  }

  /// Whether the operator wants inner tags kept anyway.
  var keepsInnerTags = false

  /// A trunk would be pointless if its segment dropped tagged frames.
  private mutating func setTrunk(_ segment: Int) {
    let keeps = keepsInnerTags || ends(of: segment).contains { ends[$0]?.port.vlan == .trunk }
    if keeps { segments[segment]?.options.insert(.keepsInnerTags) } else { segments[segment]?.options.remove(.keepsInnerTags) }
  }

  mutating func addRemote(_ remote: Int, to segment: Int) {
    segments[segment]?.remotes.append(remote)
    refer(to: remote)
  }

  mutating func removeRemote(_ remote: Int, from segment: Int) {
    segments[segment]?.remotes.removeAll { $0 == remote }
    forget(remote)
  }

  /// A list for an FDB entry of the segment.
  mutating func addList(_ remote: Int, for segment: Int) -> Int {
    segments[segment]?.options.insert(.hasGroupEntries)
    refer(to: remote)
    return Self.put([remote], into: &lists)
  }

  mutating func append(_ remote: Int, toList number: Int) {
    lists[number]?.append(remote)
    refer(to: remote)
  }

  /// True when the list is empty now, and gone.
  mutating func remove(_ remote: Int, fromList number: Int) -> Bool {
    lists[number]?.removeAll { $0 == remote }
    forget(remote)
    if lists[number]?.isEmpty ?? true { lists[number] = nil }
    return lists[number] == nil
  }

  /// To be told of every remote that is a group before it is used.
  mutating func note(_ remote: Int, at address: IPAddress) {
    if address.isMulticast { groupOf[remote] = address }
  }

  mutating func refer(to remote: Int) { references[remote, default: 0] += 1 }

  mutating func forget(_ remote: Int) {
    let left = references[remote, default: 0] - 1
    references[remote] = left > 0 ? left : nil
  }

  /// Numbers are used again: FDB entries that refer to one must have gone before.
  private static func put<Value>(_ value: Value, into list: inout [Value?]) -> Int {
    if let free = list.firstIndex(where: { $0 == nil }) {
      list[free] = value
      return free
    }
    list.append(value)
    return list.count - 1
  }

  // MARK: For the workers

  /// Multicast groups that this VTEP listens to: those of the replication lists, each once.
  var groups: [IPAddress] {
    var seen: Set<IPAddress> = []
    return segments.flatMap { $0?.remotes ?? [] }.compactMap { groupOf[$0] }.filter { seen.insert($0).inserted }
  }

  var dataPathSegments: [Topology.Segment?] {
    segments.map { $0.map { .init(vni: $0.vni, remotes: $0.remotes, options: $0.options) } }
  }

  var localPorts: [LocalPort?] {
    ends.map { end in
      end.map {
        LocalPort(port: $0.device, vlan: $0.port.vlan.dataPath, segment: $0.segment, isWire: devices[$0.device]?.kind != .tap)
      }
    }
  }

  func topology() -> Topology {
    Topology(
      segments: dataPathSegments, localPorts: localPorts,
      lists: lists.map { $0 ?? [] }, groups: groups, reportsLearning: reportsLearning)
  }
}

extension Overlay {
  /// As the operator wants it at the start. The remotes go into the VTEP table.
  init(_ plan: Plan, _ forwarding: Forwarding) throws {
    self.init(underlay: plan.devices[0])
    for device in plan.devices.dropFirst() { _ = addDevice(device) }
    keepsInnerTags = plan.configuration.innerVLAN == .keep
    for segment in plan.configuration.segments {
      let remotes = try (segment.remotes + [segment.group].compactMap { $0 }).map { address in
        guard let (index, _) = forwarding.vteps.add(Remote(address, port: plan.configuration.destinationPort)) else {
          throw GatewayError("--remote \(address): the VTEP table is full; it takes \(VTEPTable.limit) VTEPs")
        }
        forwarding.vteps.setListed(index)
        note(index, at: address)
        return index
      }
      let index = addSegment(.init(vni: segment.vni, remotes: remotes, options: plan.configuration.segmentOptions))
      for port in segment.ports {
        guard let device = device(named: port.name) else { continue }
        _ = addEnd(.init(port: port, device: device, segment: index))
      }
    }
  }
}

extension Configuration.LocalPort.VLANRule {
  var dataPath: LocalPort.VLAN {
    switch self {
    case .untagged: .untagged
    case .tagged(let id, let service): .tagged(id: id, service: service)
    case .trunk: .trunk
    }
  }
}
