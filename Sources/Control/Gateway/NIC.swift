import Datapath
import PacketIO
import Wire

/// A NIC that vxgw works on, as the kernel describes it.
struct NIC: Sendable {
  var link: Link
  /// "vmxnet3"; nil when it does not say.
  var driver: String?
  /// RX queues: all of them deliver packets, so all of them get a socket.
  var queues: Int
  /// Whether AF_XDP zero-copy may work; false: the kernel says that the driver has none.
  var mayHaveZeroCopy = true

  var name: String { link.name }
  /// Whether VLAN tags come beside the frame and can't be had otherwise.
  var handsTagsBeside: Bool { driver == "veth" }
}

/// How a NIC's packets come and go.
enum NICMode: String, Sendable {
  case native, generic, raw

  var isXDP: Bool { self != .raw }
  var xdp: XDPMode { self == .native ? .native : .generic }
}

/// A NIC that could not be opened in a mode, and whether another mode may do.
struct NICFailure: Error {
  var nic: Int
  var message: String
  /// Somebody else has the NIC, or we lack the privilege: another mode would hide it.
  var isFinal: Bool
  /// It was the socket that failed, not the program: without zero-copy it may do.
  var isBinding = false
}

/// A NIC that vxgw works on, and what it has changed there and undoes when this goes: program, promiscuous mode, offloads.
struct AttachedNIC: ~Copyable {
  let nic: NIC
  let mode: NICMode
  private(set) var role: NICRole
  private(set) var program: XDPProgram?
  /// Queue and descriptor of each socket.
  var sockets: [(queue: Int, descriptor: Int32)] = []
  private let promiscuity: Promiscuity?
  private var offloads: Offloads

  /// - Parameters:
  ///   - index: of the NIC, for the failure.
  ///   - superFrames: whether the sockets take super-frames.
  ///   - fastPath: what a native program forwards by, if it does.
  init(
    _ nic: NIC, index: Int, role: NICRole, mode: NICMode, superFrames: Bool,
    fastPath: (tables: FastPathTables, settings: FastPathSettings)? = nil
  ) throws(NICFailure) {
    do {
      // AF_XDP never sees a tag that was taken out; AF_PACKET is told, and the raw port puts it back.
      let unwanted =
        Offloads.merging + (mode.isXDP ? Offloads.vlanStripping : []) + (mode == .generic ? Offloads.kernelMerging : [])
      let offloads = try Offloads(switchingOff: unwanted, on: nic.link)
      let promiscuity = role.lan.map { $0.vlans != .nothing } ?? false ? try Promiscuity(nic.link) : nil
      let program =
        mode.isXDP
        ? try XDPProgram(
          interfaceIndex: nic.link.index, interfaceName: nic.name, role: role, queues: nic.queues, mode: mode.xdp,
          superFrames: superFrames, fastPath: mode == .native ? fastPath : nil) : nil
      self.nic = nic
      self.mode = mode
      self.role = role
      self.offloads = offloads
      self.promiscuity = promiscuity
      self.program = program
    } catch {
      throw Self.failure(nic, index, error)
    }
  }

  var description: Assembly.NICDescription {
    .init(
      index: nic.link.index, name: nic.name, driver: nic.driver, mode: mode, queues: nic.queues, isPromiscuous: promiscuity != nil,
      offloadsStillOn: offloads.stillOn, sockets: sockets)
  }

  /// Makes other frames the NIC's, while packets flow.
  mutating func setRole(_ new: NICRole) throws(SystemError) {
    if let addresses = new.underlay?.addresses, addresses != role.underlay?.addresses { try program?.setAddresses(addresses) }
    if let vlans = new.lan?.vlans, vlans != role.lan?.vlans { try program?.setVLANs(vlans) }
    if mode == .raw {
      for socket in sockets { try RawPort.setRole(new, descriptor: socket.descriptor) }
    }
    role = new
  }

  /// See `XDPProgram.setPlace`.
  mutating func setPlace(_ place: XDPProgram.Place, to number: Int?) throws(SystemError) { try program?.setPlace(place, to: number) }

  /// No more frames come: the program goes. Raw sockets go with their ports.
  mutating func detach() { program = nil }

  /// Undoes what would outlive the process. The rest goes with it, but for the program, which goes first: drivers refuse
  /// LRO while there is one.
  mutating func restore() throws(SystemError) {
    program = nil
    try offloads.restore()
  }

  private static func failure(_ nic: NIC, _ index: Int, _ error: SystemError) -> NICFailure {
    switch error.errno {
    case .resourceBusy:
      var holder = "another program"
      if let program = XDPProgram.current(on: nic.link.index) { holder += " (\(program.name), id \(program.id), \(program.mode))" }
      return NICFailure(
        nic: index, message: "\(nic.name): \(error): \(holder) is attached. Stop its owner (see `bpftool net`), or use --io raw.",
        isFinal: true)
    case .notPermitted, .permissionDenied:
      return NICFailure(
        nic: index, message: "\(nic.name): \(error). Run vxgw as root, or give it CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF.", isFinal: true)
    default:
      return NICFailure(nic: index, message: "\(nic.name): \(error)", isFinal: false)
    }
  }
}
