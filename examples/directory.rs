//! The files below TREE in a new file IMAGE; a line on standard input stops it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::{env, io, thread};

use mke4fs::{Builder, Cancel, Directory};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(tree), Some(image)) = (arguments.next(), arguments.next()) else {
        return Err("usage: directory TREE IMAGE".into());
    };
    let cancel = Cancel::new();
    let button = cancel.clone();
    thread::spawn(move || {
        if io::stdin().lines().next().is_some() {
            button.cancel();
        }
    });
    let summary = Builder::new()
        .label("data")
        .source(Directory::new(tree))
        .cancel(&cancel)
        .progress(|at| eprintln!("{} of {} bytes", at.bytes, at.total.unwrap_or_default()))
        .write_file(image)?;
    summary.warnings.iter().for_each(|it| eprintln!("{it}"));
    Ok(())
}
