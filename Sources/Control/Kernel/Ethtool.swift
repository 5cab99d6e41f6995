import CLinux
import PacketIO
import SystemPackage

/// Settings of a NIC's driver, by ioctl(2) SIOCETHTOOL (linux/ethtool.h).
struct Ethtool: ~Copyable {
  /// A feature flag of the kernel's (NETIF_F_), known by its name.
  struct Feature {
    let bit: Int
    /// In effect.
    let isOn: Bool
    /// False if it is fixed: the driver does it always, or never.
    let canChange: Bool
  }

  private let descriptor: OwnedDescriptor
  private let interfaceIndex: UInt32
  private let name: String
  /// The names of the kernel's features, in the order of their bits.
  private let featureNames: [String]

  /// - Throws: `SystemError` of socket(2) or ioctl(2).
  init(_ link: Link) throws(SystemError) {
    let descriptor = OwnedDescriptor(
      try systemCall("opening a socket for ethtool") { socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0) })
    featureNames = try Self.featureNames(descriptor.number, link)
    interfaceIndex = link.index
    name = link.name
    self.descriptor = descriptor
  }

  private static func featureNames(_ descriptor: Int32, _ link: Link) throws(SystemError) -> [String] {
    // struct ethtool_sset_info: command, reserved, 64-bit set of string sets, and the answer: one count per set.
    var info = [UInt32(ETHTOOL_GSSET_INFO), 0, 1 << ETH_SS_FEATURES.rawValue, 0, 0]
    try systemCall("number of offloads of \(link.name)") { unsafe vxgw_ethtool(descriptor, link.index, &info) }
    // struct ethtool_gstrings: command, string set, count, and the answer: strings padded with zeros.
    let count = Int(info[4])
    let length = Int(ETH_GSTRING_LEN)
    var words = [UInt32(ETHTOOL_GSTRINGS), ETH_SS_FEATURES.rawValue, UInt32(count)]
    words += [UInt32](repeating: 0, count: count * length / 4)
    try systemCall("names of offloads of \(link.name)") { unsafe vxgw_ethtool(descriptor, link.index, &words) }
    let bytes = unsafe words.withUnsafeBytes { unsafe Array($0.dropFirst(12)) }
    return (0..<count).map { bytes[($0 * length)..<(($0 + 1) * length)].text }
  }

  /// 32 features each.
  private var blockCount: Int { (featureNames.count + 31) / 32 }

  /// - Parameters:
  ///   - what: the operation, for the error.
  ///   - command: a struct that begins with an ETHTOOL_ number, with room for the answer.
  @unsafe
  private func call(_ what: String, _ command: UnsafeMutableRawPointer) throws(SystemError) {
    try systemCall("\(what) of \(name)") { unsafe vxgw_ethtool(descriptor.number, interfaceIndex, command) }
  }

  func driver() throws(SystemError) -> (name: String, bus: String) {
    var info = ethtool_drvinfo()
    info.cmd = UInt32(ETHTOOL_GDRVINFO)
    try unsafe call("driver", &info)
    return unsafe (
      withUnsafeBytes(of: info.driver) { unsafe Array($0)[...].text },
      withUnsafeBytes(of: info.bus_info) { unsafe Array($0)[...].text }
    )
  }

  /// Queues in use.
  func channels() throws(SystemError) -> (rx: Int, tx: Int) {
    var channels = ethtool_channels()
    channels.cmd = UInt32(ETHTOOL_GCHANNELS)
    try unsafe call("channels", &channels)
    return (Int(channels.combined_count + channels.rx_count), Int(channels.combined_count + channels.tx_count))
  }

  /// The state of every feature that this kernel has a name for.
  func features() throws(SystemError) -> [String: Feature] {
    // struct ethtool_gfeatures: command, number of blocks, and per 32 features a block {available, requested, active, never changed}.
    var words = [UInt32(ETHTOOL_GFEATURES), UInt32(blockCount)]
    words += [UInt32](repeating: 0, count: 4 * blockCount)
    try unsafe call("offloads", &words)
    var features: [String: Feature] = [:]
    for (bit, name) in featureNames.enumerated() {
      let block = 2 + bit / 32 * 4
      let mask: UInt32 = 1 << (bit % 32)
      features[name] = Feature(
        bit: bit, isOn: words[block + 2] & mask != 0, canChange: words[block] & ~words[block + 3] & mask != 0)
    }
    return features
  }

  /// Asks for these features to be on or off. What became of it is to be read again: a driver may decline.
  func set(_ features: [Feature], on: Bool) throws(SystemError) {
    if features.isEmpty { return }
    // struct ethtool_sfeatures: command, number of blocks, and per 32 features a block {to change, new values}. The kernel
    // refuses any number but its own.
    var words = [UInt32(ETHTOOL_SFEATURES), UInt32(blockCount)]
    words += [UInt32](repeating: 0, count: 2 * blockCount)
    for feature in features {
      let block = 2 + feature.bit / 32 * 2
      words[block] |= 1 << (feature.bit % 32)
      if on { words[block + 1] |= 1 << (feature.bit % 32) }
    }
    try unsafe call("changing offloads", &words)
  }
}

/// The driver of a NIC.
public struct EthernetDriver: Sendable, Equatable {
  /// "ixgbe", "virtio_net", "veth"; nil when it does not say.
  public let name: String?
  /// Where the device sits: a PCI address ("0000:01:00.0"); empty or "N/A" for a virtual one.
  public let bus: String
  /// Queues in use.
  public let rxQueues: Int
  public let txQueues: Int
}

extension EthernetDriver {
  /// - Throws: `SystemError` of the ioctls, but for a driver that does not implement them.
  public init(of link: Link) throws(SystemError) {
    let ethtool = try Ethtool(link)
    let driver = try answered { () throws(SystemError) in try ethtool.driver() }
    let channels = try answered { () throws(SystemError) in try ethtool.channels() }
    name = driver?.name
    bus = driver?.bus ?? ""
    rxQueues = channels?.rx ?? link.rxQueues
    txQueues = channels?.tx ?? link.txQueues
  }
}

/// Nil if the driver has no answer (EOPNOTSUPP).
private func answered<Answer>(_ question: () throws(SystemError) -> Answer) throws(SystemError) -> Answer? {
  do { return try question() } catch {
    if error.errno == .notSupportedOnSocket { return nil }
    throw error
  }
}
