import Testing
import Wire

@testable import Control

@Suite("IP addresses as text")
struct IPAddressTextTests {
  @Test(
    "read, and printed in canonical form (RFC 5952)",
    arguments: [
      ("192.0.2.1", "192.0.2.1", 4), ("0.0.0.0", "0.0.0.0", 4), ("255.255.255.255", "255.255.255.255", 4),
      ("::ffff:192.0.2.1", "192.0.2.1", 4), ("::", "::", 16), ("::1", "::1", 16),
      ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1", 16), ("ff02::1:ff00:1", "ff02::1:ff00:1", 16),
      ("2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:6666", 16),
    ])
  func canonical(_ text: String, _ expected: String, _ octets: Int) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == expected)
    #expect(address.octets.count == octets && IPAddress(octets: address.octets) == address)
  }

  @Test(
    "refused",
    arguments: ["", "192.0.2", "192.0.2.256", "192.0.2.1/24", " 192.0.2.1", "2001:db8::1%eth0", "2001:db8:::1", "host", "1:2"])
  func refused(_ text: String) { #expect(IPAddress(text) == nil) }

  @Test("octets of any other number are no address", arguments: [0, 3, 5, 15, 17])
  func otherLengths(_ count: Int) { #expect(IPAddress(octets: [UInt8](repeating: 1, count: count)) == nil) }
}
