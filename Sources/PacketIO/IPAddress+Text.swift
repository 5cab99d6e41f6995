import CLinux
import Wire

extension IPAddress {
  /// As inet_ntop(3) writes it, for error messages.
  var text: String {
    var octets = vxgw_address(self)
    return unsafe String(unsafeUninitializedCapacity: Int(INET6_ADDRSTRLEN)) { buffer in
      unsafe withUnsafeBytes(of: &octets) { octets in
        // It can't fail: the families are the right ones, and the buffer is long enough for both.
        let (family, first) = isIPv4 ? (AF_INET, 12) : (AF_INET6, 0)
        unsafe inet_ntop(family, octets.baseAddress! + first, buffer.baseAddress, socklen_t(buffer.count))
      }
      return unsafe buffer.firstIndex(of: 0)!
    }
  }
}
