import Testing
import Wire
@testable import Control
@testable import vxgw

/// The configuration that a command line, split at spaces, makes; with a file, if there is one.
func configuration(_ line: String, file: ConfigurationFile? = nil) throws -> Configuration {
  let command = try VXGW.parseAsRoot(line.split(separator: " ").map(String.init))
  return try Configuration(try #require(command as? Run).settings, file: file)
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
  .init("", "auto 0 unset", { "\($0.ttl) \($0.tos) \($0.df)" }),
  .init("--ttl auto", "auto 64 1", { "\($0.ttl) \($0.ttl(to: IPAddress("192.0.2.2")!)) \($0.ttl(to: IPAddress("239.1.1.1")!))" }),
  .init("--ttl 7", "7 7 7", { "\($0.ttl) \($0.ttl(to: IPAddress("192.0.2.2")!)) \($0.ttl(to: IPAddress("ff05::1")!))" }),
  .init("--ttl inherit", "inherit", { "\($0.ttl)" }),
  .init("--iface ens192:50", "ens192 50 /run/vxgw/ens192.sock", { "\($0.iface) \($0.underlayVLAN ?? 0) \($0.socket)" }),
  .init("", "0 nil", { "\($0.flowLabel) \($0.isIPv6.debugDescription)" }),
  .init("--local 2001:db8::1 --flowlabel 0xfffff", "1048575 true", { "\($0.flowLabel) \($0.isIPv6!)" }),
  .init("--remote 2001:db8::2 --flowlabel hash", "hash", { "\($0.flowLabel)" }),
  .init("--group ff05::1 --flowlabel inherit", "inherit", { "\($0.flowLabel)" }),
  .init("", "auto [:] rx false", { "\($0.udpChecksum) \($0.udpChecksumOf) \($0.udp6ZeroChecksum) \($0.verifiesUDPChecksum)" }),
  .init("--udpcsum off --verify-udpcsum", "off true", { "\($0.udpChecksum) \($0.verifiesUDPChecksum)" }),
  .init("--udpcsum 192.0.2.2=on --udpcsum off", "off [192.0.2.2: true]", { "\($0.udpChecksum) \($0.udpChecksumOf)" }),
  .init("--local 2001:db8::1 --udp6zerocsum rx,tx", "tx,rx", { "\($0.udp6ZeroChecksum)" }),
  .init("--local 2001:db8::1 --udp6zerocsum none", "none", { "\($0.udp6ZeroChecksum)" }),
  .init("", "0", { "\($0.reservedBits)" }),
  .init("--reserved-bits strict", "f7ffffff000000ff", { String($0.reservedBits, radix: 16) }),
  .init("--reserved-bits 0x8000000000000001", "8000000000000001", { String($0.reservedBits, radix: 16) }),
  .init("", "drop nil auto", { "\($0.innerVLAN) \($0.mtu.debugDescription) \($0.mssClamp)" }),
  .init("--inner-vlan keep --mtu 68 --mss-clamp off", "keep 68 off", { "\($0.innerVLAN) \($0.mtu!) \($0.mssClamp)" }),
  .init("--mss-clamp 1400", "1400", { "\($0.mssClamp)" }),
  .init("", "false false false false", { "\($0.proxy) \($0.suppress) \($0.l2miss) \($0.l3miss)" }),
  .init("--proxy --l2miss --l3miss", "true false true true", { "\($0.proxy) \($0.suppress) \($0.l2miss) \($0.l3miss)" }),
  .init("--suppress --no-proxy", "false true", { "\($0.proxy) \($0.suppress)" }),
  .init("--ttl 255 --tos inherit --df inherit", "255 inherit inherit", { "\($0.ttl) \($0.tos) \($0.df)" }),
  .init("--tos 252 --df set", "252 set", { "\($0.tos) \($0.df)" }),
  .init("", "true 300 1048576", { "\($0.learning) \($0.ageing) \($0.maxFDB)" }),
  .init("--no-learning --ageing 0 --max-fdb 7", "false 0 7", { "\($0.learning) \($0.ageing) \($0.maxFDB)" }),
  .init("", "any", { "\($0.vteps)" }),
  .init("--remote 192.0.2.2", "listed", { "\($0.vteps)" }),
  .init("--remote 192.0.2.2 --vteps any", "any", { "\($0.vteps)" }),
  .init("--remote 192.0.2.2 --group 239.1.1.1", "any", { "\($0.vteps)" }),
  .init("--vteps listed", "listed", { "\($0.vteps)" }),
  .init("", "auto auto", { "\($0.io) \($0.zeroCopy)" }),
  .init("--io xdp-skb --zero-copy off", "xdpSKB off", { "\($0.io) \($0.zeroCopy)" }),
  .init("--io xdp --zero-copy on", "xdp on", { "\($0.io) \($0.zeroCopy)" }),
  .init("", "auto", { "\($0.fastPath)" }),
  .init("--fastpath on", "on", { "\($0.fastPath)" }),
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
    ("--vni 1 --lan eth1:100 --lan eth2:trunk", "1=eth1:100,eth2:trunk"),
    ("--vni 1 --lan ens192:100", "1=ens192:100"),
    ("--map 1=eth1 --map 2=eth1:100 --map 3=eth1:s100", "1=eth1 2=eth1:100 3=eth1:s100"),
    ("--map 10-12=eth1:1-3 --map 13=eth1:4094", "10=eth1:1 11=eth1:2 12=eth1:3 13=eth1:4094"),
    ("--map 10-11=eth1:s1-2", "10=eth1:s1 11=eth1:s2"),
  ])
func segments(_ options: String, _ expected: String) throws {
  let segments = try configuration("--iface ens192 " + options).segments
  let text = segments.map { "\($0.vni)=" + $0.ports.map(\.description).joined(separator: ",") }
  #expect(text.joined(separator: " ") == expected)
}

@Test("at most 63 devices, and 8192 local ports")
func portLimits() throws {
  let devices = (1...63).map { "--map 1=eth\($0)" }.joined(separator: " ")
  #expect(try configuration("--iface u --map 2=eth1:5 " + devices).segments[1].ports.count == 63)
  var error = #expect(throws: ConfigurationError.self) { try configuration("--iface u --map 1=eth64 " + devices) }
  #expect(error?.mistakes == ["--map 1=eth63: one process has at most 63 NICs and TAP devices as local ports"])
  let vlans = "--map 1-4094=a:1-4094 --map 1-4094=b:1-4094 --map 1-4=c:1-4 "
  #expect(try configuration("--iface u " + vlans).segments.reduce(0) { $0 + $1.ports.count } == 8192)
  error = #expect(throws: ConfigurationError.self) { try configuration("--iface u " + vlans + "--map 1=d") }
  #expect(error?.mistakes == ["--map 1=d: one process has at most 8192 local ports"])
}

@Test(
  "each VNI has its own remotes and group, or else the common ones",
  arguments: [
    ("--vni 1 --vni 2 --remote 192.0.2.2", "1=192.0.2.2; 2=192.0.2.2;"),
    ("--vni 1 --vni 2 --remote 192.0.2.2 --remote 2=192.0.2.3,192.0.2.2", "1=192.0.2.2; 2=192.0.2.3,192.0.2.2;"),
    ("--vni 1 --vni 2 --remote 192.0.2.2 --group 2=239.1.1.1", "1=192.0.2.2; 2=;239.1.1.1"),
    ("--vni 1 --vni 2 --group 239.1.1.1 --remote 2=192.0.2.3", "1=;239.1.1.1 2=192.0.2.3;"),
    ("--vni 1 --group 239.1.1.1 --remote 192.0.2.3", "1=192.0.2.3;239.1.1.1"),
    ("--map 1-2=e:1-2 --remote 1-2=192.0.2.2", "1=192.0.2.2; 2=192.0.2.2;"),
    ("--vni 1 --local 2001:db8::1 --group 1=ff05::1", "1=;ff05::1"),
  ])
func replication(_ options: String, _ expected: String) throws {
  let segments = try configuration("--iface ens192 " + options).segments
  let texts = segments.map { "\($0.vni)=\($0.remotes.map(\.description).joined(separator: ","));\($0.group?.description ?? "")" }
  #expect(texts.joined(separator: " ") == expected)
}

@Test("all remotes and groups, each once")
func remotesAndGroups() throws {
  let configuration = try configuration(
    "--iface u --vni 1 --vni 2 --vni 3 --remote 192.0.2.2,192.0.2.3 --group 3=239.1.1.1 --remote 2=192.0.2.3")
  #expect(configuration.remotes.map(\.description) == ["192.0.2.2", "192.0.2.3"])
  #expect(configuration.groups.map(\.description) == ["239.1.1.1"])
}

@Test(
  "what is no mistake, but worth a warning",
  arguments: [
    ("--vni 1", []),
    ("--vni 1 --vteps listed", ["--vteps listed: no VTEP is listed, so nothing is accepted until one is (vxgw vtep add, vxgw fdb add)"]),
    (
      "--vni 1 --remote 192.0.2.2 --group 239.1.1.1 --vteps listed",
      ["--vteps listed: members of the group are heard only if they are listed, too"]
    ),
    ("--vni 1 --lan e --mtu 1400", ["--mtu: it is for TAP devices, and there is none yet"]), ("--vni 1 --mtu 1400", []),
  ])
func warnings(_ options: String, _ expected: [String]) throws {
  #expect(try configuration("--iface u " + options).warnings == expected)
}

@Test("a trunk keeps inner tags")
func trunkKeeps() throws {
  let dropping = try configuration("--iface u --map 1=e:trunk --map 2=f")
  #expect(dropping.segments.map(dropping.keepsInnerVLAN) == [true, false])
  let keeping = try configuration("--iface u --map 2=f --inner-vlan keep")
  #expect(keeping.segments.map(keeping.keepsInnerVLAN) == [true])
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
