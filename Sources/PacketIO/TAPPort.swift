import CLinux
import SystemPackage
import Wire

/// One queue of a TAP device (Documentation/networking/tuntap.rst), which this process makes and which goes with its last
/// queue, also on kill -9. The kernel's side is an interface like any other; bringing it up is not this type's business.
///
/// Each frame has a virtio-net header of ten bytes, tun's default, in front. The kernel may leave checksums to us, which is
/// cheaper here, where the frame is touched anyway; super-frames it cuts itself, since it was not told that we take them.
@safe
public struct TAPPort: ~Copyable {
  private let device: OwnedDescriptor
  /// Of the interface.
  public let name: String
  public let counters = Counters(count: PortCounter.allCases.count)
  private let header: UnsafeMutablePointer<virtio_net_hdr>
  /// Virtio-net header, frame, and a byte that shows whether a frame was longer.
  private let vectors: UnsafeMutablePointer<iovec>
  private let overflow: UnsafeMutablePointer<UInt8>

  /// Makes a device, and its first queue. `addQueue` makes others.
  ///
  /// A device for many queues costs 256 transmit queues' worth of memory in the kernel even when it has one; with one queue
  /// attached, frames go to it without a look at the flow table.
  ///
  /// - Throws: `SystemError`: EBUSY when there is an interface of this name, EINVAL when it can't be one, EPERM without CAP_NET_ADMIN.
  public init(creating name: String) throws(SystemError) {
    self.init(try Self.open(name, flags: IFF_TUN_EXCL, "creating TAP device \(name)"), name)
  }

  /// Another queue of the same device, for another worker. The kernel spreads flows over the queues.
  public func addQueue() throws(SystemError) -> TAPPort {
    TAPPort(try Self.open(name, flags: 0, "adding a queue to TAP device \(name)"), name)
  }

  private static func open(_ name: String, flags: Int32, _ call: String) throws(SystemError) -> OwnedDescriptor {
    // The kernel would choose a name, and with every queue another one, if this is empty or has a percent sign.
    guard (1..<Int(IFNAMSIZ)).contains(name.utf8.count), !name.contains("%") else { throw SystemError(call, errno: .invalidArgument) }
    let device = OwnedDescriptor(try systemCall("opening /dev/net/tun", vxgw_tun_open))
    let number = device.number
    var request = unsafe ifreq()
    unsafe request.ifr_ifru.ifru_flags = Int16(truncatingIfNeeded: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | flags)
    unsafe withUnsafeMutableBytes(of: &request.ifr_ifrn) { unsafe $0.copyBytes(from: name.utf8) }
    try systemCall(call) { unsafe vxgw_tun_set_interface(number, &request) }
    try systemCall("TAP device \(name): accepting partial checksums") { vxgw_tun_set_offload(number, UInt32(TUN_F_CSUM)) }
    return device
  }

  private init(_ device: consuming OwnedDescriptor, _ name: String) {
    self.device = device
    self.name = name
    unsafe header = .allocate(capacity: 1)
    unsafe header.initialize(to: virtio_net_hdr())
    unsafe overflow = .allocate(capacity: 1)
    unsafe vectors = .allocate(capacity: 3)
    unsafe vectors[0] = iovec(iov_base: header, iov_len: virtio_net_hdr.size)
    unsafe vectors[1] = iovec()
    unsafe vectors[2] = iovec(iov_base: overflow, iov_len: 1)
  }

  deinit {
    unsafe header.deallocate()
    unsafe overflow.deallocate()
    unsafe vectors.deallocate()
  }

  public var descriptors: [Int32] { [device.number] }

  public mutating func receive(into batch: inout Batch, umem: inout UMEM) {
    while !batch.isFull, let chunk = umem.allocate() {
      guard let frame = read(chunk, &umem) else {
        umem.release(chunk)
        return
      }
      if frame.length > 0 {
        batch.append(frame)
      } else {
        umem.release(chunk)
        counters.add(1, to: PortCounter.rxDropped.rawValue)
      }
    }
  }

  /// Reads a frame into a chunk; nil when there is none. It is empty when it must be dropped.
  private mutating func read(_ chunk: Frame, _ umem: inout UMEM) -> Frame? {
    let room = umem.room(chunk)
    unsafe vectors[1] = iovec(iov_base: umem.pointer(chunk), iov_len: room)
    let result = unsafe readv(device.number, vectors, 3)
    let errno = Errno(rawValue: vxgw_errno())
    counters.add(1, to: PortCounter.rxCalls.rawValue)
    // EAGAIN: nothing there. EINVAL: dropped by the kernel, since a virtio-net header has no word for it. All other errors
    // concern the device: its state is watched elsewhere.
    guard result >= 0 || errno == .invalidArgument else { return nil }
    let length = max(0, result - virtio_net_hdr.size)
    counters.add(1, to: PortCounter.rxFrames.rawValue)
    counters.add(length, to: PortCounter.rxBytes.rawValue)
    var frame = chunk
    guard length <= room else { return frame }
    frame.length = UInt16(length)
    frame.checksumIsComplete = true
    var bytes = umem.mutableBytes(frame)
    unsafe header.pointee.completeChecksum(&bytes)
    return frame
  }

  public mutating func transmit(_ batch: inout Batch, umem: inout UMEM) {
    unsafe header.pointee = virtio_net_hdr()
    for index in 0..<batch.count {
      let frame = batch[index]
      unsafe vectors[1] = iovec(iov_base: umem.pointer(frame), iov_len: Int(frame.length))
      let isSent = unsafe writev(device.number, vectors, 2) > 0
      // EIO: the interface is down; EINVAL: no Ethernet frame; ENOMEM. Frame and chunk end here in any case.
      counters.add(1, to: (isSent ? PortCounter.txFrames : .txDropped).rawValue)
      counters.add(isSent ? Int(frame.length) : 0, to: PortCounter.txBytes.rawValue)
      umem.release(frame)
    }
    counters.add(batch.count, to: PortCounter.txCalls.rawValue)
    batch.removeAll()
  }
}

// It owns its memory and hands out no pointer.
extension TAPPort: @unchecked Sendable {}
