//! Given the rules, gives the huge files that they ask for; never where these go.

use super::Choice;
use crate::feature::Feature;
use crate::options::error::SettingsErrorKind;
use crate::options::profile::Rules;
use crate::options::settings::{HugeFilesOptions, QuotaTypes, Settings};
use crate::options::size::Size;
use crate::options::{Environment, TargetKind};

/// What the rules ask for, with the defaults of `mk_hugefiles`; combinations that are not made yet are
/// refused.
pub(super) fn huge_files(
    settings: &Settings,
    rules: &Choice,
    host: &Environment,
) -> Result<Option<HugeFilesOptions>, SettingsErrorKind> {
    let is_journal = settings.features.has(Feature::JournalDev);
    if rules.find(|rules| rules.make_hugefiles) != Some(true) || is_journal {
        return Ok(None);
    }
    check(settings, rules, host)?;
    let number = |relation: fn(&Rules) -> Option<i64>| rules.find(relation);
    let unsigned = |number: Option<i64>| number.map_or(0, |number| number.max(0).unsigned_abs());
    let id = |number: Option<i64>| {
        // As C narrows an int.
        let [a, b, c, d, ..] = number.unwrap_or(0).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    };
    let blocks = |text: &str| {
        let size = Size::parse(text).filter(|_| !text.is_empty());
        size.map_or(0, |size| size.blocks(settings.block_size.log()))
    };
    let of = |relation: fn(&Rules) -> Option<&str>, default: &str| {
        blocks(rules.text(relation).unwrap_or(default))
    };
    let align = of(|rules| rules.hugefiles_align.as_deref(), "0");
    let directory = rules.text(|rules| rules.hugefiles_dir.as_deref());
    let parts = directory.unwrap_or("/").split('/');
    let name = rules.text(|rules| rules.hugefiles_name.as_deref());
    let digits = number(|rules| rules.hugefiles_digits).unwrap_or(5);
    let umask = number(|rules| rules.hugefiles_umask).unwrap_or(0o77);
    let length = of(|rules| rules.hugefiles_size.as_deref(), "0");
    Ok(Some(HugeFilesOptions {
        count: unsigned(number(|rules| rules.num_hugefiles)),
        blocks: match align {
            0 => length,
            align => length.checked_next_multiple_of(align).unwrap_or(length),
        },
        slack: of(|rules| rules.hugefiles_slack.as_deref(), "1M"),
        align,
        directory: parts
            .filter(|part| !part.is_empty())
            .map(|part| part.as_bytes().to_vec())
            .collect(),
        name: name.unwrap_or("hugefile").as_bytes().to_vec(),
        digits: usize::try_from(digits.clamp(0, 255)).unwrap_or(0),
        uid: id(number(|rules| rules.hugefiles_uid)),
        gid: id(number(|rules| rules.hugefiles_gid)),
        umask: u16::try_from(umask & 0o7777).unwrap_or(0),
        zero: rules.find(|rules| rules.zero_hugefiles),
    }))
}

fn check(settings: &Settings, rules: &Choice, host: &Environment) -> Result<(), SettingsErrorKind> {
    let has = |feature| settings.features.has(feature);
    let has_quota = has(Feature::Quota) && settings.quota_types != QuotaTypes::NONE;
    let is_device = matches!(host.target.kind, TargetKind::Device(_));
    let aligns = rules.find(|rules| rules.hugefiles_align_disk) == Some(true);
    let unmade = [
        (!has(Feature::Extent), "without the extent feature"),
        (has(Feature::Bigalloc), "with the bigalloc feature"),
        (has(Feature::InlineData), "with the inline_data feature"),
        (has_quota, "with the quota feature"),
        (settings.super_only, "with -S"),
        (aligns && is_device, "with hugefiles_align_disk on a device"),
    ];
    match unmade.iter().find(|(is_so, _)| *is_so) {
        Some((_, what)) => Err(SettingsErrorKind::NotYet(format!("make_hugefiles {what}"))),
        None => Ok(()),
    }
}
