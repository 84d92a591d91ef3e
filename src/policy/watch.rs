//! File change → Draft, or faults that name file:line:column. Swaps nothing itself; `engine/world.rs` does.
