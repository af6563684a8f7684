# Two commands, each of which installs what it lacks: `make run` and `make test`.

.PHONY: run test bench load isolation control-plane catalogue instructions fuzz soak simulate deps

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

# What a whole call costs, beside a bare WebSocket echo: make load CALLS=50,500; with hiss on the lines: make load HISS=1.
CALLS = 1,10,100,500,1000
load: deps
	cargo build --release --bin offhook
	cargo run --release -p offhook-benches --bin load -- --calls $(CALLS) $(if $(HISS),--hiss)

# Whether calls stay on time while other things go wrong.
isolation: deps
	cargo build --release --bin offhook
	cargo run --release -p offhook-benches --bin isolation

# What the control plane answers beside running calls, and whether it makes their frames late.
control-plane: deps
	cargo build --release --bin offhook
	cargo run --release -p offhook-benches --bin control_plane

# How long a question to a catalogue takes: make catalogue CHUNKS=100000.
CHUNKS = 100000
catalogue: deps
	cargo run --release -p offhook-benches --bin catalogue -- --chunks $(CHUNKS)

# What each step costs in instructions, which repeat on a busy machine. Needs valgrind.
instructions: deps
	cargo bench -p offhook-benches --bench instructions

# Bytes that break a promise: make fuzz TARGET=wav SECONDS=60. The targets are the folders of fixtures/fuzz.
TARGET = twilio
SECONDS = 60
fuzz: deps
	@cargo fuzz --version >/dev/null 2>&1 || { echo "Installing cargo-fuzz"; cargo install cargo-fuzz; }
	mkdir -p tests/fuzz/corpus/$(TARGET)
	RUSTC_BOOTSTRAP=1 TARGET=$(TARGET) cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none bytes \
	    tests/fuzz/corpus/$(TARGET) fixtures/fuzz/$(TARGET) -- -max_total_time=$(SECONDS) -timeout=20 -max_len=40000

# Calls in the worst of company, a million steps from a seed: make simulate SEED=17.
SEED = 1
simulate: deps
	OFFHOOK_SIM_SEED=$(SEED) OFFHOOK_SIM_STEPS=1000000 cargo test -p offhook-engine --lib call::tests::worst

# Some minutes of calls, after which memory, threads and files must be where they were.
soak: deps
	cargo build --workspace --bins
	OFFHOOK_SOAK_VIRTUAL_CALLS=5000 OFFHOOK_SOAK_VIRTUAL_MINUTES=180 \
	    cargo test -p offhook-tests --test soak_in_virtual_time -- --nocapture
	OFFHOOK_SOAK_CALLS=6000 cargo test -p offhook-tests --test soak -- --nocapture

deps:
	@bash .ci/install-deps
