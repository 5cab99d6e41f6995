import Testing
@testable import Control

@Test(
  "edit distance",
  arguments: [
    ("", "", 0), ("", "abc", 3), ("abc", "", 3), ("xdp", "xdp", 0), ("xpd", "xdp", 1), ("buzy", "busy", 1),
    ("interupt", "interrupt", 1), ("kitten", "sitting", 3), ("ca", "abc", 3),
  ])
func distance(_ left: String, _ right: String, _ expected: Int) {
  #expect(editDistance(left, right) == expected)
  #expect(editDistance(right, left) == expected)
}

@Test(
  "nearest word",
  arguments: [
    ("XDP", "xdp"), ("xdpskb", "xdp-skb"), ("rwa", "raw"), ("zzz", nil), ("", nil),
  ] as [(String, String?)])
func nearest(_ word: String, _ expected: String?) {
  #expect(nearestWord(to: word, among: ["auto", "xdp", "xdp-skb", "raw"]) == expected)
}
