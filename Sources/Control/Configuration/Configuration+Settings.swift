import Datapath
import Logging
import Wire

extension Configuration {
  /// Directory of the control sockets.
  public static let socketDirectory = "/run/vxgw"

  /// - Throws: `ConfigurationError` with every mistake there is, in the order of the manual.
  public init(_ settings: Settings) throws(ConfigurationError) {
    var reader = SettingsReader(settings)
    iface = reader.underlay()
    segments = reader.segments(underlay: iface)
    readAddresses(&reader)
    readOuterHeader(&reader)
    readForwarding(&reader)
    readIO(&reader)
    readMemory(&reader)
    readOperation(&reader)
    guard reader.mistakes.isEmpty else { throw ConfigurationError(mistakes: reader.mistakes) }
  }

  private mutating func readAddresses(_ reader: inout SettingsReader) {
    if let text = reader.text(.local) { local = reader.vtep(.local, text) }
    for list in reader.texts(.remote) {
      for text in list.split(separator: ",", omittingEmptySubsequences: false) {
        guard let remote = reader.vtep(.remote, String(text)) else { continue }
        if remote == local {
          reader.mistake(.remote, String(text), "that is --local, this VTEP itself")
        } else if remotes.contains(remote) {
          reader.mistake(.remote, String(text), "given twice; every remote VTEP would get two copies")
        } else {
          remotes.append(remote)
        }
      }
    }
  }

  private mutating func readOuterHeader(_ reader: inout SettingsReader) {
    let port = reader.number(
      .dstport, in: 1...65535, "a UDP port is 1 to 65535; 4789 is VXLAN's (RFC 7348 section 5), 8472 flannel's")
    destinationPort = port.map { UInt16($0) } ?? destinationPort
    sourcePorts = reader.ports(.srcport) ?? sourcePorts
    ttl = reader.number(.ttl, in: 1...255, "a TTL is 1 to 255").map { UInt8($0) } ?? ttl
    tos = reader.tos() ?? tos
    df = reader.word(.df) ?? df
  }

  private mutating func readForwarding(_ reader: inout SettingsReader) {
    learning = reader.word(.learning).map { (toggle: Toggle) in toggle == .on } ?? learning
    ageing = reader.number(.ageing, in: 0...86_400_000, "seconds, 0 to 86400000 (1000 days); 0 is never") ?? ageing
    maxFDB = reader.number(.maxFDB, in: 1...67_108_864, "entries, 1 to 67108864, which take 2 GiB") ?? maxFDB
    vteps = reader.word(.vteps) ?? (remotes.isEmpty ? .any : .listed)
    if vteps == .listed, remotes.isEmpty, reader.areRight(.vteps, .remote) {
      reader.mistake(.vteps, "listed", "no VTEP is listed, so nothing would be accepted. List them with --remote, or use any")
    }
  }

  private mutating func readIO(_ reader: inout SettingsReader) {
    io = reader.word(.io) ?? io
    zeroCopy = reader.word(.zeroCopy) ?? zeroCopy
    if zeroCopy == .on, io == .raw || io == .xdpSKB {
      reader.mistake(.zeroCopy, "on", "--io \(io.rawValue) always copies; zero-copy needs --io xdp")
    }
    workers = reader.number(.workers, in: 1...1024, "threads, 1 to 1024")
    cpus = reader.cpus()
    if let workers, !cpus.isEmpty, cpus.count < workers {
      reader.mistake(.cpus, reader.text(.cpus), "CPUs for \(cpus.count) of \(workers) workers; name one for each")
    }
    poll = reader.word(.poll) ?? poll
  }

  private mutating func readMemory(_ reader: inout SettingsReader) {
    // The rings' indexes are masked (Documentation/networking/af_xdp.rst).
    let rule = "entries of a ring are a power of two, 64 to 32768"
    ring = reader.number(.ring, in: 64...32768, rule) ?? ring
    if ring.nonzeroBitCount != 1 { reader.mistake(.ring, "\(ring)", rule) }
    batch = reader.number(.batch, in: 1...4096, "frames, 1 to 4096") ?? batch
    if batch > ring, reader.areRight(.batch, .ring) {
      reader.mistake(.batch, "\(batch)", "a batch does not fit the ring of \(ring); see --ring")
    }
    frameSize = reader.number(.frameSize, in: 2048...4096, "2048 or 4096 bytes")
    if let frameSize, frameSize.nonzeroBitCount != 1 { reader.mistake(.frameSize, "\(frameSize)", "2048 or 4096 bytes") }
    // Addresses in packet memory are 32-bit offsets (`Frame.start`).
    let most = (1 << 32) / (frameSize ?? 4096)
    frames = reader.number(.frames, in: 1...most, "frames per worker, at most \(most): 4 GiB")
    if let frames, frames < 2 * ring, reader.areRight(.frames, .ring) {
      reader.mistake(.frames, "\(frames)", "fewer than 2 rings of \(ring), one to receive into and one to send; see --ring")
    }
  }

  private mutating func readOperation(_ reader: inout SettingsReader) {
    socket = reader.text(.socket) ?? "\(Self.socketDirectory)/\(iface).sock"
    // sun_path of sockaddr_un ends with a zero byte (unix(7)).
    if socket.isEmpty || socket.utf8.count > 107 {
      reader.mistake(.socket, socket, "a socket's path has 1 to 107 bytes (unix(7))")
    }
    logLevel = reader.word(.logLevel) ?? logLevel
  }
}

private enum Toggle: String, CaseIterable { case on, off }

extension SettingsReader {
  fileprivate mutating func underlay() -> String {
    guard let name = text(.iface) else {
      mistake(.iface, nil, "missing; name the underlay's network interface, such as --iface eth0")
      return ""
    }
    checkInterfaceName(name, .iface, name)
    return name
  }

  /// The address of a VTEP; nil when it can't be one.
  fileprivate mutating func vtep(_ setting: Setting, _ text: String) -> IPAddress? {
    guard let address = IPAddress(text) else {
      mistake(setting, text, "not an IP address; names are not looked up")
      return nil
    }
    if address.isMulticast {
      mistake(setting, text, "a multicast group, and these are not supported yet; list the VTEPs with --remote")
    } else if !address.isIPv4 {
      mistake(setting, text, "IPv6 underlays are not supported yet; use an IPv4 address")
    } else if address.isMartianSource {
      mistake(setting, text, "no VTEP can have this address (RFC 6890)")
    } else {
      return address
    }
    return nil
  }

  /// LOW-HIGH.
  fileprivate mutating func ports(_ setting: Setting) -> ClosedRange<UInt16>? {
    guard let text = text(setting) else { return nil }
    let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { decimal($0).flatMap { UInt16(exactly: $0) } }
    guard parts.count == 2, let low = parts[0], let high = parts[1], low > 0 else {
      mistake(setting, text, "two UDP ports LOW-HIGH, such as 49152-65535")
      return nil
    }
    guard low <= high else {
      mistake(setting, text, "\(low) is above \(high); the lower port comes first")
      return nil
    }
    return low...high
  }

  fileprivate mutating func tos() -> Configuration.TOS? {
    guard let text = text(.tos) else { return nil }
    if text == "inherit" { return .inherit }
    guard let value = decimal(text).flatMap({ UInt8(exactly: $0) }) else {
      mistake(.tos, text, "0 to 252, or inherit\(suggestion(text, ["inherit"]))")
      return nil
    }
    guard value & 3 == 0 else {
      mistake(.tos, text, "the lower two bits are ECN, which follows the inner packet (RFC 6040); use \(value & ~3)")
      return nil
    }
    return .value(value)
  }

  /// Numbers and ranges, such as 0,2-3.
  fileprivate mutating func cpus() -> [Int] {
    guard let text = text(.cpus) else { return [] }
    var cpus: [Int] = []
    for item in text.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { decimal($0) }
      // 1024: CPU_SETSIZE of sched_setaffinity(2).
      guard ends.count <= 2, let low = ends.first ?? nil, let high = ends.last ?? nil, low <= high, high < 1024 else {
        mistake(.cpus, text, "CPU numbers and ranges, such as 0,2-3")
        return []
      }
      cpus += low...high
    }
    if Set(cpus).count < cpus.count { mistake(.cpus, text, "a CPU is named twice") }
    return cpus
  }
}
