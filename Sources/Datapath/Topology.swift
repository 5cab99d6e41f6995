import PacketIO
import Wire

/// What is connected to what: segments, their local ports, and the VTEPs that get a copy of BUM frames. Each worker has
/// one of its own and only reads it.
public struct Topology: ~Copyable, Sendable {
  /// Port 0 is the underlay; local ports follow. Port sets are 64-bit masks.
  public static let underlay = 0
  public static let portLimit = 64

  /// What the operator configured; workers turn it into tables.
  public struct Segment: Sendable, Equatable {
    /// 24 bits.
    public var vni: UInt32
    /// Indexes of local ports, from 1.
    public var ports: [Int]
    /// Replication list: indexes in the `VTEPTable`.
    public var remotes: [Int]
    /// Whether frames keep VLAN tags of their own (RFC 7348 section 6.1 says no unless configured).
    public var keepsInnerTags: Bool

    public init(vni: UInt32, ports: [Int], remotes: [Int], keepsInnerTags: Bool = false) {
      self.vni = vni
      self.ports = ports
      self.remotes = remotes
      self.keepsInnerTags = keepsInnerTags
    }
  }

  struct SegmentRecord: BitwiseCopyable {
    var vni: UInt32
    var keepsInnerTags: Bool
    var ports: UInt64
    var firstRemote: Int32
    var remoteCount: Int32
  }

  var segments: FixedBuffer<SegmentRecord>
  /// Replication lists, one after the other.
  var remotes: FixedBuffer<Int32>
  /// Segment of each port; -1 for none.
  var segmentOfPort: FixedBuffer<Int32>
  /// Whether the port leads to a wire, where a frame has at least 60 bytes.
  var isWire: FixedBuffer<Bool>
  /// VNI to segment: open addressing, at most half full. VNI in the upper, segment in the lower 32 bits; all ones is empty.
  private var vniTable: FixedBuffer<UInt64>

  /// - Parameter wires: for each port from 0 on, whether it is a NIC (rather than a TAP).
  public init(segments list: [Segment], wires: [Bool]) {
    precondition(wires.count <= Self.portLimit && list.count <= 65536)
    segments = FixedBuffer(
      repeating: SegmentRecord(vni: 0, keepsInnerTags: false, ports: 0, firstRemote: 0, remoteCount: 0), count: list.count)
    remotes = FixedBuffer(repeating: 0, count: list.reduce(0) { $0 + $1.remotes.count })
    segmentOfPort = FixedBuffer(repeating: -1, count: wires.count)
    isWire = FixedBuffer(repeating: false, count: wires.count)
    var size = 16
    while size < 2 * list.count { size *= 2 }
    vniTable = FixedBuffer(repeating: .max, count: size)
    for (port, wire) in wires.enumerated() { isWire[port] = wire }
    var first = 0
    for (index, segment) in list.enumerated() {
      var mask: UInt64 = 0
      for port in segment.ports {
        mask |= 1 << UInt64(port)
        segmentOfPort[port] = Int32(index)
      }
      segments[index] = SegmentRecord(
        vni: segment.vni, keepsInnerTags: segment.keepsInnerTags, ports: mask, firstRemote: Int32(first),
        remoteCount: Int32(segment.remotes.count))
      for remote in segment.remotes {
        remotes[first] = Int32(remote)
        first += 1
      }
      var slot = Self.hash(segment.vni) & (size - 1)
      while vniTable[slot] != .max { slot = (slot + 1) & (size - 1) }
      vniTable[slot] = UInt64(segment.vni) << 32 | UInt64(index)
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
}
