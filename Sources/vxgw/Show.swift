import ArgumentParser
import Control

// The commands that ask a running gateway. As with iproute2, `show` may be left out.

/// What these commands have in common.
struct ShowOptions: ParsableArguments {
  @Flag(name: [.customShort("j"), .customLong("json")], help: "Print JSON.")
  var json = false
  @Option(help: ArgumentHelp("The gateway's control socket; needed only if several run on this host.", valueName: "path"))
  var socket: String?
}

protocol ShowCommand: ParsableCommand {
  static var request: ControlQuery { get }
  var options: ShowOptions { get }
}

extension ShowCommand {
  func run() throws {
    var client = try ControlClient(path: options.socket)
    let response = try client.send(.query(Self.request))
    let text = options.json ? try response.json() : response.text
    if !text.isEmpty { print(text) }
  }
}

struct FDB: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fdb", abstract: "The forwarding database.", subcommands: [Show.self], defaultSubcommand: Show.self)

  struct Show: ShowCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Prints the entries, as bridge fdb show does.",
      discussion: """
        02:aa:00:00:00:01 dev vxgw1 dst 192.0.2.2 vni 1 self permanent

        Entries without dst are on local ports. The entries of 00:00:00:00:00:00 are the replication list: the VTEPs that \
        get a copy of BUM frames.
        """)
    static let request = ControlQuery.fdbShow
    @OptionGroup var options: ShowOptions
  }
}

struct VNI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vni", abstract: "The segments.", subcommands: [Show.self], defaultSubcommand: Show.self)

  struct Show: ShowCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Prints each VNI's ports, remote VTEPs, FDB entries and traffic.")
    static let request = ControlQuery.vniShow
    @OptionGroup var options: ShowOptions
  }
}

struct VTEP: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vtep", abstract: "The remote VTEPs.", subcommands: [Show.self], defaultSubcommand: Show.self)

  struct Show: ShowCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Prints each remote VTEP, and whether and through which next hop it is reached.")
    static let request = ControlQuery.vtepShow
    @OptionGroup var options: ShowOptions
  }
}

struct Link: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "link", abstract: "The network interfaces.", subcommands: [Show.self], defaultSubcommand: Show.self)

  struct Show: ShowCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Prints each interface's driver, mode, queues, and what it received, sent and dropped.")
    static let request = ControlQuery.linkShow
    @OptionGroup var options: ShowOptions
  }
}

struct Stats: ShowCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Prints where all frames went, and why those that were dropped were.")
  static let request = ControlQuery.stats
  @OptionGroup var options: ShowOptions
}
