import Datapath
import PacketIO
import Wire

// Devices that come and go while the workers run. Only the control plane's thread calls these.

extension Assembly {
  /// Makes every worker go by the overlay, and returns when all do.
  func apply(_ overlay: Overlay) {
    followFastPath(overlay)
    for control in controls { control.ask(for: WorkerChange(topology: overlay.topology())) }
    for control in controls { control.awaitChange() }
  }

  /// Makes the XDP programs go by the overlay. Before the workers do: what goes must be gone from both when a change is made.
  func followFastPath(_ overlay: Overlay) {
    guard let fastPath, !fastPath.hasFailed else { return }
    do {
      try fastPath.follow(overlay) { device, place, number throws(SystemError) in
        guard case .nic(let index)? = overlay.devices[device]?.kind else { return }
        try self.setPlace(ofNIC: index, place, to: number)
      }
    } catch {
      fastPath.fail(error, log)
    }
  }

  private func setPlace(ofNIC index: Int, _ place: XDPProgram.Place, to number: Int?) throws(SystemError) {
    var failure: SystemError?
    withNICs { nics in
      do throws(SystemError) { try nics[index]?.setPlace(place, to: number) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Makes a NIC's frames those that the overlay has local ports for. TAP devices have no VLANs.
  func updateRole(of device: Int, _ overlay: Overlay) throws {
    guard case .nic(let index)? = overlay.devices[device]?.kind else { return }
    try withNICs { nics in
      guard let nic = nics[index]?.nic else { return }
      try nics[index]?.setRole(plan.role(of: nic, overlay, addresses: [plan.local] + overlay.groups))
    }
  }

  /// Whether VLAN tags of the device's frames are not seen.
  func losesTags(_ device: Int, _ overlay: Overlay) -> Bool {
    guard case .nic(let index)? = overlay.devices[device]?.kind else { return false }
    return withNICs { nics in nics[index]?.mode.isXDP ?? false && nics[index]?.nic.handsTagsBeside ?? false }
  }

  /// Makes a new TAP device and gives every worker a queue of it, at the index that the overlay has for it.
  func openTAP(_ name: String, at device: Int, _ overlay: Overlay) throws {
    var queues = try factory.makeTAP(name)
    hand(overlay, at: device) { _ in .tap(Box(queues.removeLast())) }
  }

  /// Opens a NIC in the best mode that works and gives every worker its share of the queues.
  ///
  /// - Parameter port: the first local port on it, which the overlay does not have yet.
  /// - Returns: the NIC's index here.
  func openNIC(_ nic: NIC, _ port: Configuration.LocalPort, at device: Int, _ overlay: Overlay) throws -> Int {
    guard nic.link.mtu <= Plan.largestMTU(chunk: factory.chunkSize) else {
      throw ChangeError.invalid(
        "\(nic.name): its MTU \(nic.link.mtu) does not fit the packet memory's chunks of \(factory.chunkSize) bytes; "
          + "lower it to \(Plan.largestMTU(chunk: factory.chunkSize)), or start vxgw with this NIC")
    }
    var failures: [String] = []
    let needsRaw = plan.configuration.io == .auto && nic.handsTagsBeside && port.vlan != .untagged
    for mode in plan.modes where !mode.isXDP || factory.hasXDP && !needsRaw {
      // See `build`: a queue stays taken for a moment after its last socket was closed.
      var patience = 50
      while true {
        do { return try open(nic, mode, port, at: device, overlay) } catch let failure as NICFailure {
          if failure.isFinal && failure.isBinding && patience > 0 {
            patience -= 1
            Tick.pause(microseconds: 20_000)
            continue
          }
          failures.append(failure.message)
          if failure.isFinal { throw ChangeError.invalid(failures.joined(separator: "; ")) }
          break
        }
      }
    }
    throw ChangeError.invalid(failures.joined(separator: "; "))
  }

  private func open(_ nic: NIC, _ mode: NICMode, _ port: Configuration.LocalPort, at device: Int, _ overlay: Overlay) throws -> Int {
    let index = withNICs { nics in
      for index in 0..<nics.count where nics[index] == nil { return index }
      return nics.count
    }
    if mode.isXDP && nic.queues < plan.workers {
      throw NICFailure(
        nic: index,
        message: "\(nic.name) has \(nic.queues) queues for \(plan.workers) workers; give it more (ethtool -L \(nic.name) combined)",
        isFinal: false)
    }
    let role = NICRole(lan: .init(mac: nic.link.mac, vlans: port.vlan.set))
    var attached = try AttachedNIC(
      nic, index: index, role: role, mode: mode, superFrames: factory.takesSuperFrames, fastPath: fastPath?.settings(of: device))
    var ports = Slots<Port>(capacity: plan.workers)
    for number in (0..<plan.workers).reversed() { ports.append(try factory.makePort(index, number, isFirst: false, &attached)) }
    hand(overlay, at: device) { _ in ports.removeLast() }
    keep(attached, at: index)
    if mode == .native { try fastPath?.add(device, nic) }
    return index
  }

  private func keep(_ nic: consuming AttachedNIC, at index: Int) {
    var nic: AttachedNIC? = nic
    withNICs { nics in
      if index == nics.count { nics.append(nil) }
      nics[index] = nic.take()
    }
  }

  /// Gives every worker a port at the index.
  private func hand(_ overlay: Overlay, at device: Int, _ port: (Int) -> Port) {
    for (number, control) in controls.enumerated() {
      var opened = Slots<WorkerChange.OpenedPort>(capacity: 1)
      opened.append(.init(index: device, port: port(number)))
      control.ask(for: WorkerChange(topology: overlay.topology(), opened: opened))
    }
    for control in controls { control.awaitChange() }
  }

  /// Closes a device that no local port of the overlay uses: first its program, so that no more frames come, then the workers'
  /// sockets, then what was changed on the NIC is undone. Returns what could not be.
  func close(_ device: Int, nic index: Int?, _ overlay: Overlay) -> String? {
    if let index { withNICs { nics in nics[index]?.detach() } }
    do { try fastPath?.remove(device) } catch { fastPath?.fail(error, log) }
    for control in controls { control.ask(for: WorkerChange(topology: overlay.topology(), closed: [device])) }
    for control in controls { control.awaitChange() }
    guard let index else { return nil }
    return withNICs { nics in
      defer { nics[index] = nil }
      do { try nics[index]?.restore() } catch { return "\(error)" }
      return nil
    }
  }
}

extension Plan {
  /// Which of a NIC's frames are ours, as the overlay has it.
  func role(of nic: NIC, _ overlay: Overlay, addresses: [IPAddress]) -> NICRole {
    let vlans = overlay.ends.compactMap { $0?.port }.filter { $0.name == nic.name }.reduce(VLANSet.nothing) { $0.union($1.vlan.set) }
    let lan = NICRole.LAN(mac: nic.link.mac, vlans: vlans)
    guard nic.name == underlay.name else { return NICRole(lan: lan) }
    // With no VLAN yet, so that some can come.
    return NICRole(underlay: .init(port: configuration.destinationPort, addresses: addresses, vlan: underlayVLAN), lan: lan)
  }
}

extension Configuration.LocalPort.VLANRule {
  /// An untagged port gets tagged frames as well, to drop and to count them.
  var set: VLANSet {
    switch self {
    case .untagged, .trunk: .everything
    case .tagged(let id, _): VLANSet([id])
    }
  }
}
