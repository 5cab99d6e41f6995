import Wire

extension MACAddress {
  /// Addresses for tests, from the locally administered range.
  public static let here = MACAddress(0x02_00_00_00_00_01)
  public static let there = MACAddress(0x02_00_00_00_00_02)
}

/// An Ethernet II header.
public struct EthernetHeader: Layer {
  public var destination: MACAddress
  public var source: MACAddress
  /// Overrides what follows from the next layer.
  public var type: UInt16?

  public init(to destination: MACAddress = .here, from source: MACAddress = .there, type: UInt16? = nil) {
    self.destination = destination
    self.source = source
    self.type = type
  }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(destination)
    bytes.append(source)
    bytes.append(big: type ?? context.next?.etherType ?? 0)
    return bytes + payload
  }
}

/// An IEEE 802.1Q tag, or 802.1ad with `type` 0x88a8.
public struct VLANTag: Layer {
  /// 12 bits.
  public var id: UInt16
  /// Three bits.
  public var priority: UInt16
  public var type: UInt16

  public init(_ id: UInt16, priority: UInt16 = 0, type: UInt16 = 0x8100) {
    self.id = id
    self.priority = priority
    self.type = type
  }

  public var etherType: UInt16? { type }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    [UInt8](big: priority << 13 | id) + [UInt8](big: context.next?.etherType ?? 0) + payload
  }
}

/// ARP for IPv4 on Ethernet (RFC 826).
public struct ARPMessage: Layer {
  public enum Operation: UInt16, Sendable { case request = 1, reply }

  public var operation: Operation
  public var sender: (mac: MACAddress, ip: IPAddress)
  public var target: (mac: MACAddress, ip: IPAddress)

  public init(
    _ operation: Operation = .request, sender: (mac: MACAddress, ip: IPAddress) = (.there, .remote),
    target: (mac: MACAddress, ip: IPAddress) = (MACAddress(0), .local)
  ) {
    self.operation = operation
    self.sender = sender
    self.target = target
  }

  public var etherType: UInt16? { 0x0806 }

  public func encode(_ payload: [UInt8], in context: LayerContext) -> [UInt8] {
    var bytes: [UInt8] = [0, 1, 0x08, 0x00, 6, 4]
    bytes.append(big: operation.rawValue)
    bytes.append(sender.mac)
    bytes.append(sender.ip)
    bytes.append(target.mac)
    bytes.append(target.ip)
    return bytes + payload
  }
}
