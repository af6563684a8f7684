# Two commands, each of which installs what it lacks: `make run` and `make test`.

.PHONY: run test bench deps

# Build, then serve with one call placed by itself.
run: deps
	cargo run --release --bin offhook -- demo

# All tests. The binary is built first: the end-to-end tests start it.
test: deps
	cargo build --workspace --bins
	cargo test --workspace

# What each step costs.
bench: deps
	cargo bench --workspace

deps:
	@bash .ci/install-deps
