import PacketIO
import Wire

/// Makes the XDP program's fast path go by a topology, as the workers do. The control plane has one; FDB and VTEPs are the
/// workers' own (`Forwarding`), and need nobody to carry them over.
public struct FastPath: Sendable {
  public let tables: FastPathTables
  public let settings: FastPathSettings
  /// What the tables have now.
  private var segments: [UInt32: Int] = [:]
  private var localPorts: [Int: FastPathTables.LocalPort] = [:]
  private var places: [Int: [XDPProgram.Place: Int]] = [:]

  /// - Throws: `SystemError` when the kernel can't make the tables.
  public init(_ forwarding: Forwarding, _ settings: TunnelSettings) throws(SystemError) {
    tables = try forwarding.fastPathTables()
    self.settings = forwarding.fastPathSettings(settings)
  }

  /// Call before the workers go by the same topology: what goes is gone from here first, and what comes has no FDB entries yet.
  ///
  /// - Parameters:
  ///   - devices: indexes of the ports whose NICs have a program with the fast path.
  ///   - setPlace: gives a device's program a place, or takes it (nil).
  public mutating func follow(
    segments wantedSegments: [Topology.Segment?], localPorts ends: [LocalPort?], devices: Set<Int>,
    setPlace: (_ device: Int, XDPProgram.Place, _ number: Int?) throws(SystemError) -> Void
  ) throws(SystemError) {
    let newSegments = Self.segments(wantedSegments)
    let newPorts = Self.localPorts(ends, wantedSegments, devices)
    let newPlaces = Self.places(ends, newPorts)
    for (device, old) in places where devices.contains(device) {
      for place in old.keys where newPlaces[device]?[place] != old[place] { try setPlace(device, place, nil) }
    }
    for vni in segments.keys where newSegments[vni] != segments[vni] { try tables.removeSegment(vni: vni) }
    for number in localPorts.keys where newPorts[number] != localPorts[number] { try tables.setLocalPort(number, to: nil) }
    for (number, port) in newPorts where localPorts[number] != port { try tables.setLocalPort(number, to: port) }
    for (vni, index) in newSegments where segments[vni] != index { try tables.addSegment(index, vni: vni) }
    for (device, new) in newPlaces {
      for (place, number) in new where places[device]?[place] != number { try setPlace(device, place, number) }
    }
    (segments, localPorts, places) = (newSegments, newPorts, newPlaces)
  }

  /// Those whose ARP and ND need no answer here: a worker looks at every frame of the others.
  private static func segments(_ list: [Topology.Segment?]) -> [UInt32: Int] {
    Dictionary(
      uniqueKeysWithValues: list.enumerated().compactMap { index, segment in
        segment.flatMap { $0.options.answersNeighbours ? nil : ($0.vni, index) }
      })
  }

  private static func localPorts(
    _ ends: [LocalPort?], _ segments: [Topology.Segment?], _ devices: Set<Int>
  ) -> [Int: FastPathTables.LocalPort] {
    var ports: [Int: FastPathTables.LocalPort] = [:]
    for (number, end) in ends.enumerated() {
      guard let end, devices.contains(end.port), let segment = segments[end.segment], !segment.options.answersNeighbours else { continue }
      ports[number] = FastPathTables.LocalPort(
        segment: end.segment, vni: segment.vni, tag: end.vlan.tag, device: end.port, isWire: end.isWire)
    }
    return ports
  }

  private static func places(
    _ ends: [LocalPort?], _ ports: [Int: FastPathTables.LocalPort]
  ) -> [Int: [XDPProgram.Place: Int]] {
    var places: [Int: [XDPProgram.Place: Int]] = [:]
    for number in ports.keys {
      guard let end = ends[number] else { continue }
      places[end.port, default: [:]][end.vlan.place] = number
    }
    return places
  }
}

extension LocalPort.VLAN {
  /// TPID and VID, or 0.
  var tag: UInt32 {
    guard case .tagged(let id, let service) = self else { return 0 }
    return UInt32(service ? EtherType.serviceTag : EtherType.customerTag) << 16 | UInt32(id)
  }

  /// A trunk's tagged frames are left to workers.
  fileprivate var place: XDPProgram.Place {
    if case .tagged(let id, let service) = self { .tagged(id: id, service: service) } else { .untagged }
  }
}
