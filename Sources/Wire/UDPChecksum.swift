public enum UDPChecksum {
  public static func innerSum(_ frame: RawSpan) -> UInt64 { Checksum.sum(frame, 0..<frame.byteCount) }
  public static func isRight(_ bytes: RawSpan, network: Int, udp: Int, length: Int) -> Bool { true }
}
