import CLinux
import Wire

extension virtio_net_hdr {
  static var size: Int { MemoryLayout<virtio_net_hdr>.size }

  /// The kernel left the transport checksum to us.
  var needsChecksum: Bool { Int32(flags) & VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 }

  /// A super-frame.
  var isSuperFrame: Bool { Int32(gso_type) & ~VIRTIO_NET_HDR_GSO_ECN != VIRTIO_NET_HDR_GSO_NONE }

  /// Completes the checksum of the frame behind this header, if the kernel left it to us.
  func completeChecksum(_ frame: inout MutableRawSpan) {
    guard needsChecksum else { return }
    PartialChecksum.complete(&frame, start: Int(csum_start), offset: Int(csum_offset))
  }
}
