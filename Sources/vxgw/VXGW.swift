import ArgumentParser
import Control

/// The command line: `vxgw` starts a gateway, `vxgw fdb` and its like talk to a running one.
@main
struct VXGW: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vxgw",
    abstract: "Joins VXLAN segments (VNIs) to a physical LAN, to containers and to virtual machines.",
    usage: """
      vxgw --iface IF --vni N [--lan IF[:VLAN] | --tap NAME] [--remote ADDR[,ADDR] | --group ADDR] [OPTIONS]
      vxgw --config FILE [OPTIONS]
      vxgw fdb | neigh | vni | vtep | link | config | stats | monitor [WORDS] [-j] [--socket PATH]
      """,
    discussion: """
      vxgw --iface ens192 --vni 1 is a complete command: a VTEP on ens192's primary address, UDP port 4789, and a TAP \
      device vxgw1 as local port. All options: vxgw help run.

      While it runs, the other commands show and change what it does, in the words and columns of iproute2.
      """,
    version: "vxgw 0.1.0",
    subcommands: [
      Run.self, FDB.self, Neigh.self, VNI.self, VTEP.self, Link.self, Config.self, Stats.self, Monitor.self,
    ],
    defaultSubcommand: Run.self)

  static func main() {
    do {
      let arguments = Array(CommandLine.arguments.dropFirst())
      try checkCommandWord(arguments)
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch {
      end(error)
    }
  }

  /// The parser would take a misspelt subcommand for a stray argument of the default one, and give no hint.
  static func checkCommandWord(_ arguments: [String]) throws {
    guard let word = arguments.first, !word.hasPrefix("-"), word != "help" else { return }
    let names = configuration.subcommands.compactMap { $0.configuration.commandName }
    if names.contains(word) { return }
    let hint = nearestWord(to: word, among: names).map { "Did you mean \($0)?" } ?? "There are \(names.joined(separator: ", "))"
    throw ValidationError("\(word): no such command. \(hint)")
  }

  /// Help and version go to standard output, with exit status 0. Errors go to standard error, each in a line of its own:
  /// 64 (EX_USAGE of sysexits.h) is a wrong command line, 1 a failure at run time.
  private static func end(_ error: any Error) -> Never {
    let status: ExitCode
    let lines: [String]
    switch error {
    case let error as ConfigurationError: (status, lines) = (.validationFailure, error.mistakes)
    case let error as UsageError: (status, lines) = (.validationFailure, error.mistakes)
    default:
      status = exitCode(for: error)
      if status.isSuccess { exit(withError: error) }
      let text = status == .validationFailure ? message(for: error) : "\(error)"
      lines = text.split(separator: "\n").map(String.init)
    }
    let log = StandardErrorLog.logger(level: .error)
    for line in lines { log.error("\(line)") }
    exit(withError: status)
  }
}
