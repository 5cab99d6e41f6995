import CLinux
import PacketIO
import TestSupport
import Testing
import Wire

@testable import PacketIO

@Suite("XDP program, attached")
struct AttachmentTests {
  @Test("attaches, refuses a second, leaves nothing", arguments: [XDPMode.native, .generic])
  func attachment(_ mode: XDPMode) throws {
    let namespace = try NetworkNamespace()
    try namespace.addVeth("here", peer: "there")
    try namespace.run {
      let index = interfaceIndex("here")
      #expect(XDPProgram.current(on: index) == nil)
      do {
        let program = try XDPProgram(
          interfaceIndex: index, interfaceName: "here", role: .lan(mac: .here), queues: 1, mode: mode)
        let current = try #require(XDPProgram.current(on: index))
        #expect(current.name == "vxgw" && current.mode == mode)
        #expect(try namespace.ip("-d", "link", "show", "here").contains("prog/xdp id \(current.id) "))
        let error = #expect(throws: SystemError.self) {
          _ = try XDPProgram(interfaceIndex: index, interfaceName: "here", role: .lan(mac: .here), queues: 1, mode: mode)
        }
        #expect(error?.errno == .resourceBusy)
        #expect(error?.call == "attaching the XDP program (\(mode)) to here")
        #expect(XDPProgram.current(on: index)?.id == current.id)
        #expect(try program.counts().count == XDPVerdict.allCases.count)
      }
      #expect(XDPProgram.current(on: index) == nil)
      #expect(try !namespace.ip("-d", "link", "show", "here").contains("xdp"))
    }
  }

  @Test("frames of the network are counted and still reach the kernel", arguments: [XDPMode.native, .generic])
  func network(_ mode: XDPMode) throws {
    let namespace = try NetworkNamespace()
    let remote = try NetworkNamespace()
    try namespace.ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", remote.name)
    try namespace.ip("address", "add", "192.0.2.1/24", "dev", "here")
    try namespace.ip("link", "set", "here", "up")
    try remote.ip("address", "add", "192.0.2.2/24", "dev", "there")
    try remote.ip("link", "set", "there", "up")
    try namespace.waitForCarrier("here")
    try namespace.run {
      let program = try XDPProgram(
        interfaceIndex: interfaceIndex("here"), interfaceName: "here",
        role: .underlay(port: 4789, addresses: [.local]), queues: 1, mode: mode)
      try remote.execute("ping", "-c", "3", "-i", "0.01", "-W", "2", "192.0.2.1")
      try remote.execute("bash", "-c", "echo >/dev/udp/192.0.2.1/4789")
      let counts = Dictionary(uniqueKeysWithValues: try program.counts().map { ($0.reason, $0.packets) })
      #expect(counts[.notUDP]! >= 3)
      #expect(counts[.notIP]! >= 1, "ARP")
      #expect(counts[.noSocket] == 1)
      #expect(counts[.redirected] == 0)
    }
  }

  @Test("a driver without native XDP is refused, and takes generic")
  func notSupported() throws {
    let namespace = try NetworkNamespace()
    try namespace.run {
      func attach(_ mode: XDPMode) throws -> XDPProgram {
        try XDPProgram(
          interfaceIndex: interfaceIndex("lo"), interfaceName: "lo", role: .lan(mac: .here), queues: 1, mode: mode)
      }
      let error = #expect(throws: SystemError.self) { _ = try attach(.native) }
      #expect(error?.description == "attaching the XDP program (native) to lo: Operation not supported (EOPNOTSUPP)")
      _ = try attach(.generic)
    }
  }

  @Test("a program that doesn't load says why")
  func refused() {
    let error = #expect(throws: SystemError.self) { _ = try BPFObject.load(role: .lan(mac: .here), queues: 0) }
    #expect(error?.errno == .invalidArgument)
    #expect(error?.call.hasPrefix("loading the XDP program (") == true)
    #expect(error?.call.contains("xsks") == true, "libbpf names the map that it could not create")
  }

  @Test("every verdict of the C header has its case and its sentence")
  func verdicts() {
    #expect(XDPVerdict.allCases.count == Int(VXGW_VERDICTS.rawValue))
    #expect(Set(XDPVerdict.allCases.map(\.description)).count == XDPVerdict.allCases.count)
  }

  @Test(
    "the error text has libbpf's reason and the verifier's verdict",
    arguments: [
      ("", ""),
      (
        "libbpf: Error in bpf_object__probe_loading():Operation not permitted(1).\nlibbpf: failed to load object 'vxgw'\n",
        "Error in bpf_object__probe_loading():Operation not permitted(1)."
      ),
      (
        "libbpf: prog 'vxgw': BPF program load failed: Permission denied\nlibbpf: prog 'vxgw': -- BEGIN PROG LOAD LOG --\n"
          + "0: R1=ctx() R10=fp0\ninvalid access to packet\nprocessed 9 insns (limit 1000000)\n-- END PROG LOAD LOG --\n"
          + "libbpf: failed to load object 'vxgw'\n",
        "prog 'vxgw': BPF program load failed: Permission denied: invalid access to packet"
      ),
    ])
  func summary(_ log: String, _ expected: String) {
    #expect(LibbpfLog.summary(of: log) == expected)
  }
}
