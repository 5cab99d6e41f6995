/// What others do by default, as defaults of vxgw. Whatever the operator gives comes first.
public enum Preset: String, CaseIterable, Sendable {
  case kernel, flannel, windows, cilium

  /// The settings, as on the command line: the one table of presets. `docs/presets.md` has the reasons.
  var settings: [(setting: Setting, text: String)] {
    switch self {
    case .kernel:
      // Attributes left out in RTM_NEWLINK (drivers/net/vxlan/vxlan_core.c); ports from net.ipv4.ip_local_port_range.
      [
        (.dstport, "8472"), (.srcport, "32768-60999"), (.udpcsum, "on"), (.verifyUDPChecksum, "on"), (.udp6zerocsum, "none"),
        (.reservedBits, "strict"), (.innerVLAN, "keep"), (.mssClamp, "off"), (.vteps, "any"),
      ]
    case .flannel:
      // pkg/backend/vxlan of flannel: a kernel device whose entries flanneld makes.
      [(.vni, "1")] + Preset.kernel.settings + [(.learning, "off")]
    case .windows:
      // flannel's Documentation/backends.md: the port must be 4789.
      [(.vni, "4096"), (.dstport, "4789"), (.learning, "off")]
    case .cilium:
      // Cilium's Documentation/network/vtep.rst: the VNI is the sender's identity, an external VTEP's is 2, "world".
      [(.vni, "2"), (.dstport, "8472")]
    }
  }

  /// VNIs that can be used there, and why.
  var vniRule: (range: ClosedRange<UInt32>, reason: String)? {
    switch self {
    case .windows: (4096...0xff_ffff, "Windows takes VNIs from 4096 on")
    case .kernel, .flannel, .cilium: nil
    }
  }

  /// All presets, each with its settings as options, in lines of at most 79 columns.
  public static var manual: String {
    allCases.map { preset in
      var lines = ["  \(preset.rawValue)", "   "]
      for (setting, text) in preset.settings {
        let option = setting.isFlag ? "--\(text == "on" ? "" : "no-")\(setting.rawValue)" : "--\(setting.rawValue) \(text)"
        if lines[lines.count - 1].count + option.count > 78 { lines.append("   ") }
        lines[lines.count - 1] += " \(option)"
      }
      return lines.joined(separator: "\n")
    }.joined(separator: "\n")
  }
}
