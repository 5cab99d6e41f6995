import PacketIO

/// At most so many of something in a second.
struct RateLimit {
  let perSecond: Int
  private var taken = 0
  private var end = Tick(milliseconds: 0)

  init(perSecond: Int) { self.perSecond = perSecond }

  /// False: enough for this second.
  mutating func take(_ now: Tick) -> Bool {
    if now.milliseconds >= end.milliseconds {
      end = Tick(milliseconds: now.milliseconds + 1000)
      taken = 0
    }
    guard taken < perSecond else { return false }
    taken += 1
    return true
  }
}
