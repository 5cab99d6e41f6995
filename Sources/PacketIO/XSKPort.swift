import CLinux
import SystemPackage

/// How AF_XDP sockets are set up.
public struct XSKSettings: Sendable {
  /// Descriptors per ring: a power of two.
  public var ring: Int
  /// True: the driver must receive into the UMEM itself (XDP_ZEROCOPY). False: the kernel copies (XDP_COPY).
  public var zeroCopy: Bool
  /// The sockets take super-frames (XDP_USE_SG) and cut them into segments whose IP packets, for VXLAN the inner ones, have
  /// at most so many bytes: as many as every NIC can carry. Nil: they take none, which is for native mode, where there are
  /// none.
  public var superFrameMTU: Int?

  public init(ring: Int, zeroCopy: Bool, superFrameMTU: Int? = nil) {
    self.ring = ring
    self.zeroCopy = zeroCopy
    self.superFrameMTU = superFrameMTU
  }

  /// Whether the kernel's AF_XDP sockets can take super-frames: since Linux 6.6.
  public static func kernelTakesSuperFrames() throws(SystemError) -> Bool {
    let socket = OwnedDescriptor(
      try systemCall("opening an AF_XDP socket") { CLinux.socket(AF_XDP, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0) })
    // bind(2) looks at the flags first.
    return vxgw_xsk_try_flags(socket.number, UInt32(XDP_USE_SG)) == 0 || vxgw_errno() != EINVAL
  }
}

/// A UMEM registered with the kernel: what the AF_XDP sockets of one worker share.
///
/// The kernel pins the pages, so the registration may end after the memory is unmapped, but not before the last socket.
@safe
public final class XSKMemory: @unchecked Sendable {
  let umem: OpaquePointer
  let settings: XSKSettings
  let chunkSize: Int
  let chunkCount: Int
  /// Fill and completion ring that libxdp made with the UMEM; the first socket takes them over.
  let rings: UnsafeMutablePointer<vxgw_xsk_rings>

  /// - Throws: `SystemError`, for example ENOBUFS when memory may not be pinned (ulimit -l).
  public init(_ memory: borrowing UMEM, settings: XSKSettings) throws(SystemError) {
    self.settings = settings
    chunkSize = memory.chunkSize
    chunkCount = memory.chunkCount
    let rings = UnsafeMutablePointer<vxgw_xsk_rings>.allocate(capacity: 1)
    unsafe rings.initialize(to: vxgw_xsk_rings())
    unsafe self.rings = rings
    var config = xsk_umem_config(
      fill_size: UInt32(settings.ring), comp_size: UInt32(settings.ring), frame_size: UInt32(memory.chunkSize), frame_headroom: 0, flags: 0)
    var umem: OpaquePointer?
    let result = unsafe memory.withMemory { base, size in
      unsafe xsk_umem__create(&umem, base, UInt64(size), &rings.pointee.fill, &rings.pointee.completion, &config)
    }
    guard result == 0, let umem = unsafe umem else {
      unsafe rings.deallocate()
      throw SystemError("registering packet memory with AF_XDP", errno: Errno(rawValue: -result))
    }
    unsafe self.umem = umem
  }

  deinit {
    unsafe xsk_umem__delete(umem)
    unsafe rings.deallocate()
  }
}

/// One AF_XDP socket on one queue of a NIC, with its four rings. The verbs are libxdp's (xdp/xsk.h): *reserve* and
/// *submit* on the rings that we produce into, *peek* and *release* on those that we consume from. Producer and consumer
/// indexes are acquired and released inside them; each ring is touched once per batch.
@safe
struct XSKSocket: ~Copyable, @unchecked Sendable {
  private let memory: XSKMemory
  private let socket: OpaquePointer
  let descriptor: Int32
  private let rings: UnsafeMutablePointer<vxgw_xsk_rings>
  private var joiner: SuperFrameJoiner
  /// Chunks in the fill and RX rings, and in the TX and completion rings.
  private(set) var receiving = 0
  private(set) var sending = 0
  /// One bit for each chunk: those that the kernel has of this socket. Rings do not show all of them: the kernel and zero-copy
  /// drivers keep some to themselves, and give none back when the socket is closed.
  private var lent: FixedBuffer<UInt64>
  private let chunkShift: UInt32

  /// - Parameter isFirst: the first socket on the UMEM takes over the rings that were made with it.
  init(_ memory: XSKMemory, interface: String, role: NICRole, queue: Int, isFirst: Bool) throws(SystemError) {
    self.memory = memory
    joiner = SuperFrameJoiner(mtu: memory.settings.superFrameMTU, role: role)
    let rings = UnsafeMutablePointer<vxgw_xsk_rings>.allocate(capacity: 1)
    unsafe rings.initialize(to: isFirst ? memory.rings.pointee : vxgw_xsk_rings())
    unsafe self.rings = rings
    var config = xsk_socket_config()
    config.rx_size = UInt32(memory.settings.ring)
    config.tx_size = UInt32(memory.settings.ring)
    // Our own program is attached already, by a link that goes with the process.
    config.libxdp_flags = UInt32(XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD)
    // Those of the first socket count; libxdp leaves them out for the others, and the kernel takes them from the UMEM.
    config.bind_flags = UInt16(
      XDP_USE_NEED_WAKEUP | (memory.settings.zeroCopy ? XDP_ZEROCOPY : XDP_COPY) | (memory.settings.superFrameMTU == nil ? 0 : XDP_USE_SG))
    var socket: OpaquePointer?
    let result = unsafe xsk_socket__create_shared(
      &socket, interface, UInt32(queue), memory.umem, &rings.pointee.rx, &rings.pointee.tx, &rings.pointee.fill, &rings.pointee.completion,
      &config)
    guard result == 0, let socket = unsafe socket else {
      unsafe rings.deallocate()
      throw SystemError("AF_XDP bind on queue \(queue)", errno: Errno(rawValue: -result))
    }
    unsafe self.socket = socket
    lent = FixedBuffer(repeating: 0, count: (memory.chunkCount + 63) / 64)
    chunkShift = UInt32(memory.chunkSize.trailingZeroBitCount)
    descriptor = unsafe xsk_socket__fd(socket)
    raiseLimits()
  }

  deinit {
    if !isClosed { unsafe xsk_socket__delete(socket) }
    unsafe rings.deallocate()
  }

  private var isClosed = false

  /// Closes the socket, and gives back its chunks.
  mutating func close(_ umem: inout UMEM) {
    unsafe xsk_socket__delete(socket)
    isClosed = true
    releaseLent(to: &umem)
  }

  /// One system call may send a whole ring in copy mode: the kernel's default is 32 packets a call (Linux 6.17 lets us
  /// raise it), and what the socket's send buffer holds. Both are improvements only, so a refusal is no error.
  private func raiseLimits() {
    var budget = UInt32(memory.settings.ring)
    unsafe setsockopt(descriptor, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, socklen_t(MemoryLayout<UInt32>.size))
    var buffer: Int32 = 8 << 20
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, socklen_t(MemoryLayout<Int32>.size))
  }

  @inline(__always)
  private mutating func lend(_ address: UInt32) {
    let chunk = Int(address >> chunkShift)
    lent[chunk / 64] |= 1 << UInt64(chunk % 64)
  }

  @inline(__always)
  private mutating func takeBack(_ address: UInt32) {
    let chunk = Int(address >> chunkShift)
    lent[chunk / 64] &= ~(1 << UInt64(chunk % 64))
  }

  /// Every chunk that the kernel has of this socket goes back to the pool: only once the socket is closed.
  mutating func releaseLent(to umem: inout UMEM) {
    for word in 0..<lent.count {
      while lent[word] != 0 {
        umem.release(chunkAt: UInt32(word * 64 + lent[word].trailingZeroBitCount) << chunkShift)
        lent[word] &= lent[word] - 1
      }
    }
    (receiving, sending) = (0, 0)
  }

  /// Takes what the kernel has received, as far as `batch` has room, and counts it.
  mutating func receive(into batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) {
    guard joiner.handOn(to: &batch, &umem, counters), !batch.isFull else { return }
    var first: UInt32 = 0
    let count = unsafe xsk_ring_cons__peek(&rings.pointee.rx, UInt32(batch.capacity - batch.count), &first)
    guard count > 0 else { return }
    var (frames, bytes) = (0, 0)
    var (taken, end) = (UInt32(0), count)
    var ordinaryLength = joiner.ordinaryLength
    while taken < end {
      let descriptor = unsafe xsk_ring_cons__rx_desc(&rings.pointee.rx, first &+ taken).pointee
      taken &+= 1
      takeBack(UInt32(truncatingIfNeeded: descriptor.addr))
      if descriptor.options != 0 || descriptor.len > ordinaryLength {
        let isDone = joiner.take(descriptor, to: &batch, &umem, counters)
        ordinaryLength = joiner.ordinaryLength
        // Segments take more room than their super-frame's descriptors.
        end = isDone ? min(count, taken + UInt32(batch.capacity - batch.count)) : taken
      } else {
        batch.append(Frame(start: UInt32(truncatingIfNeeded: descriptor.addr), length: UInt16(truncatingIfNeeded: descriptor.len)))
        frames &+= 1
        bytes &+= Int(descriptor.len)
      }
    }
    // What was not looked at stays in the ring.
    unsafe xsk_ring_cons__cancel(&rings.pointee.rx, count - taken)
    unsafe xsk_ring_cons__release(&rings.pointee.rx, taken)
    receiving -= Int(taken)
    counters.add(frames, to: PortCounter.rxFrames.rawValue)
    counters.add(bytes, to: PortCounter.rxBytes.rawValue)
  }

  /// Puts frames from index `from` of `batch` on into the TX ring. Returns how many it had room for.
  mutating func submit(_ batch: borrowing Batch, from: Int) -> Int {
    var first: UInt32 = 0
    let wanted = UInt32(batch.count - from)
    // All or nothing: ask for what there is room for.
    let room = unsafe min(wanted, xsk_prod_nb_free(&rings.pointee.tx, wanted))
    guard room > 0, unsafe xsk_ring_prod__reserve(&rings.pointee.tx, room, &first) == room else { return 0 }
    for index in 0..<room {
      let frame = batch[from + Int(index)]
      lend(frame.start)
      unsafe xsk_ring_prod__tx_desc(&rings.pointee.tx, first &+ index).pointee = xdp_desc(
        addr: UInt64(frame.start), len: UInt32(frame.length), options: 0)
    }
    unsafe xsk_ring_prod__submit(&rings.pointee.tx, room)
    sending += Int(room)
    return Int(room)
  }

  /// Tells the kernel to send, if it wants to be told. Returns the number of system calls made.
  func kick() -> Int {
    guard sending > 0, unsafe xsk_ring_prod__needs_wakeup(&rings.pointee.tx) != 0 else { return 0 }
    // EAGAIN: budget or send buffer used up, EBUSY and ENOBUFS: the driver's queue is full, ENETDOWN: the link is down.
    // In all of them the descriptors stay in the ring, and the next round comes back to them.
    _ = vxgw_xsk_send(descriptor)
    return 1
  }

  /// Takes back chunks that were sent.
  mutating func reclaim(_ umem: inout UMEM) {
    guard sending > 0 else { return }
    var first: UInt32 = 0
    let count = unsafe xsk_ring_cons__peek(&rings.pointee.completion, UInt32(memory.settings.ring), &first)
    guard count > 0 else { return }
    for index in 0..<count {
      let address = UInt32(truncatingIfNeeded: unsafe xsk_ring_cons__comp_addr(&rings.pointee.completion, first &+ index).pointee)
      takeBack(address)
      umem.release(chunkAt: address)
    }
    unsafe xsk_ring_cons__release(&rings.pointee.completion, count)
    sending -= Int(count)
  }

  /// Gives the kernel chunks to receive into, down to `reserve` left in the pool. Returns the number of system calls made.
  mutating func refill(_ umem: inout UMEM, reserve: Int) -> Int {
    let wanted = min(memory.settings.ring - receiving, umem.freeCount - reserve)
    // In batches: the index is shared with the kernel's core.
    guard wanted >= min(64, memory.settings.ring / 4) else { return wakeReceiver() }
    var first: UInt32 = 0
    guard unsafe xsk_ring_prod__reserve(&rings.pointee.fill, UInt32(wanted), &first) == UInt32(wanted) else { return wakeReceiver() }
    for index in 0..<wanted {
      guard let frame = umem.allocate() else { preconditionFailure("the pool said it had \(wanted) chunks") }
      lend(frame.start)
      unsafe xsk_ring_prod__fill_addr(&rings.pointee.fill, first &+ UInt32(index)).pointee = UInt64(frame.start) &- UInt64(UMEM.headroom)
    }
    unsafe xsk_ring_prod__submit(&rings.pointee.fill, UInt32(wanted))
    receiving += wanted
    return wakeReceiver()
  }

  /// A zero-copy driver that ran out of chunks stops receiving until it is told that there are some again.
  private func wakeReceiver() -> Int {
    guard unsafe xsk_ring_prod__needs_wakeup(&rings.pointee.fill) != 0 else { return 0 }
    _ = vxgw_xsk_receive(descriptor)
    return 1
  }
}

/// AF_XDP sockets on some queues of one NIC, as one port. Frames leave through the first.
public struct XSKPort: ~Copyable, Sendable {
  private var sockets: Slots<XSKSocket>
  public let counters = Counters(count: PortCounter.allCases.count)
  private let reserve: Int

  /// - Parameters:
  ///   - role: says how super-frames are cut.
  ///   - queues: of the NIC, at least one.
  ///   - isFirst: whether this is the first port on `memory`.
  ///   - reserve: chunks that refilling leaves in the pool for copies.
  /// - Throws: `SystemError`: EBUSY when another socket has the queue, EOPNOTSUPP or EINVAL when the driver can't do what
  ///   `XSKSettings` asks for.
  public init(
    _ memory: XSKMemory, interface: String, role: NICRole, queues: [Int], isFirst: Bool, reserve: Int
  ) throws(SystemError) {
    var sockets = Slots<XSKSocket>(capacity: queues.count)
    for (index, queue) in queues.enumerated() {
      sockets.append(try XSKSocket(memory, interface: interface, role: role, queue: queue, isFirst: isFirst && index == 0))
    }
    self.sockets = sockets
    self.reserve = reserve
  }

  public mutating func receive(into batch: inout Batch, umem: inout UMEM) {
    for index in 0..<sockets.count where !batch.isFull { sockets[index].receive(into: &batch, &umem, counters) }
  }

  public mutating func transmit(_ batch: inout Batch, umem: inout UMEM) {
    var sent = sockets[0].submit(batch, from: 0)
    counters.add(sockets[0].kick(), to: PortCounter.txCalls.rawValue)
    if sent < batch.count {
      // The ring was full; the call may have emptied it.
      sockets[0].reclaim(&umem)
      sent += sockets[0].submit(batch, from: sent)
      counters.add(sockets[0].kick(), to: PortCounter.txCalls.rawValue)
    }
    var bytes = 0
    for index in 0..<sent { bytes &+= Int(batch[index].length) }
    for index in sent..<batch.count { umem.release(batch[index]) }
    counters.add(sent, to: PortCounter.txFrames.rawValue)
    counters.add(bytes, to: PortCounter.txBytes.rawValue)
    counters.add(batch.count - sent, to: PortCounter.txDropped.rawValue)
    batch.removeAll()
  }

  public mutating func replenish(umem: inout UMEM) {
    for index in 0..<sockets.count {
      sockets[index].reclaim(&umem)
      counters.add(sockets[index].refill(&umem, reserve: reserve), to: PortCounter.rxCalls.rawValue)
    }
    // Frames that an earlier call left in the ring.
    if isSending { counters.add(sockets[0].kick(), to: PortCounter.txCalls.rawValue) }
  }

  /// Closes the sockets and gives back all their chunks. What is on its way out gets a moment to leave.
  public mutating func close(umem: inout UMEM) {
    for _ in 0..<50 where isSending {
      replenish(umem: &umem)
      Tick.pause(microseconds: 1000)
    }
    for index in 0..<sockets.count { sockets[index].close(&umem) }
  }

  public var isSending: Bool { sockets[0].sending > 0 }

  public var heldChunks: Int {
    var held = 0
    for index in 0..<sockets.count { held += sockets[index].receiving + sockets[index].sending }
    return held
  }

  /// One socket per queue, in the order in which they were given.
  public var descriptors: [Int32] { (0..<sockets.count).map { sockets[$0].descriptor } }
}

/// What the kernel counts for an AF_XDP socket (XDP_STATISTICS in linux/if_xdp.h): losses that no other counter shows.
public struct XSKStatistics: Sendable {
  /// Packets for the socket that found no chunk in the fill ring, or were too long.
  public var rxDropped: UInt64
  /// Packets that found the RX ring full.
  public var rxRingFull: UInt64
  /// Descriptors of ours that the kernel refused.
  public var invalidDescriptors: UInt64

  public init(descriptor: Int32) throws(SystemError) {
    var statistics = xdp_statistics()
    var length = socklen_t(MemoryLayout<xdp_statistics>.size)
    try systemCall("reading XDP_STATISTICS") { unsafe getsockopt(descriptor, SOL_XDP, XDP_STATISTICS, &statistics, &length) }
    rxDropped = statistics.rx_dropped
    rxRingFull = statistics.rx_ring_full
    invalidDescriptors = statistics.rx_invalid_descs + statistics.tx_invalid_descs
  }

  /// Whether the socket got zero-copy (XDP_OPTIONS).
  public static func isZeroCopy(descriptor: Int32) throws(SystemError) -> Bool {
    var options = xdp_options()
    var length = socklen_t(MemoryLayout<xdp_options>.size)
    try systemCall("reading XDP_OPTIONS") { unsafe getsockopt(descriptor, SOL_XDP, XDP_OPTIONS, &options, &length) }
    return options.flags & UInt32(XDP_OPTIONS_ZEROCOPY) != 0
  }
}
