import CLinux
import SystemPackage

/// A BPF map (bpf(2)). It goes with its last descriptor and the last program that uses it.
struct BPFMap: ~Copyable, Sendable {
  let descriptor: OwnedDescriptor
  private let name: String

  /// - Parameters:
  ///   - name: for `bpftool map`, and for errors; at most 15 characters.
  ///   - value: bytes of a value; keys are `key`'s.
  /// - Throws: `SystemError` of bpf(2).
  init(
    _ type: bpf_map_type, _ name: String, key: Int = MemoryLayout<UInt32>.size, value: Int, entries: Int, flags: UInt32 = 0
  ) throws(SystemError) {
    descriptor = OwnedDescriptor(try Self.create(type, name, key: key, value: value, entries: entries, flags: flags))
    self.name = name
  }

  /// A descriptor of a new map, which the caller closes.
  static func create(
    _ type: bpf_map_type, _ name: String, key: Int = MemoryLayout<UInt32>.size, value: Int, entries: Int, flags: UInt32 = 0
  ) throws(SystemError) -> Int32 {
    var options = bpf_map_create_opts()
    options.sz = MemoryLayout<bpf_map_create_opts>.size
    options.map_flags = flags
    return try systemCall("making BPF map \(name) of \(entries) times \(value) bytes") {
      unsafe bpf_map_create(type, name, UInt32(key), UInt32(value), UInt32(entries), &options)
    }
  }

  /// Sets an element, which must be of the map's sizes; the kernel replaces it whole.
  func set(_ key: some BitwiseCopyable, to value: some BitwiseCopyable) throws(SystemError) {
    var (key, value) = (key, value)
    try systemCall("setting an element of BPF map \(name)") {
      unsafe bpf_map_update_elem(descriptor.number, &key, &value, UInt64(BPF_ANY))
    }
  }

  /// An element.
  /// - Parameter empty: any value.
  /// - Throws: `SystemError`, ENOENT when there is none.
  func get<Value: BitwiseCopyable>(_ key: some BitwiseCopyable, _ empty: Value) throws(SystemError) -> Value {
    var (key, value) = (key, empty)
    try systemCall("reading an element of BPF map \(name)") { unsafe bpf_map_lookup_elem(descriptor.number, &key, &value) }
    return value
  }

  /// Removes an element if it is there.
  func remove(_ key: some BitwiseCopyable) throws(SystemError) {
    var key = key
    do {
      try systemCall("removing an element of BPF map \(name)") { unsafe bpf_map_delete_elem(descriptor.number, &key) }
    } catch {
      if error.errno != .noSuchFileOrDirectory { throw error }
    }
  }

  /// Sets an element of a per-CPU map on every CPU to the same value, whose size must be a multiple of 8.
  func setOnAllCPUs<Value: BitwiseCopyable>(_ key: some BitwiseCopyable, to value: Value) throws(SystemError) {
    var key = key
    let count = Int(try systemCall("counting CPUs") { libbpf_num_possible_cpus() })
    let values = [Value](repeating: value, count: count)
    try systemCall("setting an element of BPF map \(name)") {
      unsafe bpf_map_update_elem(descriptor.number, &key, values, UInt64(BPF_ANY))
    }
  }

  /// An element of a per-CPU map, on every CPU that could ever be there (bpf_percpu_array_copy in kernel/bpf/arraymap.c).
  /// - Parameter empty: any value; its size must be a multiple of 8.
  func onAllCPUs<Value: BitwiseCopyable>(_ key: some BitwiseCopyable, _ empty: Value) throws(SystemError) -> [Value] {
    var key = key
    let count = Int(try systemCall("counting CPUs") { libbpf_num_possible_cpus() })
    var values = [Value](repeating: empty, count: count)
    try systemCall("reading an element of BPF map \(name)") { unsafe bpf_map_lookup_elem(descriptor.number, &key, &values) }
    return values
  }
}
