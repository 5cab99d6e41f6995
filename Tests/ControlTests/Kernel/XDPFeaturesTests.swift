import TestSupport
import Testing

@testable import Control

@Suite("XDP features")
struct XDPFeaturesTests {
  @Test("A veth takes frames while its peer has GRO, and has no zero-copy", arguments: ["off", "on"])
  func veth(gro: String) throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("near", peer: "far")
    try namespace.execute("ethtool", "-K", "far", "gro", gro)
    try namespace.run {
      let features = try XDPFeatures()
      #expect(try features.takesFrames(interfaceIndex("near")) == (gro == "on"))
      #expect(try !features.hasZeroCopy(interfaceIndex("near")))
    }
  }
}
