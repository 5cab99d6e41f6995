import PacketIO

/// Why the gateway does not run: what failed, on what, why, and what to do about it, as one line for the operator.
public struct GatewayError: Error, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }

  /// - Parameters:
  ///   - subject: interface or address.
  ///   - advice: what to do, a sentence.
  init(_ subject: String, _ error: SystemError, _ advice: String? = nil) {
    description = "\(subject): \(error)" + (advice.map { ". " + $0 } ?? "")
  }
}
