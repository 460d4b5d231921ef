//! Given a tar file, an output and a size in bytes, has arcbox-ext4 unpack the one into the other,
//! since that crate comes without a command.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use arcbox_ext4::Formatter;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tar, output, bytes] = &arguments[..] else {
        return Err("usage: contenders TAR OUTPUT BYTES".into());
    };
    let mut formatter = Formatter::new(Path::new(output), 4096, bytes.parse()?)?;
    formatter.unpack_tar(BufReader::with_capacity(1 << 20, File::open(tar)?))?;
    formatter.close()?;
    Ok(())
}
