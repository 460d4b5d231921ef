//! Given the name of a program that shall read a filesystem, says which features it takes; never whether a
//! filesystem is to have one.
//!
//! One row per target. What a row says was read in the sources that it names; docs/compatibility.md has the
//! places, and which of them a program has confirmed. Where a target is made of others, the strictest counts.

use crate::feature::{Feature, FeatureSet, Word};

/// What a target makes of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// It knows it, or has no need to.
    Takes,
    /// It does not know it, and goes on as if it were not there.
    Ignores,
    /// It would take it, and is better off without.
    Avoids,
    /// It reads the filesystem and does not write to it.
    ReadsOnly,
    /// It refuses the filesystem, or reads it wrongly.
    Refuses,
}

impl Verdict {
    /// Whether a filesystem with the feature is of full use.
    pub fn suits(self) -> bool {
        self < Self::ReadsOnly
    }

    /// What the target does with the feature, in words that follow its name.
    pub fn words(self) -> &'static str {
        match self {
            Self::Takes => "supports it",
            Self::Ignores => "ignores it",
            Self::Avoids => "supports it, but works better without it",
            Self::ReadsOnly => "mounts it read-only",
            Self::Refuses => "refuses it",
        }
    }
}

/// A program, or several, that shall read the filesystem.
///
/// ```
/// use mke4fs::feature::Feature;
/// use mke4fs::options::{CompatTarget, Verdict};
///
/// let grub = CompatTarget::from_name("grub-2.06").expect("it is known");
/// assert_eq!(grub.verdict(Feature::Extent), Verdict::Takes);
/// assert_eq!(grub.verdict(Feature::MetadataCsumSeed), Verdict::Refuses);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompatTarget(&'static Row);

/// What a target is and takes.
#[derive(Debug, PartialEq)]
struct Row {
    name: &'static str,
    about: &'static str,
    /// The features by name that it takes.
    takes: &'static str,
    avoids: &'static str,
    /// What it makes of others, by their word: compatible, incompatible, read-only compatible.
    others: [Verdict; 3],
    /// Other targets that have to take a feature as well.
    parts: &'static [&'static str],
}

use Verdict::{Avoids, Ignores, ReadsOnly, Refuses, Takes};

/// A kernel's: `ext4_feature_set_ok` of fs/ext4/super.c asks for the last two words alone.
const KERNEL: [Verdict; 3] = [Ignores, Refuses, ReadsOnly];
/// e2fsck's: `ext2fs_open2` of lib/ext2fs/openfs.c asks for two of the words, and e2fsck/unix.c for the third.
const E2FSCK: [Verdict; 3] = [Refuses, Refuses, Refuses];
/// Those of what never writes: only what is incompatible keeps it from reading.
const READER: [Verdict; 3] = [Takes, Refuses, Takes];

const fn row(
    name: &'static str,
    about: &'static str,
    others: [Verdict; 3],
    takes: &'static str,
) -> Row {
    Row {
        name,
        about,
        takes,
        avoids: "",
        others,
        parts: &[],
    }
}

const fn all_of(name: &'static str, about: &'static str, parts: &'static [&'static str]) -> Row {
    Row {
        name,
        about,
        takes: "",
        avoids: "",
        others: [Takes; 3],
        parts,
    }
}

/// In the order of help.
const ROWS: &[Row] = &[
    // EXT4_FEATURE_INCOMPAT_SUPP and _RO_COMPAT_SUPP of fs/ext4/ext4.h, and what ext4(5) says of the
    // compatible ones, of which a kernel has no list.
    row(
        "linux-2.6.32",
        "Linux 2.6.32",
        KERNEL,
        "has_journal ext_attr resize_inode dir_index filetype \
        meta_bg extent 64bit flex_bg sparse_super large_file uninit_bg dir_nlink extra_isize huge_file",
    ),
    Row {
        // The kernel has metadata_csum in its list; ext4(5) says from 3.18.
        avoids: "metadata_csum",
        ..row(
            "linux-3.10",
            "Linux 3.10",
            KERNEL,
            "has_journal ext_attr resize_inode dir_index filetype \
            meta_bg extent 64bit flex_bg mmp inline_data sparse_super large_file uninit_bg dir_nlink \
            extra_isize huge_file bigalloc quota",
        )
    },
    row(
        "linux-4.14",
        "Linux 4.14",
        KERNEL,
        "has_journal ext_attr resize_inode dir_index sparse_super2 \
        filetype meta_bg extent 64bit flex_bg mmp inline_data ea_inode encrypt metadata_csum_seed large_dir \
        sparse_super large_file uninit_bg dir_nlink extra_isize huge_file bigalloc quota metadata_csum \
        project",
    ),
    row(
        "linux-5.4",
        "Linux 5.4",
        KERNEL,
        "has_journal ext_attr resize_inode dir_index sparse_super2 \
        filetype meta_bg extent 64bit flex_bg mmp inline_data ea_inode encrypt metadata_csum_seed large_dir \
        casefold sparse_super large_file uninit_bg dir_nlink extra_isize huge_file bigalloc quota \
        metadata_csum project verity",
    ),
    all_of(
        "rhel7",
        "Red Hat Enterprise Linux 7: Linux 3.10, e2fsprogs 1.42",
        &["linux-3.10", "e2fsck-1.42"],
    ),
    all_of(
        "rhel8",
        "Red Hat Enterprise Linux 8: Linux 4.18, e2fsprogs 1.44 and later",
        &["linux-4.14", "e2fsck-1.44"],
    ),
    all_of(
        "rhel9",
        "Red Hat Enterprise Linux 9: Linux 5.14, e2fsprogs 1.46",
        &["linux-5.4", "e2fsck-1.46"],
    ),
    // EXT2_DRIVER_SUPPORTED_INCOMPAT and _IGNORED_INCOMPAT of grub-core/fs/ext2.c, by tag.
    row(
        "grub-2.04",
        "GRUB 2.04, for the filesystem that it boots from",
        READER,
        "filetype extent flex_bg meta_bg 64bit encrypt mmp",
    ),
    row(
        "grub-2.06",
        "GRUB 2.06, for the filesystem that it boots from",
        READER,
        "filetype extent flex_bg meta_bg 64bit encrypt mmp",
    ),
    row(
        "grub-2.12",
        "GRUB 2.12, for the filesystem that it boots from",
        READER,
        "filetype extent flex_bg meta_bg 64bit encrypt mmp metadata_csum_seed large_dir",
    ),
    // EXT4_FEATURE_INCOMPAT_SUPP and _SUPP_LAZY_RO of include/ext4fs.h. What is in neither is read all the
    // same, perhaps wrongly, and said to be.
    row(
        "u-boot",
        "U-Boot 2025.01 and later, for the filesystem that it reads",
        READER,
        "filetype extent 64bit flex_bg mmp metadata_csum_seed encrypt",
    ),
    // EXT2_LIB_FEATURE_*_SUPP of lib/ext2fs/ext2fs.h, of the first version of each series. quota depended on
    // how 1.42 was built.
    row(
        "e2fsck-1.42",
        "e2fsck 1.42",
        E2FSCK,
        "has_journal ext_attr resize_inode dir_index filetype \
        journal_dev meta_bg extent flex_bg mmp 64bit sparse_super huge_file large_file dir_nlink extra_isize \
        uninit_bg bigalloc",
    ),
    row(
        "e2fsck-1.43",
        "e2fsck 1.43",
        E2FSCK,
        "has_journal ext_attr resize_inode dir_index sparse_super2 \
        filetype journal_dev meta_bg extent flex_bg mmp 64bit inline_data encrypt metadata_csum_seed \
        sparse_super huge_file large_file dir_nlink extra_isize uninit_bg bigalloc quota metadata_csum \
        project readonly",
    ),
    row(
        "e2fsck-1.44",
        "e2fsck 1.44",
        E2FSCK,
        "has_journal ext_attr resize_inode dir_index sparse_super2 \
        filetype journal_dev meta_bg extent flex_bg ea_inode mmp 64bit inline_data encrypt \
        metadata_csum_seed large_dir sparse_super huge_file large_file dir_nlink extra_isize uninit_bg \
        bigalloc quota metadata_csum project readonly",
    ),
    row(
        "e2fsck-1.45",
        "e2fsck 1.45",
        E2FSCK,
        "has_journal ext_attr resize_inode dir_index sparse_super2 \
        filetype journal_dev meta_bg extent flex_bg ea_inode mmp 64bit inline_data encrypt casefold \
        metadata_csum_seed large_dir sparse_super huge_file large_file dir_nlink extra_isize uninit_bg \
        bigalloc quota metadata_csum project verity readonly shared_blocks",
    ),
    row(
        "e2fsck-1.46",
        "e2fsck 1.46",
        E2FSCK,
        "has_journal ext_attr resize_inode dir_index sparse_super2 \
        fast_commit stable_inodes filetype journal_dev meta_bg extent flex_bg ea_inode mmp 64bit inline_data \
        encrypt casefold metadata_csum_seed large_dir sparse_super huge_file large_file dir_nlink \
        extra_isize uninit_bg bigalloc quota metadata_csum project verity readonly shared_blocks",
    ),
    row(
        "e2fsck-1.47",
        "e2fsck 1.47",
        E2FSCK,
        "has_journal ext_attr resize_inode dir_index sparse_super2 \
        fast_commit stable_inodes orphan_file filetype journal_dev meta_bg extent flex_bg ea_inode mmp 64bit \
        inline_data encrypt casefold metadata_csum_seed large_dir sparse_super huge_file large_file \
        dir_nlink extra_isize uninit_bg bigalloc quota metadata_csum project verity readonly shared_blocks \
        orphan_present",
    ),
    // The mke2fs.conf of Android's system/extras/ext4_utils, and what its tools turn on for userdata.
    row(
        "android",
        "Android: the features of its own mke2fs.conf, and those that userdata may have",
        [Avoids; 3],
        "has_journal ext_attr dir_index filetype extent sparse_super large_file huge_file dir_nlink \
         extra_isize uninit_bg encrypt verity casefold quota project stable_inodes",
    ),
    // core/fs/ext2/ext2.c: descriptors of 32 bytes, all of them behind the first superblock. Commit af7e95c3
    // of 2017, after 6.03, reads larger ones.
    row(
        "syslinux",
        "EXTLINUX of Syslinux 6.03, for the filesystem that it boots from",
        READER,
        "filetype extent flex_bg mmp ea_inode metadata_csum_seed large_dir",
    ),
    // EXT4_FEATURE_INCOMPAT_SUPP and _RO_COMPAT_SUPP of Ext4Fsd/include/linux/ext4.h.
    row(
        "ext4fsd",
        "Ext4Fsd, a driver for Windows",
        [Ignores, Refuses, ReadsOnly],
        "has_journal ext_attr \
        resize_inode dir_index sparse_super2 filetype meta_bg extent 64bit flex_bg casefold \
        metadata_csum_seed sparse_super large_file uninit_bg dir_nlink extra_isize huge_file metadata_csum",
    ),
    // Nobody's list: what only a filesystem that is written needs.
    row(
        READ_ONLY,
        "An image that is never written to: no journal, no reserved blocks, and as few inodes as possible",
        [Takes; 3],
        "",
    ),
];

const READ_ONLY: &str = "read-only";

/// What only a filesystem that is written has use for.
const FOR_WRITING: &[Feature] = &[
    Feature::HasJournal,
    Feature::ResizeInode,
    Feature::OrphanFile,
    Feature::FastCommit,
    Feature::Quota,
    Feature::Mmp,
];

/// Bits that no filesystem is made with, by the name that dumpe2fs has for them.
const OTHER_BITS: &[(Word, u32, &str)] = &[
    (Word::Compat, 0x1, "dir_prealloc"),
    (Word::Compat, 0x2, "imagic_inodes"),
    (Word::Compat, 0x40, "lazy_bg"),
    (Word::Incompat, 0x1, "compression"),
    (Word::Incompat, 0x4, NEEDS_RECOVERY),
    (Word::Incompat, 0x1000, "dirdata"),
    (Word::RoCompat, 0x80, "has_snapshot"),
    (Word::RoCompat, 0x800, "replica"),
    (Word::RoCompat, 0x1000, "readonly"),
    (Word::RoCompat, 0x4000, "shared_blocks"),
    (Word::RoCompat, 0x1_0000, "orphan_present"),
];

/// A journal to replay, which all that know journals do and all others leave alone.
const NEEDS_RECOVERY: &str = "needs_recovery";

impl CompatTarget {
    /// Every target, in the order of help.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// The target that `--compat` calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|target| target.name() == name)
    }

    /// The name that `--compat` takes.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What it is, in one line.
    pub fn about(self) -> &'static str {
        self.0.about
    }

    /// What it makes of a feature.
    pub fn verdict(self, feature: Feature) -> Verdict {
        if self.0.name == READ_ONLY && FOR_WRITING.contains(&feature) {
            return Refuses;
        }
        self.verdict_by_name(feature.name(), feature.word())
    }

    /// What it makes of a bit of a superblock, whoever set it.
    pub fn verdict_of_bit(self, word: Word, bit: u32) -> Verdict {
        match feature_of(word, bit) {
            Some(feature) => self.verdict(feature),
            None => self.verdict_by_name(&name_of_bit(word, bit), word),
        }
    }

    fn verdict_by_name(self, name: &str, word: Word) -> Verdict {
        let lists = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
        let others = match word {
            Word::Compat => self.0.others[0],
            Word::Incompat => self.0.others[1],
            Word::RoCompat => self.0.others[2],
        };
        let own = if lists(self.0.takes) || name == NEEDS_RECOVERY {
            Takes
        } else if lists(self.0.avoids) {
            Avoids
        } else {
            others
        };
        let parts = self.0.parts.iter().filter_map(|part| Self::from_name(part));
        parts
            .map(|part| part.verdict_by_name(name, word))
            .fold(own, Verdict::max)
    }

    /// Whether nobody will write to the filesystem.
    pub(super) fn is_read_only(self) -> bool {
        self.0.name == READ_ONLY
    }
}

fn feature_of(word: Word, bit: u32) -> Option<Feature> {
    let mut all = Feature::ALL.iter().copied();
    all.find(|feature| feature.word() == word && feature.bit() == bit)
}

/// What a bit of a superblock is called: as dumpe2fs calls it, where nobody has a name for it by its word and
/// number.
pub fn name_of_bit(word: Word, bit: u32) -> String {
    if let Some(feature) = feature_of(word, bit) {
        return feature.name().to_owned();
    }
    let other = OTHER_BITS
        .iter()
        .find(|(of, known, _)| *of == word && *known == bit);
    match other {
        Some((_, _, name)) => (*name).to_owned(),
        None => {
            let letter = match word {
                Word::Compat => 'C',
                Word::Incompat => 'I',
                Word::RoCompat => 'R',
            };
            format!("FEATURE_{letter}{}", bit.trailing_zeros())
        }
    }
}

/// The strictest of `targets` about a feature.
pub(super) fn strictest(
    targets: &[CompatTarget],
    feature: Feature,
) -> Option<(CompatTarget, Verdict)> {
    let verdicts = targets
        .iter()
        .map(|target| (*target, target.verdict(feature)));
    verdicts.fold(
        None,
        |worst: Option<(CompatTarget, Verdict)>, one| match worst {
            Some(worst) if worst.1 >= one.1 => Some(worst),
            _ => Some(one),
        },
    )
}

/// `set` without what a target does not take, unless it was `asked` for. Where checksums go, those of group
/// descriptors come, as mke2fs made them before there were others.
pub(super) fn fit(
    targets: &[CompatTarget],
    set: FeatureSet,
    asked: impl Fn(Feature) -> bool,
    refused: impl Fn(Feature) -> bool,
) -> FeatureSet {
    let is_taken =
        |feature| strictest(targets, feature).is_none_or(|(_, verdict)| verdict == Takes);
    let keeps = |feature: &Feature| is_taken(*feature) || asked(*feature);
    let mut fitting: FeatureSet = set.iter().filter(keeps).collect();
    for (feature, needs) in [
        (Feature::OrphanFile, Feature::HasJournal),
        (Feature::MetadataCsumSeed, Feature::MetadataCsum),
    ] {
        if !fitting.has(needs) && !asked(feature) {
            fitting = fitting.without(feature);
        }
    }
    let lost = set.has(Feature::MetadataCsum) && !fitting.has(Feature::MetadataCsum);
    if lost && is_taken(Feature::GdtCsum) && !refused(Feature::GdtCsum) {
        fitting = fitting.with(Feature::GdtCsum);
    }
    fitting
}

/// A feature that a target cannot have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Misfit {
    pub(super) feature: Feature,
    pub(super) target: CompatTarget,
    pub(super) verdict: Verdict,
}

/// Looks for a feature that a target cannot have.
pub(super) fn check(targets: &[CompatTarget], set: FeatureSet) -> Result<(), Misfit> {
    let misfits = set.iter().filter_map(|feature| {
        let (target, verdict) = strictest(targets, feature)?;
        (!verdict.suits()).then_some(Misfit {
            feature,
            target,
            verdict,
        })
    });
    misfits.map(Err).next().unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_features_that_there_are() {
        let others: Vec<&str> = OTHER_BITS.iter().map(|(_, _, name)| *name).collect();
        for row in ROWS {
            for name in row
                .takes
                .split_ascii_whitespace()
                .chain(row.avoids.split_ascii_whitespace())
            {
                assert!(
                    Feature::from_name(name).is_some() || others.contains(&name),
                    "{} {name}",
                    row.name
                );
            }
            assert!(
                row.parts
                    .iter()
                    .all(|part| CompatTarget::from_name(part).is_some()),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn a_kernel_takes_what_its_version_supports() {
        let version = |text: &str| -> Vec<u32> {
            let digits = text.trim_start_matches("linux-").split('.');
            digits.map(|part| part.parse().expect("a number")).collect()
        };
        for target in CompatTarget::all().filter(|target| target.name().starts_with("linux-")) {
            for feature in Feature::ALL
                .iter()
                .filter(|feature| **feature != Feature::JournalDev)
            {
                let is_known = version(feature.kernel()) <= version(target.name());
                let takes = target.verdict(*feature) == Takes;
                assert_eq!(takes, is_known, "{} {}", target.name(), feature.name());
            }
        }
    }

    #[test]
    fn the_strictest_counts() {
        let target = |name| CompatTarget::from_name(name).expect("it is known");
        assert_eq!(target("rhel7").verdict(Feature::Quota), Refuses);
        assert_eq!(target("rhel7").verdict(Feature::MetadataCsum), Refuses);
        assert_eq!(target("linux-3.10").verdict(Feature::MetadataCsum), Avoids);
        assert_eq!(target("linux-3.10").verdict(Feature::Verity), ReadsOnly);
        assert_eq!(target("linux-3.10").verdict(Feature::OrphanFile), Ignores);
        assert_eq!(
            target("linux-3.10").verdict_of_bit(Word::Incompat, 0x4),
            Takes
        );
        assert_eq!(
            target("linux-3.10").verdict_of_bit(Word::Incompat, 0x1000),
            Refuses
        );
        assert_eq!(
            target("e2fsck-1.47").verdict_of_bit(Word::RoCompat, 0x1_0000),
            Takes
        );
        assert_eq!(name_of_bit(Word::Compat, 0x8000_0000), "FEATURE_C31");
    }
}
