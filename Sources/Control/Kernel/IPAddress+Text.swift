import CLinux
import Wire

extension IPAddress {
  /// From four (IPv4) or sixteen (IPv6) octets in network order; nil for any other number.
  init?(octets: some Collection<UInt8>) {
    switch octets.count {
    case 4: self.init(v4: octets.reduce(0) { $0 << 8 | UInt32($1) })
    case 16:
      self.init(
        high: octets.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }, low: octets.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) })
    default: return nil
    }
  }

  /// Four (IPv4) or sixteen (IPv6) octets in network order.
  var octets: [UInt8] {
    let all = [high, low].flatMap { word in stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> $0) } }
    return isIPv4 ? Array(all.suffix(4)) : all
  }

  /// AF_INET or AF_INET6.
  var family: UInt8 { UInt8(isIPv4 ? AF_INET : AF_INET6) }

  /// Bits of an address: 32 or 128.
  var bitWidth: Int { isIPv4 ? 32 : 128 }
}

// Text as inet_pton(3) and inet_ntop(3) read and write it: no zone, no prefix length. An IPv4-mapped IPv6 address is the
// IPv4 address, and prints so.
extension IPAddress: CustomStringConvertible, LosslessStringConvertible {
  public init?(_ text: String) {
    var octets = [UInt8](repeating: 0, count: 16)
    if unsafe inet_pton(AF_INET, text, &octets) == 1 {
      self.init(octets: octets.prefix(4))
    } else if unsafe inet_pton(AF_INET6, text, &octets) == 1 {
      self.init(octets: octets)
    } else {
      return nil
    }
  }

  public var description: String {
    let capacity = Int(INET6_ADDRSTRLEN)
    return unsafe String(unsafeUninitializedCapacity: capacity) { buffer in
      // It can't fail: the family is one of the two, and the buffer is long enough for both.
      unsafe inet_ntop(Int32(family), octets, buffer.baseAddress, socklen_t(capacity))
      return unsafe buffer.firstIndex(of: 0)!
    }
  }
}
