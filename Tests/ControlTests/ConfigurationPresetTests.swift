import Foundation
import Testing
@testable import Control

@Test(
  "presets are defaults",
  arguments: [
    (
      "--preset kernel --vni 7",
      "--vni 7 --dstport 8472 --srcport 32768-60999 --udpcsum on --verify-udpcsum --reserved-bits strict --inner-vlan keep "
        + "--mss-clamp off --vteps any"
    ),
    ("--preset flannel", "--preset kernel --vni 1 --no-learning"), ("--preset windows", "--vni 4096 --no-learning"),
    ("--preset cilium", "--vni 2 --dstport 8472"), ("--preset cilium --map 5=e", "--map 5=e --dstport 8472"),
    ("--preset flannel --vni 9 --dstport 4789 --learning", "--preset kernel --vni 9 --dstport 4789"),
    ("--preset flannel --lan e", "--preset kernel --vni 1 --lan e --no-learning"),
    ("--preset kernel --vni 1 --remote 192.0.2.2 --vteps listed", "--preset kernel --vni 1 --remote 192.0.2.2"),
  ])
func presets(_ line: String, _ expected: String) throws {
  var left = try configuration("--iface u " + line)
  var right = try configuration("--iface u " + expected)
  // The only one that differs if the line says all that the preset does.
  left.udp6ZeroChecksum = right.udp6ZeroChecksum
  right.preset = left.preset
  if line.contains("listed") { right.vteps = .listed }
  #expect(left == right)
}

@Test("what presets say is right", arguments: Preset.allCases)
func presetSettings(_ preset: Preset) throws {
  #expect(throws: Never.self) { try configuration("--iface u --vni 5000 --preset \(preset.rawValue)") }
  #expect(throws: Never.self) { try configuration("--iface u --local 2001:db8::1 --vni 5000 --preset \(preset.rawValue)") }
  let settings = preset.settings.map(\.setting)
  #expect(Set(settings).count == settings.count)
}

@Test("the documentation has the presets as they are")
func documentation() throws {
  let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  let text = try String(contentsOf: root.appending(path: "docs/presets.md"), encoding: .utf8)
  #expect(text.contains(Preset.manual))
}
