import CLinux
import TestSupport
import Testing
import Wire

@testable import Control

@Suite("Netlink messages")
struct NetlinkMessageTests {
  /// Bytes, and the attributes in them. 16-bit length and type, in the byte order of the hosts that run this.
  static let attributes: [([UInt8], [Int: [UInt8]])] = [
    ([], [:]),
    ([4, 0, 1, 0], [1: []]),
    ([5, 0, 1, 0, 9], [1: [9]]),
    ([5, 0, 1, 0, 9, 0, 0, 0, 6, 0, 2, 0, 7, 8, 0, 0], [1: [9], 2: [7, 8]]),
    // Nested and network byte order flags are not part of the type.
    ([5, 0, 1, 0x80, 9], [1: [9]]),
    ([5, 0, 1, 0x40, 9], [1: [9]]),
    ([5, 0, 1, 0, 9, 0, 0, 0, 5, 0, 1, 0, 8, 0, 0, 0], [1: [8]]),
    // Cut off: in the header, in the value, after the first.
    ([5, 0, 1], [:]),
    ([8, 0, 1, 0, 9], [:]),
    ([5, 0, 1, 0, 9, 0, 0, 0, 6, 0, 2, 0, 7], [1: [9]]),
    ([5, 0, 1, 0, 9, 0, 0, 0, 6, 0], [1: [9]]),
    // Shorter than its own header: no way to go on.
    ([0, 0, 1, 0, 5, 0, 2, 0, 9], [:]),
    ([3, 0, 1, 0, 5, 0, 2, 0, 9], [:]),
    ([0xff, 0xff, 1, 0, 9], [:]),
  ]

  @Test("attributes", arguments: attributes)
  func parse(_ bytes: [UInt8], _ expected: [Int: [UInt8]]) {
    // A slice that does not begin at zero, as in a real message.
    let parsed = NetlinkAttributes(([0xee] + bytes)[1...])
    for type in 0...4 { #expect(parsed[type].map(Array.init) == expected[type]) }
  }

  @Test("values of the wrong length read as nil")
  func lengths() {
    var request = NetlinkRequest(RTM_GETLINK, header: ifinfomsg())
    for count in 0...20 { request.append(count, octets: [UInt8](repeating: 1, count: count)) }
    let message = NetlinkMessage.parse(request.bytes(sequence: 7))
    #expect(message.count == 1 && message[0].sequence == 7 && message[0].type == RTM_GETLINK)
    let attributes = message[0].attributes(after: ifinfomsg.self)
    for count in 0...20 {
      #expect(attributes[count]?.count == count)
      #expect((attributes.integer(count, as: UInt32.self) != nil) == (count >= 4))
      #expect((attributes.address(count) != nil) == (count == 4 || count == 16))
      #expect((attributes.mac(count) != nil) == (count == 6))
    }
    #expect(attributes[21] == nil && attributes.integer(21) == nil && attributes.nested(21)[1] == nil)
  }

  @Test("no truncation and no wrong byte of what the kernel sends traps")
  func damaged() throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.ip("address", "add", "192.0.2.1/24", "dev", "here")
    try namespace.ip("address", "add", "2001:db8::1/64", "dev", "here", "nodad")
    try namespace.ip("neighbour", "add", "192.0.2.2", "lladdr", "02:aa:00:00:00:02", "dev", "here")
    try namespace.ip("route", "add", "198.51.100.0/24", "via", "inet6", "2001:db8::2", "mtu", "1400")
    for datagram in try namespace.run(Self.dumps) {
      let whole = Self.readAll(datagram)
      #expect(whole > 0)
      for length in 0..<datagram.count { #expect(Self.readAll(Array(datagram.prefix(length))) <= whole) }
      for index in datagram.indices {
        for value in [0, 0xff] as [UInt8] {
          var damaged = datagram
          damaged[index] = value
          _ = Self.readAll(damaged)
        }
      }
    }
  }

  /// The first datagram of a dump of every table.
  static func dumps() throws -> [[UInt8]] {
    var link = NetlinkRequest(RTM_GETLINK, flags: NLM_F_DUMP, header: ifinfomsg())
    link.append(IFLA_EXT_MASK, UInt32(RTEXT_FILTER_SKIP_STATS))
    let requests = [
      link, NetlinkRequest(RTM_GETADDR, flags: NLM_F_DUMP, header: ifaddrmsg()),
      NetlinkRequest(RTM_GETROUTE, flags: NLM_F_DUMP, header: rtmsg()),
      NetlinkRequest(RTM_GETNEIGH, flags: NLM_F_DUMP, header: ndmsg()),
    ]
    return try requests.map { request in
      let socket = try NetlinkSocket()
      let bytes = request.bytes(sequence: 1)
      #expect(unsafe send(socket.descriptor.number, bytes, bytes.count, 0) == bytes.count)
      return try socket.receive("dump")
    }
  }

  /// Makes of the bytes everything that can be made of them, and counts what came out.
  static func readAll(_ datagram: [UInt8]) -> Int {
    NetlinkMessage.parse(datagram).reduce(0) { count, message in
      // Whatever the type says, each reader must take it.
      let read: [Any?] = [
        Link(message), InterfaceAddress(message), Neighbour(message), Route(message, source: nil), KernelEvent(message),
      ]
      return count + read.count { $0 != nil }
    }
  }
}
