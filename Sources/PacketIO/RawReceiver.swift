import CLinux
import SystemPackage
import Wire

/// The receiving half of a `RawPort`. Ordinary frames are copied out of the ring into a chunk. What does not fit a slot of the ring, a
/// super-frame as a rule, is read from the socket's queue into the spill, and its segments leave in chunks of their own; when batch
/// or pool have no room for all, the rest waits there for the next call.
@safe
struct RawReceiver: ~Copyable {
  private var ring: PacketRing
  private let spill: UnsafeMutableRawPointer
  /// The super-frame that is in the spill.
  private var superFrame: SuperFrame?

  /// A VLAN tag, in bytes: room in front of every frame to put one back.
  private static let tagLength = 4

  init(_ ring: consuming PacketRing) {
    self.ring = ring
    unsafe spill = .allocate(byteCount: Self.tagLength + SuperFrame.capacity + 1, alignment: 64)
  }

  deinit { unsafe spill.deallocate() }

  /// A super-frame that was received and not handed on counts as dropped.
  mutating func close(_ counters: Counters) {
    guard let range = superFrame?.range else { return }
    counters.dropReceived(length: range.count)
    superFrame = nil
  }

  /// Hands on what an earlier call left, and what is in the ring.
  mutating func receive(into batch: inout Batch, umem: inout UMEM, socket: borrowing OwnedDescriptor, counters: Counters) {
    if superFrame != nil && !handOnSegments(to: &batch, &umem, counters) { return }
    while !batch.isFull, let slot = ring.first() {
      guard handOn(slot, to: &batch, &umem, socket, counters) else { return }
    }
  }

  /// Hands the ring's first frame on. False when batch or pool have no room for (all of) it.
  private mutating func handOn(
    _ slot: PacketRing.Slot, to batch: inout Batch, _ umem: inout UMEM, _ socket: borrowing OwnedDescriptor, _ counters: Counters
  ) -> Bool {
    if slot.isCut || slot.offloads.isSuperFrame {
      superFrame = join(slot, umem, socket, counters)
      ring.release()
      guard superFrame != nil else {
        counters.dropReceived(length: slot.length)
        return true
      }
      return handOnSegments(to: &batch, &umem, counters)
    }
    guard var frame = umem.allocate() else { return false }
    guard slot.length >= Ethernet.headerLength, slot.length <= umem.room(frame) else {
      umem.release(frame)
      ring.release()
      counters.dropReceived(length: slot.length)
      return true
    }
    frame.length = UInt16(slot.length)
    umem.fill(frame, with: ring.bytes(slot))
    ring.release()
    var bytes = umem.mutableBytes(frame)
    slot.offloads.completeChecksum(&bytes)
    if let tag = slot.tag {
      frame.prepend(Self.tagLength)
      bytes = umem.mutableBytes(frame)
      Self.insert(tag, into: &bytes)
    }
    batch.append(received: frame, counters)
    return true
  }

  /// Puts a frame into the spill, and reads its headers. Returns where it is; nil when it is no super-frame that can be cut into frames
  /// that fit a chunk.
  private mutating func join(
    _ slot: PacketRing.Slot, _ umem: borrowing UMEM, _ socket: borrowing OwnedDescriptor, _ counters: Counters
  ) -> SuperFrame? {
    var start = Self.tagLength
    if slot.isQueued {
      guard read(into: start, socket, counters) == slot.length else { return nil }
    } else {
      guard !slot.isCut, slot.length <= SuperFrame.capacity else { return nil }
      let bytes = ring.bytes(slot)
      unsafe bytes.withUnsafeBytes { unsafe (spill + start).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }
    guard slot.offloads.isSuperFrame, slot.length >= Ethernet.headerLength else { return nil }
    let end = start + slot.length
    var transport = slot.offloads.needsChecksum ? Int(slot.offloads.csum_start) : nil
    if let tag = slot.tag {
      start -= Self.tagLength
      transport = transport.map { $0 + Self.tagLength }
      var bytes = unsafe MutableRawSpan(_unsafeStart: spill + start, byteCount: end - start)
      Self.insert(tag, into: &bytes)
    }
    let bytes = unsafe RawSpan(_unsafeStart: spill + start, byteCount: end - start)
    guard let plan = Segmentation(bytes, size: Int(slot.offloads.gso_size), transport: transport) else { return nil }
    return SuperFrame(plan, at: start..<end, umem)
  }

  /// Reads the oldest frame of the socket's queue into the spill. Returns its length, or nil when it is longer than the spill or gone.
  private func read(into start: Int, _ socket: borrowing OwnedDescriptor, _ counters: Counters) -> Int? {
    var header = virtio_net_hdr()
    counters.add(1, to: PortCounter.rxCalls.rawValue)
    let result = unsafe withUnsafeMutablePointer(to: &header) { header in
      unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
        unsafe vectors[0] = iovec(iov_base: header, iov_len: virtio_net_hdr.size)
        // One byte more, which shows whether it was longer.
        unsafe vectors[1] = iovec(iov_base: spill + start, iov_len: SuperFrame.capacity + 1)
        return unsafe readv(socket.number, vectors.baseAddress, 2)
      }
    }
    let length = result - virtio_net_hdr.size
    return (0...SuperFrame.capacity).contains(length) ? length : nil
  }

  /// Cuts the super-frame on, as far as there is room. True when it is done.
  private mutating func handOnSegments(to batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) -> Bool {
    guard let range = superFrame?.range else { preconditionFailure("no super-frame to cut") }
    let bytes = unsafe RawSpan(_unsafeStart: spill + range.lowerBound, byteCount: range.count)
    guard superFrame?.handOn(bytes, to: &batch, &umem, counters) == true else { return false }
    superFrame = nil
    return true
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
