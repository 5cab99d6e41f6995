import PacketIO
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Datapath

/// The table of remote VTEPs, in one thread and in several.
@Suite struct VTEPTableTests {
  static func address(_ number: Int) -> IPAddress { IPAddress(v4: 0xc612_0000 | UInt32(number)) }

  static func header(_ number: UInt64, mtu: UInt16 = 1500) -> OuterHeader {
    OuterHeader(
      nextHop: MACAddress(number &* 0x0101_0101_0101), sourceMAC: MACAddress(number &* 0x0101_0101_0101),
      source: IPAddress(v4: UInt32(number) &* 0x0101_0101), destination: IPAddress(v4: UInt32(number) &* 0x0101_0101),
      ttl: UInt8(number), destinationPort: UInt16(number) &* 0x0101, mtu: mtu)
  }

  @Test func findsWhatWasAdded() throws {
    let table = try VTEPTable()
    var indexes: [IPAddress: Int] = [:]
    for number in 0..<5000 {
      let address = number % 2 == 0 ? Self.address(number) : IPAddress(high: 0x2001_0db8_0000_0000, low: UInt64(number))
      let before = table.index(of: Remote(address))
      let added = table.add(Remote(address))
      let again = table.add(Remote(address))
      #expect(before == nil && added?.isNew == true && again?.isNew == false && added?.index == again?.index)
      indexes[address] = added?.index
    }
    #expect(Set(indexes.values).count == 5000 && table.count == 5000)
    #expect(Set(table.indexes) == Set(indexes.values))
    for (address, index) in indexes {
      let found = table.index(of: Remote(address))
      let kept = table.address(index)
      #expect(found == index && kept == address)
    }
  }

  @Test func refusesWhatDoesNotFit() throws {
    let table = try VTEPTable()
    let limit = VTEPTable.capacity / 4 * 3
    let added = (0..<limit + 100).count { table.add(Remote(Self.address($0))) != nil }
    #expect(added == limit && table.count == limit)
    let (first, last) = (table.add(Remote(Self.address(0))), table.index(of: Remote(Self.address(limit))))
    #expect(first?.isNew == false && last == nil)
  }

  @Test func remembersWhoIsListed() throws {
    let table = try VTEPTable()
    let indexes = (0..<10).compactMap { table.add(Remote(Self.address($0)))?.index }
    for index in indexes.prefix(5) { table.setListed(index) }
    #expect(indexes.map { table.isListed($0) } == [true, true, true, true, true, false, false, false, false, false])
    // Listing leaves the entry findable.
    #expect((0..<10).map { table.index(of: Remote(Self.address($0))) } == indexes)
  }

  @Test func copiesTheHeaderThatWasPublished() throws {
    let table = try VTEPTable()
    let added = table.add(Remote(.remote))
    let index = try #require(added?.index)
    #expect(table.isResolved(index) == false)
    for number in [7, 200] as [UInt64] {
      let header = Self.header(number, mtu: 9000 + UInt16(number))
      table.publish(header, at: index)
      let copied = Self.copy(table, index)
      #expect(copied?.bytes == header.bytes && copied?.info.mtu == Int(header.mtu))
      #expect(copied?.info.partialSum == UInt32(header.partialSum))
    }
    table.publish(nil, at: index)
    #expect(table.isResolved(index) == false)
  }

  /// What the encapsulator would send: nil when the header changed on the way, or there is none.
  static func copy(_ table: borrowing VTEPTable, _ index: Int) -> (bytes: [UInt8], info: VTEPTable.HeaderInfo)? {
    guard let info = table.headerInfo(index) else { return nil }
    var bytes = [UInt8](repeating: 0xaa, count: 50)
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    guard table.writeHeader(index, info, into: &raw) else { return nil }
    return (bytes, info)
  }

  final class Shared: Sendable {
    let table: VTEPTable
    let added = Atomic(0)
    let mixed = Atomic(0)
    let copied = Atomic(0)
    let isOver = Atomic(false)
    init() throws { table = try VTEPTable() }
  }

  /// Threads that add the same addresses: each is added once, and all threads get the same index in the end.
  @Test func addsOnceInManyThreads() throws {
    let shared = try Shared()
    inThreads(4) { thread in
      for number in 0..<4000 {
        // Nil: another thread was just adding something there.
        while true {
          guard let (_, isNew) = shared.table.add(Remote(Self.address(number))) else { continue }
          if isNew { shared.added.add(1, ordering: .relaxed) }
          break
        }
      }
    }
    #expect(shared.added.load(ordering: .relaxed) == 4000 && shared.table.count == 4000)
    let indexes = (0..<4000).map { shared.table.index(of: Remote(Self.address($0))) }
    #expect(Set(indexes).count == 4000 && !indexes.contains(nil))
  }

  /// While one thread publishes, others copy the old header or the new one, never a mix.
  @Test func neverMixesHeaders() throws {
    let shared = try Shared()
    let added = shared.table.add(Remote(.remote))
    let index = try #require(added?.index)
    let headers = (0..<16 as Range<UInt64>).map { Self.header($0 + 1, mtu: UInt16(1400 + $0)) }
    let bytes = headers.map(\.bytes)
    inThreads(4) { thread in
      if thread == 0 {
        // Until the readers have had their turn: on a busy machine they may come late.
        var round = 0
        while round < 20_000 || (shared.copied.load(ordering: .relaxed) < 1000 && round < 1_000_000) {
          shared.table.publish(round % 10 == 9 ? nil : headers[round % 16], at: index)
          round += 1
          if round % 64 == 0 { Tick.pause(microseconds: 1) }
        }
        shared.isOver.store(true, ordering: .relaxed)
      } else {
        while !shared.isOver.load(ordering: .relaxed) {
          guard let (copy, info) = Self.copy(shared.table, index) else { continue }
          shared.copied.add(1, ordering: .relaxed)
          let which = Int(copy[0]) - 1
          if !headers.indices.contains(which) || copy != bytes[which] || info.mtu != 1400 + which
            || info.partialSum != headers[which].partialSum
          {
            shared.mixed.add(1, ordering: .relaxed)
          }
        }
      }
    }
    #expect(shared.mixed.load(ordering: .relaxed) == 0)
    #expect(shared.copied.load(ordering: .relaxed) > 0)
  }
}
