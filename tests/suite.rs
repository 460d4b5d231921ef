//! Given the crate and the reference tools, proves what a user relies on; never a detail that no user
//! can see.
//!
//! One program of all integration tests but two: cargo runs test programs one after the other, and the
//! threads of a single one let a test that computes run beside another that waits for a device, a
//! virtual machine or a signal.

#[cfg(target_os = "linux")]
mod common;

mod again;
mod attrs;
mod base;
mod bounds;
#[path = "budget/main.rs"]
mod budget;
mod casefold;
#[path = "check/main.rs"]
mod check;
mod cli;
mod compat;
mod containers;
mod content;
mod contexts;
mod devices;
mod diff;
mod ends;
mod errors;
mod examples;
mod faults;
mod features;
mod features_content;
mod forms;
mod front;
mod fs_verity;
mod golden;
mod grow;
mod help;
mod huge;
mod identity;
mod image_source;
mod inputs;
mod kernel;
mod layers;
mod life;
mod map;
mod mends;
mod oci;
mod oci_real;
mod oracles;
mod outputs;
mod outside;
mod overwrite;
mod papers;
mod plan;
mod races;
mod read;
mod reflink;
mod reproducible;
mod rules;
mod sink;
mod source;
mod sources;
mod sparse;
mod stream;
mod supply;
mod tar;
mod tar_hostile;
mod terminal;
mod undo;
mod update;
mod verbs;
mod worlds;

/// What the test `test` of `module`, a `module_path!()`, is called when this program is asked for it.
#[cfg(target_os = "linux")]
fn test_name(module: &str, test: &str) -> String {
    let (_program, module) = module.split_once("::").expect("a module of this program");
    format!("{module}::{test}")
}
