//! An empty filesystem of 64 MiB in memory.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;

use mke4fs::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let image = Builder::new().size_bytes(64 << 20).to_vec()?;
    println!("{} bytes", image.len());
    Ok(())
}
