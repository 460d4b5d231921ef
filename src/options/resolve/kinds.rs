//! Given options and a profile, chooses the types whose rules apply, and the features; never a size.

use std::borrow::Cow;

use super::length::Length;
use super::{Asked, Warn, check_percent};
use crate::feature::{Feature, FeatureSet};
use crate::options::error::{ConfError, SettingsErrorKind, SettingsWarningKind};
use crate::options::features::{edit_features, edit_mount_options};
use crate::options::profile::{Profile, Rules};
use crate::options::{Options, TypeOption};

/// `EXT2_OS_HURD`.
const HURD: u32 = 1;

/// What the Hurd does not know, in the order in which mke2fs looks for it.
const NOT_ON_HURD: [Feature; 4] = [
    Feature::Filetype,
    Feature::HugeFile,
    Feature::MetadataCsum,
    Feature::EaInode,
];

/// `s_creator_os` of the operating system called `name`, which may be a number.
pub(super) fn creator(name: &str) -> Option<u32> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = name.trim_start_matches('0');
        let end = digits.find(|c: char| !c.is_ascii_digit());
        let digits = &digits[..end.unwrap_or(digits.len())];
        return Some(digits.parse().unwrap_or(0));
    }
    match name.to_ascii_lowercase().as_str() {
        "linux" => Some(0),
        "gnu" | "hurd" => Some(HURD),
        "freebsd" => Some(3),
        "lites" => Some(4),
        _ => None,
    }
}

/// The profile, and the types whose rules apply: later ones go before earlier ones.
pub(super) struct Choice {
    pub(super) profile: Profile,
    pub(super) types: Vec<String>,
    /// The operating system that claims the filesystem, if one is named.
    pub(super) creator_os: Option<String>,
    for_hurd: bool,
}

impl Choice {
    /// Chooses the types as `parse_fs_type` does.
    pub(super) fn new(
        asked: Asked<'_>,
        length: &Length,
        profile: Profile,
        warn: Warn<'_>,
    ) -> Result<Self, SettingsErrorKind> {
        let Asked { options, host } = asked;
        let own = |text: &Option<Cow<'static, str>>| text.as_deref().map(str::to_owned);
        let device = profile.device(&host.target.path.to_string_lossy());
        let creator_os = options
            .creator_os
            .clone()
            .or_else(|| own(&profile.defaults.creator_os));
        let for_hurd = creator_os
            .as_deref()
            .is_some_and(|name| creator(name) == Some(HURD));
        let by_device = || device.and_then(|rules| own(&rules.fs_type));
        let by_hurd = || for_hurd.then(|| "ext2".to_owned());
        let fs_type = match &options.fs_type {
            Some(TypeOption::Named(name)) => name.clone(),
            None => by_hurd().unwrap_or_else(|| "ext4".to_owned()),
            Some(TypeOption::ByProgram(name)) => {
                by_device().or_else(by_hurd).unwrap_or_else(|| name.clone())
            }
            Some(TypeOption::ByConf) => by_device()
                .or_else(by_hurd)
                .or_else(|| own(&profile.defaults.fs_type))
                .unwrap_or_else(|| match options.journal {
                    Some(_) => "ext3".to_owned(),
                    None => "ext2".to_owned(),
                }),
        };
        if profile.fs_type(&fs_type).is_none() && fs_type != "ext2" {
            if !options.force {
                return Err(SettingsErrorKind::TypeUndefined(fs_type));
            }
            warn(SettingsWarningKind::TypeUndefined(fs_type.clone()));
        }
        let usage_types = options
            .usage_types
            .clone()
            .or_else(|| device.and_then(|rules| own(&rules.usage_types)))
            .unwrap_or_else(|| size_type(length).to_owned());
        let mut types = vec![fs_type];
        for name in usage_types.split(',').filter(|name| !name.is_empty()) {
            if profile.fs_type(name).is_some() {
                types.push(name.to_owned());
            } else if name != "default" {
                warn(SettingsWarningKind::UsageUndefined(name.to_owned()));
            }
        }
        if for_hurd {
            types.push("hurd".to_owned());
        }
        Ok(Self {
            profile,
            types,
            creator_os,
            for_hurd,
        })
    }

    pub(super) fn find<T>(&self, relation: impl Fn(&Rules) -> Option<T>) -> Option<T> {
        self.profile.find(&self.types, relation)
    }

    pub(super) fn text(&self, relation: impl Fn(&Rules) -> Option<&str>) -> Option<&str> {
        self.profile.find(&self.types, relation)
    }

    /// The features of the rules.
    fn own_features(&self) -> Result<FeatureSet, SettingsErrorKind> {
        let base = self
            .text(|rules| rules.base_features.as_deref())
            .unwrap_or("sparse_super,large_file,filetype,resize_inode,dir_index");
        let mut set = edit_features(FeatureSet::EMPTY, base)?;
        for name in &self.types {
            let rules = self.profile.fs_type(name);
            if let Some(text) = rules.and_then(|rules| rules.features.as_deref()) {
                set = edit_features(set, text)?;
            }
        }
        Ok(set)
    }

    /// The features of the rules, edited as the options ask.
    pub(super) fn features(&self, options: &Options) -> Result<FeatureSet, SettingsErrorKind> {
        let mut set = match options.inherited_features() {
            Some(inherited) => inherited,
            None => self.own_features()?,
        };
        if self.for_hurd {
            let unknown = NOT_ON_HURD.iter().chain(&[Feature::Casefold]);
            set = unknown.fold(set, |set, feature| set.without(*feature));
        }
        if options.features.is_empty()
            && options.inherited_features().is_none()
            && let Some(text) = self.text(|rules| rules.default_features.as_deref())
        {
            set = edit_features(set, text)?;
        }
        let mut before = set;
        if options.inherited_features().is_some() {
            // What the type has by default was nobody's wish when the base was made either.
            before = self.own_features()?.iter().fold(before, FeatureSet::with);
        }
        for wish in &options.features {
            set = wish.edit(set)?;
        }
        // A feature that came by default goes without a word when what it needs was taken away.
        for (feature, needs) in [
            (Feature::OrphanFile, Feature::HasJournal),
            (Feature::MetadataCsumSeed, Feature::MetadataCsum),
        ] {
            if before.has(feature) && !set.has(needs) {
                set = set.without(feature);
            }
        }
        let unknown = NOT_ON_HURD.iter().find(|feature| set.has(**feature));
        match unknown.filter(|_| self.for_hurd) {
            Some(feature) => Err(SettingsErrorKind::NotOnHurd(*feature)),
            None => Ok(set),
        }
    }

    pub(super) fn mount_options(&self) -> Result<u32, SettingsErrorKind> {
        let text = self
            .text(|rules| rules.default_mntopts.as_deref())
            .unwrap_or("acl,user_xattr");
        edit_mount_options(0, text)
            .ok_or_else(|| SettingsErrorKind::Conf(ConfError::MountOptions(text.to_owned())))
    }

    pub(super) fn reserved_percent(&self, options: &Options) -> Result<f64, SettingsErrorKind> {
        let by_rules = || {
            if options.is_for_reading() {
                0.0
            } else {
                self.find(|rules| rules.reserved_ratio).unwrap_or(5.0)
            }
        };
        check_percent(options.reserved_percent.unwrap_or_else(by_rules))
    }
}

/// The usage type that mke2fs chooses by the length.
fn size_type(length: &Length) -> &'static str {
    let mebibyte = 1024 >> length.log_unit;
    match length.units / mebibyte {
        0..3 => "floppy",
        3..512 => "small",
        512..0x40_0000 => "default",
        0x40_0000..0x100_0000 => "big",
        _ => "huge",
    }
}
