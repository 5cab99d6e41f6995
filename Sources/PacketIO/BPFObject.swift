import CLinux
import SystemPackage
import Wire

/// The XDP program and its maps, loaded into the kernel but attached to nothing. `XDPProgram` attaches it.
@safe
struct BPFObject: ~Copyable {
  private let object: OpaquePointer
  /// The local address that the program compares with first.
  private let usual: IPAddress?

  /// Loads the program for one NIC. libbpf raises RLIMIT_MEMLOCK itself where the kernel counts BPF memory against it
  /// (before 5.11).
  /// - Parameters:
  ///   - queues: the NIC's number of RX queues, which is the size of the socket map.
  ///   - superFrames: whether the sockets take frames of several buffers (`XSKSettings.superFrameMTU`).
  ///   - fastPath: what the program forwards by itself; nil: nothing.
  /// - Throws: `SystemError` with libbpf's and the verifier's reason in its text.
  static func load(role: NICRole, queues: Int, superFrames: Bool = false, fastPath: FastPath? = nil) throws(SystemError) -> BPFObject {
    LibbpfLog.start()
    let loaded = try BPFObject(usual: role.underlay?.addresses.first, btf: emptyBTF)
    try loaded.configure(role: role, queues: queues, superFrames: superFrames, fastPath: fastPath)
    if unsafe bpf_object__load(loaded.object) < 0 { throw LibbpfLog.error("loading the XDP program") }
    if let underlay = role.underlay { try loaded.setAddresses(underlay.addresses) }
    if let lan = role.lan { try loaded.setVLANs(lan.vlans) }
    return loaded
  }

  /// What a program's fast path works with.
  struct FastPath {
    var tables: FastPathTables
    var settings: FastPathSettings
  }

  /// Loads the programs that count what NICs refuse, instead (tracepoints; they need the kernel's BTF).
  static func loadRefusals(_ tables: FastPathTables) throws(SystemError) -> BPFObject {
    LibbpfLog.start()
    let loaded = try BPFObject(usual: nil, btf: nil)
    try loaded.share(tables)
    try systemCall("choosing BPF programs") { unsafe bpf_program__set_autoload(loaded.program, false) }
    for name in refusals {
      try systemCall("choosing BPF programs") { unsafe bpf_program__set_autoload(loaded.program(named: name), true) }
    }
    if unsafe bpf_object__load(loaded.object) < 0 { throw LibbpfLog.error("loading the tracepoints' programs") }
    return loaded
  }

  static let refusals = ["vxgw_refused", "vxgw_not_redirected"]

  deinit { unsafe bpf_object__close(object) }

  func program(named name: String) -> OpaquePointer? { unsafe bpf_object__find_program_by_name(object, name) }
  private var program: OpaquePointer { unsafe bpf_object__find_program_by_name(object, "vxgw") }
  /// File descriptor of the loaded program. It belongs to the object, like the maps'.
  var descriptor: Int32 { unsafe bpf_program__fd(program) }
  private var sockets: Int32 { unsafe bpf_object__find_map_fd_by_name(object, "xsks") }
  private var addresses: Int32 { unsafe bpf_object__find_map_fd_by_name(object, "addresses") }
  private var vlans: Int32 { unsafe bpf_object__find_map_fd_by_name(object, "vlans") }
  private var counters: Int32 { unsafe bpf_object__find_map_fd_by_name(object, "counts") }

  /// Parses the embedded ELF object.
  ///
  /// - Parameter btf: a file with the BTF for CO-RE relocations; nil: the kernel's.
  private init(usual: IPAddress?, btf: String?) throws(SystemError) {
    self.usual = usual
    var options = unsafe bpf_object_open_opts()
    unsafe options.sz = MemoryLayout<bpf_object_open_opts>.size
    let path = unsafe btf.flatMap { unsafe strdup($0) }
    defer { unsafe free(path) }
    unsafe options.btf_custom_path = UnsafePointer(path)
    let object = unsafe "vxgw".withCString { name in
      unsafe options.object_name = name
      return unsafe bpf_object__open_mem(Self.elf, Self.elf.count, &options)
    }
    guard let object = unsafe object else { throw LibbpfLog.error("reading the embedded XDP program") }
    unsafe self.object = object
  }

  /// The embedded ELF object.
  private static let elf = xdpObjectDigits.withUTF8Buffer { digits in
    stride(from: 0, to: digits.count, by: 2).map { unsafe nibble(digits[$0]) << 4 | nibble(digits[$0 + 1]) }
  }

  /// A file with a BTF without types. The XDP program has no CO-RE relocations, but the tracepoints' programs in the same object
  /// have, and for their sake libbpf would read and parse the kernel's BTF of several MB each time (obj_needs_vmlinux_btf in
  /// libbpf.c). Nil where there can be no such file: then it does.
  private static let emptyBTF: String? = {
    guard let btf = unsafe btf__new_empty() else { return nil }
    defer { unsafe btf__free(btf) }
    var size: UInt32 = 0
    let bytes = unsafe btf__raw_data(btf, &size)
    let file = unsafe memfd_create("vxgw_btf", MFD_CLOEXEC)
    guard unsafe write(file, bytes, Int(size)) == Int(size) else { return nil }
    let path = "/proc/self/fd/\(file)"
    return unsafe access(path, R_OK) == 0 ? path : nil
  }()

  private static func nibble(_ digit: UInt8) -> UInt8 {
    digit <= UInt8(ascii: "9") ? digit - UInt8(ascii: "0") : digit - UInt8(ascii: "a") + 10
  }

  /// Sets what the kernel fixes when it loads the object: map sizes, constants, program flags.
  private func configure(role: NICRole, queues: Int, superFrames: Bool, fastPath: FastPath?) throws(SystemError) {
    let multiBuffer = libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_get_buff_len, nil) == 1
    var settings = vxgw_settings()
    settings.multi_buffer = multiBuffer ? 1 : 0
    settings.super_frames = superFrames ? 1 : 0
    if let underlay = role.underlay {
      settings.is_underlay = 1
      settings.port = underlay.port.bigEndian
      settings.vlan = underlay.vlan ?? 0
    }
    if let usual { settings.address = vxgw_address(usual) }
    if let mac = role.lan?.mac {
      settings.is_lan = 1
      let octet = { (shift: UInt64) in UInt8(truncatingIfNeeded: mac.value >> shift) }
      settings.mac = (octet(40), octet(32), octet(24), octet(16), octet(8), octet(0))
    }
    if let fastPath {
      settings.fast = fastPath.settings.record
      try share(fastPath.tables)
    } else {
      try leaveOut()
    }
    try systemCall("setting the XDP program's constants") {
      unsafe bpf_map__set_initial_value(
        bpf_object__find_map_by_name(object, ".rodata"), &settings, MemoryLayout<vxgw_settings>.size)
    }
    try systemCall("sizing the XDP program's socket map for \(queues) queues") {
      unsafe bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "xsks"), UInt32(queues))
    }
    if multiBuffer {
      try systemCall("setting the XDP program's flags") {
        unsafe bpf_program__set_flags(program, UInt32(BPF_F_XDP_HAS_FRAGS))
      }
    }
  }
}

// MARK: The fast path's tables

extension BPFObject {
  private static let own = ["places"]
  private static let shared = ["fdb", "vteps", "segments", "local_ports", "devices", "interfaces", "forwarded", "pulse", "nics"]

  /// Makes the object use the tables that all objects share.
  private func share(_ tables: FastPathTables) throws(SystemError) {
    let descriptors = [
      tables.fdb.number, tables.vteps.number, tables.segments.descriptor.number, tables.localPorts.descriptor.number,
      tables.devices.descriptor.number, tables.interfaces.descriptor.number, tables.forwarded.descriptor.number,
      tables.pulse.descriptor.number, tables.nics.descriptor.number,
    ]
    for (name, descriptor) in zip(Self.shared, descriptors) {
      try systemCall("sharing BPF map \(name)") {
        unsafe bpf_map__reuse_fd(bpf_object__find_map_by_name(object, name), descriptor)
      }
    }
  }

  /// Spares the kernel maps that the verifier finds unused.
  private func leaveOut() throws(SystemError) {
    for name in Self.shared + Self.own {
      try systemCall("leaving out BPF map \(name)") {
        unsafe bpf_map__set_autocreate(bpf_object__find_map_by_name(object, name), false)
      }
    }
  }

  /// See `XDPProgram.setPlaces`.
  func setPlace(_ place: UInt32, to number: Int?) throws(SystemError) {
    var key = place
    var value = number.map { UInt32($0 + 1) } ?? 0
    let map = unsafe bpf_object__find_map_fd_by_name(object, "places")
    try systemCall("setting a place in the XDP program") { unsafe bpf_map_update_elem(map, &key, &value, UInt64(BPF_ANY)) }
  }
}

extension BPFObject {
  /// See `XDPProgram.setSocket`.
  func setSocket(_ descriptor: Int32, queue: Int) throws(SystemError) {
    var key = UInt32(queue)
    var value = descriptor
    try systemCall("entering the socket of queue \(queue) into the XDP program") {
      unsafe bpf_map_update_elem(sockets, &key, &value, UInt64(BPF_ANY))
    }
  }

  /// See `XDPProgram.counts`.
  func counts() throws(SystemError) -> [(reason: XDPVerdict, packets: UInt64)] {
    // The kernel copies one slot for every CPU that could ever be there (bpf_percpu_array_copy).
    var slots = [UInt64](repeating: 0, count: Int(try systemCall("counting CPUs") { libbpf_num_possible_cpus() }))
    var counts: [(reason: XDPVerdict, packets: UInt64)] = []
    for reason in XDPVerdict.allCases {
      var key = UInt32(reason.rawValue)
      try systemCall("reading the XDP program's counters") { unsafe bpf_map_lookup_elem(counters, &key, &slots) }
      counts.append((reason, slots.reduce(0, &+)))
    }
    return counts
  }

  /// See `XDPProgram.setAddresses`. New ones go in before old ones go out, so an address that stays is never away.
  func setAddresses(_ local: [IPAddress]) throws(SystemError) {
    let map = addresses
    let old = try Self.keys(of: map)
    var present: UInt8 = 1
    for address in local {
      var key = vxgw_address(address)
      try systemCall("adding a local address to the XDP program") {
        unsafe bpf_map_update_elem(map, &key, &present, UInt64(BPF_ANY))
      }
    }
    for address in old where !local.contains(address) {
      var key = vxgw_address(address)
      try systemCall("removing a local address from the XDP program") { unsafe bpf_map_delete_elem(map, &key) }
    }
    var (zero, hasUsual) = (UInt32(0), UInt32(usual.map(local.contains) == true ? 1 : 0))
    let flag = unsafe bpf_object__find_map_fd_by_name(object, "has_address")
    try systemCall("changing the local addresses of the XDP program") {
      unsafe bpf_map_update_elem(flag, &zero, &hasUsual, UInt64(BPF_ANY))
    }
  }

  /// See `XDPProgram.setVLANs`. The kernel replaces 64 of them at a time, so one that stays is never away.
  func setVLANs(_ set: VLANSet) throws(SystemError) {
    for (index, word) in set.words.enumerated() {
      var key = UInt32(index)
      var value = word
      try systemCall("setting the XDP program's VLANs") { unsafe bpf_map_update_elem(vlans, &key, &value, UInt64(BPF_ANY)) }
    }
  }

  private static func keys(of map: Int32) throws(SystemError) -> [IPAddress] {
    var keys: [IPAddress] = []
    var next = vxgw_address()
    var result = unsafe bpf_map_get_next_key(map, nil, &next)
    while result == 0 {
      keys.append(IPAddress(next))
      var key = next
      result = unsafe bpf_map_get_next_key(map, &key, &next)
    }
    let errno = Errno(rawValue: vxgw_errno())
    guard errno == .noSuchFileOrDirectory else { throw SystemError("reading the XDP program's local addresses", errno: errno) }
    return keys
  }
}

extension vxgw_address {
  init(_ address: IPAddress) {
    self.init(
      words: (
        UInt32(truncatingIfNeeded: address.high >> 32).bigEndian, UInt32(truncatingIfNeeded: address.high).bigEndian,
        UInt32(truncatingIfNeeded: address.low >> 32).bigEndian, UInt32(truncatingIfNeeded: address.low).bigEndian
      ))
  }
}

extension IPAddress {
  init(_ address: vxgw_address) {
    let words = address.words
    self.init(
      high: UInt64(UInt32(bigEndian: words.0)) << 32 | UInt64(UInt32(bigEndian: words.1)),
      low: UInt64(UInt32(bigEndian: words.2)) << 32 | UInt64(UInt32(bigEndian: words.3)))
  }
}
