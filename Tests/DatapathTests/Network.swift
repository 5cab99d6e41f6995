import PacketIO
import TestSupport
import Wire

@testable import Datapath

/// What a gateway under test is configured to be. By default: VNI 100 has a LAN port (1), a TAP port (2) and two remote
/// VTEPs; VNI 200 has LAN port 3, no remotes, and carries VLAN tags; VNI 300 has one remote and no port.
struct Network: Sendable {
  struct Segment: Sendable {
    var vni: UInt32
    var remotes: [Remote] = []
    var options: Topology.Segment.Options = []
  }

  /// Where an FDB entry points.
  enum Place: Hashable, Sendable {
    /// A local port's number.
    case port(Int)
    case remote(Remote)
    case list([Remote])

    static func vtep(_ address: IPAddress) -> Place { .remote(Remote(address)) }

    var remotes: [Remote] {
      switch self {
      case .port: []
      case .remote(let remote): [remote]
      case .list(let remotes): remotes
      }
    }
  }

  struct Entry: Sendable {
    var segment = 0
    var mac: MACAddress
    var place: Place
    var state = FDBEntry.State.static
  }

  struct Neighbour: Sendable {
    var segment = 0
    var address: IPAddress
    var binding: NeighbourTable.Binding
  }

  var settings: TunnelSettings = {
    var settings = TunnelSettings(local: .local)
    settings.hashKey = 1
    return settings
  }()
  /// By index; nil: there is none.
  var segments: [Segment?] = [
    Segment(vni: 100, remotes: [Remote(.remote), Remote(.third)]), Segment(vni: 200, options: .keepsInnerTags),
    Segment(vni: 300, remotes: [Remote(.remote)]),
  ]
  /// By number. Those without VLANs have the number of their port.
  var localPorts: [LocalPort?] = [
    nil, LocalPort(port: 1, segment: 0, isWire: true), LocalPort(port: 2, segment: 0, isWire: false),
    LocalPort(port: 3, segment: 1, isWire: true),
  ]
  /// The underlay is the first.
  var portCount = 4
  var groups: [IPAddress] = []
  var reportsLearning = false
  var entries: [Entry] = []
  var neighbours: [Neighbour] = []
  /// VTEPs that the operator named, and those whose next hop is known.
  var listed: [IPAddress] = []
  var resolved: [IPAddress] = [.remote, .third]
  /// Of the outer headers.
  var ttl: UInt8 = 64
  var mtu: UInt16 = 1500
  var underlayVLAN: UInt16?
  var udpChecksum = false
  var flowLabel: UInt32 = 0
  /// Packet memory.
  var chunks = 64

  func topology(_ index: (Remote) -> Int) -> Topology {
    Topology(
      segments: segments.map { segment in
        segment.map { Topology.Segment(vni: $0.vni, remotes: $0.remotes.map(index), options: $0.options) }
      },
      localPorts: localPorts, lists: lists.map { $0.map(index) }, groups: groups, reportsLearning: reportsLearning)
  }

  /// Those of the entries, by number.
  var lists: [[Remote]] {
    entries.compactMap {
      if case .list(let remotes) = $0.place { remotes } else { nil }
    }
  }

  func header(to remote: Remote) -> OuterHeader {
    let nextHop = remote.address.isMulticast ? OuterHeader.groupMAC(remote.address) : .nextHop
    return OuterHeader(
      nextHop: nextHop, sourceMAC: .underlay, vlan: underlayVLAN, source: settings.local, destination: remote.address, ttl: ttl,
      flowLabel: flowLabel, destinationPort: remote.port, udpChecksum: udpChecksum, mtu: mtu)
  }

  /// The same with IPv6 addresses for all VTEPs, and room for the longer outer header.
  var overIPv6: Network {
    changed(self) {
      $0.settings.local = settings.local.overIPv6
      for index in segments.indices { $0.segments[index]?.remotes = segments[index]?.remotes.map(\.overIPv6) ?? [] }
      for index in entries.indices { $0.entries[index].place = entries[index].place.overIPv6 }
      $0.groups = groups.map(\.overIPv6)
      $0.listed = listed.map(\.overIPv6)
      $0.resolved = resolved.map(\.overIPv6)
      $0.mtu += 20
    }
  }
}

extension Network.Place {
  var overIPv6: Network.Place {
    switch self {
    case .port: self
    case .remote(let remote): .remote(remote.overIPv6)
    case .list(let remotes): .list(remotes.map(\.overIPv6))
    }
  }
}

extension Remote {
  var overIPv6: Remote { Remote(address.overIPv6, port: port, vni: vni) }
}

extension IPAddress {
  static let third = IPAddress(v4: 0xc000_0203)
  static let fourth = IPAddress(v4: 0xc000_0204)
  static let group = IPAddress(v4: 0xef01_0101)

  /// 2001:db8::2 for 192.0.2.2, ff0e::1 for 239.1.1.1.
  var overIPv6: IPAddress { IPAddress(high: isMulticast ? 0xff0e << 48 : 0x2001_0db8 << 32, low: UInt64(v4 & 0xff)) }
}

extension MACAddress {
  static let nextHop = MACAddress(0x0200_0000_fe01)
  static let underlay = MACAddress(0x0200_0000_fe02)
}

/// A copy with a change.
func changed<Value>(_ value: Value, _ change: (inout Value) -> Void) -> Value {
  var copy = value
  change(&copy)
  return copy
}
