import Datapath
import Logging
import PacketIO
import Synchronization

/// The fast path of a gateway: which NICs' programs have it, whether each NIC takes frames now, and how long the program may go
/// on without hearing of the workers. The control plane's thread calls it; others may ask for states and counts.
final class FastPathControl: Sendable {
  let tables: FastPathTables
  private let state: Mutex<State>
  private let refusals: RefusalCounter

  private struct State {
    var path: FastPath
    var devices: [Int: Device] = [:]
    /// What devices that are gone have forwarded.
    var retired = FastPathTables.Forwarded()
    /// Why there is none any more, after an error.
    var failure: String?
  }

  private struct Device {
    var interface: UInt32
    var name: String
    var driver: String?
    /// Bytes of the largest frame that goes there; 0: none does.
    var largest = 0
  }

  /// Milliseconds between two looks at workers and NICs, and that the program goes on after the last that found all workers
  /// alive.
  static let interval: UInt64 = 250
  static let patience: UInt64 = 1000

  /// Whether the program can read the workers' tables as they do: x86-64 keeps loads in order.
  static var isPossible: Bool {
    #if arch(x86_64)
      true
    #else
      false
    #endif
  }

  /// - Throws: `SystemError` when the kernel can't have the tables, or not count what NICs refuse.
  init(_ forwarding: Forwarding, _ settings: TunnelSettings) throws(SystemError) {
    let path = try FastPath(forwarding, settings)
    refusals = try RefusalCounter(path.tables)
    tables = path.tables
    state = Mutex(State(path: path))
  }

  /// What a device's program is made with.
  func settings(of device: Int) -> (tables: FastPathTables, settings: FastPathSettings) {
    var settings = state.withLock { $0.path.settings }
    settings.device = device
    return (tables, settings)
  }

  /// A NIC whose program has the fast path.
  func add(_ device: Int, _ nic: NIC) throws(SystemError) {
    try tables.addDevice(device, interface: nic.link.index)
    state.withLock { $0.devices[device] = Device(interface: nic.link.index, name: nic.name, driver: nic.driver) }
  }

  /// Its program is gone.
  func remove(_ device: Int) throws(SystemError) {
    guard let interface = state.withLock({ $0.devices.removeValue(forKey: device)?.interface }) else { return }
    try tables.removeDevice(device, interface: interface)
    let last = try tables.forwarded(device)
    state.withLock {
      $0.retired += last.decapsulated; $0.retired += last.encapsulated
    }
    try tables.forget(device)
  }

  /// None of the NICs is there any more.
  func removeAll() throws(SystemError) {
    for device in state.withLock({ Array($0.devices.keys) }) { try remove(device) }
  }

  /// Goes by the overlay from now on; workers must not yet.
  func follow(
    _ overlay: Overlay, setPlace: (_ device: Int, XDPProgram.Place, _ number: Int?) throws(SystemError) -> Void
  ) throws(SystemError) {
    var (path, devices) = state.withLock { ($0.path, Set($0.devices.keys)) }
    try path.follow(segments: overlay.dataPathSegments, localPorts: overlay.localPorts, devices: devices, setPlace: setPlace)
    state.withLock { [path] in $0.path = path }
  }

  /// Looks at the NICs: their MTUs, and whether they take frames.
  func look(_ netlink: borrowing NetlinkSocket, _ features: XDPFeatures) throws(SystemError) {
    for (index, device) in state.withLock({ $0.devices }) {
      // A NIC that is gone is the control plane's business.
      guard let link = try netlink.link(index: device.interface) else { continue }
      // An Ethernet header and a tag more than the MTU (xdp_ok_fwd_dev in include/linux/filter.h).
      let largest = try features.takesFrames(device.interface) && link.isUp && link.hasCarrier ? link.mtu + 18 : 0
      // Also if it is as before: the program may have found out by itself that nothing gets through.
      try tables.setLargest(largest, of: index)
      state.withLock { $0.devices[index]?.largest = largest }
    }
  }

  /// All workers were alive at `now`.
  func goOn(_ now: Tick) throws(SystemError) { try tables.goOn(until: now.milliseconds + Self.patience) }

  /// Ends it: workers do everything. Whatever the tables have is of no account any more.
  func fail(_ error: SystemError, _ log: Logger) {
    let isNews = state.withLock { state in
      defer { state.failure = state.failure ?? "\(error)" }
      return state.failure == nil
    }
    guard isNews else { return }
    log.error("the in-kernel fast path is off: \(error)")
    // If this fails as well, the program stops by itself when it hears no more of the workers.
    try? tables.goOn(until: 0)
  }

  var hasFailed: Bool { state.withLock { $0.failure != nil } }
}

// MARK: What others ask

extension FastPathControl {
  /// Why a NIC's program does not forward frames to it; nil: it does.
  func obstacle(_ device: Int) -> String? {
    state.withLock { state in
      guard state.failure == nil else { return state.failure }
      guard let device = state.devices[device] else { return "its program has none" }
      guard device.largest == 0 else { return nil }
      return device.driver == "veth"
        ? "its peer has no GRO" : "its link is down, or its driver takes no XDP frames"
    }
  }

  func forwarded(_ device: Int) throws(SystemError) -> (decapsulated: FastPathTables.Forwarded, encapsulated: FastPathTables.Forwarded) {
    try tables.forwarded(device)
  }

  /// In both directions, over all devices, those that are gone included.
  func total() throws(SystemError) -> FastPathTables.Forwarded {
    var (total, devices) = state.withLock { ($0.retired, Array($0.devices.keys)) }
    for device in devices {
      let counts = try tables.forwarded(device)
      total += counts.decapsulated
      total += counts.encapsulated
    }
    return total
  }
}
