import CLinux
import PacketIO
import Testing

@testable import PacketIO

/// What the kernel would do with a frame (enum xdp_action in linux/bpf.h).
enum Action: UInt32 {
  case aborted, drop, pass, transmit, redirect
}

extension BPFObject {
  /// Runs the program on one frame, as if it came on queue 0 of the loopback device (BPF_PROG_TEST_RUN). The frame has at
  /// least an Ethernet header: the kernel refuses less.
  func run(_ frame: [UInt8]) throws -> Action {
    var action: UInt32 = 0
    try unsafe frame.withUnsafeBytes { bytes in
      var options = unsafe bpf_test_run_opts()
      unsafe options.sz = MemoryLayout<bpf_test_run_opts>.size
      unsafe options.data_in = bytes.baseAddress.map { unsafe UnsafeRawPointer($0) }
      unsafe options.data_size_in = UInt32(bytes.count)
      guard unsafe bpf_prog_test_run_opts(descriptor, &options) == 0 else { throw SystemError("BPF_PROG_TEST_RUN") }
      unsafe action = options.retval
    }
    return try #require(Action(rawValue: action))
  }

  /// Runs the program on one frame, and returns what it did and under which reason it was counted.
  func verdict(on frame: [UInt8]) throws -> Outcome {
    let before = try counts()
    let action = try run(frame)
    let counted = zip(before, try counts()).flatMap { before, after in
      [XDPVerdict](repeating: after.reason, count: Int(after.packets - before.packets))
    }
    return Outcome(action, counted)
  }
}

/// What the program did with one frame.
struct Outcome: Equatable {
  let action: Action
  /// One reason for one frame.
  let counted: [XDPVerdict]

  init(_ action: Action, _ counted: [XDPVerdict]) {
    self.action = action
    self.counted = counted
  }

  /// As `verdict` must show: a frame that is counted as redirected was redirected, every other one was passed.
  static func expected(_ verdict: XDPVerdict) -> Outcome { Outcome(verdict == .redirected ? .redirect : .pass, [verdict]) }
}

/// An AF_XDP socket that is bound to nothing: with a fill ring the kernel takes it into a socket map
/// (xsk_is_setup_for_bpf_map), which is all that BPF_PROG_TEST_RUN needs to see a redirect.
struct UnboundSocket: ~Copyable {
  let descriptor: Int32

  init() throws {
    descriptor = socket(AF_XDP, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw SystemError("AF_XDP socket") }
    var entries: UInt32 = 64
    guard unsafe setsockopt(descriptor, SOL_XDP, XDP_UMEM_FILL_RING, &entries, 4) == 0 else { throw SystemError("fill ring") }
  }

  deinit { close(descriptor) }
}
