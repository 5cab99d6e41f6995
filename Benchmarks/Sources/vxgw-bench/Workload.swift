/// What is measured on one thread, pass by pass.
protocol Workload: ~Copyable {
  /// Operations of one pass.
  var operations: Int { get }
  /// Those of all passes that came to what they should.
  var succeeded: Int { get }
  /// One pass: what is timed, and what callgrind counts (it finds the function by its name, so it is never inlined).
  mutating func measured()
  /// What has to be done before the next one.
  mutating func reset()
}

extension Workload where Self: ~Copyable {
  mutating func reset() {}

  /// Nanoseconds of one pass.
  mutating func timedPass() -> Double {
    let start = ContinuousClock.now
    measured()
    let end = ContinuousClock.now
    reset()
    return (end - start) / .nanoseconds(1)
  }

  /// Nanoseconds per operation, the median of the samples, and how many operations were done.
  mutating func run(_ setup: Setup) -> (nanoseconds: Double, operations: Int) {
    _ = timedPass()  // warms up
    var samples: [Double] = []
    for _ in 0..<setup.samples {
      var sum = 0.0
      for _ in 0..<setup.passes { sum += timedPass() }
      samples.append(sum / Double(setup.passes * operations))
    }
    let done = (setup.samples * setup.passes + 1) * operations
    precondition(succeeded == done, "\(succeeded) of \(done) operations came to what they should")
    return (median(samples), done)
  }
}

func median(_ samples: [Double]) -> Double { samples.sorted()[samples.count / 2] }
