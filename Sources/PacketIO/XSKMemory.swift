import CLinux
import Synchronization
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

/// A UMEM registered with the kernel: what the AF_XDP sockets of one worker share. They come and go while the worker uses the
/// others: any thread may make and close sockets, since libxdp's own books of the UMEM (a list without a lock) are kept under
/// `books`, and the ring verbs don't look at them.
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
  let books = Mutex(())

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
