import Testing
@testable import Control

private func file(_ text: String) throws -> ConfigurationFile { try ConfigurationFile(text: text, name: "vxgw.yaml") }

/// A file, and a command line that says the same.
private let equalFiles: [(yaml: String, line: String)] = [
  (
    """
    iface: ens192
    local: 192.0.2.1
    vnis:
      - vni: 4100
        ports: [eth1:100, "tap:vxgw1"]
        remotes: [192.0.2.2, 192.0.2.3]
      - vni: 4200
        group: 239.1.1.1
    """,
    "--iface ens192 --local 192.0.2.1 --map 4100=eth1:100 --map 4100=tap:vxgw1 --map 4200=tap:vxgw4200 "
      + "--remote 4100=192.0.2.2,192.0.2.3 --group 4200=239.1.1.1"
  ),
  (
    "iface: u:50\nvni: 1\nlan: [e:100, f:trunk]\nremote: 192.0.2.2,192.0.2.3",
    "--iface u:50 --vni 1 --lan e:100 --lan f:trunk --remote 192.0.2.2,192.0.2.3"
  ),
  ("{iface: u, vnis: [1-2, 5], remotes: [192.0.2.2]}", "--iface u --vni 1 --vni 2 --vni 5 --remote 192.0.2.2"),
  ("iface: u\nmap: [10-19=e:100-109]", "--iface u --map 10-19=e:100-109"),
  (
    "iface: u\nvnis: [{vni: 10-19, ports: [e:s100-109], remotes: [192.0.2.2]}]", "--iface u --map 10-19=e:s100-109 --remote 10-19=192.0.2.2"
  ),
  ("iface: u\nvnis: [{vni: 1, ports: e}]\ncpus: [0, 2-3]", "--iface u --map 1=e --cpus 0,2-3"),
  ("iface: u\nvni: 1\nudpcsum: [on, 192.0.2.2=off]", "--iface u --vni 1 --udpcsum on --udpcsum 192.0.2.2=off"),
  ("iface: u\nvni: 1\nproxy: true\nl2miss: yes\nlearning: off", "--iface u --vni 1 --proxy --l2miss --no-learning"),
  ("iface: u\nvni: 1\nlocal: \"2001:db8::1\"\nudp6zerocsum: [tx, rx]", "--iface u --vni 1 --local 2001:db8::1 --udp6zerocsum tx,rx"),
  ("iface: u\nvni: 1\nreserved-bits: 0x10\nttl: 255", "--iface u --vni 1 --reserved-bits 0x10 --ttl 255"),
  ("iface: u\nvnis: [{vni: 1, remotes: &all [192.0.2.2]}, {vni: 2, remotes: *all}]", "--iface u --vni 1 --vni 2 --remote 192.0.2.2"),
  (
    // netplan's words.
    """
    link: u
    id: 1
    local: 2001:db8::1
    remote: 2001:db8::2
    port: 8472
    port-range: [4000, 5000]
    mac-learning: false
    aging: 60
    limit: 1000
    arp-proxy: true
    notifications: [l2-miss, l3-miss]
    checksums: [udp, zero-udp6-tx, zero-udp6-rx]
    type-of-service: 8
    ttl: 9
    flow-label: 7
    do-not-fragment: true
    mtu: 1400
    """,
    "--iface u --vni 1 --local 2001:db8::1 --remote 2001:db8::2 --port 8472 --srcport 4000-5000 --no-learning --ageing 60 --max-fdb 1000 "
      + "--proxy --l2miss --l3miss --udpcsum on --udp6zerocsum tx,rx --tos 8 --ttl 9 --flowlabel 7 --df set --mtu 1400"
  ),
  ("iface: u\nvni: 1\nneigh-suppress: true\ndo-not-fragment: inherit", "--iface u --vni 1 --suppress --df inherit"),
]

@Test("a file is a command line", arguments: equalFiles)
func fileEqualsCommandLine(_ yaml: String, _ line: String) throws {
  #expect(try configuration("", file: file(yaml)) == configuration(line))
}

private let base =
  "iface: u\nremote: [192.0.2.2]\nttl: 9\nlearning: off\nvnis:\n- {vni: 1, ports: [e], remotes: [192.0.2.3]}\n- {vni: 2, ports: [f]}"

@Test(
  "the command line comes before the file",
  arguments: [
    ("", "--iface u --ttl 9 --no-learning --map 1=e --map 2=f --remote 192.0.2.2 --remote 1=192.0.2.3"),
    ("--ttl 10 --learning", "--iface u --ttl 10 --map 1=e --map 2=f --remote 192.0.2.2 --remote 1=192.0.2.3"),
    ("--remote 192.0.2.4", "--iface u --ttl 9 --no-learning --map 1=e --map 2=f --remote 192.0.2.4"),
    ("--vni 5", "--iface u --ttl 9 --no-learning --vni 5 --remote 192.0.2.2"),
    ("--map 1=g", "--iface u --ttl 9 --no-learning --map 1=g --remote 192.0.2.2"),
  ])
func precedence(_ options: String, _ expected: String) throws {
  #expect(try configuration(options, file: file(base)) == configuration(expected))
}

@Test(
  "mistakes in a file, with their places",
  arguments: [
    (
      "iface: u\nttl: 0\nvnis:\n  - vni: 4100\n    ports: [eth1:5000, \"tap:\"]\n    remotes: [192.0.2.2, 192.0.2.2]",
      [
        "2:6: ttl: 0: a TTL is 1 to 255, auto or inherit",
        "5:13: ports: eth1:5000: a VLAN is 1 to 4094, s1 to s4094 (IEEE 802.1ad), or trunk for all",
        "5:24: ports: tap:: an interface's name has 1 to 15 bytes, without spaces, \"/\", \":\" and \"%\"",
        "6:26: remotes: 192.0.2.2: given twice; every remote VTEP would get two copies",
      ]
    ),
    (
      "ifcae: u\nvnsi: [1]\nxyzzy: 1",
      [
        "1:1: ifcae: no such key. Did you mean iface?", "2:1: vnsi: no such key. Did you mean vni?",
        "3:1: xyzzy: no such key. See vxgw help run",
      ]
    ),
    (
      "iface: [u]\nvnis: {a: b}\nttl:\nproxy: maybe\nremotes: []",
      [
        "1:8: iface: one value, not a list or a mapping",
        "2:7: vnis: a list, such as - {vni: 4100, ports: [eth1:100], remotes: [192.0.2.2]}", "3:5: ttl: no value",
        "4:8: proxy: maybe: one of on, off", "5:10: remotes: an empty list; leave it out",
      ]
    ),
    (
      "iface: u\nvnis:\n- {vni: 1x, prots: [e]}\n- {ports: [e]}\n- [1]\n- 1-64",
      [
        "3:9: vni: 1x: a VNI has 24 bits, 0 to 16777215 (RFC 7348 section 5)", "3:13: prots: no such key. Did you mean ports?",
        "4:3: vnis: an item without vni", "5:3: vnis: one value, not a list or a mapping",
        "6:3: vni: 1-64: 64 VNIs without ports; TAP devices are at most 63",
      ]
    ),
    (
      "iface: u\nvni: 1\nchecksums: [upd, remote-tx]\nnotifications: [l4-miss, x]",
      [
        "3:13: checksums: upd: no such word. Did you mean udp?",
        "3:18: checksums: remote-tx: no such word. There are udp, zero-udp6-tx, zero-udp6-rx",
        "4:17: notifications: l4-miss: no such word. Did you mean l2-miss?",
        "4:26: notifications: x: no such word. There are l2-miss, l3-miss",
      ]
    ),
    (
      "iface: u\nport-range: [5, 4]\nvnis: [{vni: [1], ports: [e]}]",
      ["2:14: port-range: 5-4: 5 is above 4; the lower port comes first", "3:14: vni: one value, not a list or a mapping"]
    ),
    ("iface: u\nlink: v\nvni: 1", ["2:1: link: line 1 says the same in another word; keep one"]),
    ("iface: u\nvni: 1\niface: v", ["1:1: iface: given twice, the first time here"]),
    ("iface: u\nvni: [1", ["3:1: not YAML: did not find expected ',' or ']'"]),
    ("iface: u\n---\nvni: 1", ["2:1: not YAML: but found another document"]),
    ("- iface", ["1:1: not a list of KEY: VALUE, such as iface: eth0"]),
    ("iface: u\nvni: \"\u{1}\"", ["2:7: not YAML: control characters are not allowed"]),
  ])
func fileMistakes(_ yaml: String, _ expected: [String]) {
  let error = #expect(throws: ConfigurationError.self) { try configuration("", file: file(yaml)) }
  #expect(error?.mistakes == expected.map { "vxgw.yaml:" + $0 })
}

@Test("mistakes of the command line and of the file together")
func mixedMistakes() throws {
  let text = "iface: u\nvni: 1\nring: 100\nttls: 1"
  let error = #expect(throws: ConfigurationError.self) { try configuration("--tos 1 --df maybe", file: file(text)) }
  #expect(
    error?.mistakes == [
      "--tos 1: the lower two bits are ECN, which follows the inner packet (RFC 6040); use 0",
      "--df maybe: one of set, unset, inherit",
      "vxgw.yaml:3:7: ring: 100: entries of a ring are a power of two, 64 to 32768",
      "vxgw.yaml:4:1: ttls: no such key. Did you mean ttl?",
    ])
}

@Test(
  "a file that can't be read",
  arguments: [
    ("/nonexistent/vxgw.yaml", "cannot be read: No such file or directory (ENOENT)"), ("/", "cannot be read: Is a directory (EISDIR)"),
    ("/dev/null", "empty; it needs at least iface and vnis"), ("/proc/self/auxv", "not UTF-8 text"),
  ])
func unreadable(_ path: String, _ expected: String) {
  let error = #expect(throws: ConfigurationError.self) { try ConfigurationFile(path: path) }
  #expect(error?.mistakes == ["--config \(path): \(expected)"])
}
