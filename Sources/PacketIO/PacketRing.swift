import CLinux
import SystemPackage
import Wire

/// The receive ring of a packet socket (PACKET_RX_RING, Documentation/networking/packet_mmap.rst): slots that the kernel fills, one frame
/// each, and that are its own again once they have been released.
///
/// Version 2: version 3 hands over whole blocks, those that do not fill after a time-out.
@safe
struct PacketRing: ~Copyable {
  private let memory: UnsafeMutableRawPointer
  private let slotSize: Int
  private let slotCount: Int
  /// The slot that the kernel fills next, or has filled and we have not released.
  private var head = 0

  /// What the kernel says about a frame (struct tpacket2_hdr, and the virtio-net header in front of the frame).
  struct Slot {
    /// The frame's bytes in the slot, which may be fewer than it had.
    fileprivate let range: Range<Int>
    /// Of the whole frame.
    let length: Int
    let offloads: virtio_net_hdr
    /// TPID and TCI of the VLAN tag that the kernel has taken out of the frame.
    let tag: UInt32?
    /// The frame did not fit the slot, and waits in the socket's queue.
    let isQueued: Bool

    var isCut: Bool { range.count < length }
  }

  /// The kernel's memory for slots comes in blocks of this size, in bytes, or of one slot: it finds smaller ones more easily than one of
  /// megabytes. Since both are powers of two, slots follow each other without a gap.
  private static let blockSize = 1 << 16
  /// In bytes: fewer slots where they are large.
  private static let largestSize = 16 << 20

  /// - Parameters:
  ///   - socket: not bound yet, with PACKET_VNET_HDR set, which the kernel refuses to change later.
  ///   - slotCount: rounded up to whole blocks; fewer when they would take more than 16 MiB.
  ///   - slotSize: bytes, a power of two; some 90 of them are for the headers.
  init(_ socket: borrowing OwnedDescriptor, slotCount: Int, slotSize: Int) throws(SystemError) {
    precondition(slotSize.nonzeroBitCount == 1 && (2048...Self.largestSize).contains(slotSize) && slotCount > 0)
    let blockSize = max(Self.blockSize, slotSize)
    let size = min((slotCount * slotSize + blockSize - 1) / blockSize * blockSize, Self.largestSize)
    var request = tpacket_req()
    request.tp_block_size = UInt32(blockSize)
    request.tp_block_nr = UInt32(size / blockSize)
    request.tp_frame_size = UInt32(slotSize)
    request.tp_frame_nr = UInt32(size / slotSize)
    try socket.set(SOL_PACKET, PACKET_VERSION, to: Int32(TPACKET_V2.rawValue), "setting PACKET_VERSION")
    // What does not fit a slot comes through the queue as well.
    try socket.set(SOL_PACKET, PACKET_COPY_THRESH, to: Int32(1), "setting PACKET_COPY_THRESH")
    try socket.set(SOL_PACKET, PACKET_RX_RING, to: request, "making a receive ring of \(size) bytes")
    let memory = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, socket.number, 0)
    guard let memory = unsafe memory, unsafe memory != UnsafeMutableRawPointer(bitPattern: -1) /* MAP_FAILED */ else {
      throw SystemError("mmap of a receive ring")
    }
    unsafe self.memory = memory
    self.slotSize = slotSize
    self.slotCount = size / slotSize
  }

  deinit { unsafe munmap(memory, slotCount * slotSize) }

  private func header(_ slot: Int) -> UnsafeMutablePointer<tpacket2_hdr> {
    unsafe (memory + slot * slotSize).assumingMemoryBound(to: tpacket2_hdr.self)
  }

  /// The oldest frame; nil when there is none.
  func first() -> Slot? {
    let header = unsafe self.header(head)
    let status = unsafe vxgw_load_acquire(&header.pointee.tp_status)
    guard status & UInt32(TP_STATUS_USER) != 0 else { return nil }
    prefetchNext()
    let start = unsafe Int(header.pointee.tp_mac)
    let range = unsafe start..<start + Int(header.pointee.tp_snaplen)
    precondition(start >= MemoryLayout<tpacket2_hdr>.size + virtio_net_hdr.size && range.upperBound <= slotSize)
    var tag: UInt32?
    if status & UInt32(TP_STATUS_VLAN_VALID) != 0 {
      let hasTPID = status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
      tag = unsafe UInt32(hasTPID ? header.pointee.tp_vlan_tpid : EtherType.customerTag) << 16 | UInt32(header.pointee.tp_vlan_tci)
    }
    let offloads = unsafe memory.loadUnaligned(fromByteOffset: head * slotSize + start - virtio_net_hdr.size, as: virtio_net_hdr.self)
    return unsafe Slot(
      range: range, length: Int(header.pointee.tp_len), offloads: offloads, tag: tag, isQueued: status & UInt32(TP_STATUS_COPY) != 0)
  }

  /// Another processor wrote them.
  private func prefetchNext() {
    let slot = unsafe memory + (head + 2 < slotCount ? head + 2 : head + 2 - slotCount) * slotSize
    for line in 0..<4 { unsafe vxgw_prefetch(slot + 64 * line) }
  }

  /// The bytes of the frame that `first` has told about.
  @_lifetime(borrow self)
  func bytes(_ slot: Slot) -> RawSpan {
    let span = unsafe RawSpan(_unsafeStart: memory + head * slotSize + slot.range.lowerBound, byteCount: slot.range.count)
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// Gives the slot of the oldest frame back to the kernel.
  mutating func release() {
    unsafe vxgw_store_release(&header(head).pointee.tp_status, UInt32(TP_STATUS_KERNEL))
    head = head + 1 < slotCount ? head + 1 : 0
  }
}

// It owns its mapping; the spans that it makes of it end with the call.
extension PacketRing: @unchecked Sendable {}
