//! Given capabilities as a mask or as cap_from_text(3) reads them, gives the value of `security.capability`;
//! never whether a file may have it.

use super::error::RuleErrorKind;
use crate::tree::Xattr;

/// The attribute that holds a file's capabilities.
const NAME: &[u8] = b"security.capability";
/// `VFS_CAP_REVISION_2`: two words of each set, and no user namespace.
const REVISION_2: u32 = 0x0200_0000;
/// `VFS_CAP_FLAGS_EFFECTIVE`.
const EFFECTIVE: u32 = 1;

/// The names by number (`include/uapi/linux/capability.h`).
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// The sets of a file's capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sets {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

/// What gives a file the capabilities of `mask`, permitted and in effect, as Android's fs_config means them.
pub(super) fn of_mask(mask: u64) -> Xattr {
    let sets = Sets {
        effective: mask,
        permitted: mask,
        inheritable: 0,
    };
    sets.xattr()
}

/// What gives a file the capabilities of `text`, such as `cap_net_raw,cap_net_admin+ep`.
pub(super) fn of_text(text: &[u8]) -> Result<Xattr, RuleErrorKind> {
    let text = text.trim_ascii();
    let refused = |needed| RuleErrorKind::Value {
        of: "capabilities",
        value: text.to_vec(),
        needed,
    };
    let sets = sets(text).ok_or_else(|| {
        refused("must be names such as cap_net_raw separated by commas, then +, = or - and some of e, i, p")
    })?;
    // A file has one flag for all that are in effect.
    let all = sets.permitted | sets.inheritable;
    if sets.effective != 0 && sets.effective != all {
        return Err(refused("must have all capabilities in effect, or none"));
    }
    Ok(sets.xattr())
}

/// The sets of a text, if it is one: a clause names capabilities, and then says once or several times which
/// sets they are added to, taken from, or in alone.
fn sets(text: &[u8]) -> Option<Sets> {
    let text = str::from_utf8(text).ok()?;
    let mut sets = Sets::default();
    let mut clauses = text.split_ascii_whitespace().peekable();
    clauses.peek()?;
    for clause in clauses {
        let end = clause.find(['+', '-', '='])?;
        let (names, mut rest) = clause.split_at(end);
        let mask = mask(names, rest.starts_with('='))?;
        while let Some(action) = rest.chars().next() {
            let flags = &rest[1..];
            let end = flags.find(['+', '-', '=']).unwrap_or(flags.len());
            sets = sets.after(action, mask, &flags[..end])?;
            rest = &flags[end..];
        }
    }
    Some(sets)
}

/// The capabilities that a clause names; all, where it names none and sets them anew.
fn mask(names: &str, is_anew: bool) -> Option<u64> {
    let all = (1 << NAMES.len()) - 1;
    if names.is_empty() {
        return is_anew.then_some(all);
    }
    names.split(',').try_fold(0, |mask, name| {
        let name = name.to_ascii_lowercase();
        if name == "all" {
            return Some(all);
        }
        let number = NAMES.iter().position(|known| *known == name)?;
        Some(mask | 1 << number)
    })
}

impl Sets {
    fn after(mut self, action: char, mask: u64, flags: &str) -> Option<Self> {
        let has = |flag| flags.contains(flag);
        if !flags.chars().all(|flag| matches!(flag, 'e' | 'i' | 'p')) {
            return None;
        }
        // Adding nothing to nothing says nothing.
        if flags.is_empty() && action != '=' {
            return None;
        }
        let change = |set: &mut u64, is_named: bool| match action {
            '+' if is_named => *set |= mask,
            '-' if is_named => *set &= !mask,
            '=' => *set = *set & !mask | if is_named { mask } else { 0 },
            _ => {}
        };
        change(&mut self.effective, has('e'));
        change(&mut self.permitted, has('p'));
        change(&mut self.inheritable, has('i'));
        Some(self)
    }

    /// `struct vfs_cap_data`.
    fn xattr(self) -> Xattr {
        let magic = if self.effective == 0 {
            REVISION_2
        } else {
            REVISION_2 | EFFECTIVE
        };
        let mut value = magic.to_le_bytes().to_vec();
        let (permitted, inheritable) =
            (self.permitted.to_le_bytes(), self.inheritable.to_le_bytes());
        for half in [0..4, 4..8] {
            value.extend(&permitted[half.clone()]);
            value.extend(&inheritable[half]);
        }
        Xattr {
            name: NAME.to_vec(),
            value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a value: flags, then permitted and inheritable, low halves first.
    fn words(text: &str) -> Option<[u32; 5]> {
        let value = of_text(text.as_bytes()).ok()?.value;
        let mut words = [0; 5];
        for (word, bytes) in words.iter_mut().zip(value.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Some(words)
    }

    #[test]
    fn texts_are_read_as_setcap_reads_them() {
        for (text, expected) in [
            ("cap_net_raw+ep", Some([0x0200_0001, 1 << 13, 0, 0, 0])),
            ("cap_net_raw=p", Some([0x0200_0000, 1 << 13, 0, 0, 0])),
            (
                "CAP_CHOWN,cap_bpf+eip",
                Some([0x0200_0001, 1, 1, 1 << 7, 1 << 7]),
            ),
            ("=ep", Some([0x0200_0001, u32::MAX, 0, 0x1ff, 0])),
            (
                "all=p cap_bpf-p",
                Some([0x0200_0000, u32::MAX, 0, 0x17f, 0]),
            ),
            ("cap_chown=ei-e", Some([0x0200_0000, 0, 1, 0, 0])),
            ("cap_chown+ep cap_kill+p", None),
            ("cap_chown", None),
            ("cap_nothing+ep", None),
            ("cap_chown+x", None),
            ("+ep", None),
            ("", None),
            ("cap_chown+", None),
            ("cap_chown,+ep", None),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mask_is_permitted_and_in_effect() {
        let value = of_mask(0x1_0000_2000).value;
        assert_eq!(value[..8], [1, 0, 0, 2, 0, 0x20, 0, 0]);
        assert_eq!(value[8..], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
