extension Plan {
  /// What the kernel makes of the configuration, for `--check`: the VTEP's address, each NIC, the workers, what to mind.
  var summary: String {
    var lines = ["VTEP \(local) on \(underlay.name), \(workers) worker\(workers == 1 ? "" : "s")"]
    for (index, nic) in nics.enumerated() {
      let obstacle = configuration.io == .raw ? nil : obstacleToXDP(nic)
      lines.append(
        "\(index == 0 ? "underlay" : "lan") \(nic.name): \(nic.driver ?? "unknown driver"), MTU \(nic.link.mtu), \(nic.queues) queue"
          + (nic.queues == 1 ? "" : "s") + (obstacle.map { "; raw sockets, since \($0)" } ?? ""))
    }
    return (lines + warnings.map { "warning: \($0)" }).joined(separator: "\n")
  }
}
