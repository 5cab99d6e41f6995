# Building, testing and showing vxgw. `make` alone lists the targets.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps build demo test lint unit hot-path netns test-oracle test-drivers bench clean

SWIFT_BUILD := swift build -c release --static-swift-stdlib --product vxgw
VXGW := .build/release/vxgw
PYTEST := /usr/bin/python3 -B -m pytest -p no:cacheprovider -q

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing (root)
	@scripts/install-deps

build: deps ## the release binary: .build/release/vxgw
	@$(SWIFT_BUILD)

demo: build ## a remote VTEP, a LAN host and a container on one segment, in namespaces (root)
	@scripts/demo $(VXGW)

test: ## format, unit tests, release build, hot path, network tests: what a change has to pass (root)
	@scripts/phase "packages" scripts/install-deps
	@$(MAKE) --no-print-directory lint unit
	@scripts/phase "release build" $(SWIFT_BUILD)
	@$(MAKE) --no-print-directory hot-path netns

lint: ## formatting of the Swift sources
	@scripts/phase "format" swift format lint --strict -r Sources Tests Plugins Package.swift Benchmarks/Sources Benchmarks/Package.swift

unit: ## unit tests, those of shared tables also under the thread sanitizer
	@scripts/phase "unit tests" swift test --no-parallel
	@scripts/phase "thread sanitizer" scripts/test-tsan

hot-path: ## what the release build calls per packet, and its instructions per packet
	@scripts/phase "hot path" scripts/check-hot-path $(VXGW)
	@scripts/phase "hot path, checked itself" scripts/check-hot-path --self-test
	@scripts/phase "instructions per packet" Benchmarks/check

netns: ## the release build against the kernel's vxlan device, in namespaces (root)
	@scripts/phase "network tests" $(PYTEST) Tests/netns

test-oracle: ## the same tests with the kernel in vxgw's place: they test the tests (root)
	@VXGW_DUT=kernel scripts/phase "network tests of the kernel" $(PYTEST) Tests/netns

test-drivers: ## on real NICs, two cables: UNDERLAY=… UNDERLAY_FAR=… LAN=… LAN_FAR=… (root)
	@scripts/test-drivers --vxgw $(VXGW) "$(UNDERLAY)" "$(UNDERLAY_FAR)" "$(LAN)" "$(LAN_FAR)"

bench: build ## how fast it is here: in memory beside C, end to end beside other gateways; writes Benchmarks/RESULTS.md (root)
	@scripts/phase "packages" scripts/install-deps bench
	@scripts/phase "in memory" Benchmarks/run --json Benchmarks/memory.json
	@scripts/phase "end to end" Benchmarks/endtoend/run --json Benchmarks/results.json; status=$$?; \
	  scripts/phase "report" Benchmarks/endtoend/report --memory Benchmarks/memory.json Benchmarks/results.json && exit $$status

clean: ## remove what was built
	rm -rf .build Benchmarks/.build
