/// Explicit congestion notification across the tunnel (RFC 6040). The codepoint is the low two bits of the DS field:
/// 00 Not-ECT, 01 ECT(1), 10 ECT(0), 11 CE.
public enum ECN {
  /// What the inner codepoint becomes when the outer header is taken off (RFC 6040 section 4.2, figure 4). Nil: the
  /// frame must be dropped, since congestion was signalled to a transport that can't be told (Not-ECT inside, CE outside).
  @inlinable @inline(__always)
  public static func decapsulated(inner: UInt8, outer: UInt8) -> UInt8? {
    switch (inner & 3, outer & 3) {
    case (0, 3): nil
    case (0, _): 0
    case (3, _), (_, 3): 3
    case (_, 1): 1
    case (let inner, _): inner
    }
  }

  // Encapsulation in normal mode copies the inner codepoint (RFC 6040 section 4.1), CE included. The kernel still sends
  // ECT(0) for CE (RFC 3168, include/net/inet_ecn.h), which the receiver's table above restores to CE inside.
}

extension MutableRawSpan {
  /// Sets the ECN codepoint of the IP header at `networkOffset` and mends the IPv4 header checksum (RFC 1624, equation 3).
  /// `FrameHeaders` has found the header to be complete.
  @inlinable @_lifetime(self: copy self)
  public mutating func setECN(_ codepoint: UInt8, etherType: UInt16, networkOffset: Int) {
    let old = bytes.big16(at: networkOffset)
    if etherType == EtherType.ipv6 {
      // Version 4 bits, traffic class 8, flow label 20: ECN is in bits 5 and 4 of the first 16.
      store(big16: old & ~0x30 | UInt16(codepoint & 3) << 4, at: networkOffset)
    } else {
      let new = old & ~3 | UInt16(codepoint & 3)
      var sum = UInt32(~bytes.big16(at: networkOffset + 10)) + UInt32(~old) + UInt32(new)
      sum = (sum & 0xffff) + sum >> 16
      sum = (sum & 0xffff) + sum >> 16
      store(big16: new, at: networkOffset)
      store(big16: ~UInt16(truncatingIfNeeded: sum), at: networkOffset + 10)
    }
  }
}
