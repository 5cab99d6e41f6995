import Testing
@testable import Control

private let vni = "a VNI has 24 bits, 0 to 16777215 (RFC 7348 section 5)"
private let name = "an interface's name has 1 to 15 bytes, without spaces, \"/\", \":\" and \"%\""
private let vlan = "a VLAN is 1 to 4094, s1 to s4094 (IEEE 802.1ad), or trunk for all"
private let isGroup = "a multicast group; a VTEP has an address of its own. For groups there is --group"
private let families = "all VTEPs and groups have one IP version"
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
    (
      "--iface u --map 1=e:0 --map 2=e:4095 --map 3=e:trnk --map 4=e: --map 5=e:1- --map 6=e:s --map 7=tap:t:5 --map 8=e:x:5",
      [
        "--map 1=e:0: \(vlan)", "--map 2=e:4095: \(vlan)", "--map 3=e:trnk: \(vlan). Did you mean trunk?", "--map 4=e:: \(vlan)",
        "--map 5=e:1-: \(vlan)", "--map 6=e:s: \(vlan)",
        "--map 7=tap:t:5: a TAP device has no VLAN; give each VNI a TAP device of its own", "--map 8=e:x:5: \(vlan)",
      ]
    ),
    (
      "--iface u --map 1-3=e:1-2 --map 1-2=f --map 1=g:1-2 --map 2-1=e:1-2 --map 1-2=e:2-1",
      [
        "--map 1-3=e:1-2: 3 VNIs for 2 VLANs; a range goes to a range of the same length",
        "--map 1-2=f: 2 VNIs for 1 port; a range goes to a range of the same length",
        "--map 1=g:1-2: 1 VNI for 2 VLANs; a range goes to a range of the same length",
        "--map 2-1=e:1-2: 2 is above 1; the lower VNI comes first", "--map 1-2=e:2-1: 2 is above 1; the lower VLAN comes first",
      ]
    ),
    (
      "--iface u:50 --map 1=u --map 2=u:trunk --map 3=u:50 --map 4=u:s50 --map 5=u:51 --map 6=tap:u",
      [
        "--map 1=u: u is the underlay (--iface); it can be a local port only with a VLAN, such as u:100",
        "--map 2=u:trunk: u is the underlay (--iface); a trunk would take the outer packets, too. Name single VLANs",
        "--map 3=u:50: VLAN 50 of u is the underlay (--iface)",
        "--map 6=tap:u: u is the underlay (--iface); choose another name for the TAP device",
      ]
    ),
    (
      "--iface u --map 1=e:trunk --map 2=e:5 --map 3=e --map 4=f --map 4=f:trunk",
      [
        "--map 2=e:5: e:trunk is a port of VNI 1; a trunk takes all frames of its NIC, and leaves none for another port",
        "--map 3=e: e:trunk is a port of VNI 1; a trunk takes all frames of its NIC, and leaves none for another port",
        "--map 4=f:trunk: f is a port of VNI 4; a trunk takes all frames of its NIC, and leaves none for another port",
      ]
    ),
    ("--iface u:0 --vni 1", ["--iface u:0: the underlay's VLAN is 1 to 4094, such as u:100"]),
    ("--iface u:trunk --vni 1", ["--iface u:trunk: the underlay's VLAN is 1 to 4094, such as u:100"]),
    ("--iface u --vni 1 --lan e:1-2", ["--lan e:1-2: a range of VLANs needs as many VNIs, such as 10100-10199=eth1:100-199"]),
    ("--iface u --map 1=e --map 2=tap:e", ["--map 2=tap:e: e can't be a NIC and a TAP device: e is a port of VNI 1"]),
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
    ("--iface u --vni 1 --lan u", ["--lan u: u is the underlay (--iface); it can be a local port only with a VLAN, such as u:100"]),
    (
      "--iface u --map 1=e --map 2=e",
      [
        "--map 2=e: e is a port of VNI 1"
      ]
    ),
    ("--iface u --map 1=e --map 1=e", ["--map 1=e: e is given twice"]),
    (
      "--iface u --map 2=tap:vxgw1 --vni 1",
      [
        "--vni 1: tap:vxgw1 is a port of VNI 2"
      ]
    ),
    (
      "--iface u --map 1 --map x=e --map 1=tap:",
      [
        "--map 1: not VNI=PORT, such as 1=eth1, 1=eth1:100 or 1=tap:vxgw1", "--map x=e: \(vni)", "--map 1=tap:: \(name)",
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
      "--iface u --vni 1 --remote 239.1.1.1,ff05::1,127.0.0.1,",
      [
        "--remote 239.1.1.1: \(isGroup)", "--remote ff05::1: \(isGroup)", "--remote 127.0.0.1: no VTEP can have this address (RFC 6890)",
        "--remote : not an IP address; names are not looked up",
      ]
    ),
    (
      "--iface u --vni 1 --local 192.0.2.1 --remote 2001:db8::2 --group ff05::1 --udpcsum 2001:db8::3=on",
      [
        "--remote 2001:db8::2: IPv6, but --local 192.0.2.1 is IPv4; \(families)",
        "--group ff05::1: IPv6, but --local 192.0.2.1 is IPv4; \(families)",
        "--udpcsum 2001:db8::3: IPv6, but --local 192.0.2.1 is IPv4; \(families)",
      ]
    ),
    (
      "--iface u --vni 1 --remote 2001:db8::2,192.0.2.2 --group 239.1.1.1",
      [
        "--remote 192.0.2.2: IPv4, but 2001:db8::2 is IPv6; \(families)", "--group 239.1.1.1: IPv4, but 2001:db8::2 is IPv6; \(families)",
      ]
    ),
    (
      "--iface u --vni 1 --remote 2=192.0.2.2 --remote 1x=192.0.2.2 --remote 1=192.0.2.2,192.0.2.2 --group 3=239.1.1.1",
      [
        "--remote 2=192.0.2.2: VNI 2 is not one of --vni or --map", "--remote 1x: \(vni)",
        "--remote 192.0.2.2: given twice; every remote VTEP would get two copies",
        "--group 3=239.1.1.1: VNI 3 is not one of --vni or --map",
      ]
    ),
    (
      "--iface u --vni 1 --group 192.0.2.2 --group 239.1.1.1 --group 239.1.1.2",
      [
        "--group 192.0.2.2: not a multicast group (224.0.0.0/4 or ff00::/8); single VTEPs are --remote",
        "--group 239.1.1.2: a VNI has one group, and this has 239.1.1.1 already",
      ]
    ),
    ("--iface u --vni 1 --local 239.1.1.1", ["--local 239.1.1.1: \(isGroup)"]),
    (
      "--iface u --vni 1 --local 192.0.2.1 --flowlabel 5 --udp6zerocsum tx",
      [
        "--flowlabel 5: only IPv6 has flow labels; this underlay is IPv4",
        "--udp6zerocsum tx: it is about IPv6; over IPv4 there is --udpcsum; this underlay is IPv4",
      ]
    ),
    (
      "--iface u --vni 1 --flowlabel hash",
      ["--flowlabel hash: only IPv6 has flow labels; name this VTEP's IPv6 address with --local"]
    ),
    (
      "--iface u --vni 1 --local 2001:db8::1 --udpcsum off",
      ["--udpcsum off: over IPv6 the checksum may be left out only where both ends agree (RFC 6935): --udp6zerocsum tx,rx"]
    ),
    (
      "--iface u --vni 1 --flowlabel 1048576 --udpcsum of --udpcsum 192.0.2.2=no --udp6zerocsum rx,rx --reserved-bits stirct",
      [
        "--flowlabel 1048576: a flow label has 20 bits, 0 to 1048575; or inherit, or hash",
        "--udpcsum of: one of auto, on, off. Did you mean off?", "--udpcsum no: one of on, off. Did you mean on?",
        "--udp6zerocsum rx,rx: none, tx, rx or tx,rx",
        "--reserved-bits stirct: ignore, strict, or the bits that must be zero, such as 0xf7ffffff000000ff (strict). Did you mean strict?",
      ]
    ),
    (
      "--iface u --vni 1 --reserved-bits 0xffffffffffffffff --inner-vlan kep --mtu 67 --mss-clamp 87",
      [
        "--reserved-bits 0xffffffffffffffff: the I flag and the VNI are not reserved; 0xf7ffffff000000ff leaves them out",
        "--inner-vlan kep: one of drop, keep. Did you mean keep?", "--mtu 67: bytes, 68 to 65535",
        "--mss-clamp 87: bytes, 88 to 65495; or auto, or off",
      ]
    ),
    (
      "--iface u --vni 1 --mtu 65536 --mss-clamp 65496",
      ["--mtu 65536: bytes, 68 to 65535", "--mss-clamp 65496: bytes, 88 to 65495; or auto, or off"]
    ),
    (
      "--iface u --vni 1 --proxy --suppress", ["--suppress: --proxy sends no request on, --suppress those that it can't answer; choose one"]
    ),
    ("--iface u --vni 4095 --preset windows", ["--vni 4095: Windows takes VNIs from 4096 on (--preset windows)"]),
    ("--iface u --preset windwos", ["--preset windwos: one of kernel, flannel, windows, cilium. Did you mean windows?"]),
    (
      "--iface u --vni 1 --dstport 0 --srcport 5-4 --ttl 0 --tos 256 --df yes",
      [
        "--dstport 0: a UDP port is 1 to 65535; 4789 is VXLAN's (RFC 7348 section 5), 8472 flannel's",
        "--srcport 5-4: 5 is above 4; the lower port comes first", "--ttl 0: a TTL is 1 to 255, auto or inherit",
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
      "--iface u --vni 1 --io xpd --zero-copy of --poll buzy",
      [
        "--io xpd: one of auto, xdp, xdp-skb, raw. Did you mean xdp?",
        "--zero-copy of: one of auto, on, off. Did you mean off?",
        "--poll buzy: one of adaptive, busy, interrupt. Did you mean busy?",
      ]
    ),
    ("--iface u --vni 1 --io raw --fastpath on", ["--fastpath on: --io raw has no program in the driver; the fast path needs --io xdp"]),
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
