// What the data path costs, without a kernel: a worker's rounds over frames in memory, and the FDB alone. `floor` is the same
// in C, and `run` compares the two.
//
//     vxgw-bench CASE [macs=N] [vteps=N] [vnis=N] [batch=N] [frames=N] [passes=N] [samples=N]
//
// Prints nanoseconds per operation, and how many were done; see `Setup.Case` for what has other numbers.

guard let setup = Setup(CommandLine.arguments.dropFirst()) else { fatalError("no such case; see Setup.swift") }

switch setup.name {
case .workers: print(try Threads.workers(setup))
case .readers: print(try Threads.readers(setup))
case .pause: print(try Threads.pause(setup))
case .size: print(try Memory.bytesPerEntry(setup))
case .decapsulate, .encapsulate, .flood:
  var gateway = try Gateway(setup, Gateway.forwarding(setup))
  report(gateway.run(setup))
case .lookUp, .miss, .learn, .refresh, .move, .age:
  var table = Table(setup, try Gateway.forwarding(setup))
  report(table.run(setup))
}

/// Picoseconds are precise enough, and a number that is short allocates nothing on its way out.
func report(_ result: (nanoseconds: Double, operations: Int)) { print((result.nanoseconds * 1000).rounded() / 1000, result.operations) }
