import CLinux
import SystemPackage
import Wire

/// The receiving half of a `RawPort`: the arrays that recvmmsg(2) fills, allocated once.
///
/// Each slot has a chunk of the UMEM, and spill memory for the rest of a super-frame. An ordinary frame leaves with its
/// slot's chunk. A super-frame is put together in the spill, the chunk stays, and its segments leave in chunks of their own;
/// when batch or pool have no room for all, the rest waits in the spill for the next call.
@safe
struct RawReceiver: ~Copyable {
  private let capacity: Int
  private let messages: UnsafeMutablePointer<mmsghdr>
  /// Three per message: virtio-net header, chunk, spill.
  private let vectors: UnsafeMutablePointer<iovec>
  private let headers: UnsafeMutablePointer<virtio_net_hdr>
  private let auxiliary: UnsafeMutablePointer<vxgw_auxdata>
  private let spill: UnsafeMutableRawPointer
  private var chunks: FixedBuffer<Frame?>
  /// Chunks in `chunks`.
  private(set) var heldChunks = 0

  /// Messages that the last call received, and the first of them that has not been handed on.
  private var received = 0
  private var next = 0
  /// The super-frame at `next`, in its slot's spill.
  private var superFrame: SuperFrame?

  /// A VLAN tag, in bytes: room in front of every frame to put one back.
  private static let tagLength = 4

  init(capacity: Int) {
    self.capacity = capacity
    unsafe messages = .allocate(capacity: capacity)
    unsafe vectors = .allocate(capacity: 3 * capacity)
    unsafe headers = .allocate(capacity: capacity)
    unsafe auxiliary = .allocate(capacity: capacity)
    unsafe spill = .allocate(byteCount: capacity * SuperFrame.capacity, alignment: 64)
    chunks = FixedBuffer(repeating: nil, count: capacity)
    for slot in 0..<capacity {
      unsafe headers[slot] = virtio_net_hdr()
      unsafe auxiliary[slot] = vxgw_auxdata()
      unsafe vectors[3 * slot] = iovec(iov_base: headers + slot, iov_len: virtio_net_hdr.size)
      unsafe messages[slot] = mmsghdr()
      unsafe messages[slot].msg_hdr.msg_iov = vectors + 3 * slot
      unsafe messages[slot].msg_hdr.msg_iovlen = 3
      unsafe messages[slot].msg_hdr.msg_control = UnsafeMutableRawPointer(auxiliary + slot)
    }
  }

  deinit {
    unsafe messages.deallocate()
    unsafe vectors.deallocate()
    unsafe headers.deallocate()
    unsafe auxiliary.deallocate()
    unsafe spill.deallocate()
  }

  /// Gives back the chunks that are ready to receive into. Frames that were received and not handed on count as dropped.
  mutating func close(umem: inout UMEM, counters: Counters) {
    counters.add(received - next, to: PortCounter.rxFrames.rawValue)
    counters.add(received - next, to: PortCounter.rxDropped.rawValue)
    for slot in 0..<capacity {
      guard let chunk = chunks[slot] else { continue }
      umem.release(chunk)
      chunks[slot] = nil
    }
    (heldChunks, received, next, superFrame) = (0, 0, 0, nil)
  }

  /// Hands on what an earlier call left, or else what one system call receives.
  mutating func receive(into batch: inout Batch, umem: inout UMEM, socket: borrowing OwnedDescriptor, counters: Counters) {
    if next == received {
      call(arm(min(capacity, batch.capacity - batch.count), &umem), socket, counters)
    }
    while next < received, handOn(next, to: &batch, &umem, counters) { next += 1 }
  }

  /// Gives the first `wanted` slots a chunk each, as far as the pool has some. Returns how many have one.
  private mutating func arm(_ wanted: Int, _ umem: inout UMEM) -> Int {
    for slot in 0..<wanted {
      guard let chunk = chunks[slot] ?? umem.allocate() else { return slot }
      if chunks[slot] == nil { heldChunks += 1 }
      chunks[slot] = chunk
      let room = umem.room(chunk)
      unsafe vectors[3 * slot + 1] = iovec(iov_base: umem.pointer(chunk), iov_len: room)
      // Behind the place of the part that goes into the chunk, so that both parts can be joined.
      let start = slot * SuperFrame.capacity + Self.tagLength + room
      unsafe vectors[3 * slot + 2] = iovec(iov_base: spill + start, iov_len: SuperFrame.capacity - Self.tagLength - room)
      unsafe messages[slot].msg_hdr.msg_controllen = MemoryLayout<vxgw_auxdata>.size
    }
    return wanted
  }

  /// One recvmmsg(2) into the first `count` slots.
  private mutating func call(_ count: Int, _ socket: borrowing OwnedDescriptor, _ counters: Counters) {
    next = 0
    received = 0
    guard count > 0 else { return }
    let result = unsafe recvmmsg(socket.number, messages, UInt32(count), Int32(MSG_DONTWAIT), nil)
    let errno = Errno(rawValue: vxgw_errno())
    counters.add(1, to: PortCounter.rxCalls.rawValue)
    if result >= 0 {
      received = Int(result)
    } else if errno == .invalidArgument {
      // A super-frame that a virtio-net header has no word for (SCTP; UDP before Linux 6.2): the kernel dropped it. All
      // other errors concern no frame: nothing there, or the link went down.
      counters.dropReceived(length: 0)
    }
  }

  /// Hands a message on. False when batch or pool have no room for (all of) it.
  private mutating func handOn(_ slot: Int, to batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) -> Bool {
    guard !batch.isFull else { return false }
    if superFrame != nil { return handOnSegments(to: &batch, &umem, counters) }
    guard var frame = chunks[slot] else { preconditionFailure("slot \(slot) received without a chunk") }
    let header = unsafe headers[slot]
    let length = unsafe Int(messages[slot].msg_len) - virtio_net_hdr.size
    let isCut = unsafe messages[slot].msg_hdr.msg_flags & Int32(MSG_TRUNC) != 0
    if header.isSuperFrame && !isCut {
      superFrame = join(slot, length, header, umem)
      guard superFrame != nil else {
        counters.dropReceived(length: length)
        return true
      }
      return handOnSegments(to: &batch, &umem, counters)
    }
    guard !isCut, length >= Ethernet.headerLength, length <= umem.room(frame) else {
      counters.dropReceived(length: length)
      return true
    }
    chunks[slot] = nil
    heldChunks -= 1
    frame.length = UInt16(length)
    var bytes = umem.mutableBytes(frame)
    header.completeChecksum(&bytes)
    if let tag = tag(slot) {
      frame.prepend(Self.tagLength)
      bytes = umem.mutableBytes(frame)
      Self.insert(tag, into: &bytes)
    }
    batch.append(received: frame, counters)
    return true
  }

  /// Joins a super-frame's two parts in the slot's spill and reads its headers. Returns where it is; nil when it can't be
  /// cut into frames that fit a chunk.
  private mutating func join(
    _ slot: Int, _ length: Int, _ header: virtio_net_hdr, _ umem: borrowing UMEM
  ) -> SuperFrame? {
    guard let chunk = chunks[slot], length >= Ethernet.headerLength else { return nil }
    var start = slot * SuperFrame.capacity + Self.tagLength
    let end = start + length
    unsafe (spill + start).copyMemory(from: umem.pointer(chunk), byteCount: min(length, umem.room(chunk)))
    var transport = header.needsChecksum ? Int(header.csum_start) : nil
    if let tag = tag(slot) {
      start -= Self.tagLength
      transport = transport.map { $0 + Self.tagLength }
      var bytes = unsafe MutableRawSpan(_unsafeStart: spill + start, byteCount: end - start)
      Self.insert(tag, into: &bytes)
    }
    let bytes = unsafe RawSpan(_unsafeStart: spill + start, byteCount: end - start)
    guard let plan = Segmentation(bytes, size: Int(header.gso_size), transport: transport) else { return nil }
    return SuperFrame(plan, at: start..<end, umem)
  }

  /// Cuts the super-frame on, as far as there is room. True when it is done.
  private mutating func handOnSegments(to batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) -> Bool {
    guard let range = superFrame?.range else { preconditionFailure("no super-frame to cut") }
    let bytes = unsafe RawSpan(_unsafeStart: spill + range.lowerBound, byteCount: range.count)
    guard superFrame?.handOn(bytes, to: &batch, &umem, counters) == true else { return false }
    superFrame = nil
    return true
  }

  /// TPID and TCI of the VLAN tag that the kernel has taken out of the frame.
  private func tag(_ slot: Int) -> UInt32? {
    let data = unsafe auxiliary[slot].data
    guard unsafe messages[slot].msg_hdr.msg_controllen > 0, data.tp_status & UInt32(TP_STATUS_VLAN_VALID) != 0 else { return nil }
    let hasTPID = data.tp_status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
    return UInt32(hasTPID ? data.tp_vlan_tpid : EtherType.customerTag) << 16 | UInt32(data.tp_vlan_tci)
  }

  /// Puts a tag behind the MAC addresses, which move to the front; the first four bytes are free.
  private static func insert(_ tag: UInt32, into frame: inout MutableRawSpan) {
    frame.store(frame.bytes.mac(at: tagLength), at: 0)
    frame.store(frame.bytes.mac(at: tagLength + 6), at: 6)
    frame.store(big32: tag, at: 12)
  }
}

// It owns its memory; the slices that it makes of it stay inside a call.
extension RawReceiver: @unchecked Sendable {}
