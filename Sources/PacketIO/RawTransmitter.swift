import CLinux
import SystemPackage

/// The sending half of a `RawPort`: the arrays that sendmmsg(2) reads, allocated once.
@safe
struct RawTransmitter: ~Copyable {
  private let capacity: Int
  private let messages: UnsafeMutablePointer<mmsghdr>
  /// Two per message: the virtio-net header, the same for all, and the frame.
  private let vectors: UnsafeMutablePointer<iovec>
  /// All zero: no offload is asked for.
  private let header: UnsafeMutablePointer<virtio_net_hdr>

  init(capacity: Int) {
    self.capacity = capacity
    unsafe messages = .allocate(capacity: capacity)
    unsafe vectors = .allocate(capacity: 2 * capacity)
    unsafe header = .allocate(capacity: 1)
    unsafe header.initialize(to: virtio_net_hdr())
    for index in 0..<capacity {
      unsafe vectors[2 * index] = iovec(iov_base: header, iov_len: MemoryLayout<virtio_net_hdr>.size)
      unsafe vectors[2 * index + 1] = iovec()
      unsafe messages[index] = mmsghdr()
      unsafe messages[index].msg_hdr.msg_iov = vectors + 2 * index
      unsafe messages[index].msg_hdr.msg_iovlen = 2
    }
  }

  deinit {
    unsafe messages.deallocate()
    unsafe vectors.deallocate()
    unsafe header.deallocate()
  }

  /// Sends all frames and releases their chunks: the kernel has copied what it took.
  mutating func transmit(_ batch: inout Batch, umem: inout UMEM, socket: borrowing OwnedDescriptor, counters: Counters) {
    var first = 0
    while first < batch.count {
      let count = min(batch.count - first, capacity)
      for index in 0..<count {
        let frame = batch[first + index]
        unsafe vectors[2 * index + 1] = iovec(iov_base: umem.pointer(frame), iov_len: Int(frame.length))
      }
      send(count, socket, counters)
      first += count
    }
    for index in 0..<batch.count { umem.release(batch[index]) }
    batch.removeAll()
  }

  /// Sends the first `count` messages. Never waits: what the socket or the device can't take now is dropped.
  private mutating func send(_ count: Int, _ socket: borrowing OwnedDescriptor, _ counters: Counters) {
    var next = 0
    var wasDown = false
    while next < count {
      let sent = unsafe Int(sendmmsg(socket.number, messages + next, UInt32(count - next), Int32(MSG_DONTWAIT)))
      let errno = Errno(rawValue: vxgw_errno())
      counters.add(1, to: PortCounter.txCalls.rawValue)
      if sent > 0 {
        var bytes = 0
        for index in next..<next + sent { bytes += unsafe vectors[2 * index + 1].iov_len }
        counters.add(sent, to: PortCounter.txFrames.rawValue)
        counters.add(bytes, to: PortCounter.txBytes.rawValue)
        next += sent
      } else if errno == .networkDown && !wasDown {
        // The socket may only report, once, that the link was down.
        wasDown = true
      } else if errno != .interrupted {
        // Too long or too short: this frame's own fault. Everything else would hit the others, too.
        let dropped = errno == .messageTooLong || errno == .invalidArgument ? 1 : count - next
        counters.add(dropped, to: PortCounter.txDropped.rawValue)
        next += dropped
      }
    }
  }
}

// It owns its memory and hands out no pointer.
extension RawTransmitter: @unchecked Sendable {}
