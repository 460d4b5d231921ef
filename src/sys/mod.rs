//! Given a question for the operating system, gives its answer; never knows what ext4 is.
//!
//! Every system answers the same functions: `unix` asks the kernel, `portable` says what can be said
//! where the kernel is another, and `by_path` what a system without `openat` says of files.
#![allow(
    dead_code,
    unused_imports,
    reason = "the sinks and settings ask most of it"
)]

#[cfg(any(not(unix), test))]
mod by_path;
mod clock;
#[cfg(all(windows, feature = "cli"))]
mod console;
mod device;
mod in_use;
#[cfg(not(target_os = "linux"))]
mod portable;
mod stat;
mod storage;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use by_path::*;

#[cfg(all(windows, feature = "cli"))]
pub(crate) use console::*;

pub(crate) use clock::{since_1970, written};
pub use device::{Device, TargetKind};
pub(crate) use device::{block_device_number, look_at, user};
pub(crate) use in_use::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::*;
pub(crate) use stat::{FileType, Stat};
pub use storage::Identity;
pub(crate) use storage::*;
#[cfg(unix)]
pub(crate) use unix::*;
