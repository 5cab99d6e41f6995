/// The Internet checksum (RFC 1071): the 16-bit one's complement of the one's complement sum of 16-bit words in network
/// order.
///
/// A *running sum* is a `UInt64` that `fold` brings to 16 bits. Running sums of parts that start at an even offset of the
/// whole add up with `+`; a sum of fewer than 2³¹ parts can't overflow.
public enum Checksum {
  /// The running sum of a range of bytes; a last odd byte counts as if a zero followed it. Traps when the range lies
  /// outside.
  ///
  /// - Complexity: linear, in vector instructions and in the machine's byte order: the sum of swapped words is the swapped
  ///   sum (RFC 1071 section 2 (B)).
  public static func sum(_ bytes: RawSpan, _ range: Range<Int>) -> UInt64 {
    var sum = UInt64(UInt16(bigEndian: fold(bytes.nativeWordSum(range))))
    var rest = range.upperBound &- range.count % 4
    if rest &+ 2 <= range.upperBound {
      sum &+= UInt64(bytes.big16(at: rest))
      rest &+= 2
    }
    if rest < range.upperBound { sum &+= UInt64(bytes.byte(at: rest)) << 8 }
    return sum
  }

  /// The 16-bit sum; the checksum is its complement. Zero only when everything summed was zero.
  ///
  /// A number added to itself with its halves exchanged has the sum of both in its upper half, carry included (kernel:
  /// csum_fold in include/asm-generic/checksum.h).
  @inlinable @inline(__always)
  public static func fold(_ sum: UInt64) -> UInt16 {
    fold(word: UInt32(truncatingIfNeeded: (sum &+ (sum &<< 32 | sum &>> 32)) &>> 32))
  }

  /// The same for a sum of 32 bits.
  @inlinable @inline(__always)
  public static func fold(word sum: UInt32) -> UInt16 { UInt16(truncatingIfNeeded: (sum &+ (sum &<< 16 | sum &>> 16)) &>> 16) }

  /// The field that has a running sum of everything it covers in TCP (RFC 9293 section 3.1).
  @inlinable @inline(__always)
  public static func tcp(_ sum: UInt64) -> UInt16 { ~fold(sum) }

  /// The field that has a running sum of everything it covers in UDP: never zero, which would say "none" (RFC 768).
  @inlinable @inline(__always)
  public static func udp(_ sum: UInt64) -> UInt16 {
    let checksum = ~fold(sum)
    return checksum == 0 ? 0xffff : checksum
  }

  /// The checksum after one 16-bit field that it covers has changed (RFC 1624 section 3, equation 3).
  @inlinable @inline(__always)
  public static func updated(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
    ~fold(UInt64(~checksum) &+ UInt64(~old) &+ UInt64(new))
  }

  /// The running sum of the pseudo-header (RFC 9293 section 3.1) for the IPv4 header at `ip`; `length` in bytes is that of
  /// the transport header with its data.
  @inlinable @inline(__always)
  public static func pseudoHeader(ipv4 bytes: RawSpan, at ip: Int, protocol: UInt8, length: Int) -> UInt64 {
    let addresses = bytes.big64(at: ip &+ 12)
    return (addresses >> 32) &+ (addresses & 0xffff_ffff) &+ UInt64(`protocol`) &+ UInt64(truncatingIfNeeded: length)
  }

  /// The running sum of the pseudo-header (RFC 8200 section 8.1) for the IPv6 header at `ip`; `length` in bytes is that of
  /// the transport header with its data.
  @inlinable @inline(__always)
  public static func pseudoHeader(ipv6 bytes: RawSpan, at ip: Int, protocol: UInt8, length: Int) -> UInt64 {
    var sum = UInt64(`protocol`) &+ UInt64(truncatingIfNeeded: length)
    for offset in stride(from: ip &+ 8, to: ip &+ 40, by: 8) {
      let word = bytes.big64(at: offset)
      sum &+= (word >> 32) &+ (word & 0xffff_ffff)
    }
    return sum
  }
}
