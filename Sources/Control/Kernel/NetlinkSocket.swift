import CLinux
import PacketIO
import Synchronization
import SystemPackage

/// A socket to the kernel's routing, link and neighbour tables (rtnetlink(7)) of the network namespace in which it was
/// opened. Every call blocks until the kernel has answered, which needs no other party. One thread uses it.
public struct NetlinkSocket: ~Copyable {
  let descriptor: OwnedDescriptor
  /// Of the last request. Answers to earlier ones, left over after an error, are skipped.
  private let lastSequence = Atomic<UInt32>(0)

  /// - Throws: `SystemError` of socket(2), setsockopt(2), bind(2) or connect(2).
  public init() throws(SystemError) { try self.init(groups: []) }

  /// A socket that also receives the notifications of `groups`, and then never blocks; or one of another protocol.
  init(groups: [rtnetlink_groups] = [], protocol number: Int32 = NETLINK_ROUTE) throws(SystemError) {
    let nonBlocking = groups.isEmpty ? 0 : SOCK_NONBLOCK.rawValue
    let descriptor = OwnedDescriptor(
      try systemCall("opening a netlink socket") {
        socket(AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | nonBlocking), number)
      })
    // Errors come with the kernel's words and without a copy of the request, and the kernel filters dumps itself.
    for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
      try descriptor.set(SOL_NETLINK, option, to: Int32(1), "setting netlink socket option \(option)")
    }
    let groupSet = groups.reduce(UInt32(0)) { $0 | 1 << ($1.rawValue - 1) }
    try systemCall("binding a netlink socket") { vxgw_bind_netlink(descriptor.number, groupSet) }
    // Connected to the kernel, the socket refuses what other processes send to it.
    try systemCall("connecting a netlink socket") { vxgw_connect_netlink(descriptor.number) }
    self.descriptor = descriptor
  }

  /// The next datagram. Blocks, or throws `Errno.resourceTemporarilyUnavailable`, when there is none.
  func receive(_ call: @autoclosure () -> String) throws(SystemError) -> [UInt8] {
    // The kernel makes dumps of at most 32 KiB (netlink_dump), and single messages smaller than that.
    let capacity = 65536
    var datagram = [UInt8](repeating: 0, count: capacity)
    let length = try Int(systemCall(call()) { unsafe Int32(recv(descriptor.number, &datagram, capacity, Int32(MSG_TRUNC))) })
    guard length <= capacity else { throw SystemError(call(), errno: .messageTooLong) }
    datagram.removeLast(capacity - length)
    return datagram
  }

  /// Sends the request and returns the messages that answer it, without the final acknowledgement.
  /// - Parameter call: the operation and its subject, for the error.
  /// - Throws: what the kernel answered, with its explanation if it gave one.
  func request(_ request: NetlinkRequest, _ call: @autoclosure () -> String) throws(SystemError) -> [NetlinkMessage] {
    for _ in 0..<10 {
      let answer = try attempt(request, call())
      if answer.isConsistent { return answer.messages }
    }
    throw SystemError("\(call()): the table changed during every attempt to read it", errno: .interrupted)
  }

  /// One round of `request`. A table that changed while it was dumped makes an inconsistent answer (NLM_F_DUMP_INTR).
  private func attempt(
    _ request: NetlinkRequest, _ call: @autoclosure () -> String
  ) throws(SystemError) -> (messages: [NetlinkMessage], isConsistent: Bool) {
    let sequence = lastSequence.add(1, ordering: .relaxed).newValue
    let bytes = request.bytes(sequence: sequence)
    try systemCall(call()) { unsafe Int32(send(descriptor.number, bytes, bytes.count, 0)) }
    var messages: [NetlinkMessage] = []
    var isConsistent = true
    while true {
      for message in NetlinkMessage.parse(try receive(call())) where message.sequence == sequence {
        if message.flags & NLM_F_DUMP_INTR != 0 { isConsistent = false }
        switch Int32(message.type) {
        case NLMSG_ERROR: try message.checkAcknowledgement(call(), attributesAt: MemoryLayout<nlmsgerr>.size)
        case NLMSG_DONE: try message.checkAcknowledgement(call(), attributesAt: MemoryLayout<Int32>.size)
        default:
          messages.append(message)
          continue
        }
        return (messages, isConsistent)
      }
    }
  }
}

extension NetlinkMessage {
  /// Throws the error that the message (NLMSG_ERROR or NLMSG_DONE) reports; returns if it reports success.
  fileprivate func checkAcknowledgement(_ call: String, attributesAt offset: Int) throws(SystemError) {
    let number = payload.load(Int32.self) ?? -EBADMSG
    if number == 0 { return }
    var call = call
    if flags & NLM_F_ACK_TLVS != 0, let text = NetlinkAttributes(payload.dropFirst(offset))[NLMSGERR_ATTR_MSG.rawValue]?.text {
      call += " (\(text))"
    }
    throw SystemError(call, errno: Errno(rawValue: -number))
  }
}
