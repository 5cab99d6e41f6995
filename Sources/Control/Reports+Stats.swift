extension Report {
  /// Where all frames went: in + replicated = out + drops + waiting.
  public struct Stats: Codable, Sendable, Equatable {
    public struct Drop: Codable, Sendable, Equatable {
      /// `DropReason.name` and `DropReason.sentence`.
      public var reason: String
      public var count: UInt64
      public var sentence: String

      public init(reason: String, count: UInt64, sentence: String) {
        self.reason = reason
        self.count = count
        self.sentence = sentence
      }
    }

    /// Chunks of packet memory: total = pool + held + waiting.
    public struct Frames: Codable, Sendable, Equatable {
      public var total: Int
      public var pool: Int
      /// In kernel rings.
      public var held: Int
      public var waiting: Int
      public var balanced: Bool

      public init(total: Int, pool: Int, held: Int, waiting: Int, balanced: Bool) {
        self.total = total
        self.pool = pool
        self.held = held
        self.waiting = waiting
        self.balanced = balanced
      }
    }

    public struct Worker: Codable, Sendable, Equatable {
      public var worker: Int
      /// Nil: not bound.
      public var cpu: Int?
      public var `in`: UInt64
      public var out: UInt64
      public var drops: UInt64
      /// Rounds of the loop, those that found nothing, and times that it slept.
      public var rounds: UInt64
      public var empty: UInt64
      public var sleeps: UInt64

      public init(
        worker: Int, cpu: Int? = nil, in: UInt64, out: UInt64, drops: UInt64, rounds: UInt64, empty: UInt64, sleeps: UInt64
      ) {
        self.worker = worker
        self.cpu = cpu
        self.in = `in`
        self.out = out
        self.drops = drops
        self.rounds = rounds
        self.empty = empty
        self.sleeps = sleeps
      }
    }

    public var `in`: UInt64
    public var out: UInt64
    /// Copies made of frames that go to several places.
    public var replicated: UInt64
    /// Frames that wait for a VTEP's next hop to answer.
    public var waiting: UInt64
    /// Reasons that occurred.
    public var drops: [Drop]
    public var balanced: Bool
    public var frames: Frames
    public var workers: [Worker]
    /// Part of `in`: frames that the XDP programs took by themselves. All that are not in `out` are among the drops.
    public var fastpath: UInt64

    public init(
      in: UInt64, out: UInt64, replicated: UInt64, waiting: UInt64, drops: [Drop], balanced: Bool, frames: Frames,
      workers: [Worker], fastpath: UInt64 = 0
    ) {
      self.in = `in`
      self.out = out
      self.replicated = replicated
      self.waiting = waiting
      self.drops = drops
      self.balanced = balanced
      self.frames = frames
      self.workers = workers
      self.fastpath = fastpath
    }
  }
}
