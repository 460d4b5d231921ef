//! What is wrong in the filesystem in the file IMAGE.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let image = fs::read(env::args_os().nth(1).ok_or("usage: check IMAGE")?)?;
    println!("{}", mke4fs::check(&image));
    Ok(())
}
