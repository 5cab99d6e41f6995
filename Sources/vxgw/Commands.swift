import ArgumentParser
import Control
import Glibc

// The commands for a running gateway. Their words are iproute2's, which are no options: `Command` reads them.

/// What these commands have in common.
struct ClientOptions: ParsableArguments {
  @Flag(name: [.customShort("j"), .customLong("json")], help: "Print JSON.")
  var json = false
  @Option(help: ArgumentHelp("The gateway's control socket; needed only if several run on this host.", valueName: "path"))
  var socket: String?
}

protocol ClientCommand: ParsableCommand {
  static var object: Command.Object { get }
  var words: [String] { get }
  var options: ClientOptions { get }
}

extension ClientCommand {
  func run() throws {
    let command = try Command(Self.object, words)
    var client = try ControlClient(path: options.socket)
    switch command {
    case .query(let query, let filter):
      let response = filter(try client.send(.query(query)))
      let text = options.json ? try response.json() : response.text
      if !text.isEmpty { print(text) }
    case .change(let change): _ = try client.send(.change(change))
    case .monitor(let topics):
      try client.monitor(topics) { event, json in
        print(options.json ? json : "\(event)")
        // Who reads from a pipe wants each event when it happens. Once nobody reads, SIGPIPE ends this.
        fflush(nil)
      }
    }
  }
}

struct FDB: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "fdb", abstract: "The forwarding database: shows and changes it.",
    usage: """
      vxgw fdb [show] [MAC] [dev DEV] [vni VNI] [dst IP] [-j]
      vxgw fdb add | append | replace | del MAC [dev DEV] [dst IP] [port PORT] [vni VNI] [src_vni VNI] \
      [self] [permanent | static | dynamic]
      vxgw fdb flush [dev DEV] [src_vni VNI] [vni VNI] [port PORT] [dst IP] [[no]permanent] [[no]static] [[no]dynamic]
      """,
    discussion: """
      The words are those of bridge(8), in any order, and so is what is printed:

        02:aa:00:00:00:01 dev vxgw1 dst 192.0.2.2 vni 1 self permanent

      Entries without dst are on local ports. The entries of 00:00:00:00:00:00 are the replication list: the VTEPs that \
      get a copy of BUM frames. An entry with several VTEPs has a line for each.

      add           A new entry; one that exists is an error.
      append        One more VTEP for 00:00:00:00:00:00 or a multicast address.
      replace       A new entry, or another place for a unicast address.
      del           The entry, or with dst this VTEP of it.
      flush         All entries for which everything holds that is given; without
                    any state, all but the gateway's own addresses.

      dst IP        The VTEP that has the address.
      dev DEV       Without dst: the local port that has the address. With dst: a
                    port of the segment.
      port PORT     UDP port of the VTEP. (default: the gateway's --dstport)
      vni VNI       VNI on the wire. (default: the segment's)
      src_vni VNI   The segment, where there are several and dev tells none.
      permanent     Does not age, and traffic does not move it. (default)
      static        Likewise.
      dynamic       As if learned: ages, and moves with the host.

      Examples:

        vxgw fdb append 00:00:00:00:00:00 dev vxgw1 dst 192.0.2.3
        vxgw fdb replace 02:aa:00:00:00:01 dst 192.0.2.2 port 8472 static
        vxgw fdb flush dev vxgw1 dynamic
      """)
  static let object = Command.Object.fdb
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}

struct VNI: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "vni", abstract: "The segments: shows, adds and removes them.",
    usage: """
      vxgw vni [show] [VNI] [-j]
      vxgw vni add VNI [PORT...] [remote IP[,IP]] [group IP]
      vxgw vni del VNI
      """,
    discussion: """
      Without PORT a TAP device vxgw<VNI> is made; ports are written as in --map. Without remote and group the segment has \
      those of every segment. What other segments carry is not disturbed.

        vxgw vni add 4300 eth1:300 remote 192.0.2.2,192.0.2.3
      """)
  static let object = Command.Object.vni
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}

struct VTEP: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "vtep", abstract: "The remote VTEPs: shows them, and changes the replication list.",
    usage: """
      vxgw vtep [show] [IP] [-j]
      vxgw vtep add | del IP [vni VNI]
      """,
    discussion: """
      show prints each remote VTEP, and whether and through which next hop it is reached. add and del change who gets a copy \
      of BUM frames: in every segment, or in that of vni. A multicast address is a group, which is joined and left.

        vxgw vtep add 192.0.2.4
      """)
  static let object = Command.Object.vtep
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}

struct Link: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "link", abstract: "The network interfaces: shows them, adds and removes local ports.",
    usage: """
      vxgw link [show] [DEV] [-j]
      vxgw link add VNI=PORT
      vxgw link del PORT
      """,
    discussion: """
      show prints each interface's driver, mode, queues, local ports, and what it received, sent and dropped. Ports are \
      written as in --map: eth1, eth1:100, eth1:s100, eth1:trunk, tap:NAME.

        vxgw link add 4100=eth1:100
      """)
  static let object = Command.Object.link
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}

struct Neigh: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "neigh", abstract: "The neighbours for which ARP and ND are answered.",
    usage: """
      vxgw neigh [show] [IP] [dev DEV] [vni VNI] [-j]
      vxgw neigh add | replace IP lladdr MAC [dev DEV | vni VNI] [router]
      vxgw neigh del IP [dev DEV | vni VNI]
      """,
    discussion: """
      The words are those of ip-neighbour(8). The answers are given with --proxy or --suppress. dev or vni names the segment \
      where there are several. router: neighbour advertisements say so.

        vxgw neigh add 198.51.100.2 lladdr 02:aa:00:00:00:01 dev vxgw1
      """)
  static let object = Command.Object.neigh
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}

struct Config: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Prints what runs as a configuration file.", usage: "vxgw config [show]")
  static let object = Command.Object.config
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}

struct Stats: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Prints where all frames went, and why those that were dropped were.", usage: "vxgw stats [-j]")
  static let object = Command.Object.stats
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}

struct Monitor: ClientCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor", abstract: "Prints what happens, as it happens.",
    usage: "vxgw monitor [all | fdb | neigh | vtep | link]... [-j]",
    discussion: """
      Lines are those of bridge monitor and ip monitor; with -j each is a JSON object whose "event" says more.

        02:aa:00:00:00:01 dev vxgw1 dst 192.0.2.2 vni 1 self
          An FDB entry was learned, moved, or added by hand.
        Deleted 02:aa:00:00:00:01 dev vxgw1 dst 192.0.2.2 vni 1 self stale
          It aged. Without stale: it was removed by hand.
        miss dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 STALE
          Nobody knows where it is (--l2miss).
        miss 198.51.100.2 dev vxgw1 vni 1 STALE
          Nobody knows who has it (--l3miss).
        198.51.100.2 dev vxgw1 lladdr 02:aa:00:00:00:01 vni 1 REACHABLE
          A neighbour was snooped, or (PERMANENT) added by hand.
        vtep 192.0.2.2 dev ens192 lladdr 02:aa:00:00:00:02 resolved
          A remote VTEP, or the next hop to it, changed.
        ens192: mtu 1500 state UP
          An interface changed.

      Ends with status 1 when the gateway does.
      """)
  static let object = Command.Object.monitor
  @Argument(help: .hidden) var words: [String] = []
  @OptionGroup var options: ClientOptions
}
