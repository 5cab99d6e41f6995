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
  /// before (skb_vlan_untag), so at most one more is in its bytes.
  init(role: NICRole) {
    switch role {
    case .underlay(let port, let addresses):
      let untagged = Self.udp(behind: 14, port, addresses)
      let tagged = Self.udp(behind: 18, port, addresses)
      instructions =
        [Self.load(BPF_H, 12)] + Self.when(EtherType.customerTag, tagged) + Self.when(EtherType.serviceTag, tagged) + untagged
    case .lan(let mac):
      instructions = [
        Self.load(BPF_W, 0), Self.jump(mac.value >> 16, ifEqual: 0, else: 2),
        Self.load(BPF_H, 4), Self.jump(mac.value & 0xffff, ifEqual: 1, else: 0),
        Self.accept, Self.refuse,
      ]
    }
  }

  /// Makes it the socket's filter, in place of any other.
  func attach(to socket: borrowing OwnedDescriptor) throws(SystemError) {
    var copy = instructions
    let number = socket.number
    try systemCall("attaching a socket filter of \(copy.count) instructions") {
      unsafe copy.withUnsafeMutableBufferPointer { buffer in
        var program = unsafe sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
        return unsafe setsockopt(number, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<sock_fprog>.size))
      }
    }
  }
}

// Pieces of programs. Jumps reach 255 instructions, so every condition that fails refuses on the spot.
extension SocketFilter {
  /// Whole frames: as many bytes as there are.
  private static var accept: sock_filter { sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: .max) }
  private static var refuse: sock_filter { sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0) }

  /// Loads one, two or four bytes (`BPF_B`, `BPF_H`, `BPF_W`) at an offset into the accumulator.
  private static func load(_ size: Int32, _ offset: Int) -> sock_filter {
    sock_filter(code: UInt16(BPF_LD | size | BPF_ABS), jt: 0, jf: 0, k: UInt32(offset))
  }

  /// Skips instructions, depending on the accumulator.
  private static func jump(_ value: some BinaryInteger, ifEqual: UInt8, else other: UInt8) -> sock_filter {
    sock_filter(code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: ifEqual, jf: other, k: UInt32(value))
  }

  /// Runs `body`, which must end the program, when the accumulator holds `value`.
  private static func when(_ value: UInt16, _ body: [sock_filter]) -> [sock_filter] {
    let skip = sock_filter(code: UInt16(BPF_JMP | BPF_JA), jt: 0, jf: 0, k: UInt32(body.count))
    return [jump(value, ifEqual: 1, else: 0), skip] + body
  }

  /// Refuses unless the field at `offset`, masked, has this value.
  private static func require(_ size: Int32, _ offset: Int, _ value: some BinaryInteger, mask: UInt32 = .max) -> [sock_filter] {
    let and = sock_filter(code: UInt16(BPF_ALU | BPF_AND | BPF_K), jt: 0, jf: 0, k: mask)
    return [load(size, offset), and, jump(value, ifEqual: 1, else: 0), refuse]
  }

  /// Accepts when the words at `offset` are these.
  private static func accept(_ words: [UInt32], at offset: Int) -> [sock_filter] {
    let tests = words.enumerated().flatMap { index, word in
      // To behind the accepting instruction.
      [load(BPF_W, offset + 4 * index), jump(word, ifEqual: 0, else: UInt8(2 * (words.count - index) - 1))]
    }
    return tests + [accept]
  }

  /// Accepts UDP to the port and one of the addresses, without options, extension headers and fragments, when the EtherType
  /// is in front of `ip`; refuses everything else.
  private static func udp(behind ip: Int, _ port: UInt16, _ addresses: [IPAddress]) -> [sock_filter] {
    var v4 = require(BPF_B, ip, 0x45)
    // More fragments, and the offset (RFC 791).
    v4 += require(BPF_H, ip + 6, 0, mask: 0x3fff)
    v4 += require(BPF_B, ip + 9, IPProtocol.udp) + require(BPF_H, ip + 22, port)
    var v6 = require(BPF_B, ip, 0x60, mask: 0xf0)
    v6 += require(BPF_B, ip + 6, IPProtocol.udp) + require(BPF_H, ip + 42, port)
    for address in addresses {
      if address.isIPv4 {
        v4 += accept([address.v4], at: ip + 16)
      } else {
        let words = [address.high >> 32, address.high, address.low >> 32, address.low].map { UInt32(truncatingIfNeeded: $0) }
        v6 += accept(words, at: ip + 24)
      }
    }
    return [load(BPF_H, ip - 2)] + when(EtherType.ipv4, v4 + [refuse]) + when(EtherType.ipv6, v6 + [refuse]) + [refuse]
  }
}
