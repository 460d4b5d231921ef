//! The benchmark beside other builders, where they run; see `compare.rs`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints"
)]

#[cfg(unix)]
#[path = "compare.rs"]
mod compare;

#[cfg(unix)]
fn main() -> compare::Result<()> {
    compare::main()
}

#[cfg(not(unix))]
fn main() {
    println!("compare: what mke4fs is compared with needs Unix");
}
