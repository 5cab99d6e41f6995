import Testing
import Wire
@testable import Control
@testable import vxgw

/// The configuration that a command line, split at spaces, makes.
private func configuration(_ line: String) throws -> Configuration {
  let command = try VXGW.parseAsRoot(line.split(separator: " ").map(String.init))
  return try Configuration(try #require(command as? Run).settings)
}

/// One option and where in the configuration it must show.
struct OptionRow: Sendable, CustomTestStringConvertible {
  let options: String
  let property: @Sendable (Configuration) -> String
  let value: String
  var testDescription: String { options }

  init(_ options: String, _ value: String, _ property: @escaping @Sendable (Configuration) -> String) {
    self.options = options
    self.property = property
    self.value = value
  }
}

private let optionRows: [OptionRow] = [
  .init("", "ens192 nil []", { "\($0.iface) \($0.local.debugDescription) \($0.remotes)" }),
  .init("--local 192.0.2.1", "192.0.2.1", { $0.local?.description ?? "" }),
  .init("--remote 192.0.2.2,192.0.2.3 --remote 192.0.2.4", "[192.0.2.2, 192.0.2.3, 192.0.2.4]", { "\($0.remotes)" }),
  .init("", "4789", { "\($0.destinationPort)" }),
  .init("--dstport 8472", "8472", { "\($0.destinationPort)" }),
  .init("--port 8472", "8472", { "\($0.destinationPort)" }),
  .init("", "49152...65535", { "\($0.sourcePorts)" }),
  .init("--srcport 1000-1000", "1000...1000", { "\($0.sourcePorts)" }),
  .init("", "64 0 unset", { "\($0.ttl) \($0.tos) \($0.df)" }),
  .init("--ttl 255 --tos inherit --df inherit", "255 inherit inherit", { "\($0.ttl) \($0.tos) \($0.df)" }),
  .init("--tos 252 --df set", "252 set", { "\($0.tos) \($0.df)" }),
  .init("", "true 300 1048576", { "\($0.learning) \($0.ageing) \($0.maxFDB)" }),
  .init("--no-learning --ageing 0 --max-fdb 7", "false 0 7", { "\($0.learning) \($0.ageing) \($0.maxFDB)" }),
  .init("", "any", { "\($0.vteps)" }),
  .init("--remote 192.0.2.2", "listed", { "\($0.vteps)" }),
  .init("--remote 192.0.2.2 --vteps any", "any", { "\($0.vteps)" }),
  .init("", "auto auto", { "\($0.io) \($0.zeroCopy)" }),
  .init("--io xdp-skb --zero-copy off", "xdpSKB off", { "\($0.io) \($0.zeroCopy)" }),
  .init("--io xdp --zero-copy on", "xdp on", { "\($0.io) \($0.zeroCopy)" }),
  .init("", "nil []", { "\($0.workers.debugDescription) \($0.cpus)" }),
  .init("--workers 3 --cpus 0,2-4", "Optional(3) [0, 2, 3, 4]", { "\($0.workers.debugDescription) \($0.cpus)" }),
  .init("", "64 2048 nil nil", { "\($0.batch) \($0.ring) \($0.frames.debugDescription) \($0.frameSize.debugDescription)" }),
  .init(
    "--batch 128 --ring 4096 --frames 16384 --frame-size 4096", "128 4096 16384 4096",
    { "\($0.batch) \($0.ring) \($0.frames ?? 0) \($0.frameSize ?? 0)" }),
  .init("", "adaptive", { "\($0.poll)" }),
  .init("--poll busy", "busy", { "\($0.poll)" }),
  .init("", "/run/vxgw/ens192.sock", { $0.socket }),
  .init("--socket a.sock", "a.sock", { $0.socket }),
  .init("", "info", { "\($0.logLevel)" }),
  .init("--log-level debug", "debug", { "\($0.logLevel)" }),
]

@Test("each option reaches the configuration", arguments: optionRows)
func option(_ row: OptionRow) throws {
  #expect(row.property(try configuration("--iface ens192 --vni 1 " + row.options)) == row.value)
}

@Test("every setting can be given on the command line")
func everySetting() throws {
  let command = try VXGW.parseAsRoot([])
  #expect(Set(try #require(command as? Run).settings.keys) == Set(Setting.allCases))
}

@Test(
  "segments and their ports",
  arguments: [
    ("--vni 1", "1=tap:vxgw1"),
    ("--vni 16777215", "16777215=tap:vxgw16777215"),
    ("--vni 0 --tap t0", "0=tap:t0"),
    ("--vni 1 --lan eth1 --lan eth2", "1=eth1,eth2"),
    ("--vni 1 --lan eth1 --tap t1", "1=eth1,tap:t1"),
    ("--vni 1 --vni 2", "1=tap:vxgw1 2=tap:vxgw2"),
    ("--vni 1 --vni 2 --tap a --tap b", "1=tap:a 2=tap:b"),
    ("--map 4100=eth1 --map 4200=tap:t", "4100=eth1 4200=tap:t"),
    ("--map 1=eth1 --map 1=eth2", "1=eth1,eth2"),
    ("--vni 1 --vni 2 --map 2=eth2", "1=tap:vxgw1 2=eth2"),
  ])
func segments(_ options: String, _ expected: String) throws {
  let segments = try configuration("--iface ens192 " + options).segments
  let text = segments.map { "\($0.vni)=" + $0.ports.map(\.description).joined(separator: ",") }
  #expect(text.joined(separator: " ") == expected)
}

private let vni = "a VNI has 24 bits, 0 to 16777215 (RFC 7348 section 5)"
private let name = "an interface's name has 1 to 15 bytes, without spaces, \"/\", \":\" and \"%\""
private let vlan = "are not supported yet; make a VLAN interface and name that"
private let ring = "entries of a ring are a power of two, 64 to 32768"

@Test(
  "mistakes are told, all of them",
  arguments: [
    (
      "",
      [
        "--iface: missing; name the underlay's network interface, such as --iface eth0",
        "--vni: missing; name the segment, such as --vni 1, or use --map 1=eth1",
      ]
    ),
    ("--iface abcdefghijklmnop --vni 1", ["--iface abcdefghijklmnop: \(name)"]),
    ("--iface u --vni 16777216 --vni 1x --vni +1", ["--vni 16777216: \(vni)", "--vni 1x: \(vni)", "--vni +1: \(vni)"]),
    ("--iface u --vni 1 --vni 1", ["--vni 1: given twice"]),
    ("--iface u --vni 1 --lan eth1:100", ["--lan eth1:100: VLANs on --lan \(vlan)"]),
    (
      "--iface u --map 1=eth1:100 --map 2=tap:t:5",
      [
        "--map 1=eth1:100: VLANs on --map \(vlan)", "--map 2=tap:t:5: VLANs on --map \(vlan)",
      ]
    ),
    ("--iface u --vni 1 --vni 2 --lan eth1", ["--lan eth1: which of the 2 VNIs is it for? Use --map 1=eth1"]),
    (
      "--iface u --lan eth1",
      [
        "--vni: missing; name the segment, such as --vni 1, or use --map 1=eth1",
        "--lan eth1: no --vni to put it into; use --map VNI=eth1",
      ]
    ),
    (
      "--iface u --vni 1 --vni 2 --tap a",
      [
        "--tap a: 1 for 2 --vni; give one for each, in the same order, or use --map VNI=tap:a"
      ]
    ),
    ("--iface u --vni 1 --tap abcdefghijklmnop", ["--tap abcdefghijklmnop: \(name)"]),
    ("--iface u --vni 1 --lan u", ["--lan u: u is the underlay (--iface); it can be a local port only with a VLAN"]),
    (
      "--iface u --map 1=e --map 2=e",
      [
        "--map 2=e: e is a port of VNI 1; without VLANs a port belongs to one VNI"
      ]
    ),
    ("--iface u --map 1=e --map 1=e", ["--map 1=e: e is given twice"]),
    (
      "--iface u --map 2=tap:vxgw1 --vni 1",
      [
        "--vni 1: vxgw1 is a port of VNI 2; without VLANs a port belongs to one VNI"
      ]
    ),
    (
      "--iface u --map 1 --map x=e --map 1=tap:",
      [
        "--map 1: not VNI=PORT, such as 1=eth1 or 1=tap:vxgw1", "--map x=e: \(vni)", "--map 1=tap:: \(name)",
      ]
    ),
    (
      "--iface u --vni 1 --local 192.0.2.1 --remote 192.0.2.1,192.0.2.2,192.0.2.2,h",
      [
        "--remote 192.0.2.1: that is --local, this VTEP itself",
        "--remote 192.0.2.2: given twice; every remote VTEP would get two copies",
        "--remote h: not an IP address; names are not looked up",
      ]
    ),
    (
      "--iface u --vni 1 --remote 239.1.1.1,ff05::1,2001:db8::2,127.0.0.1,",
      [
        "--remote 239.1.1.1: a multicast group, and these are not supported yet; list the VTEPs with --remote",
        "--remote ff05::1: a multicast group, and these are not supported yet; list the VTEPs with --remote",
        "--remote 2001:db8::2: IPv6 underlays are not supported yet; use an IPv4 address",
        "--remote 127.0.0.1: no VTEP can have this address (RFC 6890)",
        "--remote : not an IP address; names are not looked up",
      ]
    ),
    ("--iface u --vni 1 --local 2001:db8::1", ["--local 2001:db8::1: IPv6 underlays are not supported yet; use an IPv4 address"]),
    (
      "--iface u --vni 1 --dstport 0 --srcport 5-4 --ttl 0 --tos 256 --df yes",
      [
        "--dstport 0: a UDP port is 1 to 65535; 4789 is VXLAN's (RFC 7348 section 5), 8472 flannel's",
        "--srcport 5-4: 5 is above 4; the lower port comes first", "--ttl 0: a TTL is 1 to 255",
        "--tos 256: 0 to 252, or inherit", "--df yes: one of set, unset, inherit",
      ]
    ),
    (
      "--iface u --vni 1 --srcport 5 --tos 187 --ageing never --max-fdb 0",
      [
        "--srcport 5: two UDP ports LOW-HIGH, such as 49152-65535",
        "--tos 187: the lower two bits are ECN, which follows the inner packet (RFC 6040); use 184",
        "--ageing never: seconds, 0 to 86400000 (1000 days); 0 is never",
        "--max-fdb 0: entries, 1 to 67108864, which take 2 GiB",
      ]
    ),
    (
      "--iface u --vni 1 --tos inhert --vteps all",
      [
        "--tos inhert: 0 to 252, or inherit. Did you mean inherit?", "--vteps all: one of listed, any",
      ]
    ),
    (
      "--iface u --vni 1 --vteps listed",
      [
        "--vteps listed: no VTEP is listed, so nothing would be accepted. List them with --remote, or use any"
      ]
    ),
    (
      "--iface u --vni 1 --io xpd --zero-copy of --poll buzy",
      [
        "--io xpd: one of auto, xdp, xdp-skb, raw. Did you mean xdp?",
        "--zero-copy of: one of auto, on, off. Did you mean off?",
        "--poll buzy: one of adaptive, busy, interrupt. Did you mean busy?",
      ]
    ),
    ("--iface u --vni 1 --io raw --zero-copy on", ["--zero-copy on: --io raw always copies; zero-copy needs --io xdp"]),
    ("--iface u --vni 1 --workers 3 --cpus 0-1", ["--cpus 0-1: CPUs for 2 of 3 workers; name one for each"]),
    (
      "--iface u --vni 1 --workers 0 --cpus 2-1",
      [
        "--workers 0: threads, 1 to 1024", "--cpus 2-1: CPU numbers and ranges, such as 0,2-3",
      ]
    ),
    ("--iface u --vni 1 --cpus 0,1,1", ["--cpus 0,1,1: a CPU is named twice"]),
    (
      "--iface u --vni 1 --ring 1000 --batch 4097 --frame-size 3000",
      [
        "--ring 1000: \(ring)", "--batch 4097: frames, 1 to 4096", "--frame-size 3000: 2048 or 4096 bytes",
      ]
    ),
    (
      "--iface u --vni 1 --ring 64 --batch 65 --frames 127",
      [
        "--batch 65: a batch does not fit the ring of 64; see --ring",
        "--frames 127: fewer than 2 rings of 64, one to receive into and one to send; see --ring",
      ]
    ),
    ("--iface u --vni 1 --frames 3000000", ["--frames 3000000: frames per worker, at most 1048576: 4 GiB"]),
    (
      "--iface u --vni 1 --log-level warn --socket \(String(repeating: "s", count: 108))",
      [
        "--socket \(String(repeating: "s", count: 108)): a socket's path has 1 to 107 bytes (unix(7))",
        "--log-level warn: one of trace, debug, info, notice, warning, error, critical",
      ]
    ),
  ])
func mistakes(_ line: String, _ expected: [String]) throws {
  let error = #expect(throws: ConfigurationError.self) { try configuration(line) }
  #expect(error?.mistakes == expected)
}

@Test("at most 63 local ports")
func portLimit() throws {
  let ports = (1...63).map { "--map 1=eth\($0)" }.joined(separator: " ")
  #expect(try configuration("--iface u " + ports).segments[0].ports.count == 63)
  let error = #expect(throws: ConfigurationError.self) { try configuration("--iface u --map 1=eth64 " + ports) }
  #expect(error?.mistakes == ["--map 1=eth63: one process has at most 63 local ports"])
}

@Test(
  "a misspelt command gets the nearest one",
  arguments: [
    ("fbd show", "fbd: no such command. Did you mean fdb?"),
    ("stast", "stast: no such command. Did you mean stats?"),
    ("bridge", "bridge: no such command. There are run, fdb, neigh, vni, vtep, link, config, stats, monitor"),
  ])
func commandWords(_ line: String, _ expected: String) {
  let error = #expect(throws: (any Error).self) { try VXGW.checkCommandWord(line.split(separator: " ").map(String.init)) }
  #expect(error.map { VXGW.message(for: $0) } == expected)
}

@Test("right command words pass", arguments: ["", "--iface x", "run --iface x", "fdb -j", "fdb show", "help run", "stats"])
func rightCommandWords(_ line: String) throws {
  try VXGW.checkCommandWord(line.split(separator: " ").map(String.init))
}

@Test("--check prints every option")
func description() throws {
  let text = try configuration("--iface ens192 --map 4100=eth1 --map 1=tap:t --remote 192.0.2.2 --ageing 0").description
  #expect(
    text == """
      iface       ens192
      vni         4100=eth1
      vni         1=tap:t
      local       the primary address of ens192
      remote      192.0.2.2
      dstport     4789
      srcport     49152-65535
      ttl         64
      tos         0
      df          unset
      learning    on
      ageing      never
      max-fdb     1048576
      vteps       listed
      io          auto
      zero-copy   auto
      workers     one per queue pair
      cpus        any
      batch       64
      ring        2048
      frames      what the rings need
      frame-size  what the MTU needs
      poll        adaptive
      socket      /run/vxgw/ens192.sock
      log-level   info
      """)
}
