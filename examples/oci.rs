//! A container image in an OCI LAYOUT and one FILE more in a new file IMAGE, with the owners that a user
//! namespace from 100000 on has.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::env;
use std::error::Error;

use mke4fs::{Builder, ContainerImage, Copy};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [layout, file, image] = &arguments[..] else {
        return Err("usage: oci LAYOUT FILE IMAGE".into());
    };
    let summary = Builder::new()
        .source(ContainerImage::layout(layout))
        .source(Copy::new(file, "/etc/extra"))
        .map_ids(0..65536, 100_000)
        .write_file(image)?;
    println!("{}", summary.to_json());
    Ok(())
}
