/// An AF_PACKET socket on one NIC: works with every driver and kernel, at the price of copies: two of what is received, by the kernel into
/// the ring and by us out of it, and one of what is sent, in one system call per batch. The kernel sees all frames as well (see
/// `PortReservation`).
///
/// All checksums of received frames are complete, super-frames are cut, and VLAN tags that the NIC took out are back.
public struct RawPort: ~Copyable, Sendable {
  private let socket: OwnedDescriptor
  private var receiver: RawReceiver
  private var transmitter: RawTransmitter
  public let counters = Counters(count: PortCounter.allCases.count)

  /// - Parameters:
  ///   - interfaceName: for error messages.
  ///   - batch: frames per system call.
  ///   - ring: frames that the kernel keeps for us.
  ///   - slotSize: of the ring, in bytes: the packet memory's chunk size.
  ///   - fanoutGroup: when several ports share the NIC, the same number for all; a flow's frames then arrive at one of
  ///     them. A number means something else in every network namespace.
  /// - Throws: `SystemError`: EPERM without CAP_NET_RAW and CAP_NET_ADMIN, ENODEV without the interface.
  public init(
    interfaceIndex: UInt32, interfaceName: String, role: NICRole, batch: Int, ring: Int, slotSize: Int, fanoutGroup: UInt16?
  ) throws(SystemError) {
    precondition(batch > 0)
    let socket = try PacketSocket.open()
    let ring = try PacketRing(socket, slotCount: ring, slotSize: slotSize)
    try PacketSocket.bind(socket, interfaceIndex, interfaceName, role, fanoutGroup)
    self.socket = socket
    receiver = RawReceiver(ring)
    transmitter = RawTransmitter(capacity: batch)
  }

  public mutating func receive(into batch: inout Batch, umem: inout UMEM) {
    receiver.receive(into: &batch, umem: &umem, socket: socket, counters: counters)
  }

  public mutating func transmit(_ batch: inout Batch, umem: inout UMEM) {
    transmitter.transmit(&batch, umem: &umem, socket: socket, counters: counters)
  }

  /// Counts what is left as dropped; it receives nothing after that.
  public mutating func close() { receiver.close(counters) }

  public var descriptors: [Int32] { [socket.number] }

  /// Gives the port another role, at once and while it receives: the control plane may do so while a worker has the port.
  ///
  /// - Parameter descriptor: the port's.
  public static func setRole(_ role: NICRole, descriptor: Int32) throws(SystemError) { try SocketFilter(role: role).attach(to: descriptor) }

  /// Frames that found the buffer of the port's socket full since somebody last asked: the kernel then starts anew.
  ///
  /// - Parameter descriptor: the port's.
  public static func takeKernelDrops(descriptor: Int32) throws(SystemError) -> UInt64 { try PacketSocket.takeDrops(descriptor) }
}
