import CLinux
import Datapath
import PacketIO

/// A worker and the thread that it runs on. It ends when its `WorkerControl` says stop; its sockets close when this
/// object goes.
@safe
final class WorkerThread {
  private let box: Box
  private var thread = pthread_t()
  private var isRunning = false

  private final class Box: @unchecked Sendable {
    var worker: Worker
    let polling: Worker.Polling
    init(_ worker: consuming Worker, _ polling: Worker.Polling) {
      self.worker = worker
      self.polling = polling
    }
  }

  init(_ worker: consuming Worker, polling: Worker.Polling) { box = Box(worker, polling) }

  /// - Parameter cpu: the processor that the thread is bound to; nil: any.
  /// - Throws: `SystemError` of pthread_create(3) or pthread_setaffinity_np(3).
  func start(name: String, cpu: Int?) throws(SystemError) {
    let argument = unsafe Unmanaged.passRetained(box).toOpaque()
    let result = unsafe pthread_create(
      &thread, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let box = unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
        box.worker.run(polling: box.polling)
        return nil
      }, argument)
    guard result == 0 else {
      unsafe Unmanaged<Box>.fromOpaque(argument).release()
      throw SystemError("starting \(name)", errno: .init(rawValue: result))
    }
    isRunning = true
    _ = unsafe vxgw_name_thread(thread, name)
    guard let cpu else { return }
    let bound = vxgw_bind_thread(thread, Int32(cpu))
    guard bound == 0 else { throw SystemError("binding \(name) to CPU \(cpu)", errno: .init(rawValue: bound)) }
  }

  /// Waits until the worker has ended.
  func join() {
    if isRunning { pthread_join(thread, nil) }
    isRunning = false
  }
}
