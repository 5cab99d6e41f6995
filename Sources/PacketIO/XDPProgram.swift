import CLinux
import SystemPackage
import Wire

/// Where the XDP program runs.
public enum XDPMode: Sendable {
  /// In the driver, before the kernel allocates anything for the frame (XDP_FLAGS_DRV_MODE).
  case native
  /// In the network stack; every driver can (XDP_FLAGS_SKB_MODE).
  case generic
}

/// The XDP program on one NIC: it redirects the frames that are ours to AF_XDP sockets.
///
/// The attachment is an unpinned BPF link, so the kernel removes it with the process, however that ends.
@safe
public struct XDPProgram: ~Copyable, Sendable {
  private let object: BPFObject
  private let link: Int32

  /// Loads the program for the NIC's role and attaches it. Until a socket is set for a queue, the queue's frames go to
  /// the kernel.
  /// - Parameters:
  ///   - queues: the NIC's number of RX queues.
  ///   - superFrames: whether the sockets take super-frames (`XSKSettings.superFrameMTU`); else the kernel gets them.
  ///   - fastPath: what the program forwards by and how; nil: the sockets get everything.
  /// - Throws: `SystemError`: EBUSY when another program is attached (`current(on:)` names it), EOPNOTSUPP when the
  ///   driver has no native XDP, EPERM without CAP_BPF and CAP_NET_ADMIN.
  public init(
    interfaceIndex: UInt32, interfaceName: String, role: NICRole, queues: Int, mode: XDPMode, superFrames: Bool = false,
    fastPath: (tables: FastPathTables, settings: FastPathSettings)? = nil
  ) throws(SystemError) {
    let object = try BPFObject.load(
      role: role, queues: queues, superFrames: superFrames,
      fastPath: fastPath.map { BPFObject.FastPath(tables: $0.tables, settings: $0.settings) })
    var options = unsafe bpf_link_create_opts()
    unsafe options.sz = MemoryLayout<bpf_link_create_opts>.size
    unsafe options.flags = mode == .native ? UInt32(XDP_FLAGS_DRV_MODE) : UInt32(XDP_FLAGS_SKB_MODE)
    link = try systemCall("attaching the XDP program (\(mode)) to \(interfaceName)") {
      unsafe bpf_link_create(object.descriptor, Int32(interfaceIndex), BPF_XDP, &options)
    }
    self.object = object
  }

  // Closing the last descriptor of the link detaches the program before close(2) returns.
  deinit { close(link) }

  /// Directs what arrives on the queue to this AF_XDP socket. The entry goes away when the socket is closed.
  public func setSocket(_ descriptor: Int32, queue: Int) throws(SystemError) {
    try object.setSocket(descriptor, queue: queue)
  }

  /// Replaces the addresses of an underlay NIC, while packets flow: an address that stays loses none.
  public func setAddresses(_ addresses: [IPAddress]) throws(SystemError) {
    try object.setAddresses(addresses)
  }

  /// Replaces the VLANs of a LAN NIC, while packets flow: a VLAN that stays loses none. The program must have been made with
  /// a role that has a LAN.
  public func setVLANs(_ vlans: VLANSet) throws(SystemError) { try object.setVLANs(vlans) }

  /// Which frames of a NIC the fast path takes as a local port's, by their outermost tag.
  public enum Place: Hashable, Sendable {
    case untagged
    /// `service`: IEEE 802.1ad's tag.
    case tagged(id: UInt16, service: Bool)

    var index: UInt32 {
      switch self {
      case .untagged: UInt32(VXGW_PLACE_UNTAGGED)
      case .tagged(let id, let service): 1 + (service ? 4096 : 0) + UInt32(id)
      }
    }
  }

  /// Makes frames those of a local port, by its number; nil: of none. The program must have been made with a fast path.
  public func setPlace(_ place: Place, to number: Int?) throws(SystemError) { try object.setPlace(place.index, to: number) }

  /// Frames by what was done with them, since the program was loaded.
  public func counts() throws(SystemError) -> [(reason: XDPVerdict, packets: UInt64)] {
    try object.counts()
  }

  /// The XDP program that is attached to the interface now, whoever did it: its ID, as `bpftool prog show id` takes it,
  /// and its name (at most 15 characters). Nil when there is none, or when it can't be asked for.
  public static func current(on interfaceIndex: UInt32) -> (id: UInt32, name: String, mode: XDPMode)? {
    // Not bpf_xdp_query: it refuses options with anything but zeros behind the last field, where Swift leaves padding.
    var id: UInt32 = 0
    var mode = XDPMode.native
    if unsafe bpf_xdp_query_id(Int32(interfaceIndex), Int32(XDP_FLAGS_DRV_MODE), &id) != 0 || id == 0 {
      mode = .generic
      guard unsafe bpf_xdp_query_id(Int32(interfaceIndex), Int32(XDP_FLAGS_SKB_MODE), &id) == 0, id != 0 else { return nil }
    }
    let descriptor = bpf_prog_get_fd_by_id(id)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var info = bpf_prog_info()
    var size = UInt32(MemoryLayout<bpf_prog_info>.size)
    guard unsafe bpf_obj_get_info_by_fd(descriptor, &info, &size) == 0 else { return nil }
    let name = unsafe withUnsafeBytes(of: info.name) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return (id, name, mode)
  }
}

extension XDPMode: CustomStringConvertible {
  /// "native" or "generic".
  public var description: String {
    switch self {
    case .native: "native"
    case .generic: "generic"
    }
  }
}

// libbpf's object is only read after loading; what changes is in the kernel's maps.
extension BPFObject: @unchecked Sendable {}
