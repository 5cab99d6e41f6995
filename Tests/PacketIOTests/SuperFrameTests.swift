import CLinux
import PacketIO
import TestSupport
import Testing
import Wire

/// What the kernel sends as super-frames over veth arrives as frames that fit the wire.
@Suite struct SuperFrameTests {
  private static let noise: [UInt8] = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }

  /// Two hosts on a wire; `here` has .1, `there` has .2.
  private static func connect(_ here: borrowing NetworkNamespace, _ there: borrowing NetworkNamespace) throws {
    try here.ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", there.name)
    try address(here, "here", 1)
    try address(there, "there", 2)
    try here.waitForCarrier("here")
  }

  private static func address(_ namespace: borrowing NetworkNamespace, _ interface: String, _ host: Int) throws {
    try namespace.ip("address", "add", "192.0.2.\(host)/24", "dev", interface)
    try namespace.ip("address", "add", "2001:db8::\(host)/64", "dev", interface, "nodad")
    try namespace.ip("link", "set", interface, "up")
  }

  /// Sends `noise` from a socket in `there` to one in `here`, and waits until it is there: behind that, nothing is on its way.
  private func talk(
    _ here: borrowing NetworkNamespace, _ there: borrowing NetworkNamespace, isTCP: Bool, to address: IPAddress
  ) throws {
    let isIPv6 = !address.isIPv4
    let receiver = try here.run { try KernelSocket(isTCP: isTCP, isIPv6: isIPv6) }
    try receiver.bind(address, port: 7)
    if isTCP { try receiver.listen() }
    let sender = try there.run { try KernelSocket(isTCP: isTCP, isIPv6: isIPv6) }
    try sender.connect(address, port: 7)
    try sender.send(Self.noise, segment: isTCP ? nil : 1400)
    let connection = isTCP ? try receiver.accept() : receiver
    var received = 0
    for _ in 0..<1000 where received < Self.noise.count {
      received += connection.receive()?.count ?? 0
      usleep(1000)
    }
    #expect(received == Self.noise.count)
  }

  @Test(arguments: [true, false], [IPAddress.local, .local6])
  func cutsWhatTheKernelSends(isTCP: Bool, address: IPAddress) throws {
    let here = try NetworkNamespace()
    let there = try NetworkNamespace()
    try Self.connect(here, there)
    var port = try here.run { try rawPort("here") }
    try talk(here, there, isTCP: isTCP, to: address)
    var harness = try PortHarness()
    let frames = harness.receive(from: &port)
    try check(frames.compactMap(TransportSegment.init).filter { $0.isTCP == isTCP && $0.destinationPort == 7 }, isTCP: isTCP)
    #expect(frames.allSatisfy { $0.count <= 1514 })
    #expect(port.count(.superFrames) > 0)
    #expect(port.count(.rxFrames) == frames.count)
    #expect(port.count(.rxDropped) == 0)
    let isWhole = harness.isWhole(with: port)
    #expect(isWhole)
  }

  /// The kernel keeps the tag of a super-frame beside it, and every segment gets it back.
  @Test(arguments: [false, true])
  func cutsWhatHasATag(isIPv6: Bool) throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var port = try rawPort("here", role: .lan(mac: .here, vlans: VLANSet([100])))
      var tcp = TCPHeader(to: 7, checksum: .partial)
      tcp.sequence = 1
      let ip: any Layer = isIPv6 ? IPv6Header() : IPv4Header()
      for id: UInt16 in [100, 101] {
        try sendSuperFrame(packet(EthernetHeader(to: .there), VLANTag(id, priority: 3), ip, tcp, Payload(Self.noise)), through: "there")
      }
      var harness = try PortHarness()
      let frames = harness.receive(from: &port)
      #expect(frames.allSatisfy { Array($0[12..<16]) == [0x81, 0x00, 0x60, 100] })
      let segments = try frames.map { try #require(TransportSegment(Array($0[..<12] + $0[16...]))) }
      #expect(segments.allSatisfy { $0.isTCP && $0.hasValidChecksums && $0.payload.count <= 1000 })
      #expect(segments.flatMap(\.payload) == Self.noise)
      #expect(port.count(.superFrames) == 1)
      #expect(port.count(.rxDropped) == 0)
    }
  }

  /// The kernel as VTEP: the super-frame is inside VXLAN, and the filter saw its outer header.
  @Test(arguments: [true, false])
  func cutsWhatAKernelVTEPSends(udpChecksum: Bool) throws {
    let here = try NetworkNamespace()
    let there = try NetworkNamespace()
    try Self.connect(here, there)
    for (namespace, remote, host) in [(here.name, "192.0.2.2", 1), (there.name, "192.0.2.1", 2)] {
      try runCommand(
        "ip", "-n", namespace, "link", "add", "vx", "type", "vxlan", "id", "42", "dstport", "4789", "remote", remote,
        udpChecksum ? "udpcsum" : "noudpcsum")
      try runCommand("ip", "-n", namespace, "address", "add", "198.51.100.\(host)/24", "dev", "vx")
      try runCommand("ip", "-n", namespace, "link", "set", "vx", "mtu", "1450", "up")
    }
    var port = try here.run { try rawPort("here", role: .underlay(port: 4789, addresses: [.local])) }
    try talk(here, there, isTCP: true, to: IPAddress(v4: 0xc633_6401))
    var harness = try PortHarness()
    let frames = harness.receive(from: &port)
    #expect(frames.allSatisfy { $0.count <= 1514 })
    for frame in frames {
      let outer = try #require(TransportSegment(frame))
      #expect(udpChecksum ? outer.hasValidChecksums : frame[40...41] == [0, 0])
    }
    try check(frames.compactMap { TransportSegment(Array($0.dropFirst(50))) }.filter { $0.destinationPort == 7 }, isTCP: true)
    #expect(port.count(.superFrames) > 0)
    #expect(port.count(.rxDropped) == 0)
  }

  /// Batches and a pool smaller than a super-frame: nothing is lost, and the order stays.
  @Test(arguments: [(3, 1024), (64, 70), (7, 9)])
  func keepsTheRestForTheNextCall(batch: Int, chunks: Int) throws {
    let here = try NetworkNamespace()
    let there = try NetworkNamespace()
    try Self.connect(here, there)
    var port = try here.run { try rawPort("here", batch: 4) }
    try talk(here, there, isTCP: false, to: .local)
    var harness = try PortHarness(batch: batch, chunks: chunks)
    // Frames that somebody else has for now: only a few are left for segments.
    let taken = (0..<chunks - 6).map { _ in harness.umem.allocate() }
    var frames = harness.receive(20, from: &port)
    for case let frame? in taken { harness.umem.release(frame) }
    frames += harness.receive(from: &port)
    try check(frames.compactMap(TransportSegment.init).filter { !$0.isTCP && $0.destinationPort == 7 }, isTCP: false)
    let isWhole = harness.isWhole(with: port)
    #expect(isWhole)
  }

  /// A segment that no chunk can hold.
  @Test func countsWhatItCannotCut() throws {
    let here = try NetworkNamespace()
    let there = try NetworkNamespace()
    try Self.connect(here, there)
    try here.ip("link", "set", "here", "mtu", "9000")
    try there.ip("link", "set", "there", "mtu", "9000")
    var port = try here.run { try rawPort("here") }
    let receiver = try here.run { try KernelSocket(isTCP: false, isIPv6: false) }
    try receiver.bind(.local, port: 7)
    let sender = try there.run { try KernelSocket(isTCP: false, isIPv6: false) }
    try sender.connect(.local, port: 7)
    try sender.send([UInt8](repeating: 1, count: 5000), segment: nil)
    try sender.send([UInt8](repeating: 2, count: 5000), segment: 2000)
    try sender.send([UInt8](repeating: 3, count: 100), segment: nil)
    _ = consume receiver
    var harness = try PortHarness()
    let frames = harness.receive(from: &port)
    #expect(frames.compactMap(TransportSegment.init).map(\.payload) == [[UInt8](repeating: 3, count: 100)])
    #expect(port.count(.rxDropped) == 2)
    #expect(port.count(.rxFrames) == frames.count + 2)
    let isWhole = harness.isWhole(with: port)
    #expect(isWhole)
  }

  /// Together they carry `noise`, and every checksum is right.
  private func check(_ segments: [TransportSegment], isTCP: Bool) throws {
    #expect(segments.allSatisfy { $0.hasValidChecksums })
    guard isTCP else {
      #expect(segments.map(\.payload.count).dropLast().allSatisfy { $0 == 1400 })
      #expect(segments.flatMap(\.payload) == Self.noise)
      return
    }
    let start = try #require(segments.first).sequence &+ 1
    var stream = [UInt8](repeating: 0, count: Self.noise.count)
    for segment in segments where !segment.payload.isEmpty {
      let offset = Int(segment.sequence &- start)
      stream.replaceSubrange(offset..<offset + segment.payload.count, with: segment.payload)
    }
    #expect(stream == Self.noise)
  }
}
