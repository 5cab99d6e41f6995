import Foundation
import PackagePlugin

/// Compiles `bpf/vxgw.bpf.c` with the Swift toolchain's own clang (it has the BPF target) and writes the object as
/// a hexadecimal string literal into a generated Swift file: one self-contained binary, no object file to install.
@main
struct EmbedBPF: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
    let sources = context.package.directoryURL.appending(path: "bpf")
    let source = sources.appending(path: "vxgw.bpf.c")
    let headers = try FileManager.default.contentsOfDirectory(at: sources, includingPropertiesForKeys: nil)
      .filter { $0.pathExtension == "h" }
    let object = context.pluginWorkDirectoryURL.appending(path: "vxgw.bpf.o")
    let swift = context.pluginWorkDirectoryURL.appending(path: "XDPObject.swift")
    // `$1` clang, `$2` source, `$3` object, `$4` Swift. The BPF target has no multiarch include path of its own.
    let script = #"""
      set -eu
      "$1" -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v3 -idirafter "/usr/include/$(uname -m)-linux-gnu" -c "$2" -o "$3"
      {
        printf '/// `bpf/vxgw.bpf.c`, compiled, as hexadecimal digits.\nlet xdpObjectDigits: StaticString = "'
        od -An -v -tx1 "$3" | tr -d ' \n'
        printf '"\n'
      } > "$4"
      """#
    return [
      .buildCommand(
        displayName: "Compiling vxgw.bpf.c",
        executable: URL(fileURLWithPath: "/bin/sh"),
        arguments: [
          "-c", script, "sh", try context.tool(named: "clang").url.path, source.path, object.path, swift.path,
        ],
        inputFiles: [source] + headers,
        outputFiles: [swift])
    ]
  }
}
