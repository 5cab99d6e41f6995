import TestSupport
import Testing
import Wire
@testable import Control

/// Options by what they exclude: one of each row, or none, may be taken together with those of other rows.
private let choices: [[String]] = [
  ["--preset kernel", "--preset flannel", "--preset cilium"],
  [
    "--vni 4100", "--vni 1 --tap t", "--map 4100=eth1:100 --map 4100=tap:t --map 7=eth2:trunk", "--map 10-19=eth1:s100-109 --vni 5",
    "--vni 1 --lan u:3",
  ],
  ["--dstport 8472", "--dstport 4789"], ["--srcport 1000-2000", "--srcport 49152-65535"],
  ["--ttl 7", "--ttl inherit", "--ttl auto"], ["--tos 8", "--tos inherit"], ["--df set", "--df inherit"],
  ["--verify-udpcsum", "--no-verify-udpcsum"], ["--reserved-bits strict", "--reserved-bits 0x1", "--reserved-bits ignore"],
  ["--inner-vlan keep", "--inner-vlan drop"], ["--mtu 1400"], ["--mss-clamp off", "--mss-clamp 1300", "--mss-clamp auto"],
  ["--no-learning", "--learning"], ["--ageing 0"], ["--max-fdb 7"], ["--vteps listed", "--vteps any"], ["--proxy", "--suppress"],
  ["--l2miss"], ["--l3miss"], ["--io raw", "--io xdp --zero-copy on", "--fastpath off"], ["--workers 2"], ["--cpus 0,2-4"], ["--batch 32"],
  ["--ring 4096"],
  ["--frames 65536"], ["--frame-size 4096"], ["--poll busy"], ["--socket /run/a'b\"c\\d:#é.sock", "--socket -x"], ["--log-level debug"],
]
private let ipv4 = [
  ["--local 192.0.2.1"], ["--remote 192.0.2.2,192.0.2.3"], ["--group 239.1.1.1"], ["--udpcsum on", "--udpcsum off"],
  ["--udpcsum 192.0.2.9=on --udpcsum 192.0.2.2=off"],
]
private let ipv6 = [
  ["--remote 2001:db8::2,2001:db8::3"], ["--group ff05::1"], ["--flowlabel 5", "--flowlabel hash", "--flowlabel inherit"],
  ["--udp6zerocsum none", "--udp6zerocsum tx,rx", "--udp6zerocsum rx"], ["--udpcsum 2001:db8::9=on --udpcsum on"],
]

@Test("what is printed is read as an equal configuration", arguments: 0..<150 as Range<UInt64>)
func roundTrip(_ seed: UInt64) throws {
  var random = Seeded(seed)
  let isIPv4 = Bool.random(using: &random)
  var line = isIPv4 ? "--iface u:50" : "--iface u --local 2001:db8::1"
  for row in choices + (isIPv4 ? ipv4 : ipv6) where row == choices[1] || Bool.random(using: &random) {
    line += " " + row.randomElement(using: &random)!
  }
  let original = try configuration(line.replacing(" --socket -x", with: " --socket=-x"))
  let file = try ConfigurationFile(text: original.yaml, name: "vxgw.yaml")
  let copy = try Configuration([:], file: file)
  #expect(copy == original, "\(line)\n\(original.yaml)")
  #expect(copy.yaml == original.yaml)
}

@Test("what is a default is a comment, also if a preset makes it one")
func printed() throws {
  let text = try configuration(
    "--iface ens192:50 --preset windows --map 4100=eth1:100 --map 4100=tap:t --remote 192.0.2.2 --ageing 0 --learning --group 239.1.1.1"
  ).yaml
  #expect(
    text == """
      iface: "ens192:50"
      preset: windows
      vnis:
        - vni: 4100
          ports: ["eth1:100", "tap:t"]
          remotes: [192.0.2.2]
          group: 239.1.1.1
      # local: the primary address of ens192
      # dstport: 4789
      # srcport: 49152-65535
      # ttl: auto
      # tos: 0
      # df: unset
      # flowlabel: 0
      # udpcsum: auto
      # udp6zerocsum: rx
      # verify-udpcsum: off
      # reserved-bits: ignore
      # inner-vlan: drop
      # mtu: what fits through ens192
      # mss-clamp: auto
      learning: on
      ageing: 0
      # max-fdb: 1048576
      # vteps: any
      # proxy: off
      # suppress: off
      # l2miss: off
      # l3miss: off
      # io: auto
      # zero-copy: auto
      # fastpath: auto
      # workers: one per queue pair
      # cpus: any
      # batch: 64
      # ring: 2048
      # frames: what the rings need
      # frame-size: what the MTU needs
      # poll: adaptive
      # socket: /run/vxgw/ens192.sock
      # log-level: info
      """)
}
