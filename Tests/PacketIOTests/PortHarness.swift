import CLinux
import PacketIO
import TestSupport
import Testing
import Wire

struct OutOfChunks: Error {}

/// Packet memory, and verbs to use a port with arrays of bytes.
struct PortHarness: ~Copyable {
  var umem: UMEM
  var batch: Batch
  /// False for AF_XDP, which says nothing about checksums.
  var knowsChecksums = true

  init(batch: Int = 64, chunks: Int = 1024, chunkSize: Int = 2048) throws {
    umem = try UMEM(chunkSize: chunkSize, chunkCount: chunks)
    self.batch = Batch(capacity: batch)
  }

  /// Sends frames in batches.
  mutating func send(_ frames: [[UInt8]], through port: inout Port) throws {
    for start in stride(from: 0, to: frames.count, by: batch.capacity) {
      for bytes in frames[start..<min(start + batch.capacity, frames.count)] { batch.append(try frame(bytes)) }
      port.transmit(&batch, umem: &umem)
      let rest = batch.count
      #expect(rest == 0)
    }
  }

  private mutating func frame(_ bytes: [UInt8]) throws -> Frame {
    guard var frame = umem.allocate() else { throw OutOfChunks() }
    frame.length = UInt16(bytes.count)
    var target = umem.mutableBytes(frame)
    for (offset, byte) in bytes.enumerated() { target.store(byte, at: offset) }
    return frame
  }

  /// Sends one frame many times.
  mutating func send(_ bytes: [UInt8], times: Int, through port: inout Port) throws {
    let model = try frame(bytes)
    for sent in 1...times {
      guard let copy = umem.copy(model) else { throw OutOfChunks() }
      batch.append(copy)
      if batch.isFull || sent == times { port.transmit(&batch, umem: &umem) }
    }
    umem.release(model)
  }

  /// Receives what is there, and returns how many frames that were.
  mutating func discard(from port: inout Port) -> Int {
    var total = 0
    while true {
      port.receive(into: &batch, umem: &umem)
      if batch.isEmpty { return total }
      total += batch.count
      for index in 0..<batch.count { umem.release(batch[index]) }
      batch.removeAll()
    }
  }

  /// Receives until `count` frames are there, or nothing came for a while.
  mutating func receive(_ count: Int = .max, from port: inout Port) -> [[UInt8]] {
    var frames: [[UInt8]] = []
    var idle = 0
    while frames.count < count, idle < 100 {
      let taken = receiveOnce(from: &port)
      port.replenish(umem: &umem)
      frames += taken
      if taken.isEmpty {
        idle += 1
        usleep(1000)
      } else {
        idle = 0
      }
    }
    return frames
  }

  /// What one call receives.
  mutating func receiveOnce(from port: inout Port) -> [[UInt8]] {
    port.receive(into: &batch, umem: &umem)
    let frames = (0..<batch.count).map { index in
      let frame = batch[index]
      #expect(frame.checksumIsComplete || !knowsChecksums)
      let bytes = umem.bytes(frame)
      return (0..<bytes.byteCount).map { bytes.byte(at: $0) }
    }
    for index in 0..<batch.count { umem.release(batch[index]) }
    batch.removeAll()
    return frames
  }

  /// Whether every chunk is in the pool or with the port.
  func isWhole(with port: borrowing Port) -> Bool { umem.freeCount + port.heldChunks == umem.chunkCount }
}

extension Port {
  func count(_ counter: PortCounter) -> Int { Int(counters[counter.rawValue]) }
}

/// A raw port on an interface of the calling thread's network namespace.
func rawPort(
  _ name: String, role: NICRole = .lan(mac: MACAddress(0x02_0b_ad_00_00_00)), batch: Int = 64, ring: Int = 512, slotSize: Int = 2048,
  group: UInt16? = nil
) throws -> Port {
  .raw(
    Box(
      try RawPort(
        interfaceIndex: interfaceIndex(name), interfaceName: name, role: role, batch: batch, ring: ring, slotSize: slotSize,
        fanoutGroup: group)))
}

extension NetworkNamespace {
  /// A veth pair in which the kernel says nothing on its own.
  func addQuietVeth(_ name: String, peer: String) throws {
    try execute("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    try addVeth(name, peer: peer)
  }
}

/// TCP or UDP over IPv4 without options or IPv6, taken apart the plain way.
struct TransportSegment {
  var isTCP: Bool
  var sequence: UInt32
  var destinationPort: UInt16
  var payload: [UInt8]
  /// Of IP (always true for IPv6), TCP and UDP.
  var hasValidChecksums: Bool

  /// Nil for anything else.
  init?(_ frame: [UInt8]) {
    guard frame.count >= 14 + 20 else { return nil }
    let isIPv6 = frame[12] == 0x86
    guard isIPv6 ? frame[13] == 0xdd && frame.count >= 54 : frame[12] == 0x08 && frame[13] == 0 && frame[14] == 0x45 else { return nil }
    let number = frame[isIPv6 ? 20 : 23]
    guard number == 6 || number == 17 else { return nil }
    let big = { (offset: Int) in Int(frame[offset]) << 8 | Int(frame[offset + 1]) }
    let start = isIPv6 ? 54 : 34
    let end = isIPv6 ? 54 + big(18) : 14 + big(16)
    guard end <= frame.count else { return nil }
    let segment = Array(frame[start..<end])
    let addresses = isIPv6 ? frame[22..<54] : frame[26..<34]
    let pseudoHeader = addresses + [0, number] + [UInt8](big: UInt16(segment.count))
    isTCP = number == 6
    hasValidChecksums =
      onesComplementSum(pseudoHeader + segment) == 0xffff && (isIPv6 || onesComplementSum(Array(frame[14..<34])) == 0xffff)
    sequence = isTCP ? UInt32(big(start + 4)) << 16 | UInt32(big(start + 6)) : 0
    destinationPort = UInt16(big(start + 2))
    payload = Array(segment.dropFirst(isTCP ? Int(segment[12] >> 4) * 4 : 8))
  }
}

/// Sends a TCP or UDP super-frame, its checksum partial, from a packet socket: gso_size 1000. It may have an
/// 802.1Q tag.
func sendSuperFrame(_ frame: [UInt8], through interface: String) throws {
  let network = frame[12] == 0x81 ? 18 : 14
  let isIPv6 = frame[network - 2] == 0x86
  let isTCP = frame[network + (isIPv6 ? 6 : 9)] == 6
  var header = virtio_net_hdr()
  header.flags = UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM)
  header.gso_type = UInt8(isTCP ? (isIPv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4) : 5 /* VIRTIO_NET_HDR_GSO_UDP_L4 */)
  header.csum_start = UInt16(network + (isIPv6 ? 40 : 20))
  header.csum_offset = isTCP ? 16 : 6
  header.hdr_len = header.csum_start + (isTCP ? 20 : 8)
  header.gso_size = 1000
  let bytes = unsafe withUnsafeBytes(of: &header) { unsafe Array($0) } + frame
  let number = socket(AF_PACKET, Int32(SOCK_RAW.rawValue), 0)
  defer { close(number) }
  var on: Int32 = 1
  var address = sockaddr_ll()
  address.sll_family = UInt16(AF_PACKET)
  address.sll_protocol = (UInt16(frame[12]) << 8 | UInt16(frame[13])).bigEndian
  address.sll_ifindex = Int32(interfaceIndex(interface))
  let sent = unsafe withUnsafeBytes(of: &address) { name in
    unsafe setsockopt(number, SOL_PACKET, PACKET_VNET_HDR, &on, 4) == 0
      ? sendto(number, bytes, bytes.count, 0, name.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(name.count)) : -1
  }
  guard sent == bytes.count else { throw SystemError("sending a super-frame of \(frame.count) bytes") }
}
