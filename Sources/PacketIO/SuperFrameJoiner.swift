import CLinux
import Wire

/// Takes what an AF_XDP socket receives beyond ordinary frames: super-frames (GSO of a veth's peer, GRO), which generic XDP
/// sees as the kernel has them. A chain of descriptors (XDP_PKT_CONTD) is joined in the spill, its chunks go back to the
/// pool, and its segments leave in chunks of their own; when batch or pool have no room for all, the rest waits in the
/// spill for the next call. A chain may go on in the next call, too.
///
/// AF_XDP says nothing about the sender's segments. TCP is therefore cut as large as can go on everywhere; UDP, where the
/// cuts would be datagrams, is dropped and counted.
@safe
struct SuperFrameJoiner: ~Copyable {
  /// Bytes of the largest IP packet in a segment. Nil: there are no super-frames.
  private let mtu: Int?
  private let isUnderlay: Bool
  private let isLAN: Bool
  /// Longer frames may be super-frames, in bytes.
  private let limit: UInt32
  private let spill: UnsafeMutableRawPointer
  /// Bytes of the chain so far, which may be more than the spill holds: it is dropped at its end.
  private var joined = 0
  /// Whether the next descriptor belongs to the same frame.
  private var isOpen = false
  private var superFrame: SuperFrame?

  /// - Parameters:
  ///   - mtu: see `XSKSettings.superFrameMTU`.
  ///   - role: what arrives: VXLAN packets, of which what is inside gets cut, or a LAN's frames, or both.
  init(mtu: Int?, role: NICRole) {
    self.mtu = mtu
    isUnderlay = role.underlay != nil
    isLAN = role.lan != nil
    let overhead = isLAN ? 0 : VXLAN.overheadIPv4
    limit = mtu.map { UInt32($0 + Ethernet.headerLength + overhead) } ?? .max
    unsafe spill = .allocate(byteCount: mtu == nil ? 0 : SuperFrame.capacity, alignment: 64)
  }

  deinit { unsafe spill.deallocate() }

  /// A descriptor up to this length (in bytes) that has no successor is an ordinary frame.
  var ordinaryLength: UInt32 { isOpen ? 0 : limit }

  /// Takes a descriptor that may not be an ordinary frame; `batch` has room for one. False when there is more to hand on
  /// than batch or pool have room for.
  @inline(never)
  mutating func take(_ descriptor: xdp_desc, to batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) -> Bool {
    let chunk = Frame(start: UInt32(truncatingIfNeeded: descriptor.addr), length: UInt16(truncatingIfNeeded: descriptor.len))
    let wasOpen = isOpen
    isOpen = descriptor.options & UInt32(XDP_PKT_CONTD) != 0
    if !wasOpen && !isOpen && segmentation(umem.bytes(chunk)).map({ $0.count == 1 }) ?? true {
      // Tags made it long; or it is no TCP and in one piece, and the data path knows what is too long.
      batch.append(chunk)
      counters.add(1, to: PortCounter.rxFrames.rawValue)
      counters.add(Int(chunk.length), to: PortCounter.rxBytes.rawValue)
      return true
    }
    join(chunk, umem)
    umem.release(chunk)
    return isOpen || close(to: &batch, &umem, counters)
  }

  private mutating func join(_ chunk: Frame, _ umem: borrowing UMEM) {
    let length = Int(chunk.length)
    if joined + length <= SuperFrame.capacity {
      unsafe (spill + joined).copyMemory(from: umem.pointer(chunk), byteCount: length)
    }
    joined += length
  }

  /// The chain is complete.
  private mutating func close(to batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) -> Bool {
    let length = joined
    joined = 0
    if length <= SuperFrame.capacity, let plan = segmentation(unsafe RawSpan(_unsafeStart: spill, byteCount: length)) {
      superFrame = SuperFrame(plan, at: 0..<length, umem)
    }
    if superFrame == nil { counters.dropReceived(length: length) }
    return handOn(to: &batch, &umem, counters)
  }

  /// Hands on what waits in the spill, as far as there is room. True when nothing is left.
  mutating func handOn(to batch: inout Batch, _ umem: inout UMEM, _ counters: Counters) -> Bool {
    guard let length = superFrame?.range.count else { return true }
    let bytes = unsafe RawSpan(_unsafeStart: spill, byteCount: length)
    guard superFrame?.handOn(bytes, to: &batch, &umem, counters) == true else { return false }
    superFrame = nil
    return true
  }

  private func segmentation(_ frame: RawSpan) -> Segmentation? {
    guard let mtu else { return nil }
    if isUnderlay, let plan = Segmentation(frame, mtu: mtu, isVXLAN: true) { return plan }
    return isLAN ? Segmentation(frame, mtu: mtu, isVXLAN: false) : nil
  }
}

// It owns its memory; the slices that it makes of it stay inside a call.
extension SuperFrameJoiner: @unchecked Sendable {}
