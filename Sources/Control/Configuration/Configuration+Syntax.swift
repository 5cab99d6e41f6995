import Wire

/// The rule that a text breaks: what is right, and what to do.
public struct Mistake: Error, Equatable, CustomStringConvertible {
  public let description: String
  init(_ rule: String) { description = rule }
}

// How ports, VNIs and addresses are written, on the command line, in files and in the commands for a running gateway.
extension Configuration {
  /// A VNI.
  public static func vni(_ text: some StringProtocol) throws(Mistake) -> UInt32 {
    guard let number = decimal(text), number < 1 << 24 else {
      throw Mistake("a VNI has 24 bits, 0 to 16777215 (RFC 7348 section 5)")
    }
    return UInt32(number)
  }

  /// A VNI, or a range such as 10100-10199.
  static func vnis(_ text: some StringProtocol) throws(Mistake) -> ClosedRange<UInt32> {
    guard let hyphen = text.firstIndex(of: "-") else {
      let vni = try vni(text)
      return vni...vni
    }
    let low = try vni(text[..<hyphen]), high = try vni(text[text.index(after: hyphen)...])
    guard low <= high else { throw Mistake("\(low) is above \(high); the lower VNI comes first") }
    return low...high
  }

  /// VLAN IDs of a port: one, or a range such as 100-199.
  static func vlans(_ text: Substring) throws(Mistake) -> ClosedRange<UInt16> {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { decimal($0) ?? 0 }
    guard ends.count <= 2, let low = ends.first, let high = ends.last, ends.allSatisfy((1...4094).contains) else {
      throw Mistake("a VLAN is 1 to 4094, s1 to s4094 (IEEE 802.1ad), or trunk for all\(suggestion(String(text), ["trunk"]))")
    }
    guard low <= high else { throw Mistake("\(low) is above \(high); the lower VLAN comes first") }
    return UInt16(low)...UInt16(high)
  }

  /// VNI=PORT, or a range of VNIs and one of VLANs, equally long: 10100-10199=eth1:100-199.
  public static func mappings(_ text: String) throws(Mistake) -> [(vni: UInt32, port: LocalPort)] {
    guard let equals = text.firstIndex(of: "=") else { throw Mistake("not VNI=PORT, such as 1=eth1, 1=eth1:100 or 1=tap:vxgw1") }
    let vnis = try vnis(text[..<equals])
    let ports = try LocalPort.range(String(text[text.index(after: equals)...]))
    guard vnis.count == ports.count else {
      let (vniWord, portWord) = (vnis.count == 1 ? "VNI" : "VNIs", ports.count == 1 ? "port" : "VLANs")
      throw Mistake("\(vnis.count) \(vniWord) for \(ports.count) \(portWord); a range goes to a range of the same length")
    }
    return zip(vnis, ports).map { (vni: $0, port: $1) }
  }

  /// The address of a VTEP.
  public static func vtepAddress(_ text: some StringProtocol) throws(Mistake) -> IPAddress {
    let address = try ipAddress(text)
    if address.isMulticast { throw Mistake("a multicast group; a VTEP has an address of its own. For groups there is --group") }
    if address.isMartianSource { throw Mistake("no VTEP can have this address (RFC 6890)") }
    // fe80::/10 (RFC 4291 section 2.5.6).
    if !address.isIPv4 && address.high >> 54 == 0x3fa {
      throw Mistake("a link-local address, of which every link has its own; give the VTEP a global or a unique local one")
    }
    return address
  }

  /// The address of a multicast group.
  public static func groupAddress(_ text: some StringProtocol) throws(Mistake) -> IPAddress {
    let address = try ipAddress(text)
    guard address.isMulticast else {
      throw Mistake("not a multicast group (224.0.0.0/4 or ff00::/8); single VTEPs are --remote")
    }
    return address
  }

  private static func ipAddress(_ text: some StringProtocol) throws(Mistake) -> IPAddress {
    guard let address = IPAddress(String(text)) else { throw Mistake("not an IP address; names are not looked up") }
    return address
  }

  /// The kernel's rule for the name of an interface (dev_valid_name in net/core/dev.c); `%` it would replace by a number.
  static func interfaceName(_ name: String) throws(Mistake) -> String {
    guard (1...15).contains(name.utf8.count), name != ".", name != "..",
      !name.contains(where: { $0 == "/" || $0 == ":" || $0 == "%" || $0.isWhitespace })
    else { throw Mistake("an interface's name has 1 to 15 bytes, without spaces, \"/\", \":\" and \"%\"") }
    return name
  }
}

/// ". Did you mean xdp?", or nothing.
func suggestion(_ word: String, _ candidates: [String]) -> String {
  nearestWord(to: word, among: candidates).map { ". Did you mean \($0)?" } ?? ""
}

/// The text as a number: decimal digits only, no sign.
func decimal(_ text: some StringProtocol) -> Int? {
  guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
  return Int(text)
}

/// The text as a number: 0x and up to 16 hexadecimal digits.
func hexadecimal(_ text: some StringProtocol) -> UInt64? {
  guard text.hasPrefix("0x"), text.dropFirst(2).allSatisfy(\.isHexDigit) else { return nil }
  return UInt64(text.dropFirst(2), radix: 16)
}
