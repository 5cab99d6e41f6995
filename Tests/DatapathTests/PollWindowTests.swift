import Testing

@testable import Datapath

@Suite("the window in which an adaptive worker polls before it sleeps")
struct PollWindowTests {
  /// Lets a worker go idle at 0 and be woken after `idle` ns. Returns how long it polled before it slept.
  func spell(_ window: inout PollWindow, idle: UInt64) -> UInt64 {
    var clock: UInt64 = 0
    while !window.isOver(clock) { clock += 100 }
    window.adjust(idle)
    return clock
  }

  @Test("it grows while frames come soon after it has closed, to 200 µs, and stays while they come within it")
  func grows() {
    var window = PollWindow()
    let lengths = (0..<5).map { _ in
      _ = spell(&window, idle: window.length + 1000)
      return window.length
    }
    // At its longest, a frame 1 µs later is one that was too long to wait for.
    #expect(lengths == [50_000, 100_000, 200_000, 100_000, 200_000])
    _ = spell(&window, idle: 150_000)
    #expect(window.length == 200_000)
  }

  @Test("it shrinks to nothing while they don't")
  func shrinks() {
    var window = PollWindow()
    for _ in 0..<3 { _ = spell(&window, idle: window.length + 1) }
    let polled = (0..<4).map { _ in spell(&window, idle: 1_000_000) }
    // 31 rounds in any case.
    #expect(polled == [200_000, 100_000, 50_000, 3_100])
  }

  @Test("a frame begins it anew")
  func resets() {
    var window = PollWindow()
    var answers = (0..<31).map { _ in window.isOver(0) }
    window.reset()
    answers += (0..<32).map { _ in window.isOver(0) }
    #expect(answers == Array(repeating: false, count: 62) + [true])
  }
}
