// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "vxgw-benchmarks",
  dependencies: [.package(name: "vxgw", path: "..")],
  targets: [
    .executableTarget(
      name: "vxgw-bench",
      dependencies: [.product(name: "Datapath", package: "vxgw")],
      swiftSettings: [
        .swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error), .enableExperimentalFeature("Lifetimes"),
      ])
  ]
)
