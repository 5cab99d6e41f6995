import CLinux
import class Dispatch.DispatchSemaphore
import class Foundation.Thread
import PacketIO
import Synchronization
import TestSupport
import Testing
import Wire

@testable import PacketIO

/// Ports that come and go while packets flow: no chunk is lost, and none is in two places.
@Suite struct ClosingTests {
  private static let ring = 64

  /// Sends a frame again and again, from a thread of its own, until it goes.
  private final class Flood: @unchecked Sendable {
    private let stopping = Atomic(false)
    private let stopped = DispatchSemaphore(value: 0)

    init(_ frame: [UInt8], through interface: String) throws {
      let socket = try PacketSocket.open()
      try PacketSocket.bind(socket, interfaceIndex(interface), interface, NICRole(), nil)
      let box = Mutex<OwnedDescriptor?>(socket)
      let bytes = [UInt8](repeating: 0, count: virtio_net_hdr.size) + frame
      Thread.detachNewThread { [self] in
        let socket = box.withLock { $0.take() }
        guard let socket else { return }
        while !stopping.load(ordering: .relaxed) { _ = unsafe send(socket.number, bytes, bytes.count, 0) }
        stopped.signal()
      }
    }

    func stop() {
      stopping.store(true, ordering: .relaxed)
      stopped.wait()
    }
  }

  private static func program(_ interface: String, _ mode: XDPMode) throws -> XDPProgram {
    try XDPProgram(
      interfaceIndex: interfaceIndex(interface), interfaceName: interface, role: .lan(mac: .here), queues: 1, mode: mode)
  }

  /// Takes all chunks out of the pool and puts them back: as many as it says, and none twice.
  private func checkPool(_ umem: inout UMEM) {
    var chunks: [Frame] = []
    while let chunk = umem.allocate() { chunks.append(chunk) }
    #expect(Set(chunks.map(\.start)).count == chunks.count)
    for chunk in chunks { umem.release(chunk) }
  }

  /// The underlay's port stays, and works on; another one is opened by another thread and closed, many times.
  @Test(.timeLimit(.minutes(1)), arguments: [XDPMode.native, .generic])
  func socketsComeAndGo(mode: XDPMode) throws {
    let namespace = try NetworkNamespace()
    for (name, peer) in [("here", "there"), ("lan", "host")] { try namespace.addQuietVeth(name, peer: peer) }
    try namespace.run {
      var harness = try PortHarness(chunks: 1024)
      let memory = try XSKMemory(harness.umem, settings: XSKSettings(ring: Self.ring, zeroCopy: false))
      let first = try Self.program("here", mode)
      let second = try Self.program("lan", mode)
      var underlay = Port.xsk(Box(try XSKPort(memory, interface: "here", role: .lan(mac: .here), queues: [0], isFirst: true, reserve: 8)))
      try first.setSocket(underlay.descriptors[0], queue: 0)
      let frame = packet(EthernetHeader(to: .there), IPv4Header(), UDPHeader(to: 9), Payload(count: 200))
      let floods = [try Flood(frame, through: "there"), try Flood(frame, through: "host")]
      defer { for flood in floods { flood.stop() } }
      for _ in 0..<20 {
        var port = Port.xsk(Box(try Self.openElsewhere(memory, "lan") { harness.forward(&underlay) }))
        try second.setSocket(port.descriptors[0], queue: 0)
        let earlier = underlay.count(.rxFrames)
        while min(underlay.count(.rxFrames) - earlier, port.count(.rxFrames), port.count(.txFrames)) < 200 {
          harness.forward(&underlay, &port)
        }
        #expect(port.heldChunks > 0)
        let before = (underlay.count(.rxFrames), port.count(.rxFrames))
        let counters = port.counters
        port.close(umem: &harness.umem)
        #expect(port.heldChunks == 0 && port.descriptors.isEmpty)
        #expect(Int(counters[PortCounter.rxFrames.rawValue]) == before.1)
        let isWhole = harness.isWhole(with: underlay)
        #expect(isWhole)
        checkPool(&harness.umem)
        while underlay.count(.rxFrames) < before.0 + 200 { harness.forward(&underlay) }
      }
    }
  }

  /// What the control plane does: makes a socket on a UMEM that another thread works with.
  private static func openElsewhere(_ memory: XSKMemory, _ interface: String, meanwhile work: () -> Void) throws -> XSKPort {
    final class Made: Sendable {
      let port = Mutex<XSKPort?>(nil)
      let isDone = Atomic(false)
    }
    let made = Made()
    // A thread begins in the network namespace of the one that makes it.
    Thread.detachNewThread {
      made.port.withLock { port in
        do { port = try XSKPort(memory, interface: interface, role: .lan(mac: .here), queues: [0], isFirst: false, reserve: 8) } catch {
          Issue.record(error)
        }
      }
      made.isDone.store(true, ordering: .releasing)
    }
    while !made.isDone.load(ordering: .acquiring) { work() }
    return try made.port.withLock { port in
      guard let port = port.take() else { throw OutOfChunks() }
      return port
    }
  }

  /// The first socket of a UMEM can go before the others, but no more come then.
  @Test func theFirstSocketGoes() throws {
    let namespace = try NetworkNamespace()
    for (name, peer) in [("here", "there"), ("lan", "host")] { try namespace.addQuietVeth(name, peer: peer) }
    try namespace.run {
      var harness = try PortHarness(chunks: 256)
      harness.knowsChecksums = false
      let memory = try XSKMemory(harness.umem, settings: XSKSettings(ring: Self.ring, zeroCopy: false))
      let program = try Self.program("lan", .native)
      var first = Port.xsk(Box(try XSKPort(memory, interface: "here", role: .lan(mac: .here), queues: [0], isFirst: true, reserve: 8)))
      var second = Port.xsk(Box(try XSKPort(memory, interface: "lan", role: .lan(mac: .here), queues: [0], isFirst: false, reserve: 8)))
      try program.setSocket(second.descriptors[0], queue: 0)
      for _ in 0..<2 { harness.forward(&first, &second) }
      #expect(first.heldChunks == Self.ring)
      first.close(umem: &harness.umem)
      let isWhole = harness.isWhole(with: second)
      #expect(isWhole)
      checkPool(&harness.umem)
      let frame = packet(EthernetHeader(to: .there), IPv4Header(), UDPHeader(to: 9), Payload(count: 200))
      var sender = try rawPort("host")
      try harness.send([frame], through: &sender)
      let received = harness.receive(1, from: &second)
      #expect(received == [frame])
      let error = #expect(throws: SystemError.self) {
        _ = try XSKPort(memory, interface: "here", role: .lan(mac: .here), queues: [0], isFirst: false, reserve: 8)
      }
      #expect(error?.errno == .badFileDescriptor)
    }
  }

  /// What a zero-copy socket waits for when it is closed. Somebody else's queue never becomes free.
  @Test func waitsUntilTheKernelLetsGo() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      func elapsed() -> Duration { ContinuousClock().measure { XSKSocket.awaitRelease("here", 0) } }
      do {
        let umem = try UMEM(chunkSize: 2048, chunkCount: 2)
        let memory = try XSKMemory(umem, settings: XSKSettings(ring: 2, zeroCopy: false))
        let socket = try XSKSocket(memory, interface: "here", role: NICRole(), queue: 0, isFirst: true)
        #expect(elapsed() > .milliseconds(500))
        _ = consume socket
      }
      #expect(elapsed() < .milliseconds(400))
      try namespace.ip("link", "del", "here")
      #expect(elapsed() < .milliseconds(100))
    }
  }

  /// A port on raw sockets keeps chunks to receive into.
  @Test func rawPortsComeAndGo() throws {
    let namespace = try NetworkNamespace()
    try namespace.addQuietVeth("here", peer: "there")
    try namespace.run {
      var harness = try PortHarness(chunks: 128)
      let frame = packet(EthernetHeader(to: .there), IPv4Header(), UDPHeader(to: 9), Payload(count: 200))
      var sender = try rawPort("there")
      for _ in 0..<3 {
        var port = try rawPort("here")
        try harness.send(frame, times: 100, through: &sender)
        let received = harness.discard(from: &port)
        #expect(received == 100)
        port.close(umem: &harness.umem)
        #expect(port.descriptors.isEmpty)
        #expect(port.count(.rxFrames) == 100)
        let isWhole = harness.isWhole(with: port)
        #expect(isWhole)
        checkPool(&harness.umem)
        try harness.send(frame, times: 10, through: &sender)
        let late = harness.discard(from: &port)
        #expect(late == 0)
      }
    }
  }

  @Test func closedPortsDropWhatTheyAreGiven() throws {
    var harness = try PortHarness(chunks: 8)
    var port = Port.closed(ClosedPort())
    try harness.send([[UInt8](repeating: 0, count: 60), [UInt8](repeating: 1, count: 60)], through: &port)
    #expect(port.count(.txDropped) == 2)
    let received = harness.receiveOnce(from: &port)
    #expect(received.isEmpty)
    let isWhole = harness.isWhole(with: port)
    #expect(isWhole)
  }
}

extension PortHarness {
  /// A worker's round with one port: sends back what came.
  mutating func forward(_ port: inout Port) {
    port.receive(into: &batch, umem: &umem)
    port.transmit(&batch, umem: &umem)
    port.replenish(umem: &umem)
  }

  /// With two: what comes on one leaves on the other.
  mutating func forward(_ first: inout Port, _ second: inout Port) {
    first.receive(into: &batch, umem: &umem)
    second.transmit(&batch, umem: &umem)
    second.receive(into: &batch, umem: &umem)
    first.transmit(&batch, umem: &umem)
    first.replenish(umem: &umem)
    second.replenish(umem: &umem)
  }
}
