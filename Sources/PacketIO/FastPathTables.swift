import CLinux
import SystemPackage
import Wire

/// What the XDP program forwards by, besides the data path's FDB and VTEP table, which it reads as they are
/// (`bpf/fastpath.h`). All NICs' programs share it. The control plane fills it from one thread; each call holds from the next
/// packet on.
public final class FastPathTables: Sendable {
  let fdb: OwnedDescriptor
  let vteps: OwnedDescriptor
  let segments: BPFMap
  let localPorts: BPFMap
  let devices: BPFMap
  let interfaces: BPFMap
  let forwarded: BPFMap
  let pulse: BPFMap
  let nics: BPFMap

  /// - Parameters:
  ///   - fdb, vteps: made with `AtomicWords.init(sharedAs:count:record:)`, and longer-lived than every program.
  /// - Throws: `SystemError` of bpf(2).
  public init(fdb: borrowing AtomicWords, vteps: borrowing AtomicWords) throws(SystemError) {
    self.fdb = try Self.duplicate(fdb.descriptor)
    self.vteps = try Self.duplicate(vteps.descriptor)
    segments = try BPFMap(
      BPF_MAP_TYPE_ARRAY, "vxgw_segments", value: MemoryLayout<UInt64>.size, entries: Int(VXGW_SEGMENT_SLOTS))
    localPorts = try BPFMap(
      BPF_MAP_TYPE_ARRAY, "vxgw_local_port", value: MemoryLayout<vxgw_local_port>.size, entries: Int(VXGW_LOCAL_PORTS))
    devices = try BPFMap(BPF_MAP_TYPE_ARRAY, "vxgw_devices", value: MemoryLayout<vxgw_device>.size, entries: Int(VXGW_DEVICES))
    interfaces = try BPFMap(BPF_MAP_TYPE_DEVMAP, "vxgw_interfaces", value: MemoryLayout<UInt32>.size, entries: Int(VXGW_DEVICES))
    forwarded = try BPFMap(
      BPF_MAP_TYPE_PERCPU_ARRAY, "vxgw_forwarded", value: MemoryLayout<vxgw_forwarded>.size, entries: 2 * Int(VXGW_DEVICES))
    pulse = try BPFMap(BPF_MAP_TYPE_ARRAY, "vxgw_pulse", value: MemoryLayout<UInt64>.size, entries: 1)
    nics = try BPFMap(
      BPF_MAP_TYPE_HASH, "vxgw_nics", key: MemoryLayout<vxgw_interface>.size, value: MemoryLayout<UInt32>.size, entries: Int(VXGW_DEVICES))
  }

  private static func duplicate(_ descriptor: Int32) throws(SystemError) -> OwnedDescriptor {
    OwnedDescriptor(try systemCall("duplicating the descriptor of a table") { vxgw_duplicate(descriptor) })
  }

  /// Lets frames of a segment pass. One that finds no free slot within reach (among 65536 segments a few) is left to workers.
  /// - Parameter vni: 24 bits; not added yet.
  public func addSegment(_ index: Int, vni: UInt32) throws(SystemError) {
    try setFirstSlot(of: vni, to: UInt64(index + 1) << 32 | UInt64(vni)) { $0 == 0 }
  }

  public func removeSegment(vni: UInt32) throws(SystemError) {
    // VNI 0 alone would be a free slot: its index makes the difference.
    try setFirstSlot(of: vni, to: 0) { $0 != 0 && UInt32(truncatingIfNeeded: $0) == vni }
  }

  /// Replaces the first slot within a VNI's reach whose word is the right one (`segments` in `bpf/tables.h`).
  private func setFirstSlot(of vni: UInt32, to new: UInt64, where isRight: (UInt64) -> Bool) throws(SystemError) {
    let home = vxgw_segment_home(vni)
    for slot in home..<home + UInt32(VXGW_SEGMENT_REACH) where isRight(try segments.get(slot, UInt64(0))) {
      return try segments.set(slot, to: new)
    }
  }

  /// A local port as the program knows it.
  public struct LocalPort: Sendable, Equatable {
    public var segment: Int
    public var vni: UInt32
    /// TPID in the upper and VID in the lower 16 bits; 0: none.
    public var tag: UInt32
    public var device: Int
    /// Whether its frames have at least 60 bytes.
    public var isWire: Bool

    public init(segment: Int, vni: UInt32, tag: UInt32, device: Int, isWire: Bool) {
      self.segment = segment
      self.vni = vni
      self.tag = tag
      self.device = device
      self.isWire = isWire
    }
  }

  /// Makes `number` a local port that frames pass from and to; nil: that they do not.
  public func setLocalPort(_ number: Int, to port: LocalPort?) throws(SystemError) {
    var record = vxgw_local_port()
    record.segment = -1
    if let port {
      record.segment = Int32(port.segment)
      record.vni = port.vni
      record.tag = port.tag
      record.device = UInt8(port.device)
      record.is_wire = port.isWire ? 1 : 0
      record.is_fast = 1
    }
    try localPorts.set(UInt32(number), to: record)
  }

  /// Names the kernel's interface behind a device, for frames to it and for what it refuses.
  public func addDevice(_ device: Int, interface index: UInt32) throws(SystemError) {
    try interfaces.set(UInt32(device), to: index)
    try nics.set(vxgw_interface(namespace: try Self.namespace(), index: index), to: UInt32(device))
  }

  public func removeDevice(_ device: Int, interface index: UInt32) throws(SystemError) {
    try setLargest(0, of: device)
    try interfaces.remove(UInt32(device))
    try nics.remove(vxgw_interface(namespace: try Self.namespace(), index: index))
  }

  /// Bytes of the largest frame that goes to a device; 0: none does.
  public func setLargest(_ length: Int, of device: Int) throws(SystemError) {
    try devices.set(UInt32(device), to: vxgw_device(largest: UInt32(length)))
  }

  /// The program goes on until then, on the monotonic clock in milliseconds: see `pulse` in `bpf/tables.h`.
  public func goOn(until deadline: UInt64) throws(SystemError) { try pulse.set(UInt32(0), to: deadline &* 1_000_000) }

  /// The inode that stands for the network namespace of this thread.
  private static func namespace() throws(SystemError) -> UInt32 {
    var status = stat()
    try systemCall("looking at the network namespace") { unsafe stat("/proc/thread-self/ns/net", &status) }
    return UInt32(truncatingIfNeeded: status.st_ino)
  }
}

extension FastPathTables {
  /// Frames that were received on one NIC and sent on another.
  public struct Forwarded: Sendable, Equatable {
    /// Those that the sending NIC refused included.
    public var frames: UInt64 = 0
    public var rxBytes: UInt64 = 0
    public var txBytes: UInt64 = 0
    /// Of the frames, refused by the NIC that they went to.
    public var dropped: UInt64 = 0

    public init() {}

    public static func += (sum: inout Forwarded, other: Forwarded) {
      sum.frames += other.frames
      sum.rxBytes += other.rxBytes
      sum.txBytes += other.txBytes
      sum.dropped += other.dropped
    }
  }

  /// Makes the counts of a device 0; nothing may be forwarded from or to it.
  public func forget(_ device: Int) throws(SystemError) {
    for index in [UInt32(device), UInt32(VXGW_DEVICES) + UInt32(device)] {
      try forwarded.setOnAllCPUs(index, to: vxgw_forwarded())
    }
  }

  /// What was forwarded from the underlay to a device, and from the device to the underlay.
  public func forwarded(_ device: Int) throws(SystemError) -> (decapsulated: Forwarded, encapsulated: Forwarded) {
    (try sum(UInt32(device)), try sum(UInt32(VXGW_DEVICES) + UInt32(device)))
  }

  private func sum(_ index: UInt32) throws(SystemError) -> Forwarded {
    try forwarded.onAllCPUs(index, vxgw_forwarded()).reduce(into: Forwarded()) { sum, cpu in
      sum.frames += cpu.frames
      sum.rxBytes += cpu.rx_bytes
      sum.txBytes += cpu.tx_bytes
      sum.dropped += cpu.dropped
    }
  }
}

/// What one NIC's program must know to do as the workers do; see `struct vxgw_fast_settings` in `bpf/vxgw.h`.
public struct FastPathSettings: Sendable {
  /// Of the underlay.
  public var isIPv6 = false
  /// Index of the NIC's device.
  public var device = 0
  /// Whether outer headers follow from the VTEP's and what `FrameHeaders` has alone.
  public var encapsulates = true
  /// Of the FDB's hash.
  public var seed: UInt64 = 0
  public var shift: UInt32 = 0
  /// Of the flow hash.
  public var hashKey: UInt64 = 0
  public var sourcePorts: ClosedRange<UInt16> = 49152...65535
  /// Of the received VXLAN header, that must be zero.
  public var reservedBits: UInt64 = 0
  /// DF in place, and where it follows the inner one.
  public var df: UInt16 = 0
  public var inheritedDF: UInt16 = 0
  public var inheritedDS: UInt8 = 3
  public var ds: UInt8 = 0
  public var onlyListed = false
  public var verifiesUDPChecksum = false
  public var acceptsZeroUDP = true
  /// Whether workers look at TCP SYNs.
  public var clamps = true

  public init() {}

  var record: vxgw_fast_settings {
    var record = vxgw_fast_settings()
    record.is_on = 1
    record.is_ipv6 = isIPv6 ? 1 : 0
    record.device = UInt32(device)
    record.encapsulates = encapsulates ? 1 : 0
    record.seed = seed
    record.shift = shift
    record.identification = .random(in: .min ... .max)
    record.hash_key = hashKey
    record.first_port = UInt64(sourcePorts.lowerBound)
    record.port_count = UInt64(sourcePorts.count)
    record.reserved_bits = reservedBits
    record.df = df
    record.inherited_df = inheritedDF
    record.inherited_ds = inheritedDS
    record.ds = ds
    record.only_listed = onlyListed ? 1 : 0
    record.verifies_checksum = verifiesUDPChecksum ? 1 : 0
    record.accepts_zero = acceptsZeroUDP ? 1 : 0
    record.clamps = clamps ? 1 : 0
    return record
  }
}
