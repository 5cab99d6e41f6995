import ArgumentParser
import Control

// The options of `vxgw run`, as text: `Configuration` reads them, and tells all mistakes at once where the parser would
// stop at the first.

struct SegmentOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Underlay NIC.", valueName: "if"))
  var iface: String?
  @Option(help: ArgumentHelp("VNI, 0 to 16777215. Repeatable with taps.", valueName: "n"))
  var vni: [String] = []
  @Option(help: ArgumentHelp("Bridge this NIC into the VNI. Repeatable.", valueName: "if"))
  var lan: [String] = []
  @Option(
    help: ArgumentHelp(
      "TAP device as local port. With several --vni, one for each. (default: vxgw<VNI> if there is no --lan)", valueName: "name"))
  var tap: [String] = []
  @Option(help: ArgumentHelp("Several VNIs in one process: --map 4100=eth1 --map 1=tap:vxgw1.", valueName: "vni=port"))
  var map: [String] = []

  var settings: Settings { [.iface: list(iface), .vni: vni, .lan: lan, .tap: tap, .map: map] }
}

struct VTEPOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Outer source address. (default: the primary address of the underlay NIC)", valueName: "addr"))
  var local: String?
  @Option(help: ArgumentHelp("Remote VTEPs for BUM traffic (head-end replication). Repeatable.", valueName: "addr[,addr]"))
  var remote: [String] = []
  @Option(
    name: [.customLong("dstport"), .customLong("port")],
    help: ArgumentHelp("UDP port; 8472 for flannel and for kernels left on their default. (default: 4789)", valueName: "n"))
  var dstport: String?
  @Option(help: ArgumentHelp("Outer source ports, a hash of the inner flow. (default: 49152-65535)", valueName: "low-high"))
  var srcport: String?
  @Option(help: ArgumentHelp("Outer TTL, 1 to 255. (default: 64)", valueName: "n"))
  var ttl: String?
  @Option(help: ArgumentHelp("Outer type of service. ECN always follows RFC 6040. (default: 0)", valueName: "n|inherit"))
  var tos: String?
  @Option(help: ArgumentHelp("Outer don't-fragment bit. (default: unset)", valueName: "set|unset|inherit"))
  var df: String?

  var settings: Settings {
    [
      .local: list(local), .remote: remote, .dstport: list(dstport), .srcport: list(srcport), .ttl: list(ttl),
      .tos: list(tos), .df: list(df),
    ]
  }
}

struct FDBOptions: ParsableArguments {
  @Flag(inversion: .prefixedNo, help: "Learn MAC addresses from traffic.")
  var learning = true
  @Option(help: ArgumentHelp("Forget learned entries that were not seen for so long; 0 is never. (default: 300)", valueName: "seconds"))
  var ageing: String?
  @Option(help: ArgumentHelp("Most entries of the FDB. (default: 1048576)", valueName: "n"))
  var maxFdb: String?
  @Option(
    help: ArgumentHelp(
      "From whom frames are accepted: the --remote VTEPs, or any. (default: listed if there are --remotes, else any)",
      valueName: "listed|any"))
  var vteps: String?

  var settings: Settings {
    [.learning: [learning ? "on" : "off"], .ageing: list(ageing), .maxFDB: list(maxFdb), .vteps: list(vteps)]
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
  @Option(help: ArgumentHelp("Worker threads. (default: one per queue pair)", valueName: "n"))
  var workers: String?
  @Option(help: ArgumentHelp("CPUs for the workers, such as 0,2-3. (default: any)", valueName: "list"))
  var cpus: String?
  @Option(help: ArgumentHelp("Frames per round. (default: 64)", valueName: "n"))
  var batch: String?
  @Option(help: ArgumentHelp("Entries of each AF_XDP ring, a power of two. (default: 2048)", valueName: "n"))
  var ring: String?
  @Option(help: ArgumentHelp("Frames in a worker's packet memory. (default: what the rings need)", valueName: "n"))
  var frames: String?
  @Option(help: ArgumentHelp("Bytes of memory per frame. (default: 2048, or 4096 if the MTU needs it)", valueName: "2048|4096"))
  var frameSize: String?
  @Option(
    help: ArgumentHelp(
      "When workers sleep: after a moment without work, never, or at once. (default: adaptive)",
      valueName: "adaptive|busy|interrupt"))
  var poll: String?

  var settings: Settings {
    [
      .io: list(io), .zeroCopy: list(zeroCopy), .workers: list(workers), .cpus: list(cpus), .batch: list(batch),
      .ring: list(ring), .frames: list(frames), .frameSize: list(frameSize), .poll: list(poll),
    ]
  }
}

struct OperationOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Control socket. (default: /run/vxgw/<iface>.sock)", valueName: "path"))
  var socket: String?
  @Option(help: ArgumentHelp("What is told on standard error. (default: info)", valueName: "debug|info|warning|error"))
  var logLevel: String?
  @Flag(help: "Check the options and print what would run, without running it.")
  var check = false

  var settings: Settings { [.socket: list(socket), .logLevel: list(logLevel)] }
}

private func list(_ text: String?) -> [String] { text.map { [$0] } ?? [] }
