import TestSupport
import Testing
import Wire

@testable import Datapath

/// A row of a table of end-to-end tests: frames in, frames out, and what was counted.
struct Scenario: Sendable, CustomTestStringConvertible {
  struct Step: Sendable {
    /// Milliseconds of the monotonic clock.
    var at: UInt64 = 0
    /// What the topology changes to before, and ports that come and go with it.
    var change: Network?
    var opened: [Int] = []
    var closed: [Int] = []
    /// VTEPs whose next hop becomes known before, or unknown.
    var resolved: [IPAddress] = []
    var lost: [IPAddress] = []
    /// Port and frame.
    var input: [(Int, [UInt8])] = []
    /// In any order.
    var output: [Departure] = []
  }

  var name: String
  var network: Network
  var steps: [Step]
  /// After the last step.
  var drops: [DropReason: Int]
  var counted: [WorkerCounter: Int]
  var reports: [Report] = []
  /// Whether the worker is stopped at the end.
  var stops: Bool

  var testDescription: String { name }

  /// With one step.
  init(
    _ name: String, _ network: Network = Network(), in input: [(Int, [UInt8])], out output: [Departure] = [],
    drops: [DropReason: Int] = [:], counted: [WorkerCounter: Int] = [:], reports: [Report] = []
  ) {
    self.init(name, network, steps: [Step(input: input, output: output)], drops: drops, counted: counted, reports: reports)
  }

  init(
    _ name: String, _ network: Network = Network(), steps: [Step], drops: [DropReason: Int] = [:],
    counted: [WorkerCounter: Int] = [:], reports: [Report] = [], stops: Bool = false
  ) {
    (self.name, self.network, self.steps) = (name, network, steps)
    (self.drops, self.counted, self.reports, self.stops) = (drops, counted, reports, stops)
  }

  /// Changes the network before anything happens.
  func with(_ change: (inout Network) -> Void) -> Scenario {
    changed(self) { change(&$0.network) }
  }

  /// The same on an underlay of IPv6.
  var overIPv6: Scenario {
    changed(self) {
      $0.name += ", over IPv6"
      $0.network = network.overIPv6
      $0.steps = steps.map(\.overIPv6)
      for index in reports.indices { $0.reports[index].place = reports[index].place.overIPv6 }
    }
  }

  func run() throws {
    var rig = try Rig(network)
    for step in steps {
      if let change = step.change { rig.change(to: change, opened: step.opened, closed: step.closed) }
      for vtep in step.resolved { rig.publish(vtep) }
      for vtep in step.lost { rig.publish(vtep, isReachable: false) }
      for (port, frame) in step.input { rig.arrive(frame, at: port) }
      rig.run(at: step.at)
      let imbalance = rig.imbalance()
      #expect(imbalance == nil)
      let departures = rig.departures()
      #expect(departures.counts == step.output.counts)
    }
    if stops {
      rig.control.stop()
      rig.worker.run(polling: .busy)
    }
    let imbalance = rig.imbalance()
    #expect(imbalance == nil)
    let (drops, reports) = (rig.drops, rig.reports())
    #expect(drops == self.drops)
    #expect(reports == self.reports)
    for (counter, expected) in counted {
      let value = rig.counter(counter)
      #expect(value == expected, "\(counter)")
    }
  }
}

extension Scenario.Step {
  /// See `Scenario.overIPv6`. What is no VXLAN packet stays as it is.
  var overIPv6: Self {
    func converted(_ port: Int, _ frame: [UInt8]) -> [UInt8] { port == 0 ? UnderlayPacket(frame)?.overIPv6 ?? frame : frame }
    return changed(self) {
      $0.change = change?.overIPv6
      $0.resolved = resolved.map(\.overIPv6)
      $0.lost = lost.map(\.overIPv6)
      $0.input = input.map { ($0, converted($0, $1)) }
      $0.output = output.map { Departure($0.port, converted($0.port, $0.bytes)) }
    }
  }
}

extension [Scenario] {
  /// Each on both underlays.
  var overBoth: [Scenario] { self + map(\.overIPv6) }
}

// MARK: Frames of the scenarios

extension MACAddress {
  /// Hosts on local ports 1 and 2, on port 3, and behind VTEPs.
  static let host1 = MACAddress(0x0200_0000_0011)
  static let host2 = MACAddress(0x0200_0000_0012)
  static let host3 = MACAddress(0x0200_0000_0013)
  static let remote1 = MACAddress(0x0200_0000_0021)
  static let remote2 = MACAddress(0x0200_0000_0022)
}

/// A frame with a UDP datagram.
func frame(
  to destination: MACAddress, from source: MACAddress, tags: [VLANTag] = [], tos: UInt8 = 0, dontFragment: Bool = false,
  payload: Int = 100, checksum: ChecksumField = .correct
) -> [UInt8] {
  let header = [EthernetHeader(to: destination, from: source)] as [any Layer] + tags
  return packet(
    header + [IPv4Header(tos: tos, dontFragment: dontFragment), UDPHeader(to: 53, checksum: checksum), Payload(count: payload)])
}

/// `inner` as it arrives from the VTEP `vtep`.
func tunnelled(
  _ inner: [UInt8], vni: UInt32 = 100, from vtep: IPAddress = .remote, tos: UInt8 = 0, ip: (any IPLayer)? = nil,
  udp: UDPHeader? = nil, vxlan: VXLANHeader? = nil, tags: [VLANTag] = []
) -> [UInt8] {
  let ip = ip ?? IPv4Header(to: .local, from: vtep, tos: tos)
  let udp = udp ?? UDPHeader(to: 4789, checksum: .value(0))
  return packet([EthernetHeader(to: .underlay, from: .nextHop)] + tags + [ip, udp, vxlan ?? VXLANHeader(vni: vni), Payload(inner)])
}

/// `inner` as we send it to the VTEP `vtep`.
func sent(
  _ inner: [UInt8], vni: UInt32 = 100, to vtep: IPAddress = .remote, tos: UInt8 = 0, dontFragment: Bool = false, ttl: UInt8 = 64
) -> Departure {
  sent(inner, vni: vni, IPv4Header(to: vtep, from: .local, ttl: ttl, tos: tos, dontFragment: dontFragment))
}

/// `inner` as we send it behind the outer IP header `ip`, in a VLAN of the underlay if `tag` is not nil.
func sent(
  _ inner: [UInt8], vni: UInt32 = 100, _ ip: any IPLayer, port: UInt16 = 4789, checksum: ChecksumField = .value(0), tag: VLANTag? = nil
) -> Departure {
  let nextHop = ip.destination.isMulticast ? OuterHeader.groupMAC(ip.destination) : .nextHop
  let ethernet = [EthernetHeader(to: nextHop, from: .underlay)] as [any Layer] + [tag].compactMap { $0 }
  return Departure(0, packet(ethernet + [ip, UDPHeader(to: port, checksum: checksum), VXLANHeader(vni: vni), Payload(inner)]))
}

/// With zeros at the end, up to 60 bytes.
func padded(_ frame: [UInt8]) -> [UInt8] { frame + [UInt8](repeating: 0, count: max(0, 60 - frame.count)) }
