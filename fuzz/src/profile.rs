//! Given any bytes as an mke2fs.conf, checks that they are refused or give settings, and the same
//! ones each time.

use mke4fs::options::{Conf, Options, Size};

use super::options::host;

/// Checks `bytes` as the configuration file of filesystems of several types and sizes.
pub fn run(bytes: &[u8]) {
    let mut host = host();
    host.conf = Some(Conf::new("mke2fs.conf", bytes));
    let accepted = host.check_conf().is_ok();
    for (kibibytes, fs_type, usage) in [
        (1440, None, None),
        (64 << 10, Some("ext4"), None),
        (8 << 20, Some("ext2"), Some("largefile,news")),
        (20 << 30, None, Some("x")),
    ] {
        let mut options = Options::new();
        options.size(Size::Kibibytes(kibibytes));
        match fs_type {
            Some(name) => options.fs_type(name),
            None => options.fs_type_by_conf(),
        };
        if let Some(names) = usage {
            options.usage_types(names);
        }
        let resolved = options.resolve(&host);
        match &resolved {
            Ok(resolved) => {
                assert!(accepted, "settings of a refused file");
                for warning in &resolved.warnings {
                    assert!(!warning.to_string().is_empty());
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert_eq!(options.resolve(&host).ok(), resolved.ok());
    }
}
