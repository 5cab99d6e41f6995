import TestSupport
import Testing
import Wire

@testable import Datapath

/// A row of a table of end-to-end tests: frames in, frames out, and what was counted.
struct Scenario: Sendable, CustomTestStringConvertible {
  struct Step: Sendable {
    /// Milliseconds of the monotonic clock.
    var at: UInt64 = 0
    /// VTEPs whose next hop becomes known before.
    var resolved: [IPAddress] = []
    /// Port and frame.
    var input: [(Int, [UInt8])] = []
    /// In any order.
    var output: [Departure] = []
  }

  var name: String
  var network = Network()
  var steps: [Step]
  /// After the last step.
  var drops: [DropReason: Int] = [:]
  var counted: [WorkerCounter: Int] = [:]
  /// Whether the worker is stopped at the end.
  var stops = false

  var testDescription: String { name }

  /// With one step.
  init(
    _ name: String, _ network: Network = Network(), in input: [(Int, [UInt8])], out output: [Departure] = [],
    drops: [DropReason: Int] = [:], counted: [WorkerCounter: Int] = [:]
  ) {
    self.init(name, network, steps: [Step(input: input, output: output)], drops: drops, counted: counted)
  }

  init(
    _ name: String, _ network: Network = Network(), steps: [Step], drops: [DropReason: Int] = [:],
    counted: [WorkerCounter: Int] = [:], stops: Bool = false
  ) {
    self.name = name
    self.network = network
    self.steps = steps
    self.drops = drops
    self.counted = counted
    self.stops = stops
  }

  /// Changes the network before anything happens.
  func with(_ change: (inout Network) -> Void) -> Scenario {
    var copy = self
    change(&copy.network)
    return copy
  }

  func run() throws {
    var rig = try Rig(network)
    for step in steps {
      for vtep in step.resolved { rig.publish(network.header(to: vtep)) }
      for (port, frame) in step.input { rig.arrive(frame, at: port) }
      rig.run(at: step.at)
      let imbalance = rig.imbalance()
      #expect(imbalance == nil)
      let departures = rig.departures()
      #expect(Self.counts(departures) == Self.counts(step.output))
    }
    if stops {
      rig.control.stop()
      rig.worker.run(polling: .busy)
    }
    let imbalance = rig.imbalance()
    #expect(imbalance == nil)
    let drops = rig.drops
    #expect(drops == self.drops)
    for (counter, expected) in counted {
      let value = rig.counter(counter)
      #expect(value == expected, "\(counter)")
    }
  }

  private static func counts(_ departures: [Departure]) -> [Departure: Int] {
    departures.reduce(into: [:]) { $0[$1.normalised, default: 0] += 1 }
  }
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
  to destination: MACAddress, from source: MACAddress, tos: UInt8 = 0, dontFragment: Bool = false, payload: Int = 100,
  checksum: ChecksumField = .correct
) -> [UInt8] {
  packet(
    EthernetHeader(to: destination, from: source), IPv4Header(tos: tos, dontFragment: dontFragment),
    UDPHeader(to: 53, checksum: checksum), Payload(count: payload))
}

/// `inner` as it arrives from the VTEP `vtep`.
func tunnelled(
  _ inner: [UInt8], vni: UInt32 = 100, from vtep: IPAddress = .remote, tos: UInt8 = 0, ip: IPv4Header? = nil, udp: UDPHeader? = nil,
  vxlan: VXLANHeader? = nil, tags: [VLANTag] = []
) -> [UInt8] {
  let ip = ip ?? IPv4Header(to: .local, from: vtep, tos: tos)
  let udp = udp ?? UDPHeader(to: 4789, checksum: .value(0))
  return packet([EthernetHeader(to: .underlay, from: .nextHop)] + tags + [ip, udp, vxlan ?? VXLANHeader(vni: vni), Payload(inner)])
}

/// `inner` as we send it to the VTEP `vtep`.
func sent(
  _ inner: [UInt8], vni: UInt32 = 100, to vtep: IPAddress = .remote, tos: UInt8 = 0, dontFragment: Bool = false, ttl: UInt8 = 64
) -> Departure {
  let ip = IPv4Header(to: vtep, from: .local, ttl: ttl, tos: tos, dontFragment: dontFragment)
  let udp = UDPHeader(to: 4789, checksum: .value(0))
  return Departure(
    0, packet(EthernetHeader(to: .nextHop, from: .underlay), ip, udp, VXLANHeader(vni: vni), Payload(inner)))
}

/// With zeros at the end, up to 60 bytes.
func padded(_ frame: [UInt8]) -> [UInt8] { frame + [UInt8](repeating: 0, count: max(0, 60 - frame.count)) }
