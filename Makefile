# Two commands for a fresh Debian or Ubuntu: `make demo` and `make test`. Both install what is missing
# first, and say what. KENNEL_NO_MONGREL2=1 lets them behave as on a system that has no package of Mongrel2.

export CARGO_TERM_COLOR ?= auto
LISTEN ?= 127.0.0.1:6767
FRONT ?= kennel

.PHONY: demo test test-long check bench fuzz asan autobahn needs test-needs clean

## Build, and serve examples/chat on http://127.0.0.1:6767 until ^C. Behind a real Mongrel2: make demo FRONT=mongrel2
demo:
	@FRONT=$(FRONT) scripts/install-missing
	@scripts/build-demo
	@echo
	@echo "Open http://$(LISTEN) in two windows and talk. ^C ends it."
	@echo
	@cd examples/chat && ../../target/demo/kennel dev --front $(FRONT) --listen $(LISTEN)

## Run every check and every test, and name the slowest. RETRY=1 gives each test that failed one more run, alone
test: test-needs check
	cargo build -p kennel -p handler-py --locked
	scripts/run-tests $(if $(RETRY),--retry)

## What takes too long for every time: everything behind both servers, and 20,000 clients that leave in the middle of a
## response of each. Fewer: make test-long LEAVINGS=5000
test-long: test-needs
	cargo build -p kennel -p handler-py --locked
	$(if $(LEAVINGS),LEAVINGS=$(LEAVINGS)) scripts/run-tests --long $(if $(RETRY),--retry)

## Formatting, lints, documentation
check: test-needs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	scripts/check-python
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

## Measure: parse and encode alone, a worker alone, and the whole way beside a bare handler
bench:
	@scripts/install-missing bench
	scripts/bench-python
	cargo build --release -p kennel -p handler-py
	cargo bench -p handler-core --bench wire
	cargo bench -p handler-core --bench requests
	cargo bench -p handler-core --bench forms
	cargo bench -p handler-lua --bench worker
	cargo bench -p handler-core --bench rooms
	cargo bench -p handler-core --bench live -- --check
	cargo bench -p tests --bench room
	cargo bench -p tests --bench bodies -- --check
	cargo bench -p tests --bench conf_load -- --check
	cargo bench -p tests --bench whole_way -- --check
	cargo bench -p tests --bench http_servers -- --check
	cargo bench -p tests --bench front -- --check

## Look for bytes that break a parser, led by which code they reach: make fuzz SECONDS=600
fuzz: needs
	scripts/fuzz $(or $(SECONDS),60)

## The tests of the Lua worker with AddressSanitizer, which comes with Rust
asan: needs
	scripts/asan

## The Autobahn test suite for WebSockets; needs Python 2.7. Some of it: make autobahn CASES='1.*,2.*'
autobahn: needs
	scripts/autobahn $(if $(CASES),--cases '$(CASES)')

needs:
	@scripts/install-missing

test-needs:
	@scripts/install-missing test

clean:
	cargo clean
	rm -rf .kennel examples/*/.kennel
