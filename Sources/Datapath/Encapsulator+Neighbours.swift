import PacketIO
import Wire

// ARP and neighbour discovery from local ports: answered here if the segment asks for it.

extension Encapsulator {
  /// Answers a request, or keeps it out of the tunnel. False: the frame goes on as any other.
  ///
  /// With `proxy` the tunnel sees no ARP at all and no solicitation, as with the kernel's vxlan device (arp_reduce and
  /// neigh_reduce in drivers/net/vxlan/vxlan_core.c). With `suppress` what is known is answered and the rest goes on, as with
  /// the bridge (net/bridge/br_arp_nd_proxy.c); but gratuitous messages go on, since there may be nobody else to tell VTEPs of
  /// a move. Unlike there, tagged frames are looked into as well.
  ///
  /// - Parameter position: of the frame in `frames`.
  @inline(never)
  mutating func answerNeighbour(
    _ frame: Frame, _ position: Int, _ now: Tick, _ forwarding: borrowing Forwarding, _ topology: borrowing Topology,
    _ egress: inout Egress
  ) -> Bool {
    let classified = frames[position]
    let segment = topology.segments[Int(classified.segment)]
    let isProxy = segment.options.contains(.proxy)
    guard let message = NeighbourMessage(egress.umem.bytes(frame)) else {
      guard isProxy, FrameHeaders(egress.umem.bytes(frame), key: 0).etherType == EtherType.arp else { return false }
      keepLocal(frame, classified, segment, topology, &egress)
      return true
    }
    let index = Int(classified.segment)
    if !isProxy { egress.snoop(frame, index, at: .port(Int(classified.local)), forwarding) }
    guard message.kind != .advertisement else { return false }
    guard isProxy || message.kind != .arpReply && !message.isUnicast && !message.isProbe && !message.isGratuitous else { return false }

    let isRequest = message.kind != .arpReply && !message.target.isMartianSource
    guard isRequest, let binding = forwarding.neighbours.lookUp(index, message.target) else {
      guard isProxy else { return false }
      if isRequest && segment.options.contains(.reportsL3Miss) {
        egress.events.postMiss(Event(.l3Miss, segment: index, address: message.target), tick: now.seconds)
      }
      keepLocal(frame, classified, segment, topology, &egress)
      return true
    }
    let place = forwarding.fdb.lookUp(fdbKey(index, binding.mac))?.destination
    guard isProxy || place != nil else { return false }
    // A host on another local port answers for itself.
    if let place, place.isPort {
      keepLocal(frame, classified, segment, topology, &egress)
    } else {
      reply(frame, message, binding, topology.localPorts[Int(classified.local)], &egress)
    }
    return true
  }

  /// To the segment's other local ports, if there are any, but to no VTEP.
  private func keepLocal(
    _ frame: Frame, _ classified: Classified, _ segment: Topology.SegmentRecord, _ topology: borrowing Topology, _ egress: inout Egress
  ) {
    if segment.localPorts.count <= 1 { return egress.drop(frame, .neighbourSuppressed) }
    egress.deliver(frame, toAll: segment, but: Int(classified.local), topology)
  }

  /// Turns the request into its answer and sends it back.
  private func reply(
    _ frame: Frame, _ message: NeighbourMessage, _ binding: NeighbourTable.Binding, _ local: Topology.LocalPortRecord,
    _ egress: inout Egress
  ) {
    var answer = frame
    answer.length = UInt16(max(Int(frame.length), min(NeighbourMessage.maximumReplyLength, egress.umem.room(frame))))
    guard Int(answer.length) >= NeighbourMessage.maximumReplyLength else { return egress.drop(frame, .neighbourSuppressed) }
    var bytes = egress.umem.mutableBytes(answer)
    guard let length = message.writeReply(in: &bytes, mac: binding.mac, isRouter: binding.isRouter) else {
      return egress.drop(frame, .neighbourSuppressed)
    }
    answer.length = UInt16(length)
    answer.checksumIsComplete = true
    egress.count(.neighboursAnswered)
    egress.deliver(answer, to: local)
  }
}
