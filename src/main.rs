//! lakegate
fn main() {}
