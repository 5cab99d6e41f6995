import PacketIO
import Synchronization
import Wire

/// The remotes, VTEPs and multicast groups, and the outer header for each. All workers share it: they look up by address, add
/// VTEPs that they hear of, and copy headers; the control plane alone publishes headers.
///
/// A remote's index never changes, and FDB entries name it. Slots are 16 words, open addressing by address, port and VNI:
///
///     0  state: 0 empty, 1 being added, 2 ready; bit 8 listed
///     1  address, high half     2  address, low half
///     3  version of the header: odd while it changes, 0 before the first
///     4  length of the header in bytes (bits 7…0), 0 when there is none; flags (15…8); MTU (31…16); partial sum of the IPv4
///        header (47…32) and of UDP (63…48)
///     5… the header in words of 8 bytes as they stand in memory, the last one overlapping so that it ends with the header
///     15 port and VNI (`Remote.word`)
public struct VTEPTable: ~Copyable, Sendable {
  /// Slots. At most three quarters of them are used, so that probing stays short.
  public static let capacity = 16384
  /// Most VTEPs it takes.
  public static let limit = capacity / 4 * 3
  private static let slotWords = 16
  private static let listedFlag: UInt64 = 0x100
  let words: AtomicWords
  private let entryCount: Atomic<Int>

  /// - Parameter isShared: whether BPF programs read it as well (`bpf/fastpath.h`); then all its memory is taken at once.
  /// - Throws: `SystemError` when the memory can't be had.
  public init(isShared: Bool = false) throws(SystemError) {
    let count = Self.capacity * Self.slotWords
    words =
      isShared ? try AtomicWords(sharedAs: "vxgw_vteps", count: count, record: Self.slotWords) : try AtomicWords(count: count)
    entryCount = Atomic(0)
  }

  public var count: Int { entryCount.load(ordering: .relaxed) }

  /// The index of `remote`, or nil when it was never added.
  public func index(of remote: Remote) -> Int? {
    var slot = home(remote)
    for _ in 0..<Self.capacity {
      let base = slot &* Self.slotWords
      let state = words[base].load(ordering: .acquiring) & 0xff
      if state == 0 { return nil }
      if state == 2 && isAt(slot, remote) { return slot }
      slot = (slot &+ 1) & (Self.capacity &- 1)
    }
    return nil
  }

  /// The index of `remote`, adding it when it is new. Nil when the table is full, or when another thread is just adding
  /// a remote in the same place: ask again with the next packet.
  public func add(_ remote: Remote) -> (index: Int, isNew: Bool)? {
    if let index = index(of: remote) { return (index, false) }
    guard count < Self.limit else { return nil }
    let address = remote.address
    var slot = home(remote)
    while true {
      let base = slot * Self.slotWords
      let (claimed, state) = words[base].compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing)
      if claimed {
        words[base + 1].store(address.high, ordering: .relaxed)
        words[base + 2].store(address.low, ordering: .relaxed)
        words[base + 15].store(remote.word, ordering: .relaxed)
        words[base].store(2, ordering: .releasing)
        entryCount.add(1, ordering: .relaxed)
        return (slot, true)
      }
      if state & 0xff == 1 { return nil }
      if isAt(slot, remote) { return (slot, false) }
      slot = (slot + 1) & (Self.capacity - 1)
    }
  }

  @inline(__always)
  public func address(_ index: Int) -> IPAddress {
    let base = index &* Self.slotWords
    return IPAddress(high: words[base &+ 1].load(ordering: .relaxed), low: words[base &+ 2].load(ordering: .relaxed))
  }

  public func remote(_ index: Int) -> Remote {
    Remote(address(index), word: words[index &* Self.slotWords &+ 15].load(ordering: .relaxed))
  }

  private func isAt(_ slot: Int, _ remote: Remote) -> Bool {
    address(slot) == remote.address && words[slot &* Self.slotWords &+ 15].load(ordering: .relaxed) == remote.word
  }

  /// Whether the VTEP was named by the operator: as `--remote`, or as the destination of an FDB entry.
  @inline(__always)
  public func isListed(_ index: Int) -> Bool {
    words[index &* Self.slotWords].load(ordering: .relaxed) & Self.listedFlag != 0
  }

  /// Marks a VTEP as named by the operator, or no longer.
  public func setListed(_ index: Int, to isListed: Bool = true) {
    if isListed {
      words[index * Self.slotWords].bitwiseOr(Self.listedFlag, ordering: .relaxed)
    } else {
      words[index * Self.slotWords].bitwiseAnd(~Self.listedFlag, ordering: .relaxed)
    }
  }

  /// Indexes of all remotes.
  public var indexes: [Int] {
    (0..<Self.capacity).filter { words[$0 * Self.slotWords].load(ordering: .acquiring) & 0xff == 2 }
  }

  private func home(_ remote: Remote) -> Int {
    let address = remote.address
    let hash = ((address.high ^ 0x9e37_79b9_7f4a_7c15) &* 0xd6e8_feb8_6659_fd93 ^ address.low ^ remote.word << 32) &* 0x9e37_79b9_7f4a_7c15
    return Int(truncatingIfNeeded: hash >> 40) & (Self.capacity &- 1)
  }
}

extension VTEPTable {
  /// What the encapsulator needs to know of a header besides its bytes.
  struct HeaderInfo: BitwiseCopyable {
    let word: UInt64
    let version: UInt64
    var length: Int { Int(word & 0xff) }
    var isIPv6: Bool { word & 0x100 != 0 }
    var hasUDPChecksum: Bool { word & 0x200 != 0 }
    /// Whether the remote has a VNI of its own.
    var hasVNI: Bool { word & 0x400 != 0 }
    /// Of the outer IP packet, in bytes.
    var mtu: Int { Int(word >> 16 & 0xffff) }
    var partialSum: UInt32 { UInt32(truncatingIfNeeded: word >> 32 & 0xffff) }
    var udpPartialSum: UInt32 { UInt32(truncatingIfNeeded: word >> 48) }
    /// Bytes of the outer headers from IP on.
    var overhead: Int { isIPv6 ? OuterHeader.FromEnd.ipv6 : OuterHeader.FromEnd.ipv4 }
    /// Bytes of the largest inner IP packet, in a frame without VLAN tags.
    var innerMTU: Int { mtu &- overhead &- Ethernet.headerLength }
  }

  /// Makes `header` the one that packets to the VTEP get from now on; nil: there is none, frames wait. The control plane
  /// calls it from one thread.
  public func publish(_ header: OuterHeader?, at index: Int) {
    let base = index * Self.slotWords
    let version = words[base + 3].load(ordering: .relaxed)
    words[base + 3].store(version &+ 1, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    if let header {
      let bytes = header.bytes
      for (word, offset) in Self.offsets(bytes.count).enumerated() {
        var value: UInt64 = 0
        for byte in (0..<8).reversed() { value = value << 8 | UInt64(bytes[offset + byte]) }
        words[base + 5 + word].store(UInt64(littleEndian: value), ordering: .relaxed)
      }
      var word = UInt64(bytes.count) | UInt64(header.mtu) << 16 | UInt64(header.partialSum) << 32 | UInt64(header.udpPartialSum) << 48
      if !header.destination.isIPv4 { word |= 0x100 }
      if header.udpChecksum { word |= 0x200 }
      if remote(index).vni != nil { word |= 0x400 }
      words[base + 4].store(word, ordering: .relaxed)
    } else {
      words[base + 4].store(0, ordering: .relaxed)
    }
    words[base + 3].store(version &+ 2, ordering: .releasing)
  }

  /// Whether packets to the VTEP can be sent now.
  public func isResolved(_ index: Int) -> Bool { headerInfo(index) != nil }

  /// Nil when the VTEP has no header (or is getting a new one this moment).
  @inline(__always)
  func headerInfo(_ index: Int) -> HeaderInfo? {
    let slot = words.line(at: index &* Self.slotWords)
    let version = slot[3].load(ordering: .acquiring)
    let info = HeaderInfo(word: slot[4].load(ordering: .relaxed), version: version)
    return version & 1 == 0 && info.length != 0 ? info : nil
  }

  /// Writes the header over the first bytes of `packet`. False when it changed since `info` was read: the bytes may then
  /// be a mix, and the caller starts again.
  @inline(__always)
  func writeHeader(_ index: Int, _ info: HeaderInfo, into packet: inout MutableRawSpan) -> Bool {
    let base = index &* Self.slotWords
    // The common length as a constant: the loop unrolls.
    if info.length == VXLAN.overheadIPv4 {
      words.copy(from: base &+ 5, to: &packet, length: VXLAN.overheadIPv4)
    } else {
      words.copy(from: base &+ 5, to: &packet, length: info.length)
    }
    atomicMemoryFence(ordering: .acquiring)
    return words[base &+ 3].load(ordering: .relaxed) == info.version
  }

  /// Where the words of a header of `length` bytes start. No length is a multiple of 8: 50, 70, and with tags 54, 74…
  private static func offsets(_ length: Int) -> [Int] {
    Array(stride(from: 0, through: length - 8, by: 8)) + [length - 8]
  }
}
