import CLinux
import TestSupport
import Testing
import Wire

@testable import Datapath
@testable import PacketIO

/// The same frames through the XDP program and through a worker, over the same tables: what the program forwards is what the
/// worker sends, byte for byte but for the identification, and the program does not touch what the worker drops or floods.
@Suite struct FastPathTests {
  static let framesPerNetwork = 3000

  @Test(arguments: DifferentialTests.networks.indices) func agreesWithTheWorker(_ index: Int) throws {
    let (name, network) = DifferentialTests.networks[index]
    var rig = try Rig(network, isShared: true)
    var program = try FastPathRig(network, rig.forwarding)
    var traffic = Traffic(network, seed: UInt64(index), isSettled: true)
    var forwarded = (decapsulated: 0, encapsulated: 0)
    for number in 0..<Self.framesPerNetwork {
      let (port, frame) = traffic.next()
      if frame.count < Ethernet.headerLength { continue }
      let departure = try program.run(frame, at: port)
      rig.arrive(frame, at: port)
      rig.run()
      let departures = rig.departures()
      guard let departure else { continue }
      try #require(
        departures.map(\.withoutIdentification) == [departure.withoutIdentification],
        "\(name), frame \(number): \(Departure(port, frame))")
      if departure.port == 0 { forwarded.encapsulated += 1 } else { forwarded.decapsulated += 1 }
    }
    #expect(forwarded.decapsulated >= 5 || network.underlayVLAN != nil)
    // With outer checksums only TCP and UDP are the program's.
    #expect(forwarded.encapsulated >= (network.udpChecksum ? 30 : 40) || !rig.forwarding.fastPathSettings(network.settings).encapsulates)
  }
}

/// The programs of a network's NICs, attached to nothing.
struct FastPathRig: ~Copyable {
  private let programs: Slots<BPFObject>
  private let fastPath: FastPath
  private let portCount: Int

  init(_ network: Network, _ forwarding: Forwarding) throws {
    var fastPath = try FastPath(forwarding, network.settings)
    var programs = Slots<BPFObject>(capacity: network.portCount)
    for device in 0..<network.portCount {
      var role = NICRole(lan: .init(mac: MACAddress(0x0200_0000_ff00 | UInt64(device))))
      if device == Topology.underlay {
        let tags = network.localPorts.compactMap { $0?.port == 0 ? VLAN.identifier($0?.vlan.tag ?? 0) : nil }
        role = NICRole(
          underlay: .init(
            port: network.settings.port, addresses: [network.settings.local] + network.groups, vlan: network.underlayVLAN),
          lan: .init(mac: .underlay, vlans: VLANSet(tags)))
      }
      var settings = fastPath.settings
      settings.device = device
      programs.append(try BPFObject.load(role: role, queues: 1, fastPath: .init(tables: fastPath.tables, settings: settings)))
      // Any interface will do: a test run redirects to nobody.
      try fastPath.tables.addDevice(device, interface: 1)
      try fastPath.tables.setLargest(2000, of: device)
    }
    let segments = network.segments.map { $0.map { Topology.Segment(vni: $0.vni, options: $0.options) } }
    try fastPath.follow(segments: segments, localPorts: network.localPorts, devices: Set(0..<network.portCount)) {
      device, place, number throws(SystemError) in try programs[device].setPlace(place.index, to: number)
    }
    try fastPath.tables.goOn(until: .max / 1_000_000)
    self.programs = programs
    self.fastPath = fastPath
    portCount = network.portCount
  }

  /// What the program forwards, and whereto; nil: nothing.
  mutating func run(_ frame: [UInt8], at device: Int) throws -> Departure? {
    let before = try counts()
    var output = [UInt8](repeating: 0, count: 4096)
    var options = unsafe bpf_test_run_opts()
    unsafe options.sz = MemoryLayout<bpf_test_run_opts>.size
    try unsafe frame.withUnsafeBytes { bytes in
      try unsafe output.withUnsafeMutableBytes { result in
        unsafe options.data_in = bytes.baseAddress.map { unsafe UnsafeRawPointer($0) }
        unsafe options.data_size_in = UInt32(bytes.count)
        unsafe options.data_out = result.baseAddress
        unsafe options.data_size_out = UInt32(result.count)
        guard unsafe bpf_prog_test_run_opts(programs[device].descriptor, &options) == 0 else { throw SystemError("BPF_PROG_TEST_RUN") }
      }
    }
    let changed = zip(before, try counts()).enumerated().filter { $1.0 != $1.1 }
    guard let (index, (old, new)) = changed.first else {
      // Nobody has a socket: a frame that is a worker's goes to the kernel here, as it came.
      let size = unsafe Int(options.data_size_out)
      let isPassed = unsafe options.retval == XDP_PASS.rawValue
      #expect(isPassed && Array(output.prefix(size)) == frame)
      return nil
    }
    let size = unsafe Int(options.data_size_out)
    let isRedirected = unsafe options.retval == XDP_REDIRECT.rawValue
    #expect(changed.count == 1 && isRedirected)
    #expect(new.frames == old.frames + 1 && new.dropped == old.dropped)
    #expect(new.rxBytes == old.rxBytes + UInt64(frame.count) && new.txBytes == old.txBytes + UInt64(size))
    return Departure(index < portCount ? index : 0, Array(output.prefix(size)))
  }

  /// Towards each device, then from each.
  private func counts() throws -> [FastPathTables.Forwarded] {
    let counts = try (0..<portCount).map { try fastPath.tables.forwarded($0) }
    return counts.map(\.decapsulated) + counts.map(\.encapsulated)
  }
}

extension Departure {
  /// The same without the outer IPv4 identification, and the checksum if it is right.
  fileprivate var withoutIdentification: Departure {
    guard port == 0, let packet = UnderlayPacket(bytes), !packet.isIPv6, packet.hasRightHeaderChecksum else { return self }
    var copy = self
    for offset in [packet.network + 4, packet.network + 10] { copy.bytes.replaceSubrange(offset..<offset + 2, with: [0, 0]) }
    return copy
  }
}
