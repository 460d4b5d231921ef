//! Given any bytes as an ACL, checks that they are refused or survive the way to disk and back.

use mke4fs::raw::ondisk::acl::{from_disk, mode_of, to_disk};

/// Checks `bytes` as an attribute's value and as what ext4 stores.
pub fn run(bytes: &[u8]) {
    if let Ok(disk) = to_disk(bytes) {
        let value = from_disk(&disk).expect("what is stored can be read");
        assert_eq!(to_disk(&value).as_deref(), Ok(&disk[..]));
        let mode = mode_of(bytes).expect("what can be stored has a mode");
        assert_eq!(mode_of(&value), Ok(mode));
        assert_eq!(mode.bits & !0o777, 0);
    } else {
        assert!(mode_of(bytes).is_err());
    }
    if let Ok(value) = from_disk(bytes) {
        assert_eq!(to_disk(&value).as_deref(), Ok(bytes));
    }
}
