import Datapath
import Logging
import Wire

extension Configuration {
  /// Directory of the control sockets.
  public static let socketDirectory = "/run/vxgw"

  /// - Parameter file: what `--config` names; the settings come first.
  /// - Throws: `ConfigurationError` with every mistake there is, in the order of the manual, and then of the file.
  public init(_ settings: Settings, file: ConfigurationFile? = nil) throws(ConfigurationError) {
    var reader = SettingsReader(settings, file)
    self.init(&reader)
    guard reader.mistakes.isEmpty else { throw ConfigurationError(mistakes: reader.mistakes) }
  }

  init(_ reader: inout SettingsReader) {
    if let given = reader.last(.iface) {
      (iface, underlayVLAN) = reader.read(given, Self.underlay) ?? ("", nil)
    } else if reader.areRight(.iface) {
      reader.mistake(.iface, "missing; name the underlay's network interface, such as --iface eth0")
    }
    preset = reader.word(.preset)
    readSegments(&reader)
    if let given = reader.last(.local) { local = reader.read(given, Self.vtepAddress) }
    readReplication(&reader)
    readOuterHeader(&reader)
    readChecksums(&reader)
    readInnerFrames(&reader)
    readForwarding(&reader)
    readIO(&reader)
    readMemory(&reader)
    readOperation(&reader)
  }

  /// IF or IF:VLAN.
  private static func underlay(_ text: String) throws(Mistake) -> (iface: String, vlan: UInt16?) {
    guard let colon = text.firstIndex(of: ":") else { return (try interfaceName(text), nil) }
    guard let id = decimal(text[text.index(after: colon)...]), (1...4094).contains(id) else {
      throw Mistake("the underlay's VLAN is 1 to 4094, such as \(text[..<colon]):100")
    }
    return (try interfaceName(String(text[..<colon])), UInt16(id))
  }

  private mutating func readOuterHeader(_ reader: inout SettingsReader) {
    let port = reader.number(
      .dstport, in: 1...65535, "a UDP port is 1 to 65535; 4789 is VXLAN's (RFC 7348 section 5), 8472 flannel's")
    destinationPort = port.map { UInt16($0) } ?? destinationPort
    sourcePorts = reader.last(.srcport).flatMap { reader.read($0, Self.portRange) } ?? sourcePorts
    ttl = reader.value(.ttl, "a TTL is 1 to 255, auto or inherit", words: ["auto", "inherit"]) ?? ttl
    tos = reader.last(.tos).flatMap { reader.read($0, Self.tos) } ?? tos
    df = reader.word(.df) ?? df
    flowLabel =
      reader.value(.flowlabel, "a flow label has 20 bits, 0 to 1048575; or inherit, or hash", words: ["inherit", "hash"]) ?? flowLabel
    needIPv6(.flowlabel, "only IPv6 has flow labels", &reader)
  }

  private mutating func readChecksums(_ reader: inout SettingsReader) {
    for given in reader.all(.udpcsum) {
      guard let equals = given.text.firstIndex(of: "=") else {
        udpChecksum = reader.word(given) ?? udpChecksum
        continue
      }
      let part = given.part(given.text[..<equals])
      guard let address = reader.read(part, Self.vtepAddress), isLike(anyAddress, address, part, &reader) else { continue }
      let toggle: Toggle? = reader.word(given.part(given.text[given.text.index(after: equals)...]))
      udpChecksumOf[address] = toggle.map { $0 == .on }
    }
    if udpChecksum == .off, isIPv6 == true {
      reader.mistake(.udpcsum, "over IPv6 the checksum may be left out only where both ends agree (RFC 6935): --udp6zerocsum tx,rx")
    }
    udp6ZeroChecksum = reader.value(.udp6zerocsum, "none, tx, rx or tx,rx", words: ["none"]) ?? udp6ZeroChecksum
    needIPv6(.udp6zerocsum, "it is about IPv6; over IPv4 there is --udpcsum", &reader)
    verifiesUDPChecksum = reader.flag(.verifyUDPChecksum) ?? verifiesUDPChecksum
    reservedBits = reader.last(.reservedBits).flatMap { reader.read($0, Self.reservedBits) } ?? reservedBits
  }

  /// A preset may say more than an IPv4 underlay has use for; the operator may not.
  private func needIPv6(_ setting: Setting, _ reason: String, _ reader: inout SettingsReader) {
    guard isIPv6 != true, reader.areRight(setting, .local, .remote, .group), let given = reader.last(setting) else { return }
    if case .preset = given.origin { return }
    let remedy = isIPv6 == nil ? "name this VTEP's IPv6 address with --local" : "this underlay is IPv4"
    reader.mistake(given, "\(reason); \(remedy)")
  }

  private mutating func readInnerFrames(_ reader: inout SettingsReader) {
    innerVLAN = reader.word(.innerVLAN) ?? innerVLAN
    mtu = reader.number(.mtu, in: 68...65535, "bytes, 68 to 65535")
    mssClamp = reader.value(.mssClamp, "bytes, 88 to 65495; or auto, or off", words: ["auto", "off"]) ?? mssClamp
  }

  private mutating func readForwarding(_ reader: inout SettingsReader) {
    learning = reader.flag(.learning) ?? learning
    ageing = reader.number(.ageing, in: 0...86_400_000, "seconds, 0 to 86400000 (1000 days); 0 is never") ?? ageing
    maxFDB = reader.number(.maxFDB, in: 1...67_108_864, "entries, 1 to 67108864, which take 2 GiB") ?? maxFDB
    vteps = reader.word(.vteps) ?? usualVTEPs
    proxy = reader.flag(.proxy) ?? proxy
    suppress = reader.flag(.suppress) ?? suppress
    if proxy && suppress {
      reader.mistake(.suppress, "--proxy sends no request on, --suppress those that it can't answer; choose one")
    }
    l2miss = reader.flag(.l2miss) ?? l2miss
    l3miss = reader.flag(.l3miss) ?? l3miss
  }

  /// Members of a group can't be known beforehand.
  var usualVTEPs: VTEPs { remotes.isEmpty || !groups.isEmpty ? .any : .listed }

  private mutating func readIO(_ reader: inout SettingsReader) {
    io = reader.word(.io) ?? io
    zeroCopy = reader.word(.zeroCopy) ?? zeroCopy
    if zeroCopy == .on, io == .raw || io == .xdpSKB {
      reader.mistake(.zeroCopy, "--io \(io.rawValue) always copies; zero-copy needs --io xdp")
    }
    fastPath = reader.word(.fastPath) ?? fastPath
    if fastPath == .on, io == .raw || io == .xdpSKB {
      reader.mistake(.fastPath, "--io \(io.rawValue) has no program in the driver; the fast path needs --io xdp")
    }
    workers = reader.number(.workers, in: 1...1024, "threads, 1 to 1024")
    cpus = reader.last(.cpus).flatMap { reader.read($0, Self.cpus) } ?? []
    if let workers, !cpus.isEmpty, cpus.count < workers {
      reader.mistake(.cpus, "CPUs for \(cpus.count) of \(workers) workers; name one for each")
    }
    poll = reader.word(.poll) ?? poll
  }

  private mutating func readMemory(_ reader: inout SettingsReader) {
    // The rings' indexes are masked (Documentation/networking/af_xdp.rst).
    let rule = "entries of a ring are a power of two, 64 to 32768"
    ring = reader.number(.ring, in: 64...32768, rule) ?? ring
    if ring.nonzeroBitCount != 1 { reader.mistake(.ring, rule) }
    batch = reader.number(.batch, in: 1...4096, "frames, 1 to 4096") ?? batch
    if batch > ring, reader.areRight(.batch, .ring) { reader.mistake(.batch, "a batch does not fit the ring of \(ring); see --ring") }
    frameSize = reader.number(.frameSize, in: 2048...4096, "2048 or 4096 bytes")
    if let frameSize, frameSize.nonzeroBitCount != 1 { reader.mistake(.frameSize, "2048 or 4096 bytes") }
    // Addresses in packet memory are 32-bit offsets (`Frame.start`).
    let most = (1 << 32) / (frameSize ?? 4096)
    frames = reader.number(.frames, in: 1...most, "frames per worker, at most \(most): 4 GiB")
    if let frames, frames < 2 * ring, reader.areRight(.frames, .ring) {
      reader.mistake(.frames, "fewer than 2 rings of \(ring), one to receive into and one to send; see --ring")
    }
  }

  private mutating func readOperation(_ reader: inout SettingsReader) {
    socket = reader.last(.socket)?.text ?? "\(Self.socketDirectory)/\(iface).sock"
    // sun_path of sockaddr_un ends with a zero byte (unix(7)).
    if socket.isEmpty || socket.utf8.count > 107 { reader.mistake(.socket, "a socket's path has 1 to 107 bytes (unix(7))") }
    logLevel = reader.word(.logLevel) ?? logLevel
  }
}

extension Configuration {
  /// LOW-HIGH.
  private static func portRange(_ text: String) throws(Mistake) -> ClosedRange<UInt16> {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { decimal($0).flatMap { UInt16(exactly: $0) } }
    guard parts.count == 2, let low = parts[0], let high = parts[1], low > 0 else {
      throw Mistake("two UDP ports LOW-HIGH, such as 49152-65535")
    }
    guard low <= high else { throw Mistake("\(low) is above \(high); the lower port comes first") }
    return low...high
  }

  private static func tos(_ text: String) throws(Mistake) -> TOS {
    if text == "inherit" { return .inherit }
    guard let value = decimal(text).flatMap({ UInt8(exactly: $0) }) else {
      throw Mistake("0 to 252, or inherit\(suggestion(text, ["inherit"]))")
    }
    guard value & 3 == 0 else {
      throw Mistake("the lower two bits are ECN, which follows the inner packet (RFC 6040); use \(value & ~3)")
    }
    return .value(value)
  }

  /// Bits of the VXLAN header that the kernel wants to be zero unless told otherwise: all but the I flag and the VNI.
  static let strictReservedBits: UInt64 = 0xf7ff_ffff_0000_00ff

  private static func reservedBits(_ text: String) throws(Mistake) -> UInt64 {
    if text == "ignore" { return 0 }
    if text == "strict" { return strictReservedBits }
    guard let mask = hexadecimal(text) else {
      let hint = suggestion(text, ["ignore", "strict"])
      throw Mistake("ignore, strict, or the bits that must be zero, such as 0xf7ffffff000000ff (strict)\(hint)")
    }
    guard mask & ~strictReservedBits == 0 else {
      throw Mistake("the I flag and the VNI are not reserved; 0x\(String(mask & strictReservedBits, radix: 16)) leaves them out")
    }
    return mask
  }

  /// Numbers and ranges, such as 0,2-3.
  private static func cpus(_ text: String) throws(Mistake) -> [Int] {
    var cpus: [Int] = []
    for item in text.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { decimal($0) }
      // 1024: CPU_SETSIZE of sched_setaffinity(2).
      guard ends.count <= 2, let low = ends.first ?? nil, let high = ends.last ?? nil, low <= high, high < 1024 else {
        throw Mistake("CPU numbers and ranges, such as 0,2-3")
      }
      cpus += low...high
    }
    if Set(cpus).count < cpus.count { throw Mistake("a CPU is named twice") }
    return cpus
  }
}
