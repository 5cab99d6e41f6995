// What a packet costs in the data path, without a kernel: a worker's rounds over frames in memory. `floor` is the same in
// C, and `run` compares the two.
//
//     vxgw-bench decapsulate|encapsulate|flood MACS PASSES SAMPLES      prints nanoseconds per packet

let arguments = CommandLine.arguments
guard arguments.count == 5, let kind = Case(rawValue: arguments[1]), let macs = Int(arguments[2]), macs >= 2,
  let passes = Int(arguments[3]), passes > 0, let samples = Int(arguments[4]), samples > 0
else { fatalError("usage: vxgw-bench \(Case.allCases.map(\.rawValue).joined(separator: "|")) MACS PASSES SAMPLES") }

var gateway = try Gateway(kind, macs: macs)
gateway.run(passes: 1)  // warms up
let times = (0..<samples).map { _ in
  ContinuousClock().measure { gateway.run(passes: passes) } / (passes * Gateway.frames)
}
let expected = (samples * passes + 1) * Gateway.frames * kind.remotes
precondition(gateway.transmitted == UInt64(expected), "frames were lost")
let median = times.sorted()[samples / 2]
print(Double(median.components.attoseconds) / 1e9)
