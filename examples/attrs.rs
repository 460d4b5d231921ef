//! Given a directory, records every attribute of every path in it; given that record and a
//! mounted image, names each difference. Never changes what it reads: see
//! `tests/common/attrs`, which the integration tests use as a library.
//!
//! ```text
//! attrs snapshot DIR > FILE
//! attrs compare FILE MOUNTED_DIR [--ignore FIELD,...] [--root made|kept] [--seconds-32bit]
//!       [--lost+found]
//! ```
//!
//! Exit status: 0 for no difference, 1 for some, 2 for a fault.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command: its output is its purpose"
)]

#[cfg(target_os = "linux")]
#[path = "../tests/common/attrs/mod.rs"]
mod attrs;

#[cfg(target_os = "linux")]
mod command {
    use std::error::Error;
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::{self, BufReader, BufWriter, Write};
    use std::path::Path;
    use std::process::ExitCode;

    use super::attrs::{Field, LostFound, Options, RootRule, Snapshot, TimeRule};

    const USAGE: &str = "\
usage: attrs snapshot DIR > FILE
       attrs compare FILE MOUNTED_DIR [option...]

compare's options:
  --ignore FIELD,...  leave fields out; `times` stands for atime,mtime,ctime
  --root made|kept    the root directory is the formatter's own (default), or the source's
  --seconds-32bit     times as inodes of 128 bytes hold them
  --lost+found        the image must have a lost+found directory";

    pub(super) fn run() -> Result<ExitCode, Box<dyn Error>> {
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let verb = arguments.first().and_then(|verb| verb.to_str());
        match (verb, &arguments[..]) {
            (Some("snapshot"), [_, dir]) => {
                let mut out = BufWriter::new(io::stdout().lock());
                Snapshot::take(Path::new(dir))?.write_to(&mut out)?;
                out.flush()?;
                Ok(ExitCode::SUCCESS)
            }
            (Some("compare"), [_, file, dir, words @ ..]) => {
                compare(Path::new(file), Path::new(dir), &options(words)?)
            }
            _ => Err(USAGE.into()),
        }
    }

    fn compare(file: &Path, dir: &Path, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
        let input = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let source = Snapshot::read_from(&mut BufReader::new(input))?;
        let differences = source.compare(dir, options)?;
        for difference in &differences {
            println!("{difference}");
        }
        println!(
            "{} paths, {} differences",
            source.entries.len(),
            differences.len()
        );
        Ok(ExitCode::from(u8::from(!differences.is_empty())))
    }

    fn options(words: &[OsString]) -> Result<Options, Box<dyn Error>> {
        let mut options = Options::default();
        let mut words = words.iter().map(|word| word.to_str().unwrap_or_default());
        while let Some(word) = words.next() {
            match word {
                "--ignore" => {
                    for name in words.next().ok_or(USAGE)?.split(',') {
                        options.ignore.extend(fields(name)?);
                    }
                }
                "--root" => {
                    options.root = match words.next() {
                        Some("made") => RootRule::Made,
                        Some("kept") => RootRule::Kept,
                        _ => return Err(USAGE.into()),
                    };
                }
                "--seconds-32bit" => options.times = TimeRule::Seconds32Bit,
                "--lost+found" => options.lost_found = LostFound::Required,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    fn fields(name: &str) -> Result<Vec<Field>, String> {
        if name == "times" {
            return Ok(vec![Field::Atime, Field::Mtime, Field::Ctime]);
        }
        Ok(vec![name.parse()?])
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    command::run().unwrap_or_else(|error| {
        eprintln!("attrs: {error}");
        std::process::ExitCode::from(2)
    })
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("attrs: it needs Linux, to mount ext4");
    std::process::ExitCode::from(2)
}
