import CLinux
import Foundation
import PacketIO
import Synchronization

/// A network namespace of the test's own, deleted with the value. Its name begins with "vx" and the process ID.
public struct NetworkNamespace: ~Copyable, Sendable {
  public let name: String
  private let descriptor: Int32
  private static let created = Atomic(0)

  /// - Throws: `CommandError` of ip(8).
  public init() throws {
    let name = "vx\(getpid())-\(Self.created.add(1, ordering: .relaxed).newValue)"
    try runCommand("ip", "netns", "add", name)
    try runCommand("ip", "-n", name, "link", "set", "lo", "up")
    self.name = name
    descriptor = unsafe open("/run/netns/\(name)", O_RDONLY | O_CLOEXEC)
  }

  deinit {
    close(descriptor)
    // Only tests see this; the next run uses other names.
    do { try runCommand("ip", "netns", "del", name) } catch { print("\(error)") }
  }

  /// Runs ip(8) inside, and returns what it prints.
  @discardableResult
  public func ip(_ arguments: String...) throws -> String {
    try runCommand(["ip", "-n", name] + arguments)
  }

  /// Runs a command inside, and returns what it prints.
  @discardableResult
  public func execute(_ command: String...) throws -> String {
    try runCommand(["ip", "netns", "exec", name] + command)
  }

  /// Makes a veth pair inside; both ends are up.
  public func addVeth(_ name: String, peer: String) throws {
    try ip("link", "add", name, "type", "veth", "peer", "name", peer)
    try ip("link", "set", name, "up")
    try ip("link", "set", peer, "up")
    try waitForCarrier(name)
  }

  /// Waits until an interface sends. The end of a veth pair that came up first does so a moment after the second came up
  /// (net/core/link_watch.c); before that it drops what it is given.
  /// - Throws: `CommandError` with what ip(8) shows when it does not within 5 s.
  public func waitForCarrier(_ name: String) throws {
    var shown = ""
    for _ in 0..<500 {
      shown = try ip("link", "show", name)
      if shown.contains("state UP") { return }
      usleep(10_000)
    }
    throw CommandError(command: ["waiting for carrier"], status: 1, output: shown)
  }

  /// Runs `body` inside: sockets it opens and interfaces it names are this namespace's. A namespace belongs to a thread,
  /// and a synchronous closure stays on the thread that calls it.
  public func run<Result: ~Copyable>(_ body: () throws -> Result) throws -> Result {
    let outside = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    guard outside >= 0 else { throw SystemError("opening the thread's network namespace") }
    defer { close(outside) }
    guard setns(descriptor, CLONE_NEWNET) == 0 else { throw SystemError("entering network namespace \(name)") }
    defer {
      // Going on in the wrong namespace would touch the machine's own interfaces later.
      guard setns(outside, CLONE_NEWNET) == 0 else { fatalError("leaving network namespace \(name): \(vxgw_errno())") }
    }
    return try body()
  }
}

/// The interface's index in the network namespace of the calling thread; 0 when there is none of that name.
public func interfaceIndex(_ name: String) -> UInt32 { unsafe if_nametoindex(name) }

/// A command that ended with something else than zero.
public struct CommandError: Error, CustomStringConvertible {
  public let command: [String]
  public let status: Int32
  /// What it wrote to standard output and standard error.
  public let output: String

  public var description: String { "\(command.joined(separator: " ")): exit status \(status): \(output)" }
}

/// See `runCommand(_:)`.
@discardableResult
public func runCommand(_ command: String...) throws -> String { try runCommand(command) }

/// Runs a command found in PATH, waits for it and returns what it wrote to standard output and standard error.
/// - Throws: `CommandError`.
@discardableResult
public func runCommand(_ command: [String]) throws -> String {
  let process = Process()
  let pipe = Pipe()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = command
  process.standardOutput = pipe
  process.standardError = pipe
  try process.run()
  let output = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
  process.waitUntilExit()
  guard process.terminationStatus == 0 else {
    throw CommandError(command: command, status: process.terminationStatus, output: output)
  }
  return output
}
