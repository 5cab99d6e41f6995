import CLinux
import PacketIO
import SystemPackage
import TestSupport
import Testing
import Wire

@Suite struct TAPPortTests {
  private static let flows = 40

  /// Gives the device an address, and somebody behind it whose MAC address the kernel knows.
  private func bringUp(_ namespace: borrowing NetworkNamespace, _ name: String) throws {
    try namespace.ip("link", "set", name, "address", "\(MACAddress.here)", "up")
    try namespace.ip("address", "add", "192.0.2.1/24", "dev", name)
    try namespace.ip("address", "add", "2001:db8::1/64", "dev", name, "nodad")
    for address in ["192.0.2.2", "2001:db8::2"] {
      try namespace.ip("neigh", "add", address, "lladdr", "\(MACAddress.there)", "dev", name, "nud", "permanent")
    }
  }

  @Test(arguments: [IPAddress.remote, .remote6])
  func receivesOnAllQueues(remote: IPAddress) throws {
    let namespace = try NetworkNamespace()
    try namespace.run {
      let device = try TAPPort(creating: "tap0")
      var second = Port.tap(Box(try device.addQueue()))
      var first = Port.tap(Box(device))
      try bringUp(namespace, "tap0")
      for flow in 0..<Self.flows {
        let socket = try KernelSocket(isTCP: false, isIPv6: !remote.isIPv4)
        try socket.connect(remote, port: UInt16(1000 + flow))
        // The kernel cuts: it was not told that super-frames are welcome.
        try socket.send([UInt8](repeating: UInt8(flow), count: 2000), segment: 1000)
      }
      var harness = try PortHarness()
      let shares = [harness.receive(from: &first), harness.receive(from: &second)].map { frames in
        frames.compactMap(TransportSegment.init).filter { $0.destinationPort >= 1000 }
      }
      let all = shares[0] + shares[1]
      #expect(!shares[0].isEmpty && !shares[1].isEmpty)
      #expect(all.count == 2 * Self.flows)
      #expect(all.allSatisfy { $0.hasValidChecksums && $0.payload == [UInt8](repeating: UInt8($0.destinationPort - 1000), count: 1000) })
      #expect(first.count(.rxFrames) + second.count(.rxFrames) >= all.count)
      #expect(first.count(.rxCalls) > first.count(.rxFrames))
      let isWhole = harness.isWhole(with: first)
      #expect(isWhole)
    }
  }

  @Test func sendsToTheKernel() throws {
    let namespace = try NetworkNamespace()
    try namespace.run {
      var port = Port.tap(Box(try TAPPort(creating: "tap0")))
      var harness = try PortHarness()
      let frames = (0..<3).map { payload in
        packet(EthernetHeader(to: .here), IPv4Header(), UDPHeader(to: 7), Payload(count: payload))
      }
      try harness.send(frames, through: &port)
      #expect(port.count(.txDropped) == 3, "the device is down")
      try bringUp(namespace, "tap0")
      let socket = try KernelSocket(isTCP: false, isIPv6: false)
      try socket.bind(.local, port: 7)
      try harness.send(frames + [[1, 2, 3]], through: &port)
      for length in 0..<3 {
        let received = socket.receive()
        #expect(received == (0..<length).map { UInt8($0) })
      }
      #expect(port.count(.txFrames) == 3)
      #expect(port.count(.txBytes) == frames.reduce(0) { $0 + $1.count })
      #expect(port.count(.txDropped) == 4)
      #expect(port.count(.txCalls) == 7)
      let isWhole = harness.isWhole(with: port)
      #expect(isWhole)
    }
  }

  /// A frame that no chunk can hold is counted.
  @Test func dropsWhatIsTooLong() throws {
    let namespace = try NetworkNamespace()
    try namespace.run {
      var port = Port.tap(Box(try TAPPort(creating: "tap0")))
      try namespace.ip("link", "set", "tap0", "mtu", "9000")
      try bringUp(namespace, "tap0")
      let socket = try KernelSocket(isTCP: false, isIPv6: false)
      try socket.connect(.remote, port: 7)
      // 14 + 20 + 8 bytes in front, and 2048 - 256 for all.
      for length in [1750, 1751, 5000, 1] { try socket.send([UInt8](repeating: 5, count: length)) }
      var harness = try PortHarness()
      let segments = harness.receive(from: &port).compactMap(TransportSegment.init).filter { $0.destinationPort == 7 }
      #expect(segments.map(\.payload.count) == [1750, 1])
      #expect(segments.allSatisfy { $0.hasValidChecksums })
      #expect(port.count(.rxDropped) == 2)
      let isWhole = harness.isWhole(with: port)
      #expect(isWhole)
    }
  }

  @Test func refusesNamesAndLeavesNothing() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("veth0", peer: "veth1")
    try namespace.run {
      do {
        let holder = try TAPPort(creating: "tap0")
        for (name, errno) in [
          ("veth0", Errno.resourceBusy), ("tap0", .resourceBusy), ("tap%d", .invalidArgument), ("", .invalidArgument),
          ("sixteen-letters-", .invalidArgument),
        ] {
          let error = #expect(throws: SystemError.self) { _ = try TAPPort(creating: name) }
          #expect(error?.call == "creating TAP device \(name)")
          #expect(error?.errno == errno)
        }
        #expect(interfaceIndex(holder.name) != 0)
      }
      // A command that another test starts has a copy of the descriptor until it executes.
      for _ in 0..<100 where interfaceIndex("tap0") != 0 { usleep(10_000) }
      #expect(interfaceIndex("tap0") == 0)
    }
  }
}
