//! The digest of a reproducible image that holds the files below TREE, and is kept nowhere.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::env;
use std::error::Error;

use mke4fs::{Builder, Directory, Piece};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let tree = env::args_os().nth(1).ok_or("usage: hash TREE")?;
    let (mut hash, mut holes) = (Sha256::new(), 0);
    let builder = Builder::new().reproducible().source(Directory::new(tree));
    builder.write_in_order(|piece| {
        match piece {
            Piece::Data(bytes) => hash.update(bytes),
            Piece::Hole(length) => {
                holes += length;
                (0..length).for_each(|_| hash.update([0]));
            }
        }
        Ok(())
    })?;
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    println!("{hex} {holes} bytes of holes");
    Ok(())
}
