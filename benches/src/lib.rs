//! Criterion benches of Offhook; each file under `benches/` is named for what it answers.
