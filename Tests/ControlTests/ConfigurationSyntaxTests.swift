import Testing
import Wire
@testable import Control

@Test(
  "a port is written as it is read",
  arguments: [
    ("eth1", Configuration.LocalPort(.nic("eth1"))), ("eth1:100", .init(.nic("eth1"), .tagged(id: 100, service: false))),
    ("eth1:s4094", .init(.nic("eth1"), .tagged(id: 4094, service: true))), ("eth1:trunk", .init(.nic("eth1"), .trunk)),
    ("tap:vxgw1", .init(.tap("vxgw1"))), ("tap", .init(.nic("tap"))), ("s1:s1", .init(.nic("s1"), .tagged(id: 1, service: true))),
  ])
func portText(_ text: String, _ port: Configuration.LocalPort) throws {
  #expect(try Configuration.LocalPort(parsing: text) == port)
  #expect(Configuration.LocalPort(text) == port)
  #expect(port.description == text)
}

@Test(
  "what is no port has a reason", arguments: ["", "eth1:", "eth1:4095", "eth1:1-2", "tap:", "tap:a:1", "a/b", "eth1:trunk:1", "eth1:+1"])
func wrongPort(_ text: String) {
  #expect(throws: Mistake.self) { try Configuration.LocalPort(parsing: text) }
  #expect(Configuration.LocalPort(text) == nil)
}

@Test(
  "mappings of VNIs to ports",
  arguments: [
    ("1=eth1", ["1=eth1"]), ("10-12=eth1:1-3", ["10=eth1:1", "11=eth1:2", "12=eth1:3"]), ("7-7=tap:a", ["7=tap:a"]),
    ("16777215=e:s1-1", ["16777215=e:s1"]),
  ])
func mappings(_ text: String, _ expected: [String]) throws {
  #expect(try Configuration.mappings(text).map { "\($0.vni)=\($0.port)" } == expected)
}

@Test(
  "addresses of VTEPs and of groups",
  arguments: [
    ("192.0.2.1", true, false), ("2001:db8::1", true, false), ("239.1.1.1", false, true), ("ff05::1", false, true),
    ("0.0.0.0", false, false), ("::1", false, false), ("240.0.0.1", false, false), ("host", false, false), ("192.0.2.1/24", false, false),
  ])
func addresses(_ text: String, _ isVTEP: Bool, _ isGroup: Bool) {
  #expect((try? Configuration.vtepAddress(text)) == (isVTEP ? IPAddress(text) : nil))
  #expect((try? Configuration.groupAddress(text)) == (isGroup ? IPAddress(text) : nil))
}
