//! What the benches share: the parts of the whole-process load bench.

pub mod load;
