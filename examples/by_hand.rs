//! A few files that are nowhere else, in a new file IMAGE.

use std::env;
use std::error::Error;

use mke4fs::{Builder, Timestamp, Tree};

/// cap_net_raw, as `setcap cap_net_raw+ep` stores it.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn main() -> Result<(), Box<dyn Error>> {
    let image = env::args_os().nth(1).ok_or("usage: by_hand IMAGE")?;
    let mut tree = Tree::new();
    tree.root().time(Timestamp::from_seconds(1_700_000_000));
    tree.file("/etc/hostname", "box\n")?;
    tree.link("/etc/mailname", "/etc/hostname")?;
    tree.char_device("/dev/null", 1, 3)?.permissions(0o666);
    let ping = tree.file("/bin/ping", "#!/bin/sh\n")?.permissions(0o755);
    ping.xattr("security.capability", CAPABILITY)?;
    tree.symlink("/bin/ping6", "ping")?;
    let builder = Builder::new().uuid(*b"0123456789abcdef").source(tree);
    builder.write_file(image)?;
    Ok(())
}
