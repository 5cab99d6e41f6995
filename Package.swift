// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableExperimentalFeature("Lifetimes"),
]

// The Swift runtime goes into the executable, so that the release binary can be copied alone (`make build`
// passes --static-swift-stdlib). libbpf and libxdp stay shared: the distribution fixes them.
let package = Package(
  name: "vxgw",
  products: [
    .executable(name: "vxgw", targets: ["vxgw"]),
    // For Benchmarks/, which is a package of its own.
    .library(name: "Datapath", targets: ["Datapath", "PacketIO", "Wire"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    .target(name: "CLinux", linkerSettings: [.linkedLibrary("xdp"), .linkedLibrary("bpf")]),
    .target(name: "Wire", swiftSettings: settings),
    .target(
      name: "PacketIO",
      dependencies: ["CLinux", "Wire", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: settings, plugins: ["EmbedBPF"]),
    .target(name: "Datapath", dependencies: ["PacketIO", "Wire"], swiftSettings: settings),
    .target(
      name: "Control",
      dependencies: [
        "CLinux", "Wire", "PacketIO", "Datapath", "Yams",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    .executableTarget(
      name: "vxgw",
      dependencies: ["Control", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: settings),
    .plugin(name: "EmbedBPF", capability: .buildTool()),

    .target(
      name: "TestSupport", dependencies: ["CLinux", "Wire", "PacketIO", "Datapath"], path: "Tests/TestSupport",
      swiftSettings: settings),
    .testTarget(name: "WireTests", dependencies: ["Wire", "TestSupport"], swiftSettings: settings),
    .testTarget(name: "PacketIOTests", dependencies: ["CLinux", "PacketIO", "TestSupport"], swiftSettings: settings),
    .testTarget(name: "DatapathTests", dependencies: ["CLinux", "Datapath", "PacketIO", "TestSupport"], swiftSettings: settings),
    .testTarget(
      name: "ControlTests",
      dependencies: ["CLinux", "Control", "TestSupport", "vxgw", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: settings),
    .testTarget(name: "BPFTests", dependencies: ["CLinux", "PacketIO", "TestSupport"], swiftSettings: settings),
  ]
)
