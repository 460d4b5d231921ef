//! Given the arguments of the process, gives its exit code; never more.

use std::process::ExitCode;

fn main() -> ExitCode {
    mke4fs::cli::main(std::env::args_os())
}
