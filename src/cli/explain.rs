//! Given options, says of each feature whether it is on, why, who takes it and what it costs; never makes a
//! filesystem.

use std::fmt::Write;

use super::request::Request;
use crate::feature::{Feature, FeatureSet};
use crate::options::{CompatTarget, Environment, Options, SettingsError, Size, Verdict};

/// What is said of `request`, for a filesystem of `size` if that is known.
pub(super) fn explained(request: &Request, size: Option<Size>) -> Result<String, SettingsError> {
    let host = Environment::detect();
    let options = sized(request.finished(), size);
    let settings = options.resolve(&host)?.settings;
    let plain = options.without_feature_options().resolve(&host)?.settings;
    let reasons = Reasons {
        options: &options,
        on: settings.features,
        plain: plain.features,
    };
    let mut text = String::new();
    for feature in Feature::ALL {
        let is_on = if settings.features.has(*feature) {
            "on "
        } else {
            "off"
        };
        let name = feature.name();
        put(
            &mut text,
            format_args!("{name:<20} {is_on} {}\n", reasons.of(*feature)),
        );
        let (takes, cost) = (who_takes(*feature), cost(*feature));
        put(&mut text, format_args!("{:24} {takes}; {cost}\n", ""));
    }
    Ok(text)
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what)
        .expect("writing to a string never fails");
}

fn sized(mut options: Options, size: Option<Size>) -> Options {
    match size {
        Some(size) => {
            options.size(size);
            options
        }
        None => options.of_any_size(),
    }
}

/// What is needed to say why a feature is on or off.
struct Reasons<'a> {
    options: &'a Options,
    on: FeatureSet,
    /// What is on if no feature is asked for and no target named.
    plain: FeatureSet,
}

impl Reasons<'_> {
    fn of(&self, feature: Feature) -> String {
        if self.on.has(feature) {
            self.on(feature).to_owned()
        } else {
            self.off(feature)
        }
    }

    fn on(&self, feature: Feature) -> &'static str {
        if self.options.asked_features().has(feature) {
            "asked for"
        } else if self.plain.has(feature) {
            "by default"
        } else if feature == Feature::GdtCsum && self.plain.has(Feature::MetadataCsum) {
            "instead of metadata_csum"
        } else {
            "needed by another option"
        }
    }

    fn off(&self, feature: Feature) -> String {
        if self.options.leaves_out(feature) {
            return "left out by -O".to_owned();
        }
        let strictest = self.options.strictest(feature);
        if let Some((target, verdict)) = strictest.filter(|(_, verdict)| *verdict != Verdict::Takes)
            && (self.plain.has(feature) || !verdict.suits())
        {
            return format!("{} {}", target.name(), verdict.words());
        }
        if self.plain.has(feature) {
            "a feature that it needs or replaces is not the default".to_owned()
        } else {
            "not by default".to_owned()
        }
    }
}

/// The first kernel and the first versions of tools that take a feature.
fn who_takes(feature: Feature) -> String {
    let first = |tool: &str, prefix: &str| {
        let mut versions = CompatTarget::all().filter_map(|target| {
            let version = target.name().strip_prefix(prefix)?;
            (target.verdict(feature) == Verdict::Takes).then_some(version)
        });
        versions.next().map_or_else(
            || format!("no {tool}"),
            |version| format!("{tool} {version}"),
        )
    };
    let (e2fsck, grub) = (first("e2fsck", "e2fsck-"), first("GRUB", "grub-"));
    format!("Linux {}, {e2fsck}, {grub}", feature.kernel())
}

/// What a feature costs, or saves.
fn cost(feature: Feature) -> &'static str {
    match feature {
        Feature::HasJournal => "takes 4 MiB to 1 GiB, and metadata is written twice",
        Feature::ExtAttr | Feature::Filetype | Feature::LargeFile | Feature::HugeFile => {
            "costs nothing"
        }
        Feature::ResizeInode => {
            "takes up to a block of descriptors per block of them, in each group with a copy"
        }
        Feature::DirIndex => {
            "large directories take a few blocks more, and names are found in them at once"
        }
        Feature::SparseSuper2 => "saves all copies of the superblock but two",
        Feature::FastCommit => "takes a 64th of the journal, and makes fsync faster",
        Feature::StableInodes => "the filesystem cannot shrink",
        Feature::OrphanFile => {
            "takes 32 blocks to 2 MiB, and avoids contention when files are deleted"
        }
        Feature::JournalDev => "the filesystem holds no files",
        Feature::MetaBg => "spreads descriptors, and allows growing without reserved blocks",
        Feature::Extent => "saves nearly all mapping blocks of large files",
        Feature::SixtyFourBit => "takes 32 bytes more for each group; needed above 16 TiB",
        Feature::Mmp => "takes a block, and each mount waits some seconds",
        Feature::FlexBg => "costs nothing, and keeps metadata together",
        Feature::EaInode => "an inode and blocks for each large extended attribute value",
        Feature::MetadataCsumSeed => "costs nothing; the UUID can change while mounted",
        Feature::LargeDir => "costs nothing until a directory is above 2 GiB",
        Feature::InlineData => "saves a block for each file below about 160 bytes",
        Feature::Encrypt | Feature::Verity => "costs nothing until a file uses it",
        Feature::Casefold => {
            "names in such directories are compared by Unicode rules, which is slower"
        }
        Feature::SparseSuper => "saves most copies of superblock and descriptors",
        Feature::GdtCsum => "costs nothing, and keeps unused inode tables unwritten",
        Feature::DirNlink => "costs nothing until a directory has 65,000 subdirectories",
        Feature::ExtraIsize => "costs nothing with inodes of 256 bytes",
        Feature::Quota => {
            "takes some blocks for usage files, which each change of owner or size updates"
        }
        Feature::Bigalloc => "small files take a whole cluster, and bitmaps are smaller",
        Feature::MetadataCsum => {
            "takes 12 bytes of each directory block, and a checksum for each change"
        }
        Feature::Project => "takes inodes of 256 bytes",
    }
}
