import ArgumentParser
import Control

// The options of `vxgw run`, as text: `Configuration` reads them, and tells all mistakes at once where the parser would
// stop at the first.

struct SegmentOptions: ParsableArguments {
  @Option(help: ArgumentHelp("YAML file with options of the same names; what is given here comes first.", valueName: "file"))
  var config: String?
  @Option(help: ArgumentHelp("Defaults that others have; see above.", valueName: "kernel|flannel|windows|cilium"))
  var preset: String?
  @Option(help: ArgumentHelp("Underlay NIC; with a VLAN, the outer packets carry its 802.1Q tag.", valueName: "if[:vlan]"))
  var iface: String?
  @Option(help: ArgumentHelp("VNI, 0 to 16777215. Repeatable with taps.", valueName: "n"))
  var vni: [String] = []
  @Option(
    help: ArgumentHelp(
      "Bridge this NIC into the VNI, or one VLAN of it (100, or s100 for 802.1ad), the tag taken off towards the VNI; or all of "
        + "them, tags untouched (trunk). Repeatable. The underlay NIC may be one, with a VLAN.",
      valueName: "if[:vlan|:trunk]"))
  var lan: [String] = []
  @Option(
    help: ArgumentHelp(
      "TAP device as local port. With several --vni, one for each. (default: vxgw<VNI> if there is no --lan)", valueName: "name"))
  var tap: [String] = []
  @Option(
    help: ArgumentHelp(
      "Several VNIs in one process, also by ranges: --map 4100=eth1:100 --map 1=tap:vxgw1 --map 10100-10199=eth2:100-199.",
      valueName: "vni=port"))
  var map: [String] = []

  var settings: Settings {
    [.preset: list(preset), .iface: list(iface), .vni: vni, .lan: lan, .tap: tap, .map: map]
  }
}

struct VTEPOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Outer source address, IPv4 or IPv6. (default: the primary address of the underlay NIC)", valueName: "addr"))
  var local: String?
  @Option(
    help: ArgumentHelp(
      "Remote VTEPs for BUM traffic (head-end replication), of all VNIs or of one. A VNI with remotes or a group of its own does "
        + "not get the common ones. Repeatable.",
      valueName: "[vni=]addr[,addr]"))
  var remote: [String] = []
  @Option(
    help: ArgumentHelp("Multicast group for BUM traffic, joined with IGMP or MLD; of all VNIs or of one.", valueName: "[vni=]addr"))
  var group: [String] = []
  @Option(
    name: [.customLong("dstport"), .customLong("port")],
    help: ArgumentHelp("UDP port; 8472 for flannel and for kernels left on their default. (default: 4789)", valueName: "n"))
  var dstport: String?
  @Option(help: ArgumentHelp("Outer source ports, a hash of the inner flow. (default: 49152-65535)", valueName: "low-high"))
  var srcport: String?
  @Option(help: ArgumentHelp("Outer TTL, 1 to 255. (default: auto: 64, and 1 to a multicast group)", valueName: "n|auto|inherit"))
  var ttl: String?
  @Option(help: ArgumentHelp("Outer type of service. ECN always follows RFC 6040. (default: 0)", valueName: "n|inherit"))
  var tos: String?
  @Option(help: ArgumentHelp("Outer don't-fragment bit. (default: unset)", valueName: "set|unset|inherit"))
  var df: String?
  @Option(help: ArgumentHelp("Outer IPv6 flow label, 0 to 1048575. (default: 0)", valueName: "n|inherit|hash"))
  var flowlabel: String?

  var settings: Settings {
    [
      .local: list(local), .remote: remote, .group: group, .dstport: list(dstport), .srcport: list(srcport), .ttl: list(ttl),
      .tos: list(tos), .df: list(df), .flowlabel: list(flowlabel),
    ]
  }
}

struct FrameOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Outer UDP checksum when sending over IPv4; or to one VTEP, over IPv4 and IPv6. Repeatable. (default: auto)",
      valueName: "auto|on|off|addr=on|addr=off"))
  var udpcsum: [String] = []
  @Option(
    name: .customLong("udp6zerocsum"),
    help: ArgumentHelp("UDP checksums of zero over IPv6: which to send, which to accept. (default: rx)", valueName: "none|tx|rx|tx,rx"))
  var udp6zerocsum: String?
  @Flag(inversion: .prefixedNo, help: "Verify received outer UDP checksums that are not zero. (default: --no-verify-udpcsum)")
  var verifyUdpcsum: Bool?
  @Option(
    help: ArgumentHelp(
      "Reserved bits of a received VXLAN header: ignore them, drop the packet if one is set (strict), or if one of a 64-bit mask "
        + "is. (default: ignore)",
      valueName: "ignore|strict|mask"))
  var reservedBits: String?
  @Option(
    help: ArgumentHelp("Frames with a VLAN tag inside a segment; a trunk keeps them anyway. (default: drop)", valueName: "drop|keep"))
  var innerVlan: String?
  @Option(help: ArgumentHelp("MTU of TAP devices, 68 to 65535. (default: what fits through the underlay)", valueName: "n"))
  var mtu: String?
  @Option(
    help: ArgumentHelp("Largest TCP segment that SYNs through the tunnel offer. (default: auto, what fits)", valueName: "auto|off|bytes"))
  var mssClamp: String?

  var settings: Settings {
    [
      .udpcsum: udpcsum, .udp6zerocsum: list(udp6zerocsum), .verifyUDPChecksum: list(verifyUdpcsum),
      .reservedBits: list(reservedBits), .innerVLAN: list(innerVlan), .mtu: list(mtu), .mssClamp: list(mssClamp),
    ]
  }
}

struct FDBOptions: ParsableArguments {
  @Flag(inversion: .prefixedNo, help: "Learn MAC addresses from the underlay; from local ports they always are. (default: --learning)")
  var learning: Bool?
  @Option(help: ArgumentHelp("Forget learned entries that were not seen for so long; 0 is never. (default: 300)", valueName: "seconds"))
  var ageing: String?
  @Option(help: ArgumentHelp("Most entries of the FDB. (default: 1048576)", valueName: "n"))
  var maxFdb: String?
  @Option(
    help: ArgumentHelp(
      "From whom frames are accepted: from remotes and destinations of static entries, or from any VTEP. (default: listed if there "
        + "are remotes and no group, else any)",
      valueName: "listed|any"))
  var vteps: String?
  @Flag(inversion: .prefixedNo, help: "Answer ARP and ND from the neighbours entered by hand, and send none on. (default: --no-proxy)")
  var proxy: Bool?
  @Flag(inversion: .prefixedNo, help: "Answer ARP and ND where the answer is known, entered or overheard. (default: --no-suppress)")
  var suppress: Bool?
  @Flag(name: .customLong("l2miss"), inversion: .prefixedNo, help: "Report destinations without FDB entry. (default: --no-l2miss)")
  var l2miss: Bool?
  @Flag(name: .customLong("l3miss"), inversion: .prefixedNo, help: "Report neighbours that nobody knows. (default: --no-l3miss)")
  var l3miss: Bool?

  var settings: Settings {
    [
      .learning: list(learning), .ageing: list(ageing), .maxFDB: list(maxFdb), .vteps: list(vteps), .proxy: list(proxy),
      .suppress: list(suppress), .l2miss: list(l2miss), .l3miss: list(l3miss),
    ]
  }
}

struct IOOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "AF_XDP on native XDP, on generic XDP (xdp-skb), raw sockets, or the best that works. (default: auto)",
      valueName: "auto|xdp|xdp-skb|raw"))
  var io: String?
  @Option(help: ArgumentHelp("AF_XDP without copies. (default: auto)", valueName: "auto|on|off"))
  var zeroCopy: String?
  @Option(
    name: .customLong("fastpath"),
    help: ArgumentHelp(
      "The XDP program forwards known unicast by itself; auto: where AF_XDP copies. (default: auto)", valueName: "auto|on|off"))
  var fastPath: String?
  @Option(help: ArgumentHelp("Worker threads. (default: one per queue pair)", valueName: "n"))
  var workers: String?
  @Option(help: ArgumentHelp("CPUs for the workers, such as 0,2-3. (default: any)", valueName: "list"))
  var cpus: String?
  @Option(help: ArgumentHelp("Frames per round. (default: 64)", valueName: "n"))
  var batch: String?
  @Option(help: ArgumentHelp("Frames in each ring, AF_XDP's and raw sockets'; a power of two. (default: 2048)", valueName: "n"))
  var ring: String?
  @Option(help: ArgumentHelp("Frames in a worker's packet memory. (default: what the rings need)", valueName: "n"))
  var frames: String?
  @Option(help: ArgumentHelp("Bytes of memory per frame. (default: 2048, or 4096 if the MTU needs it)", valueName: "2048|4096"))
  var frameSize: String?
  @Option(
    help: ArgumentHelp(
      "When workers sleep: after a moment without work, up to 200 µs while frames are fewer apart; never; or at once. (default: adaptive)",
      valueName: "adaptive|busy|interrupt"))
  var poll: String?

  var settings: Settings {
    [
      .io: list(io), .zeroCopy: list(zeroCopy), .fastPath: list(fastPath), .workers: list(workers), .cpus: list(cpus), .batch: list(batch),
      .ring: list(ring), .frames: list(frames), .frameSize: list(frameSize), .poll: list(poll),
    ]
  }
}

struct OperationOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Control socket. (default: /run/vxgw/<iface>.sock)", valueName: "path"))
  var socket: String?
  @Option(help: ArgumentHelp("What is told on standard error. (default: info)", valueName: "debug|info|warning|error"))
  var logLevel: String?
  @Flag(help: "Check the options and the file, and print what would run as a file for --config, without running it.")
  var check = false

  var settings: Settings { [.socket: list(socket), .logLevel: list(logLevel)] }
}

private func list(_ text: String?) -> [String] { text.map { [$0] } ?? [] }
private func list(_ flag: Bool?) -> [String] { flag.map { [$0 ? "on" : "off"] } ?? [] }
