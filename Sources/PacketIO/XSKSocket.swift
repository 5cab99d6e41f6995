import CLinux
import SystemPackage

/// One AF_XDP socket on one queue of a NIC, with its four rings. The verbs are libxdp's (xdp/xsk.h): *reserve* and
/// *submit* on the rings that we produce into, *peek* and *release* on those that we consume from. Producer and consumer
/// indexes are acquired and released inside them; each ring is touched once per batch.
@safe
struct XSKSocket: ~Copyable, @unchecked Sendable {
  private let memory: XSKMemory
  private let interface: String
  private let queue: Int
  private let isFirst: Bool
  private var isClosed = false
  private let socket: OpaquePointer
  let descriptor: Int32
  private let rings: UnsafeMutablePointer<vxgw_xsk_rings>
  private var joiner: SuperFrameJoiner
  /// Chunks in the fill and RX rings, and in the TX and completion rings.
  private(set) var receiving = 0
  private(set) var sending = 0
  /// For each chunk whether the kernel has it of this socket. Rings do not show all of them: the kernel and zero-copy drivers
  /// keep some to themselves, and give none back when the socket is closed. Bytes, not bits: writing one reads nothing.
  private var lent: FixedBuffer<Bool>
  private let chunkShift: UInt32

  /// - Parameter isFirst: the first socket on the UMEM takes over the rings that were made with it.
  init(_ memory: XSKMemory, interface: String, role: NICRole, queue: Int, isFirst: Bool) throws(SystemError) {
    self.memory = memory
    self.interface = interface
    self.queue = queue
    self.isFirst = isFirst
    joiner = SuperFrameJoiner(mtu: memory.settings.superFrameMTU, role: role)
    // These very rings: if binding fails, libxdp unmaps any others but leaves those that belong to the UMEM.
    let rings = unsafe isFirst ? memory.rings : .allocate(capacity: 1)
    if !isFirst { unsafe rings.initialize(to: vxgw_xsk_rings()) }
    unsafe self.rings = rings
    do throws(SystemError) { unsafe socket = try Self.open(memory, interface, queue, rings, isFirst) } catch {
      if !isFirst { unsafe rings.deallocate() }
      throw error
    }
    lent = FixedBuffer(repeating: false, count: memory.chunkCount)
    chunkShift = UInt32(memory.chunkSize.trailingZeroBitCount)
    descriptor = unsafe xsk_socket__fd(socket)
    raiseLimits()
  }

  private static func open(
    _ memory: XSKMemory, _ interface: String, _ queue: Int, _ rings: UnsafeMutablePointer<vxgw_xsk_rings>, _ isFirst: Bool
  ) throws(SystemError) -> OpaquePointer {
    var config = xsk_socket_config()
    config.rx_size = UInt32(memory.settings.ring)
    config.tx_size = UInt32(memory.settings.ring)
    // Our own program is attached already, by a link that goes with the process.
    config.libxdp_flags = UInt32(XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD)
    // Those of the first socket count; libxdp leaves them out for the others, and the kernel takes them from the UMEM.
    config.bind_flags = UInt16(
      XDP_USE_NEED_WAKEUP | (memory.settings.zeroCopy ? XDP_ZEROCOPY : XDP_COPY) | (memory.settings.superFrameMTU == nil ? 0 : XDP_USE_SG))
    var attempts = 0
    while true {
      var socket: OpaquePointer?
      let result = memory.books.withLock { _ in
        unsafe xsk_socket__create_shared(
          &socket, interface, UInt32(queue), memory.umem, &rings.pointee.rx, &rings.pointee.tx, &rings.pointee.fill,
          &rings.pointee.completion, &config)
      }
      if result == 0, let socket = unsafe socket { return unsafe socket }
      let error = SystemError("AF_XDP bind on queue \(queue)", errno: Errno(rawValue: -result))
      // A socket that was closed just now still has the queue (see `awaitRelease`).
      attempts += 1
      guard error.errno == .resourceBusy, !isFirst, attempts < releaseAttempts else { throw error }
      Tick.pause(microseconds: 1000)
    }
  }

  deinit {
    if !isClosed { unsafe Self.delete(socket, memory) }
    if !isFirst { unsafe rings.deallocate() }
  }

  private static func delete(_ socket: OpaquePointer, _ memory: XSKMemory) {
    memory.books.withLock { _ in unsafe xsk_socket__delete(socket) }
  }

  /// Closes the socket, and gives back its chunks. After the first one is closed, others go on, but no more can be made on the
  /// UMEM (EBADF).
  mutating func close(_ umem: inout UMEM) {
    if isFirst && !Self.end(descriptor) { return }
    unsafe Self.delete(socket, memory)
    isClosed = true
    if memory.settings.zeroCopy { Self.awaitRelease(interface, queue) }
    releaseLent(to: &umem)
  }

  /// libxdp keeps the first socket open for the UMEM: another one that does nothing takes its place. False when there is none
  /// to be had; then the chunks stay with the old one.
  private static func end(_ descriptor: Int32) -> Bool {
    let other = OwnedDescriptor(CLinux.socket(AF_XDP, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0))
    return dup2(other.number, descriptor) >= 0
  }

  /// Milliseconds to wait for the kernel's own thread, more than enough.
  private static let releaseAttempts = 500

  /// The kernel takes queue and memory of a closed socket away from the driver in a thread of its own (xp_release_deferred in
  /// net/xdp/xsk_buff_pool.c). Waits until it has, shown by a socket that gets the queue: before, a zero-copy driver may write
  /// into the chunks.
  static func awaitRelease(_ interface: String, _ queue: Int) {
    for _ in 0..<releaseAttempts {
      do throws(SystemError) {
        let umem = try UMEM(chunkSize: 2048, chunkCount: 2)
        let memory = try XSKMemory(umem, settings: XSKSettings(ring: 2, zeroCopy: false))
        _ = try XSKSocket(memory, interface: interface, role: NICRole(), queue: queue, isFirst: true)
        return
      } catch {
        // ENODEV: the NIC itself is gone.
        guard error.errno == .resourceBusy else { return }
        Tick.pause(microseconds: 1000)
      }
    }
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
  private mutating func lend(_ address: UInt32) { lent[Int(address &>> chunkShift)] = true }

  @inline(__always)
  private mutating func takeBack(_ address: UInt32) { lent[Int(address &>> chunkShift)] = false }

  /// Every chunk that the kernel has of this socket goes back to the pool: only once the socket is closed.
  private mutating func releaseLent(to umem: inout UMEM) {
    for chunk in 0..<lent.count where lent[chunk] {
      umem.release(chunkAt: UInt32(chunk) << chunkShift)
      lent[chunk] = false
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
