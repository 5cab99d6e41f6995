import PacketIO
import Wire

/// What routers have said of the MTU on the way to VTEPs, for as long as that holds.
struct PathMTUs {
  /// Milliseconds that a report holds: the kernel's net.ipv4.route.mtu_expires.
  static let lifetime: UInt64 = 600_000

  private var entries: [IPAddress: (mtu: Int, expiry: Tick)] = [:]
  /// When the first report ends to hold.
  private(set) var nextExpiry: Tick?

  /// Bytes; nil: nothing reported.
  subscript(address: IPAddress) -> Int? { entries[address]?.mtu }

  /// Takes note of a report. False if it changes nothing, or is none to believe: routers only ever lower an MTU.
  /// - Parameter routeMTU: of the way without any report, in bytes.
  mutating func report(_ mtu: Int, for address: IPAddress, routeMTU: Int, now: Tick) -> Bool {
    let known = entries[address]?.mtu
    guard let mtu = Self.credible(mtu, isIPv4: address.isIPv4), mtu < routeMTU, mtu <= known ?? mtu else { return false }
    let expiry = Tick(milliseconds: now.milliseconds + Self.lifetime)
    entries[address] = (mtu, expiry)
    if nextExpiry == nil { nextExpiry = expiry }
    return mtu != known
  }

  /// IPv4: no link has less than 68 (RFC 791), and nobody is believed below 552, the kernel's net.ipv4.route.min_pmtu: an
  /// attacker could make us cut everything to pieces. IPv6: less than 1280 is no report (RFC 8201 section 4).
  private static func credible(_ mtu: Int, isIPv4: Bool) -> Int? {
    if isIPv4 { return mtu < 68 ? nil : max(mtu, 552) }
    return mtu < 1280 ? nil : mtu
  }

  /// The way to a VTEP is another: what was reported was about the old one.
  mutating func forget(_ address: IPAddress) { entries[address] = nil }

  /// Takes out what holds no longer, and names whom it was about.
  mutating func expire(_ now: Tick) -> [IPAddress] {
    guard let nextExpiry, now.milliseconds >= nextExpiry.milliseconds else { return [] }
    let ended = entries.filter { $0.value.expiry.milliseconds <= now.milliseconds }.map(\.key)
    for address in ended { entries[address] = nil }
    self.nextExpiry = entries.values.map(\.expiry).min { $0.milliseconds < $1.milliseconds }
    return ended
  }
}
