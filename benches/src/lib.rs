//! What the benches share: the parts of the whole-process load bench, and a journal to append to.

pub mod journal;
pub mod load;
pub mod table;
