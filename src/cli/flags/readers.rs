//! Given a flag's value, reads it into a request; never what the flag is called.

use std::ffi::{OsStr, OsString};

use super::error::{FlagError, FlagValue};
use crate::cli::hint::nearest;
use crate::cli::request::{Interface, Request, SizeArg, Whiteouts};
use crate::cli::{journal as journal_device, messages};
use crate::options::{
    CompatTarget, Errors, JournalLength, SettingsErrorKind, Size, number, parse_uuid,
};
use crate::source::patterns::Patterns;
use crate::units::{BlockSize, VerityHash};
use crate::{Fit, Reflink, Sparse};

/// What is wrong with the value of a flag of our own.
fn own<T>(text: String) -> Result<T, FlagError> {
    Err(FlagError::Own(text))
}

/// Lets the settings say whether they take what mke2fs makes fit.
fn judged_by_us(request: &Request) -> Result<(), FlagError> {
    let judged = request.options.judge();
    judged.or_else(|refusal| own(refusal.to_string()))
}

/// Lets the settings say whether they take `text`, which was just noted.
fn judged(request: &Request, what: FlagValue, text: &str) -> Result<(), FlagError> {
    request.options.judge().map_err(what.is_refused(text))
}

fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// The bytes of a value, as they stand in the filesystem.
fn bytes(value: &OsStr) -> Vec<u8> {
    OsString::from(value).into_encoded_bytes()
}

pub(super) fn size(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let wish = match (value.as_str(), value.strip_prefix('+')) {
        ("min", _) => Some(SizeArg::By(Fit::Minimum)),
        ("auto", _) => Some(SizeArg::By(Fit::Auto)),
        ("keep", _) => Some(SizeArg::Keep),
        (_, Some(more)) => available(more).map(SizeArg::By),
        _ => Size::parse(&value)
            .filter(|size| size.bytes() > 0)
            .map(SizeArg::Exactly),
    };
    request.size = Some(wish.ok_or_else(|| FlagError::Own(bad_size(&value)))?);
    Ok(())
}

/// What to say of two sizes.
pub(in crate::cli) const SIZE_TWICE: &str =
    "SIZE and --size cannot be combined: must be given once";

/// What to say of a size that is none.
pub(in crate::cli) fn bad_size(value: &str) -> String {
    format!("invalid size '{value}': must be a size such as 64M, or min, auto, +512M, +20% or keep")
}

/// Names of targets, divided by commas.
pub(super) fn compat(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    for name in text(value).split(',') {
        let target = compat_target(name).or_else(own)?;
        request.options.compat(target);
    }
    Ok(())
}

/// The target called `name`, or what to say where there is none.
pub(in crate::cli) fn compat_target(name: &str) -> Result<CompatTarget, String> {
    CompatTarget::from_name(name).ok_or_else(|| {
        let known: Vec<String> = CompatTarget::all().map(|it| it.name().to_owned()).collect();
        let meant = nearest(name, &known);
        format!("unknown compatibility target '{name}'; --help=compat lists them{meant}")
    })
}

pub(super) fn reproducible(request: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    request.options.reproducible();
    Ok(())
}

/// The one of `auto`, `always` and `never`, in this order, that the value of `flag` names.
fn when<T>(flag: &str, value: &OsStr, [auto, always, never]: [T; 3]) -> Result<T, FlagError> {
    match value.to_str() {
        Some("auto") => Ok(auto),
        Some("always") => Ok(always),
        Some("never") => Ok(never),
        _ => {
            let value = text(value);
            own(format!(
                "invalid value '{value}' for {flag}: must be auto, always or never"
            ))
        }
    }
}

pub(super) fn sparse(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let all = [Sparse::Auto, Sparse::Always, Sparse::Never];
    request.sparse = when("--sparse", value, all)?;
    Ok(())
}

pub(super) fn reflink(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let all = [Reflink::Auto, Reflink::Always, Reflink::Never];
    request.reflink = when("--reflink", value, all)?;
    Ok(())
}

/// What shall be available: a share of the content, or a size with a unit, since a bare number
/// counts blocks.
fn available(more: &str) -> Option<Fit> {
    if let Some(percent) = more.strip_suffix('%') {
        return percent.parse().ok().map(Fit::AvailablePercent);
    }
    match Size::parse(more)? {
        Size::Blocks(_) => None,
        size => Some(Fit::Available(size.bytes())),
    }
}

#[cfg(feature = "oci")]
pub(super) fn platform(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    match text(value).parse() {
        Ok(platform) => {
            request.platform = Some(platform);
            Ok(())
        }
        Err(error) => own(format!("--platform: {error}")),
    }
}

#[cfg(feature = "oci")]
pub(super) fn layer(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    match text(value).parse() {
        Ok(layer) => {
            request.layer = Some(layer);
            Ok(())
        }
        Err(error) => own(format!("--layer: {error}")),
    }
}

pub(super) fn whiteouts(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.whiteouts = match value.as_encoded_bytes() {
        b"apply" => Some(Whiteouts::Apply),
        b"overlay" => Some(Whiteouts::Overlay),
        _ => {
            let text = text(value);
            return own(format!(
                "invalid value '{text}' for --whiteouts: must be apply or overlay"
            ));
        }
    };
    Ok(())
}

pub(super) fn exclude(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let pattern = bytes(value);
    if let Err(error) = Patterns::new([&pattern]) {
        return own(format!("--exclude: {error}"));
    }
    request.exclude.push(pattern);
    Ok(())
}

pub(super) fn fs_verity(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let pattern = bytes(value);
    if let Err(error) = Patterns::new([&pattern]) {
        return own(format!("--fs-verity: {error}"));
    }
    request.fs_verity.push(pattern);
    Ok(())
}

pub(super) fn fs_verity_hash(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let text = value.to_string_lossy();
    let hash = VerityHash::of_name(&text);
    if hash.is_none() {
        return own(format!(
            "invalid value '{text}' for --fs-verity-hash: must be sha256 or sha512"
        ));
    }
    request.fs_verity_hash = hash;
    Ok(())
}

pub(super) fn base(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    if value.is_empty() {
        return own("missing file name for --base".to_owned());
    }
    request.base = Some(value.to_owned());
    Ok(())
}

pub(super) fn update(request: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    request.update = true;
    Ok(())
}

pub(super) fn checksum(request: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    request.checksum = true;
    Ok(())
}

/// mke2fs takes an empty name for its own choice of one.
pub(super) fn undo_file(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    if value.is_empty() && request.interface == Interface::Mke4fs {
        return own("missing file name for -z".to_owned());
    }
    request.undo_file = Some(value.to_owned());
    Ok(())
}

pub(super) fn label(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let mut label = bytes(value);
    if request.interface == Interface::Mke2fs && label.len() > 16 {
        label.truncate(16);
        let shown = String::from_utf8_lossy(&label);
        request.warnings.push(messages::label_truncated(&shown));
    }
    request.options.label(label);
    judged_by_us(request)
}

pub(super) fn uuid(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let options = &mut request.options;
    match value.to_ascii_lowercase().as_str() {
        "null" | "clear" => options.uuid([0; 16]),
        "time" => options.uuid_of_the_time(),
        "random" => options.random_uuid(),
        _ => match (parse_uuid(&value), request.interface) {
            (Some(uuid), _) => options.uuid(uuid),
            (None, Interface::Mke4fs) => {
                return own(format!(
                    "invalid UUID '{value}': must be clear, random, time or five groups of \
                     hexadecimal digits such as 01234567-89ab-4def-8123-456789abcdef"
                ));
            }
            // mke2fs finds that out later.
            (None, Interface::Mke2fs) => {
                request.bad_uuid = Some(value);
                return Ok(());
            }
        },
    };
    request.bad_uuid = None;
    Ok(())
}

pub(super) fn last_mounted(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let mut path = bytes(value);
    if request.interface == Interface::Mke2fs {
        path.truncate(64);
    }
    request.options.last_mounted(path);
    judged_by_us(request)
}

pub(super) fn fs_type(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    if request.fs_type.is_some() {
        return Err(FlagError::Twice('t'));
    }
    request.fs_type = Some(text(value));
    Ok(())
}

pub(super) fn usage(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    if request.usage_types.is_some() {
        return Err(FlagError::Twice('T'));
    }
    request.usage_types = Some(text(value));
    Ok(())
}

pub(super) fn extended(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    if request.interface == Interface::Mke2fs {
        // mke2fs keeps the last -E alone.
        request.extended.clear();
    }
    request.extended.push(text(value));
    Ok(())
}

pub(super) fn block_size(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let (least, magnitude) = match value.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, value.as_str()),
    };
    let bytes = Size::parse(magnitude).and_then(|size| u32::try_from(size.bytes()).ok());
    let asked = bytes.ok_or_else(|| FlagValue::BlockSize.is_not(&value))?;
    let is_mke2fs = request.interface == Interface::Mke2fs;
    // mke2fs takes a size between two powers of two for the lower one.
    let rounds = is_mke2fs && asked <= BlockSize::MAX.bytes();
    let log = asked.checked_ilog2().filter(|_| rounds);
    let bytes = log.map_or(asked, |log| 1 << log);
    request.block_size = Some(bytes);
    request.has_block_size = !least;
    if least {
        request.options.block_size_at_least(bytes);
    } else {
        request.options.block_size(bytes);
    }
    judged(request, FlagValue::BlockSize, &value)?;
    if is_mke2fs && !least && asked > 4096 {
        request
            .warnings
            .push(messages::block_size_not_usable(asked));
    }
    Ok(())
}

pub(super) fn inode_size(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let bytes = number(&value).and_then(|bytes| u32::try_from(bytes).ok());
    request.inode_size = Some(bytes.ok_or_else(|| FlagValue::InodeSize.is_not(&value))?);
    Ok(())
}

pub(super) fn inode_ratio(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let bytes = Size::parse(&value).and_then(|size| u32::try_from(size.bytes()).ok());
    let bytes = bytes.ok_or_else(|| FlagValue::InodeRatio.is_not(&value))?;
    request.options.inode_ratio(bytes);
    judged(request, FlagValue::InodeRatio, &value)
}

pub(super) fn inodes_count(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let count = number(&value).ok_or_else(|| FlagValue::Inodes.is_not(&value))?;
    request.inodes_count = Some(count);
    Ok(())
}

pub(super) fn reserved(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let percent = match value.trim_start() {
        "" => Some(0.0),
        number => number.parse().ok(),
    };
    let percent = percent.ok_or_else(|| FlagValue::ReservedPercent.is_not(&value))?;
    request.options.reserved_percent(percent);
    judged(request, FlagValue::ReservedPercent, &value)
}

pub(super) fn journal(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    for token in value.split(',').take_while(|token| !token.is_empty()) {
        let (name, value) = match token.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (token, None),
        };
        let fault = || FlagError::JournalOption(token.to_owned());
        match name {
            "size" => {
                let mebibytes = value.and_then(number).ok_or_else(fault)?;
                // More than 32 bits is too long for any journal, and refused as that.
                let mebibytes = u32::try_from(mebibytes).unwrap_or(u32::MAX);
                // 0 takes back what was asked for before.
                request.journal = match mebibytes {
                    0 => None,
                    mebibytes => Some(JournalLength::Mebibytes(mebibytes)),
                };
            }
            "fast_commit_size" => {
                let kibibytes = value.and_then(number).ok_or_else(fault)?;
                request.fast_commit = Some(u32::try_from(kibibytes).unwrap_or(u32::MAX));
            }
            "location" => {
                request.journal_location = Some(value.ok_or_else(fault)?.to_owned());
            }
            "v1_superblock" => request.journal_v1 = true,
            "device" => {
                let value = value.ok_or_else(fault)?;
                let device = journal_device::find(value);
                let device = device.ok_or_else(|| FlagError::NoSuchJournal(value.to_owned()))?;
                request.journal_device = Some(device);
            }
            _ => return Err(fault()),
        }
    }
    Ok(())
}

pub(super) fn cluster_size(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    // A number without a unit counts bytes here.
    let bytes = Size::parse(&value).and_then(|size| u32::try_from(size.bytes()).ok());
    let bytes = bytes.ok_or_else(|| FlagValue::ClusterSize.is_not(&value))?;
    request.options.cluster_size(bytes);
    judged(request, FlagValue::ClusterSize, &value)
}

pub(super) fn revision(_: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    match number(&value).map(u32::try_from) {
        None => Err(FlagValue::Revision.is_not(&value)),
        Some(Ok(1)) => Ok(()),
        Some(Ok(0)) => Err(FlagError::RevisionRemoved),
        Some(number) => Err(FlagError::RevisionTooHigh(number.unwrap_or(u32::MAX))),
    }
}

pub(super) fn blocks_per_group(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let blocks = number(&value).ok_or_else(|| FlagValue::BlocksPerGroup.is_not(&value))?;
    if blocks % 8 != 0 {
        return Err(FlagError::BlocksPerGroup(blocks));
    }
    request.blocks_per_group = Some(u32::try_from(blocks).unwrap_or(u32::MAX));
    Ok(())
}

pub(super) fn groups_per_flex(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let groups = number(&value).ok_or_else(|| FlagValue::FlexSize.is_not(&value))?;
    let narrow = u32::try_from(groups).map_err(|_| SettingsErrorKind::GroupsPerFlex(groups));
    let narrow = narrow.map_err(FlagValue::FlexSize.is_refused(&value))?;
    request.options.groups_per_flex(narrow);
    judged(request, FlagValue::FlexSize, &value)
}

pub(super) fn errors(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let errors = match value.as_str() {
        "continue" => Errors::Continue,
        "remount-ro" => Errors::RemountReadOnly,
        "panic" => Errors::Panic,
        _ => return Err(FlagValue::Errors.is_not(&value)),
    };
    request.options.errors(errors);
    Ok(())
}

pub(super) fn threads(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    let value = text(value);
    let threads = value.parse().or_else(|_| {
        own(format!(
            "invalid number of threads '{value}': must be at least 1"
        ))
    })?;
    request.threads = Some(threads);
    Ok(())
}

pub(super) fn source(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    // mke2fs fills from the last alone.
    if request.interface == Interface::Mke2fs {
        request.sources.clear();
    }
    request.sources.push(value.to_owned());
    Ok(())
}

pub(super) fn features(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.features.push(text(value));
    Ok(())
}

pub(super) fn with_journal(request: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    request.journal = request.journal.or(Some(JournalLength::ByFilesystem));
    Ok(())
}

pub(super) fn creator_os(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.options.creator_os(text(value));
    Ok(())
}

pub(super) fn super_only(request: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    request.options.super_only();
    if request.interface == Interface::Mke4fs {
        // mke2fs discards what shall be rescued.
        request.options.keep_old_data();
    }
    Ok(())
}

pub(super) fn no_discard(request: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    if request.interface == Interface::Mke2fs {
        request.warnings.push(messages::K_IS_DEPRECATED.to_owned());
    }
    request.options.keep_old_data();
    Ok(())
}

pub(super) fn extended_by_old_name(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    if request.interface == Interface::Mke2fs {
        let program = &request.program;
        request.warnings.push(messages::r_is_deprecated(program));
    }
    extended(request, value)
}

pub(super) fn sparse_super(_: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    Err(FlagError::SparseSuperRemoved)
}

pub(super) fn bad_blocks(_: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    Err(FlagError::NotSupported("-c"))
}

pub(super) fn bad_blocks_file(_: &mut Request, _: &OsStr) -> Result<(), FlagError> {
    Err(FlagError::NotSupported("-l"))
}

pub(super) fn format(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.form.read_format(value).map_err(FlagError::Own)
}

pub(super) fn compress(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.form.read_compression(value).map_err(FlagError::Own)
}

pub(super) fn verity(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.form.read_verity(value).map_err(FlagError::Own)
}

pub(super) fn verity_salt(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.form.read_salt(value).map_err(FlagError::Own)
}

pub(super) fn verity_uuid(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.form.read_uuid(value).map_err(FlagError::Own)
}

pub(super) fn root_hash_file(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request
        .form
        .read_root_hash_file(value)
        .map_err(FlagError::Own)
}

pub(super) fn bmap(request: &mut Request, value: &OsStr) -> Result<(), FlagError> {
    request.form.read_bmap(value).map_err(FlagError::Own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::{Flag, flags};
    use crate::options::Options;

    fn flag(name: &str) -> &'static Flag {
        let named = |flag: &&Flag| flag.name() == name;
        flags().find(named).expect("there is such a flag")
    }

    fn given(interface: Interface, flags: &[(&str, &str)]) -> Result<Request, FlagError> {
        let mut request = Request::new(interface, "mke2fs");
        for (name, value) in flags {
            (flag(name).read)(&mut request, OsStr::new(value))?;
        }
        Ok(request)
    }

    /// The options that the flags make, against those that `ask` makes.
    fn makes(flags: &[(&str, &str)], ask: fn(&mut Options) -> &mut Options) {
        let mut options = Options::new();
        ask(&mut options);
        let request = given(Interface::Mke2fs, flags).expect("the flags can be read");
        assert_eq!(request.finished(), options, "{flags:?}");
    }

    #[test]
    fn flags_become_options() {
        makes(&[("L", "label")], |o| o.label("label"));
        makes(&[("U", "01234567-89ab-4def-8123-456789abcdef")], |o| {
            o.uuid(0x0123_4567_89ab_4def_8123_4567_89ab_cdef_u128.to_be_bytes())
        });
        makes(&[("U", "Clear")], |o| o.uuid([0; 16]));
        makes(&[("U", "time")], |o| o.uuid_of_the_time());
        makes(&[("U", "clear"), ("U", "random")], |o| o.random_uuid());
        makes(&[("t", "ext4")], |o| o.fs_type("ext4"));
        makes(&[("T", "news,big")], |o| o.usage_types("news,big"));
        makes(&[("O", "mmp"), ("O", "^extent")], |o| {
            o.features("mmp,^extent")
        });
        makes(&[("E", "stride=4"), ("E", "discard")], |o| {
            o.extended("discard")
        });
        makes(&[("b", "4k")], |o| o.block_size(4096));
        makes(&[("b", "3000")], |o| o.block_size(2048));
        makes(&[("b", "-2048")], |o| o.block_size_at_least(2048));
        makes(&[("I", "256")], |o| o.inode_size(256));
        makes(&[("I", "256"), ("I", "0")], |o| o);
        makes(&[("i", "8k")], |o| o.inode_ratio(8192));
        makes(&[("N", "5000")], |o| o.inodes_count(5000));
        makes(&[("N", "0")], |o| o);
        makes(&[("m", "12.5")], |o| o.reserved_percent(12.5));
        makes(&[("J", "size=4,size=8")], |o| o.journal_mebibytes(8));
        makes(&[("J", "size=0")], |o| o);
        makes(&[("g", "8192")], |o| o.blocks_per_group(8192));
        makes(&[("G", "64")], |o| o.groups_per_flex(64));
        makes(&[("e", "remount-ro")], |o| {
            o.errors(Errors::RemountReadOnly)
        });
        makes(&[("M", "/mnt")], |o| o.last_mounted("/mnt"));
        makes(&[("F", ""), ("F", "")], |o| o.force());
        makes(&[("n", "")], |o| o.dry_run());
    }

    #[test]
    fn flags_of_the_command_are_noted() {
        let request = given(
            Interface::Mke4fs,
            &[
                ("d", "dir"),
                ("keep-root", ""),
                ("sync", ""),
                ("threads", "3"),
                ("json", ""),
                ("q", ""),
                ("v", ""),
                ("V", ""),
                ("F", ""),
                ("F", ""),
            ],
        )
        .expect("the flags can be read");
        assert_eq!(request.sources, ["dir"]);
        assert_eq!(request.threads.map(std::num::NonZero::get), Some(3));
        assert_eq!(request.force, 2);
        let noted = [
            request.keep_root,
            request.sync,
            request.json,
            request.quiet,
            request.verbose,
            request.version,
        ];
        assert!(noted.iter().all(|noted| *noted));
    }

    #[test]
    fn sources_add_up_but_for_mke2fs() {
        let sources = |interface| given(interface, &[("d", "a"), ("d", "b")]).map(|r| r.sources);
        assert_eq!(
            sources(Interface::Mke4fs).ok(),
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(sources(Interface::Mke2fs).ok(), Some(vec!["b".into()]));
    }

    #[test]
    fn sizes_are_exact_or_by_the_content() {
        for (value, wish) in [
            ("min", SizeArg::By(Fit::Minimum)),
            ("auto", SizeArg::By(Fit::Auto)),
            ("+512M", SizeArg::By(Fit::Available(512 << 20))),
            ("+20%", SizeArg::By(Fit::AvailablePercent(20))),
            ("64M", SizeArg::Exactly(Size::Kibibytes(64 << 10))),
        ] {
            let request = given(Interface::Mke4fs, &[("size", value)]);
            assert_eq!(request.expect("it can be read").size, Some(wish), "{value}");
        }
        for value in ["", "0", "+", "+5", "+x%", "-5M", "1.5M", "max"] {
            let fault = FlagError::Own(bad_size(value));
            let request = given(Interface::Mke4fs, &[("size", value)]);
            assert_eq!(request.err(), Some(fault), "{value}");
        }
    }

    #[test]
    fn mke2fs_warns_where_we_refuse() {
        let flags = [("L", "seventeen bytes !"), ("b", "8192")];
        let request = given(Interface::Mke2fs, &flags).expect("the flags can be read");
        assert_eq!(
            request.warnings,
            [
                messages::label_truncated("seventeen bytes "),
                messages::block_size_not_usable(8192)
            ]
        );
        let refused = FlagError::Own(SettingsErrorKind::LabelTooLong(17).to_string());
        assert_eq!(given(Interface::Mke4fs, &flags).err(), Some(refused));
        let request = given(Interface::Mke4fs, &flags[1..]).expect("the flag can be read");
        assert!(request.warnings.is_empty());
    }

    #[test]
    fn values_that_cannot_be_are_told() {
        for (name, value) in [
            ("b", "1023"),
            ("b", "131072"),
            ("b", "x"),
            ("I", "x"),
            ("i", "1023"),
            ("i", "67108865"),
            ("N", "x"),
            ("m", "-1"),
            ("m", "50.1"),
            ("m", "nan"),
            ("g", "x"),
            ("g", "7"),
            ("G", "0"),
            ("G", "3"),
            ("G", "4294967296"),
            ("threads", "0"),
        ] {
            let fault = given(Interface::Mke2fs, &[(name, value)]).err();
            assert!(fault.is_some(), "{name} {value}");
        }
        for twice in ["t", "T"] {
            let letter = twice.chars().next().expect("it is a letter");
            let fault = given(Interface::Mke2fs, &[(twice, "ext4"), (twice, "ext4")]).err();
            assert_eq!(fault, Some(FlagError::Twice(letter)));
        }
        let fault = given(Interface::Mke2fs, &[("e", "x")]).err();
        assert_eq!(fault, Some(FlagValue::Errors.is_not("x")));
        for value in ["size", "size=x", "size=1,x=2"] {
            let fault = given(Interface::Mke2fs, &[("J", value)]).err();
            assert!(
                matches!(fault, Some(FlagError::JournalOption(_))),
                "{value}"
            );
        }
    }

    #[test]
    fn what_a_later_version_takes_is_refused_by_name() {
        for name in ["c", "l"] {
            let fault = given(Interface::Mke4fs, &[(name, "1")]).err();
            assert!(matches!(fault, Some(FlagError::NotSupported(_))), "{name}");
        }
    }

    /// getopt's string in mke2fs 1.47.2.
    #[test]
    fn every_letter_of_mke2fs_is_known() {
        let letters = "b:cd:e:g:i:jl:m:no:qr:s:t:vC:DE:FG:I:J:KL:M:N:O:R:ST:U:Vz:";
        let letters: Vec<char> = letters.chars().collect();
        for (index, letter) in letters.iter().enumerate() {
            if *letter != ':' {
                let takes_value = letters.get(index + 1) == Some(&':');
                let flag = flag(&letter.to_string());
                assert_eq!(flag.value.is_some(), takes_value, "{letter}");
            }
        }
    }
}
