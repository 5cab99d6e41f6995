import CLinux
import Wire

/// A classic BPF program (linux/filter.h) that decides which frames a socket receives. A load behind the frame's end
/// refuses the frame.
struct SocketFilter {
  private let instructions: [sock_filter]

  /// Refuses everything.
  static let nothing = SocketFilter(instructions: [refuse])

  private init(instructions: [sock_filter]) { self.instructions = instructions }

  /// Lets a NIC's own frames through to a packet socket. The kernel has taken the outermost VLAN tag out of the frame
  /// before (skb_vlan_untag) and keeps it beside the bytes.
  init(role: NICRole) {
    var code: [sock_filter] = []
    if let lan = role.lan { code += Self.accept(lan) }
    if let underlay = role.underlay {
      code += Self.loadVID + Self.require(underlay.vlan ?? 0) + Self.udp(underlay.port, underlay.addresses)
    }
    instructions = code + [Self.refuse]
  }

  /// Makes it the socket's filter, in place of any other: a frame meets the old one or the new one. Any thread may call it.
  func attach(to socket: Int32) throws(SystemError) {
    var copy = instructions
    try systemCall("attaching a socket filter of \(copy.count) instructions") {
      unsafe copy.withUnsafeMutableBufferPointer { buffer in
        var program = unsafe sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
        return unsafe setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<sock_fprog>.size))
      }
    }
  }
}

// Pieces of programs. Jumps reach 255 instructions, so every condition that fails refuses on the spot.
extension SocketFilter {
  /// Whole frames: as many bytes as there are.
  private static var accept: sock_filter { sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: .max) }
  private static var refuse: sock_filter { sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0) }

  /// Loads one, two or four bytes (`BPF_B`, `BPF_H`, `BPF_W`) at an offset into the accumulator. From `SKF_AD_OFF` on, which is
  /// negative, is what the kernel knows of the frame.
  private static func load(_ size: Int32, _ offset: Int) -> sock_filter {
    sock_filter(code: UInt16(BPF_LD | size | BPF_ABS), jt: 0, jf: 0, k: UInt32(truncatingIfNeeded: offset))
  }

  /// Skips instructions, depending on the accumulator.
  private static func jump(_ value: some BinaryInteger, ifEqual: UInt8, else other: UInt8) -> sock_filter {
    sock_filter(code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: ifEqual, jf: other, k: UInt32(value))
  }

  /// Runs `body` when the accumulator holds `value`, and goes on behind it.
  private static func when(_ value: some BinaryInteger, _ body: [sock_filter]) -> [sock_filter] {
    [jump(value, ifEqual: 1, else: 0), skip(body.count)] + body
  }

  /// Skips `count` instructions.
  private static func skip(_ count: Int) -> sock_filter { sock_filter(code: UInt16(BPF_JMP | BPF_JA), jt: 0, jf: 0, k: UInt32(count)) }

  /// An instruction on the accumulator.
  private static func alu(_ operation: Int32, _ value: UInt32) -> sock_filter {
    sock_filter(code: UInt16(BPF_ALU | operation | BPF_K), jt: 0, jf: 0, k: value)
  }

  /// Refuses unless the accumulator has this value.
  private static func require(_ value: some BinaryInteger) -> [sock_filter] { [jump(value, ifEqual: 1, else: 0), refuse] }

  /// Refuses unless the field at `offset`, masked, has this value.
  private static func require(_ size: Int32, _ offset: Int, _ value: some BinaryInteger, mask: UInt32 = .max) -> [sock_filter] {
    [load(size, offset), alu(BPF_AND, mask)] + require(value)
  }

  /// Accepts when the words at `offset` are these.
  private static func accept(_ words: [UInt32], at offset: Int) -> [sock_filter] {
    let tests = words.enumerated().flatMap { index, word in
      // To behind the accepting instruction.
      [load(BPF_W, offset + 4 * index), jump(word, ifEqual: 0, else: UInt8(2 * (words.count - index) - 1))]
    }
    return tests + [accept]
  }
}

// What is ours.
extension SocketFilter {
  /// Loads the VID of the outermost tag; 0 without one. Its place has something else then on older kernels.
  private static var loadVID: [sock_filter] {
    [
      load(BPF_W, Int(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)), jump(0, ifEqual: 2, else: 0),
      load(BPF_W, Int(SKF_AD_OFF + SKF_AD_VLAN_TAG)), alu(BPF_AND, 0xfff),
    ]
  }

  /// Accepts what is in one of the LAN's VLANs and not addressed to its MAC address.
  private static func accept(_ lan: NICRole.LAN) -> [sock_filter] {
    let test = [
      load(BPF_W, 0), jump(lan.mac.value >> 16, ifEqual: 0, else: 2),
      load(BPF_H, 4), jump(lan.mac.value & 0xffff, ifEqual: 1, else: 0),
      accept,
    ]
    if lan.vlans == .everything { return test }
    let words = lan.vlans.words.flatMap { [UInt32(truncatingIfNeeded: $0), UInt32(truncatingIfNeeded: $0 >> 32)] }
    // VID % 32 into X, and the VID back into the accumulator.
    let prepare = [
      sock_filter(code: UInt16(BPF_ST), jt: 0, jf: 0, k: 0), alu(BPF_AND, 31),
      sock_filter(code: UInt16(BPF_MISC | BPF_TAX), jt: 0, jf: 0, k: 0), sock_filter(code: UInt16(BPF_LD | BPF_MEM), jt: 0, jf: 0, k: 0),
    ]
    return loadVID + prepare + bit(of: words[...]) + [jump(0, ifEqual: UInt8(test.count), else: 0)] + test
  }

  /// Turns the accumulator, VID V, into bit V % 32 of word V / 32: a binary tree, whose leaves are words. X has V % 32.
  private static func bit(of words: ArraySlice<UInt32>) -> [sock_filter] {
    let (first, middle) = (words[words.startIndex], words.startIndex + words.count / 2)
    // Of words that are all ones or all zeros any bit will do, so many of them are one leaf.
    if words.count == 1 || ((first == 0 || first == .max) && words.allSatisfy { $0 == first }) {
      return [
        sock_filter(code: UInt16(BPF_LD | BPF_IMM), jt: 0, jf: 0, k: first),
        sock_filter(code: UInt16(BPF_ALU | BPF_RSH | BPF_X), jt: 0, jf: 0, k: 0), alu(BPF_AND, 1),
      ]
    }
    let upper = bit(of: words[middle...])
    let lower = bit(of: words[..<middle]) + [skip(upper.count)]
    return [sock_filter(code: UInt16(BPF_JMP | BPF_JGE | BPF_K), jt: 0, jf: 1, k: UInt32(32 * middle)), skip(lower.count)] + lower + upper
  }

  /// Accepts UDP to the port and one of the addresses behind an Ethernet header, without options and extension headers, and
  /// of fragments the first; refuses everything else.
  private static func udp(_ port: UInt16, _ addresses: [IPAddress]) -> [sock_filter] {
    let ip = 14
    // Offset of the fragment (RFC 791).
    var v4 = require(BPF_B, ip, 0x45) + require(BPF_H, ip + 6, 0, mask: 0x1fff)
    v4 += require(BPF_B, ip + 9, IPProtocol.udp) + require(BPF_H, ip + 22, port)
    var v6 = require(BPF_B, ip, 0x60, mask: 0xf0)
    let whole = require(IPProtocol.udp) + [load(BPF_H, ip + 42)]
    // Behind a fragment header (RFC 8200 section 4.5).
    let first =
      require(BPF_B, ip + 40, IPProtocol.udp) + require(BPF_H, ip + 42, 0, mask: 0xfff8) + [load(BPF_H, ip + 50), skip(whole.count)]
    v6 += [load(BPF_B, ip + 6)] + when(IPProtocol.fragment, first) + whole + require(port)
    for address in addresses {
      if address.isIPv4 {
        v4 += accept([address.v4], at: ip + 16)
      } else {
        let words = [address.high >> 32, address.high, address.low >> 32, address.low].map { UInt32(truncatingIfNeeded: $0) }
        v6 += accept(words, at: ip + 24)
      }
    }
    return [load(BPF_H, 12)] + when(EtherType.ipv4, v4 + [refuse]) + when(EtherType.ipv6, v6 + [refuse]) + [refuse]
  }
}
