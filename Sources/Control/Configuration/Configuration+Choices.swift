// What single options choose from. Each is written as on the command line.

extension Configuration {
  /// The outer IP header's time to live (hop limit).
  public enum TTL: Sendable, Equatable {
    /// 64, and 1 to a multicast group, as the kernel has it.
    case automatic
    case value(UInt8)
    /// The inner packet's.
    case inherit
  }

  /// The outer IP header's type-of-service octet. Its lower two bits, ECN, follow the inner packet (RFC 6040).
  public enum TOS: Sendable, Equatable {
    case value(UInt8)
    /// The inner packet's.
    case inherit
  }

  /// The outer IPv4 header's don't-fragment bit.
  public enum DF: String, CaseIterable, Sendable { case set, unset, inherit }

  /// The outer IPv6 header's flow label.
  public enum FlowLabel: Sendable, Equatable {
    /// 20 bits.
    case value(UInt32)
    /// The inner IPv6 packet's.
    case inherit
    /// The hash of the inner flow (RFC 6438).
    case hash
  }

  public enum UDPChecksum: String, CaseIterable, Sendable { case auto, on, off }

  /// Outer UDP checksums of zero over IPv6 (RFC 6935).
  public struct UDP6ZeroChecksum: Sendable, Equatable {
    /// Whether they are sent.
    public var tx = false
    /// Whether they are accepted, as RFC 7348 section 5 wants.
    public var rx = true
  }

  /// What becomes of frames with a VLAN tag inside a segment (RFC 7348 section 6.1).
  public enum InnerVLAN: String, CaseIterable, Sendable { case drop, keep }

  /// The largest TCP segment that SYNs through the tunnel may offer.
  public enum MSSClamp: Sendable, Equatable {
    /// What fits through the underlay.
    case auto
    case off
    case bytes(Int)
  }

  /// From which VTEPs frames are accepted.
  public enum VTEPs: String, CaseIterable, Sendable { case listed, any }

  /// How frames are received and sent on NICs.
  public enum IO: String, CaseIterable, Sendable {
    /// The best that works.
    case auto
    /// AF_XDP on native XDP.
    case xdp
    /// AF_XDP on generic XDP.
    case xdpSKB = "xdp-skb"
    /// AF_PACKET sockets.
    case raw
  }

  public enum ZeroCopy: String, CaseIterable, Sendable { case auto, on, off }

  /// Whether the XDP program forwards by itself what the workers have decided.
  public enum FastPath: String, CaseIterable, Sendable {
    /// Where AF_XDP copies.
    case auto
    case on, off
  }
}

extension Configuration.TTL: LosslessStringConvertible {
  public init?(_ text: String) {
    switch text {
    case "auto": self = .automatic
    case "inherit": self = .inherit
    default:
      guard let value = decimal(text).flatMap({ UInt8(exactly: $0) }), value > 0 else { return nil }
      self = .value(value)
    }
  }

  public var description: String {
    switch self {
    case .automatic: "auto"
    case .value(let value): "\(value)"
    case .inherit: "inherit"
    }
  }
}

extension Configuration.TOS: CustomStringConvertible {
  public var description: String {
    switch self {
    case .value(let value): "\(value)"
    case .inherit: "inherit"
    }
  }
}

extension Configuration.FlowLabel: LosslessStringConvertible {
  public init?(_ text: String) {
    switch text {
    case "inherit": self = .inherit
    case "hash": self = .hash
    default:
      // iproute2 shows labels in hexadecimal.
      guard let value = hexadecimal(text) ?? decimal(text).map(UInt64.init), value < 1 << 20 else { return nil }
      self = .value(UInt32(value))
    }
  }

  public var description: String {
    switch self {
    case .value(let value): "\(value)"
    case .inherit: "inherit"
    case .hash: "hash"
    }
  }
}

extension Configuration.UDP6ZeroChecksum: LosslessStringConvertible {
  public init?(_ text: String) {
    let words = text == "none" ? [] : text.split(separator: ",", omittingEmptySubsequences: false)
    guard Set(words).count == words.count, words.allSatisfy({ $0 == "tx" || $0 == "rx" }) else { return nil }
    self.init(tx: words.contains("tx"), rx: words.contains("rx"))
  }

  public var description: String {
    switch (tx, rx) {
    case (false, false): "none"
    case (true, false): "tx"
    case (false, true): "rx"
    case (true, true): "tx,rx"
    }
  }
}

extension Configuration.MSSClamp: LosslessStringConvertible {
  /// Bytes from the kernel's TCP_MIN_MSS (include/net/tcp.h) to the largest IPv4 packet less its headers.
  public init?(_ text: String) {
    switch text {
    case "auto": self = .auto
    case "off": self = .off
    default:
      guard let bytes = decimal(text), (88...65495).contains(bytes) else { return nil }
      self = .bytes(bytes)
    }
  }

  public var description: String {
    switch self {
    case .auto: "auto"
    case .off: "off"
    case .bytes(let bytes): "\(bytes)"
    }
  }
}
