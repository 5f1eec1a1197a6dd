//! The command line of normed.
fn main() {}
