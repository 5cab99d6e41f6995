import ArgumentParser
import Control

/// `vxgw run`, and `vxgw` alone.
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Runs a gateway until SIGTERM or SIGINT (the default command).",
    usage: """
      vxgw [run] --iface IF --vni N [--lan IF[:VLAN] | --tap NAME] [--remote ADDR[,ADDR] | --group ADDR] [OPTIONS]
      vxgw [run] --config FILE [OPTIONS]
      """,
    discussion: """
      Examples:

        vxgw --iface ens192 --vni 1
          A drop-in for "ip link add vxlan1 type vxlan id 1 dev ens192":
          a TAP device vxgw1 that takes an address or goes into a bridge.

        vxgw --iface ens192 --vni 4100 --lan eth1 --remote 192.0.2.2,192.0.2.3
          The LAN behind eth1 in VNI 4100, with two remote VTEPs.

        vxgw --iface ens192 --map 4100=eth1:100 --map 4200=eth1:200 --map 1=tap:vxgw1
          Three isolated segments in one process, two of them VLANs of eth1.

        vxgw --iface ens192 --local 2001:db8::1 --vni 4100 --group ff05::100
          IPv6 underlay, BUM traffic by multicast.

      Presets give the defaults that others have; options given come first:

      \(Preset.manual)
      """)

  @OptionGroup(title: "Segments") var segments: SegmentOptions
  @OptionGroup(title: "VTEP and outer header") var vtep: VTEPOptions
  @OptionGroup(title: "Checksums and inner frames") var frames: FrameOptions
  @OptionGroup(title: "FDB and neighbours") var fdb: FDBOptions
  @OptionGroup(title: "Input and output") var io: IOOptions
  @OptionGroup(title: "Operation") var operation: OperationOptions

  var settings: Settings {
    let groups = [segments.settings, vtep.settings, frames.settings, fdb.settings, io.settings, operation.settings]
    return groups.reduce(into: [:]) { all, group in all.merge(group) { $1 } }
  }

  func run() throws {
    let configuration = try Configuration(settings, file: segments.config.map(ConfigurationFile.init(path:)))
    if operation.check {
      let summary = try Gateway.check(configuration)
      // The kernel's part as comments, so that what is printed is a file for --config.
      let comments = summary.split(separator: "\n").map { "# \($0)" }.joined(separator: "\n")
      return print(configuration.yaml, comments, separator: "\n")
    }
    try Gateway.run(configuration, log: StandardErrorLog.logger(level: configuration.logLevel))
  }
}
