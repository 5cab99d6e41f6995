import Datapath
import PacketIO
import Wire

// What the configuration comes to in the words of the data path, the resolver and the ports.

extension Plan {
  var tunnelSettings: TunnelSettings {
    var settings = TunnelSettings(local: local)
    settings.port = configuration.destinationPort
    settings.sourcePorts = configuration.sourcePorts
    settings.inheritsTTL = configuration.ttl == .inherit
    settings.tos =
      switch configuration.tos {
      case .value(let octet): .fixed(octet)
      case .inherit: .inherit
      }
    settings.df =
      switch configuration.df {
      case .set: .set
      case .unset: .unset
      case .inherit: .inherit
      }
    settings.flowLabel =
      switch configuration.flowLabel {
      case .value: .fixed
      case .inherit: .inherit
      case .hash: .hash
      }
    settings.reservedBits = configuration.reservedBits
    settings.verifiesUDPChecksum = configuration.verifiesUDPChecksum
    settings.acceptsZeroUDP6 = configuration.udp6ZeroChecksum.rx
    settings.segmentSizeLimit =
      switch configuration.mssClamp {
      case .auto: .max
      case .off: 0
      case .bytes(let bytes): UInt16(clamping: bytes)
      }
    settings.learning = configuration.learning
    settings.onlyListed = configuration.vteps == .listed
    return settings
  }

  /// Modes to try on a NIC, the best first.
  var modes: [NICMode] {
    switch configuration.io {
    // Only native XDP has zero-copy: who insists on it wants no other mode.
    case .auto: configuration.zeroCopy == .on ? [.native] : [.native, .generic, .raw]
    case .xdp: [.native]
    case .xdpSKB: [.generic]
    case .raw: [.raw]
    }
  }
}

extension Configuration {
  /// Of a new segment.
  var segmentOptions: Topology.Segment.Options {
    var options = Topology.Segment.Options()
    if innerVLAN == .keep { options.insert(.keepsInnerTags) }
    if proxy { options.insert(.proxy) }
    if suppress { options.insert(.suppress) }
    if l2miss { options.insert(.reportsL2Miss) }
    if l3miss { options.insert(.reportsL3Miss) }
    return options
  }
}
