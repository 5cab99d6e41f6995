import SystemPackage
import Wire

/// Why the gateway refuses a change. Each case is an errno of the kernel's vxlan device (vxlan_fdb_update, vxlan_fdb_parse and
/// vxlan_fdb_delete in drivers/net/vxlan/vxlan_core.c; neigh_add in net/core/neighbour.c) with a sentence that says what
/// to do. What was to be changed stands in front of it, see `ControlResponse.init(performing:_:)`.
public enum ChangeError: Error, Equatable, Sendable {
  /// `add` of an FDB entry that exists, even if it points elsewhere.
  case fdbEntryExists(MACAddress)
  case noFDBEntry
  /// `append` to the entry of a unicast address.
  case unicastAppended
  /// `replace` of the entry of a group, which is a list.
  case groupReplaced
  /// Neither a VTEP nor a local port.
  case noDestination
  /// 00:00:00:00:00:00 and group addresses are behind VTEPs only: local ports get those frames anyway.
  case groupOnLocalPort
  /// At most so many entries.
  case fdbFull(Int)
  /// At most so many VTEPs.
  case vtepTableFull(Int)
  /// The VTEP's address, and the gateway's own, of the other family.
  case family(IPAddress, local: IPAddress)
  /// The name given, and those that there are.
  case noDevice(String, [String])
  case noSegment(UInt32, [UInt32])
  /// Nothing says which of these segments is meant.
  case segmentMissing([UInt32])
  /// The device belongs to another segment than the one that is named.
  case segmentMismatch(dev: String, UInt32)
  case neighbourExists
  case noNeighbour
  case vtepListed
  case vtepNotListed
  case segmentExists
  case portInUse(String, vni: UInt32)
  case noPort([String])
  /// A rule that nothing above has: what is wrong, and what to do.
  case invalid(String)
  case unsupported(String)

  public var errno: Errno {
    switch self {
    case .fdbEntryExists, .unicastAppended, .neighbourExists, .vtepListed, .segmentExists: .fileExists
    case .noFDBEntry, .noSegment, .noNeighbour, .vtepNotListed, .noPort: .noSuchFileOrDirectory
    case .groupReplaced, .unsupported: .notSupportedOnSocket  // EOPNOTSUPP
    case .noDestination, .groupOnLocalPort, .segmentMissing, .segmentMismatch, .invalid: .invalidArgument
    case .fdbFull, .vtepTableFull: .noSpace
    case .family: .addressFamilyNotSupported
    case .noDevice: .operationNotSupportedByDevice  // ENODEV
    case .portInUse: .resourceBusy
    }
  }
}

extension ChangeError: CustomStringConvertible {
  /// "it exists already (EEXIST); use replace".
  public var description: String {
    let (fact, advice) = sentence
    return "\(fact) (\(errno.name))" + (advice.map { "; \($0)" } ?? "")
  }

  private var sentence: (fact: String, advice: String?) {
    switch self {
    case .fdbEntryExists(let mac) where mac.isZero || mac.isMulticast:
      ("it exists already", "use append for another destination")
    case .fdbEntryExists: ("it exists already", "use replace")
    case .unicastAppended: ("a unicast address has one destination, and it has one already", "use replace")
    case .noFDBEntry: ("no such entry", "vxgw fdb show lists them")
    case .groupReplaced: ("the entry of a group can't be replaced", "del it or some of its destinations, and append others")
    case .noDestination: ("no destination", "give dst IP, or a local port as dev")
    case .groupOnLocalPort: ("the entry of a group needs dst IP", "local ports get its frames without one")
    case .fdbFull(let limit): ("the FDB holds its \(limit) entries", "raise --max-fdb")
    case .vtepTableFull(let limit): ("there are \(limit) VTEPs", "del some that are not needed")
    case .family(let address, let local):
      ("\(address) is an \(Self.family(address)) address, and the gateway's own, \(local), is \(Self.family(local))", nil)
    case .noDevice(let name, let names):
      ("\(name): no port of this gateway", Self.hint(name, names))
    case .noSegment(let vni, let vnis):
      ("VNI \(vni) is not configured here", "there are \(Self.list(vnis)); vxgw vni add \(vni) adds it")
    case .segmentMissing(let vnis): ("which segment of \(Self.list(vnis))?", "name it with dev or its VNI")
    case .segmentMismatch(let dev, let vni): ("\(dev) is no port of VNI \(vni)", "one of them is enough")
    case .neighbourExists: ("it exists already", "use replace")
    case .noNeighbour: ("no such neighbour", "vxgw neigh show lists them")
    case .vtepListed: ("it is in the replication list already", nil)
    case .vtepNotListed: ("it is not in the replication list", "vxgw vni show prints the list")
    case .segmentExists: ("it exists already", "vxgw link add and vxgw vtep add change it")
    case .portInUse(let port, let vni): ("\(port) is a port of VNI \(vni)", "vxgw link del \(port) takes it out")
    case .noPort(let names): ("no such port", names.isEmpty ? nil : "there are \(names.joined(separator: ", "))")
    case .invalid(let fact), .unsupported(let fact): (fact, nil)
    }
  }

  private static func family(_ address: IPAddress) -> String { address.isIPv4 ? "IPv4" : "IPv6" }

  private static func list(_ vnis: [UInt32]) -> String {
    vnis.isEmpty ? "none" : vnis.map(\.description).joined(separator: ", ")
  }

  private static func hint(_ name: String, _ names: [String]) -> String {
    nearestWord(to: name, among: names).map { "did you mean \($0)?" } ?? "there are \(names.joined(separator: ", "))"
  }
}
