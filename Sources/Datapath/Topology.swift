import PacketIO
import Wire

/// What is connected to what: segments, their local ports, and the remotes that get a copy of BUM frames. Never changes: the
/// control plane makes a new one, and hands each worker its own between two rounds (`WorkerControl.apply`).
///
/// Segments, local ports and lists are named by number, and FDB entries refer to these: a number means the same in every
/// topology in which it is used.
public struct Topology: ~Copyable, Sendable {
  /// The underlay NIC's port. It may be a local port as well, with a VLAN (one-armed).
  public static let underlay = 0
  /// Most ports.
  public static let portLimit = 64

  /// What the operator configured; workers turn it into tables.
  public struct Segment: Sendable, Equatable {
    public struct Options: OptionSet, BitwiseCopyable, Sendable, Equatable {
      public let rawValue: UInt8
      public init(rawValue: UInt8) { self.rawValue = rawValue }
      /// Frames keep VLAN tags of their own (RFC 7348 section 6.1 says no unless configured).
      public static let keepsInnerTags = Options(rawValue: 1)
      /// ARP requests and neighbour solicitations from local ports are answered from the `NeighbourTable` and never sent to
      /// VTEPs, as by the kernel's `proxy`.
      public static let proxy = Options(rawValue: 2)
      /// They are answered where the answer is known, and sent on where it is not, as by a bridge port's `neigh_suppress`.
      public static let suppress = Options(rawValue: 4)
      /// Destinations without FDB entry, and neighbours that nobody knows, are reported (kernel: `l2miss`, `l3miss`).
      public static let reportsL2Miss = Options(rawValue: 8)
      public static let reportsL3Miss = Options(rawValue: 16)
      /// The FDB has entries for multicast addresses.
      public static let hasGroupEntries = Options(rawValue: 32)

      /// Whether it has proxy or suppress.
      @inline(__always)
      var answersNeighbours: Bool { rawValue & 6 != 0 }
    }

    /// 24 bits.
    public var vni: UInt32
    /// Replication list: indexes in the `VTEPTable`.
    public var remotes: [Int]
    public var options: Options

    public init(vni: UInt32, remotes: [Int] = [], options: Options = []) {
      self.vni = vni
      self.remotes = remotes
      self.options = options
    }
  }

  struct SegmentRecord: BitwiseCopyable {
    var vni: UInt32 = 0
    var options = Segment.Options()
    /// Its remotes and its local ports, in `remotes` and `members`.
    var remotes = Span()
    var localPorts = Span()

    var keepsInnerTags: Bool { options.contains(.keepsInnerTags) }
  }

  /// A range of one of the buffers below.
  struct Span: BitwiseCopyable {
    var first: Int32 = 0
    var count: Int32 = 0
    var range: Range<Int> { Int(first)..<Int(first) &+ Int(count) }
  }

  struct LocalPortRecord: BitwiseCopyable {
    var segment: Int32 = -1
    /// TPID and VID as on the wire, priority 0; 0: none.
    var tag: UInt32 = 0
    var port: UInt8 = 0
    var isWire = false
    var isTrunk = false
  }

  var segments: FixedBuffer<SegmentRecord>
  var localPorts: FixedBuffer<LocalPortRecord>
  /// Lists of remotes, by number.
  var lists: FixedBuffer<Span>
  /// Replication lists and lists, one after the other; local ports of each segment.
  var remotes: FixedBuffer<Int32>
  var members: FixedBuffer<Int32>
  /// Per port: the local port of its untagged frames, or -1; and where its VLANs start in `vlans`, or -1.
  var untagged: FixedBuffer<Int32>
  private var firstVLAN: FixedBuffer<Int32>
  /// Local ports by VID, or -1: 4096 for 802.1Q's tag, then 4096 for 802.1ad's.
  private var vlans: FixedBuffer<Int16>
  /// VNI to segment: open addressing, at most half full. VNI in the upper, segment in the lower 32 bits; all ones is empty.
  private var vniTable: FixedBuffer<UInt64>
  /// Multicast groups that this VTEP listens to.
  private let groups: [IPAddress]
  /// Whether learning and moving is reported as it happens.
  let reportsLearning: Bool
  /// Whether any segment wants to know who has which IP address.
  let snoops: Bool

  /// - Parameters:
  ///   - segments, localPorts, lists: by number; nil where a number is not in use. Lists are indexes in the `VTEPTable`.
  ///   - groups: multicast groups that this VTEP listens to.
  public init(
    segments list: [Segment?], localPorts ends: [LocalPort?], lists remoteLists: [[Int]] = [], groups: [IPAddress] = [],
    reportsLearning: Bool = false
  ) {
    precondition(list.count <= 65536 && ends.count <= LocalPort.limit && remoteLists.count <= Destination.listLimit)
    segments = FixedBuffer(repeating: SegmentRecord(), count: list.count)
    localPorts = FixedBuffer(repeating: LocalPortRecord(), count: ends.count)
    lists = FixedBuffer(repeating: Span(), count: remoteLists.count)
    remotes = FixedBuffer(
      repeating: 0, count: list.reduce(0) { $0 + ($1?.remotes.count ?? 0) } + remoteLists.reduce(0) { $0 + $1.count })
    members = FixedBuffer(repeating: 0, count: ends.count)
    untagged = FixedBuffer(repeating: -1, count: Self.portLimit)
    firstVLAN = FixedBuffer(repeating: -1, count: Self.portLimit)
    vlans = FixedBuffer(repeating: -1, count: Set(ends.compactMap { $0?.taggedPort }).count * Self.vlansPerPort)
    var size = 16
    while size < 2 * list.count { size *= 2 }
    vniTable = FixedBuffer(repeating: .max, count: size)
    self.groups = groups
    self.reportsLearning = reportsLearning
    snoops = list.contains { $0?.options.contains(.suppress) ?? false }
    addSegments(list, ends)
    addLists(remoteLists, behind: list.reduce(0) { $0 + ($1?.remotes.count ?? 0) })
    addLocalPorts(ends)
  }

  private static let vlansPerPort = 8192

  private mutating func addSegments(_ list: [Segment?], _ ends: [LocalPort?]) {
    let numbers = Dictionary(grouping: ends.indices.filter { ends[$0] != nil }) { ends[$0]!.segment }
    var (remote, member) = (0, 0)
    for (index, segment) in list.enumerated() {
      guard let segment else { continue }
      let own = numbers[index] ?? []
      segments[index] = SegmentRecord(
        vni: segment.vni, options: segment.options, remotes: Span(first: Int32(remote), count: Int32(segment.remotes.count)),
        localPorts: Span(first: Int32(member), count: Int32(own.count)))
      for vtep in segment.remotes {
        remotes[remote] = Int32(vtep)
        remote += 1
      }
      for number in own {
        members[member] = Int32(number)
        member += 1
      }
      var slot = Self.hash(segment.vni) & (vniTable.count - 1)
      while vniTable[slot] != .max { slot = (slot + 1) & (vniTable.count - 1) }
      vniTable[slot] = UInt64(segment.vni) << 32 | UInt64(index)
    }
  }

  private mutating func addLists(_ remoteLists: [[Int]], behind first: Int) {
    var next = first
    for (number, list) in remoteLists.enumerated() {
      lists[number] = Span(first: Int32(next), count: Int32(list.count))
      for vtep in list {
        remotes[next] = Int32(vtep)
        next += 1
      }
    }
  }

  private mutating func addLocalPorts(_ ends: [LocalPort?]) {
    var next: Int32 = 0
    for (number, end) in ends.enumerated() {
      guard let end else { continue }
      var record = LocalPortRecord(segment: Int32(end.segment), port: UInt8(end.port), isWire: end.isWire)
      switch end.vlan {
      case .untagged, .trunk:
        record.isTrunk = end.vlan == .trunk
        untagged[end.port] = Int32(number)
      case .tagged(let id, let service):
        record.tag = end.vlan.tag
        if firstVLAN[end.port] < 0 {
          firstVLAN[end.port] = next
          next += Int32(Self.vlansPerPort)
        }
        vlans[Int(firstVLAN[end.port]) + (service ? 4096 : 0) + Int(id)] = Int16(number)
      }
      localPorts[number] = record
    }
  }

  /// The segment that `vni` names, or -1.
  @inline(__always)
  func segment(ofVNI vni: UInt32) -> Int {
    var slot = Self.hash(vni) & (vniTable.count &- 1)
    while true {
      let entry = vniTable[slot]
      if entry == .max { return -1 }
      if entry >> 32 == UInt64(vni) { return Int(truncatingIfNeeded: entry & 0xffff_ffff) }
      slot = (slot &+ 1) & (vniTable.count &- 1)
    }
  }

  @inline(__always)
  private static func hash(_ vni: UInt32) -> Int { Int(truncatingIfNeeded: (vni &* 0x9e37_79b9) >> 12) }

  /// A local port of the segment, as an FDB entry names it. Nil for an entry that a worker learned just before the local port
  /// went, or its number became another segment's.
  @inline(__always)
  func localPort(_ number: Int, of segment: Int32) -> LocalPortRecord? {
    let local = localPorts[number]
    return local.segment == segment ? local : nil
  }

  /// The local port of `port`'s frames that carry this tag, or -1.
  func localPort(of port: Int, type: UInt16, vid: UInt16) -> Int32 {
    let first = firstVLAN[port]
    guard first >= 0 else { return -1 }
    return Int32(vlans[Int(first) + (type == EtherType.serviceTag ? 4096 : 0) + Int(vid & 0xfff)])
  }

  /// Whether the underlay NIC is a local port as well.
  var isOneArmed: Bool { firstVLAN[Self.underlay] >= 0 }

  /// Whether this VTEP listens to a multicast group.
  func listens(to group: IPAddress) -> Bool { groups.contains(group) }
}

extension LocalPort {
  fileprivate var taggedPort: Int? {
    if case .tagged = vlan { port } else { nil }
  }
}
