import CLinux
import PacketIO
import SystemPackage
import TestSupport
import Testing
import Wire

@Suite struct RawPortTests {
  /// A datagram of its own flow and content, to somebody whom the kernel does not know.
  private func datagram(_ flow: Int, payload: Int = 100) -> [UInt8] {
    packet(
      EthernetHeader(to: .there), IPv4Header(), UDPHeader(to: 9, from: UInt16(1024 + flow)), Payload(count: payload))
  }

  @Test func makesOneCallPerBatch() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness()
      var sender = try rawPort("there")
      var receiver = try rawPort("here")
      let frames = (0..<100).map { datagram($0) }
      try harness.send(frames, through: &sender)
      #expect(sender.count(.txCalls) == 2)
      let first = harness.receiveOnce(from: &receiver)
      let second = harness.receiveOnce(from: &receiver)
      #expect(first + second == frames)
      #expect(first.count == 64)
      // What is received is in the ring.
      #expect(receiver.count(.rxCalls) == 0)
      let third = harness.receiveOnce(from: &receiver)
      #expect(third.isEmpty)
      #expect(receiver.descriptors.count == 1)
    }
  }

  @Test func dropsWhatTheKernelRefuses() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness(chunks: 256)
      var sender = try rawPort("there")
      var receiver = try rawPort("here")
      let good = (0..<3).map { datagram($0) }
      try harness.send([good[0], datagram(9, payload: 1600), good[1], [1, 2, 3], good[2]], through: &sender)
      let received = harness.receive(from: &receiver)
      #expect(received == good)
      #expect(sender.count(.txFrames) == 3)
      #expect(sender.count(.txDropped) == 2)
      try namespace.ip("link", "set", "there", "down")
      try harness.send(good, through: &sender)
      #expect(sender.count(.txFrames) == 3)
      #expect(sender.count(.txDropped) == 5)
      try namespace.ip("link", "set", "there", "up")
      // The kernel tells itself of a carrier once a second.
      for _ in 0..<300 where try !namespace.ip("link", "show", "there").contains("state UP") { usleep(10_000) }
      // The socket reports the outage once more, to whoever calls first: that loses no frame.
      try harness.send(good, through: &sender)
      let again = harness.receive(from: &receiver)
      #expect(again == good)
      #expect(receiver.count(.rxDropped) == 0)
      let outside = harness.umem.chunkCount - harness.umem.freeCount
      let held = receiver.heldChunks + sender.heldChunks
      #expect(outside == held)
    }
  }

  /// A link that goes down is no reason to wake up again and again.
  @Test func sleepsWhileTheLinkIsDown() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness()
      var receiver = try rawPort("here")
      let poller = Poller(receiver.descriptors)
      try namespace.ip("link", "set", "here", "down")
      poller.wait(milliseconds: 1000)
      let nothing = harness.receiveOnce(from: &receiver)
      #expect(nothing.isEmpty)
      #expect(ContinuousClock().measure { poller.wait(milliseconds: 200) } >= .milliseconds(190))
    }
  }

  @Test func waitsWhileThePoolIsEmpty() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness()
      var poor = try PortHarness(chunks: 5)
      var sender = try rawPort("there")
      var receiver = try rawPort("here")
      let frames = (0..<20).map { datagram($0) }
      try harness.send(frames, through: &sender)
      let taken = (0..<4).map { _ in poor.umem.allocate() }
      let one = poor.receiveOnce(from: &receiver)
      #expect(one == [frames[0]])
      for case let frame? in taken { poor.umem.release(frame) }
      let rest = poor.receive(19, from: &receiver)
      #expect(rest == Array(frames.dropFirst()))
      let isWhole = poor.isWhole(with: receiver)
      #expect(isWhole)
    }
  }

  /// Slots as large as a block of the ring's memory, and larger; the ring goes round more than once.
  @Test(arguments: [(mtu: 9000, slotSize: 16384), (65000, 65536), (65521, 131_072)])
  func takesLargeFrames(mtu: Int, slotSize: Int) throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    for name in ["here", "there"] { try namespace.ip("link", "set", name, "mtu", "\(mtu)") }
    try namespace.run {
      var harness = try PortHarness(chunks: 64, chunkSize: slotSize)
      var sender = try rawPort("there", slotSize: slotSize)
      var receiver = try rawPort("here", ring: 3, slotSize: slotSize)
      for round in 0..<10 {
        let frames = [100, mtu - 28, 1400].map { datagram(round, payload: $0) }
        try harness.send(frames, through: &sender)
        let received = harness.receive(from: &receiver)
        #expect(received == frames)
      }
      #expect(receiver.count(.rxDropped) == 0 && receiver.count(.rxCalls) == 0)
    }
  }

  /// With the largest MTU that there is, a frame is longer than the data path can say.
  @Test func dropsWhatIsTooLongToSay() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    for name in ["here", "there"] { try namespace.ip("link", "set", name, "mtu", "65535") }
    try namespace.ip("address", "add", "192.0.2.2/24", "dev", "there")
    try namespace.ip("neighbour", "add", "192.0.2.1", "lladdr", "00:00:5e:00:53:01", "dev", "there")
    try namespace.run {
      var harness = try PortHarness(chunks: 16, chunkSize: 131_072)
      var receiver = try rawPort("here", slotSize: 131_072)
      _ = try? namespace.execute("ping", "-c", "1", "-W", "1", "-s", "65507", "192.0.2.1")
      _ = try? namespace.execute("ping", "-c", "1", "-W", "1", "-s", "65493", "192.0.2.1")
      let received = harness.receive(from: &receiver)
      #expect(received.map(\.count) == [65535])
      #expect(receiver.count(.rxDropped) == 1)
    }
  }

  @Test func sharesFlowsAmongAGroup() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness()
      var sender = try rawPort("there")
      var first = try rawPort("here", group: 7)
      var second = try rawPort("here", group: 7)
      let frames = (0..<200).map { datagram($0 % 50, payload: 100 + $0) }
      try harness.send(frames, through: &sender)
      let shares = [harness.receive(from: &first), harness.receive(from: &second)]
      #expect(Set(shares[0] + shares[1]) == Set(frames))
      #expect(shares[0].count + shares[1].count == frames.count)
      let flows = shares.map { Set($0.map { Array($0[34..<36]) }) }
      #expect(!flows[0].isEmpty && !flows[1].isEmpty)
      #expect(flows[0].isDisjoint(with: flows[1]))
    }
  }

  @Test func tellsWhatTheKernelDropped() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness()
      var sender = try rawPort("there")
      var receiver = try rawPort("here")
      // More than the ring holds.
      let sent = 5000
      try harness.send(datagram(1, payload: 1400), times: sent, through: &sender)
      let received = harness.discard(from: &receiver)
      let descriptor = receiver.descriptors[0]
      let drops = try RawPort.takeKernelDrops(descriptor: descriptor)
      #expect(drops > 0)
      #expect(received + Int(drops) == sent)
      #expect(try RawPort.takeKernelDrops(descriptor: descriptor) == 0)
    }
  }

  @Test func saysWhatFailed() throws {
    let error = #expect(throws: SystemError.self) {
      _ = try RawPort(
        interfaceIndex: 1 << 30, interfaceName: "eth9", role: .lan(mac: .here), batch: 1, ring: 1, slotSize: 2048, fanoutGroup: nil)
    }
    #expect(error?.description == "eth9: binding a packet socket: No such device (ENODEV)")
  }

  /// A NIC takes one tag more than its MTU. The kernel allows it for 802.1Q's alone (packet_extra_vlan_len_allowed in
  /// net/packet/af_packet.c): frames of full size with another tag need an MTU that is larger by its four bytes.
  @Test(arguments: [
    ([], 1500, true), ([], 1501, false), ([VLANTag(100, priority: 5)], 1500, true), ([VLANTag(100)], 1501, false),
    ([VLANTag(100, type: 0x88a8)], 1496, true), ([VLANTag(100, type: 0x88a8)], 1500, false),
    ([VLANTag(100), VLANTag(200)], 1496, true), ([VLANTag(100), VLANTag(200)], 1500, false),
  ])
  func sendsTaggedFrames(_ tags: [VLANTag], length: Int, isSent: Bool) throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.ip("link", "set", "here", "mtu", "9000")
    try namespace.run {
      var harness = try PortHarness()
      var sender = try rawPort("there")
      var receiver = try rawPort("here")
      let frame = packet([EthernetHeader(to: .there)] + tags + [IPv4Header(), UDPHeader(to: 9), Payload(count: length - 28)])
      try harness.send([frame], through: &sender)
      let received = harness.receive(from: &receiver)
      #expect(received == (isSent ? [frame] : []))
      #expect(sender.count(.txDropped) == (isSent ? 0 : 1))
    }
  }
}
