//! Given text as `-O` and `default_mntopts` take it, gives the edited set; never a default.
//!
//! The grammar is that of e2fsprogs' `e2p_edit_feature` and `e2p_edit_mntopts`: words divided by a
//! comma or white space, `^` or `-` before a word takes it away, `+` is allowed before one that
//! is added, and of features `none` or `clear` empties the set. `no-` before a feature takes it
//! away too, which mke2fs does not know.

use crate::feature::{Feature, FeatureSet, Word};

use super::error::SettingsErrorKind;
use super::size;

/// One word of an edit: as it stands, whether it adds, and the bare name.
struct Edit<'a> {
    word: &'a str,
    adds: bool,
    name: &'a str,
}

/// The words of `text`, in order. A doubled separator makes an empty word, which names nothing.
fn edits(text: &str) -> impl Iterator<Item = Edit<'_>> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let text = left.filter(|text| !text.is_empty())?;
        let text = text.trim_start_matches(is_space);
        let end = text.find(|c| is_space(c) || c == ',');
        let word = end.map_or(text, |end| &text[..end]);
        left = end.map(|end| &text[end + 1..]);
        let taken = word.strip_prefix(['-', '^']);
        Some(Edit {
            word,
            adds: taken.is_none(),
            name: taken.unwrap_or_else(|| word.strip_prefix('+').unwrap_or(word)),
        })
    })
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// `set` as `text` edits it.
///
/// # Errors
/// Where a word names no feature that mke2fs lets one choose.
pub(super) fn edit_features(
    mut set: FeatureSet,
    text: &str,
) -> Result<FeatureSet, SettingsErrorKind> {
    for edit in edits(text) {
        if ["none", "clear"]
            .iter()
            .any(|all| edit.word.eq_ignore_ascii_case(all))
        {
            set = FeatureSet::EMPTY;
            continue;
        }
        let name = edit.name.to_ascii_lowercase();
        let (name, adds) = match name.strip_prefix("no-") {
            Some(name) if edit.adds => (name, false),
            _ => (name.as_str(), edit.adds),
        };
        let feature = feature(name).ok_or_else(|| SettingsErrorKind::Features {
            text: text.to_owned(),
            word: edit.name.to_owned(),
        })?;
        set = if adds {
            set.with(feature)
        } else {
            set.without(feature)
        };
    }
    Ok(set)
}

/// The feature of that name, in lower case: `FEATURE_I6` is bit 6 of the incompatible word.
fn feature(name: &str) -> Option<Feature> {
    let Some(numbered) = name.strip_prefix("feature_") else {
        return Feature::from_name(name);
    };
    let word = match numbered.chars().next()? {
        'c' => Word::Compat,
        'i' => Word::Incompat,
        'r' => Word::RoCompat,
        _ => return None,
    };
    let number: u32 = numbered.get(1..)?.parse().ok()?;
    let bit = 1_u32.checked_shl(number)?;
    let same = |feature: &Feature| feature.word() == word && feature.bit() == bit;
    Feature::ALL.iter().copied().find(same)
}

/// The default mount options by name (`s_default_mount_opts`, kernel doc `super.rst`).
const MOUNT_OPTIONS: [(&str, u32); 12] = [
    ("debug", 0x1),
    ("bsdgroups", 0x2),
    ("user_xattr", 0x4),
    ("acl", 0x8),
    ("uid16", 0x10),
    ("journal_data", 0x20),
    ("journal_data_ordered", 0x40),
    ("journal_data_writeback", 0x60),
    ("nobarrier", 0x100),
    ("block_validity", 0x200),
    ("discard", 0x400),
    ("nodelalloc", 0x800),
];

/// The two bits that hold the journalling mode; a mode replaces the one before.
const JOURNAL_MODE: u32 = 0x60;

/// `set` as `text` edits it, or `None` where a word names no mount option.
pub(super) fn edit_mount_options(mut set: u32, text: &str) -> Option<u32> {
    for edit in edits(text) {
        let mask = mount_option(&edit.name.to_ascii_lowercase())?;
        if mask & JOURNAL_MODE != 0 {
            set &= !JOURNAL_MODE;
        }
        set = if edit.adds { set | mask } else { set & !mask };
    }
    Some(set)
}

/// The bits of the mount option of that name, in lower case: `mntopt_3` is bit 3.
fn mount_option(name: &str) -> Option<u32> {
    if let Some((_, mask)) = MOUNT_OPTIONS.iter().find(|(known, _)| *known == name) {
        return Some(*mask);
    }
    let number = size::number(name.strip_prefix("mntopt_")?)?;
    1_u32.checked_shl(u32::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_come_and_go_in_order() {
        let set = |features: &[Feature]| FeatureSet::from_iter(features.iter().copied());
        let start = set(&[Feature::HasJournal]);
        for (text, expected) in [
            ("", Some(start)),
            ("extent", Some(start.with(Feature::Extent))),
            ("^has_journal,+extents", Some(set(&[Feature::Extent]))),
            ("no-has_journal", Some(FeatureSet::EMPTY)),
            ("^no-has_journal", None),
            ("no-no-has_journal", None),
            ("-has_journal 64BIT", Some(set(&[Feature::SixtyFourBit]))),
            ("none,mmp,", Some(set(&[Feature::Mmp]))),
            ("FEATURE_I6", Some(start.with(Feature::Extent))),
            ("uninit_groups", Some(start.with(Feature::GdtCsum))),
            ("fname_encoding", Some(start.with(Feature::Casefold))),
            ("extent,,mmp", None),
            ("extent ,mmp", None),
            ("gdt_csum", None),
            ("dir_prealloc", None),
            ("needs_recovery", None),
            ("FEATURE_C0", None),
            ("FEATURE_I99", None),
            ("feature_ü", None),
            ("^", None),
            ("^none", None),
            ("+none", None),
        ] {
            assert_eq!(edit_features(start, text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn mount_options_replace_the_journal_mode() {
        assert_eq!(edit_mount_options(0, "acl,user_xattr"), Some(0xc));
        assert_eq!(edit_mount_options(0x60, "journal_data"), Some(0x20));
        assert_eq!(edit_mount_options(0xc, "^acl"), Some(0x4));
        assert_eq!(edit_mount_options(0, "MNTOPT_3"), Some(0x8));
        assert_eq!(edit_mount_options(0, "nonsense"), None);
    }
}
