import CLinux
import PacketIO
import TestSupport
import Testing
import Wire

/// What a veth's peer sends as super-frames arrives from AF_XDP sockets in generic mode as frames that fit the wire.
@Suite struct XSKSuperFrameTests {
  private static let mtu = 1450
  private static let ring = 256
  private static let noise: [UInt8] = (0..<180_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
  private static let part = 60_000

  /// Batches and pools smaller than a super-frame or its chain of chunks: nothing is lost, and the order stays.
  struct Room: CustomStringConvertible, Sendable {
    var batch: Int
    /// Chunks in the pool beside a full fill ring.
    var spare: Int

    var description: String { "batches of \(batch), \(spare) spare chunks" }
  }

  private static let rooms = [Room(batch: 64, spare: 256), Room(batch: 3, spare: 256), Room(batch: 64, spare: 1), Room(batch: 7, spare: 1)]

  /// The kernel's VXLAN device makes the outer headers, so what is sent there arrives as one VXLAN packet.
  @Test("TCP is cut", arguments: [(false, false), (true, false), (false, true), (true, true)], rooms)
  func tcp(_ kind: (isIPv6: Bool, isVXLAN: Bool), room: Room) throws {
    let namespace = try NetworkNamespace()
    try Self.connect(namespace)
    try namespace.run {
      var harness = try PortHarness(batch: room.batch, chunks: Self.ring + room.spare)
      let role = kind.isVXLAN ? NICRole.underlay(port: 4789, addresses: [.local]) : .lan(mac: .here)
      let program = try Self.program(role)
      var port = try Self.port(&harness, program, role)
      for start in stride(from: 0, to: Self.noise.count, by: Self.part) {
        try sendSuperFrame(Self.segment(start, count: Self.part, isIPv6: kind.isIPv6), through: kind.isVXLAN ? "vx" : "there")
      }
      let frames = harness.receive(from: &port)
      try check(kind.isVXLAN ? frames.map { try Self.decapsulated($0) } : frames)
      #expect(port.count(.superFrames) == Self.noise.count / Self.part)
      #expect(port.count(.rxFrames) == frames.count)
      #expect(port.count(.rxBytes) == frames.reduce(0) { $0 + $1.count })
      #expect(port.count(.rxDropped) == 0)
      let isWhole = harness.isWhole(with: port)
      #expect(isWhole)
      #expect(try program.counts()[0].packets == UInt64(port.count(.superFrames)))
    }
  }

  /// Nobody says where UDP's datagrams end; what fits, and what is too long but in one piece, is as it was.
  @Test func onlySuperFramesOfTCPAreTouched() throws {
    let namespace = try NetworkNamespace()
    try Self.connect(namespace)
    try namespace.run {
      var harness = try PortHarness(chunks: Self.ring + 64)
      harness.knowsChecksums = false
      let program = try Self.program(.lan(mac: .here))
      var port = try Self.port(&harness, program, .lan(mac: .here))
      var sender = try rawPort("there")
      let ethernet = EthernetHeader(to: .there)
      let whole = [
        packet(ethernet, IPv4Header(), UDPHeader(to: 7), Payload(count: 1472)),
        packet(ethernet, IPv4Header(), TCPHeader(to: 7), Payload(count: Self.mtu - 40)),
        packet(ethernet, VLANTag(5), VLANTag(6), IPv4Header(), TCPHeader(to: 7), Payload(count: Self.mtu - 40)),
      ]
      try harness.send([whole[0]], through: &sender)
      let udp = packet(ethernet, IPv4Header(), UDPHeader(to: 7, checksum: .partial), Payload(count: 5000))
      try sendSuperFrame(udp, through: "there")
      try harness.send(Array(whole[1...]), through: &sender)
      // Short enough for one chunk.
      try sendSuperFrame(Self.segment(0, count: 1500, isIPv6: false), through: "there")
      let frames = harness.receive(from: &port)
      #expect(Array(frames.prefix(3)) == whole)
      #expect(frames.dropFirst(3).map(\.count) == [14 + Self.mtu, 14 + 40 + 1500 - (Self.mtu - 40)])
      #expect(frames.dropFirst(3).compactMap(TransportSegment.init).flatMap(\.payload) == Array(Self.noise.prefix(1500)))
      #expect(port.count(.rxDropped) == 1)
      #expect(port.count(.rxFrames) == frames.count + 1)
      let isWhole = harness.isWhole(with: port)
      #expect(isWhole)
      #expect(try program.counts()[0].packets == 5)
    }
  }

  /// Underlay and LAN at once: VXLAN packets are cut inside, a LAN's frames behind their tag.
  @Test func bothKindsAreCut() throws {
    let namespace = try NetworkNamespace()
    try Self.connect(namespace)
    try namespace.run {
      let role = NICRole(underlay: .init(port: 4789, addresses: [.local]), lan: .init(mac: .here, vlans: VLANSet([100])))
      var harness = try PortHarness(chunks: Self.ring + 256)
      let program = try Self.program(role)
      var port = try Self.port(&harness, program, role)
      for start in stride(from: 0, to: Self.noise.count, by: Self.part) {
        let frame = Self.segment(start, count: Self.part, isIPv6: false)
        let isOverlay = start == Self.part
        try sendSuperFrame(isOverlay ? frame : Array(frame[..<12] + [0x81, 0, 0, 100] + frame[12...]), through: isOverlay ? "vx" : "there")
      }
      let frames = harness.receive(from: &port)
      try check(frames.map { $0[12] == 0x81 ? Array($0[..<12] + $0[16...]) : try Self.decapsulated($0) })
      #expect(port.count(.superFrames) == Self.noise.count / Self.part)
      #expect(port.count(.rxDropped) == 0)
    }
  }

  /// A veth pair, and a VXLAN device that sends through `there` to somebody behind `here`.
  private static func connect(_ namespace: borrowing NetworkNamespace) throws {
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.ip("address", "add", "192.0.2.2/24", "dev", "there")
    try namespace.ip("neighbour", "add", "192.0.2.1", "lladdr", "\(MACAddress.here)", "dev", "there")
    try namespace.ip(
      "link", "add", "vx", "mtu", "\(mtu)", "type", "vxlan", "id", "42", "dstport", "4789", "remote", "192.0.2.1", "dev", "there")
    try namespace.ip("link", "set", "vx", "up")
  }

  private static func program(_ role: NICRole) throws -> XDPProgram {
    try XDPProgram(
      interfaceIndex: interfaceIndex("here"), interfaceName: "here", role: role, queues: 1, mode: .generic, superFrames: true)
  }

  private static func port(_ harness: inout PortHarness, _ program: borrowing XDPProgram, _ role: NICRole) throws -> Port {
    #expect(try XSKSettings.kernelTakesSuperFrames())
    let memory = try XSKMemory(harness.umem, settings: XSKSettings(ring: ring, zeroCopy: false, superFrameMTU: mtu))
    let sockets = try XSKPort(memory, interface: "here", role: role, queues: [0], isFirst: true, reserve: 1)
    try program.setSocket(sockets.descriptors[0], queue: 0)
    var port = Port.xsk(Box(sockets))
    port.replenish(umem: &harness.umem)
    return port
  }

  /// TCP with the part of `noise` from `start` on, as the kernel hands it to a NIC that cuts it.
  private static func segment(_ start: Int, count: Int, isIPv6: Bool) -> [UInt8] {
    var tcp = TCPHeader(to: 7, checksum: .partial)
    tcp.sequence = UInt32(start)
    let ip: any Layer = isIPv6 ? IPv6Header() : IPv4Header()
    return packet(EthernetHeader(to: .there), ip, tcp, Payload(Array(noise[start..<start + count])))
  }

  /// What is in the VXLAN packet; its own headers are right.
  private static func decapsulated(_ packet: [UInt8]) throws -> [UInt8] {
    let outer = try #require(TransportSegment(packet))
    #expect(outer.hasValidChecksums && !outer.isTCP && outer.destinationPort == 4789)
    return Array(outer.payload.dropFirst(8))
  }

  /// All of `noise` in order, in as few segments as fit.
  private func check(_ frames: [[UInt8]]) throws {
    let segments = try frames.map { try #require(TransportSegment($0)) }
    #expect(segments.allSatisfy { $0.isTCP && $0.hasValidChecksums })
    #expect(segments.flatMap(\.payload) == Self.noise)
    var sequence = 0
    for (frame, segment) in zip(frames, segments) {
      #expect(segment.sequence == UInt32(sequence))
      sequence += segment.payload.count
      #expect(sequence % Self.part == 0 || frame.count == 14 + Self.mtu)
      #expect(frame.count <= 14 + Self.mtu)
    }
  }
}
