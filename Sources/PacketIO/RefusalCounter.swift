import CLinux
import SystemPackage

/// Counts the frames that the fast path sent to a NIC and the NIC refused, into `FastPathTables.Forwarded.dropped`: the kernel
/// drops them after the XDP program has ended, and tells its tracepoints alone.
@safe
public struct RefusalCounter: ~Copyable, Sendable {
  private let object: BPFObject
  private let refused: OwnedDescriptor
  private let notRedirected: OwnedDescriptor

  /// - Throws: `SystemError`: ENOENT or ESRCH where the kernel has no BTF (CONFIG_DEBUG_INFO_BTF) or not these tracepoints.
  public init(_ tables: FastPathTables) throws(SystemError) {
    let object = try BPFObject.loadRefusals(tables)
    let refused = OwnedDescriptor(try Self.attach(BPFObject.refusals[0], object))
    let notRedirected = OwnedDescriptor(try Self.attach(BPFObject.refusals[1], object))
    self.refused = refused
    self.notRedirected = notRedirected
    self.object = object
  }

  private static func attach(_ name: String, _ object: borrowing BPFObject) throws(SystemError) -> Int32 {
    try systemCall("attaching \(name)") {
      unsafe bpf_raw_tracepoint_open(nil, bpf_program__fd(object.program(named: name)))
    }
  }
}
