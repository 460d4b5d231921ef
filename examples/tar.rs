//! The archive on standard input in a new file IMAGE, of SIZE or as large as it has to be.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::{env, io};

use mke4fs::{Builder, Tar};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let image = arguments.next().ok_or("usage: tar IMAGE [SIZE]")?;
    let mut builder = Builder::new().source(Tar::from_reader(io::stdin(), "stdin"));
    if let Some(size) = arguments.next() {
        builder = builder.size(size.parse()?);
    }
    println!("{} files", builder.write_file(image)?.nodes.files);
    Ok(())
}
