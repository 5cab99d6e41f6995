/// What is measured, as said on the command line.
struct Setup: Sendable {
  enum Case: String, CaseIterable, Sendable {
    /// A worker's rounds: from the VTEPs to the one LAN port, from there to the VTEPs, and broadcasts from there to all of them.
    case decapsulate, encapsulate, flood
    /// Operations of the FDB alone.
    case lookUp = "look-up"
    case miss, learn, refresh, move, age
    /// Two threads: throughput of two workers over that of one, look-ups while the other learns over look-ups while it doesn't, and
    /// the longest round, in microseconds, while the other ages the FDB.
    case workers, readers, pause
    /// Bytes of memory per entry of the FDB.
    case size
  }

  let name: Case
  /// Addresses in the FDB: half of them local, half behind the VTEPs.
  private(set) var macs = 1000
  private(set) var vteps = 1
  private(set) var vnis = 1
  /// Frames, or keys, that go through the stages together.
  private(set) var batch = 64
  /// Different ones, in chunks of 2 KiB.
  private(set) var frames = 4096
  private(set) var passes = 64
  private(set) var samples = 5

  /// A case, then `name=number` for what is not to be as above. Nil when something is not right.
  init?(_ arguments: some Collection<String>) {
    guard let first = arguments.first, let name = Case(rawValue: first) else { return nil }
    self.name = name
    for argument in arguments.dropFirst() {
      let parts = argument.split(separator: "=")
      guard parts.count == 2, let number = Int(parts[1]), number > 0 else { return nil }
      switch parts[0] {
      case "macs": macs = number
      case "vteps": vteps = number
      case "vnis": vnis = number
      case "batch": batch = number
      case "frames": frames = number
      case "passes": passes = number
      case "samples": samples = number
      default: return nil
      }
    }
    guard macs / 2 >= vnis, frames % batch == 0 else { return nil }
  }

  /// Addresses that the FDB takes.
  var limit: Int { max(macs, 1024) }
}
