//! Given a feature's name, gives its bit and word in the superblock; never whether to use it.
//!
//! One row per feature, in the order of words and bits. Names and numbers are those of the
//! kernel's `Documentation/filesystems/ext4/super.rst`; `-O` takes the names.

/// Which of the superblock's three feature words holds a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// `s_feature_compat`: a kernel that does not know it may still write.
    Compat,
    /// `s_feature_incompat`: a kernel that does not know it must not mount.
    Incompat,
    /// `s_feature_ro_compat`: a kernel that does not know it may only read.
    RoCompat,
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Compat => "s_feature_compat",
            Self::Incompat => "s_feature_incompat",
            Self::RoCompat => "s_feature_ro_compat",
        })
    }
}

macro_rules! features {
    ($($(#[doc = $about:literal])+ $variant:ident $name:literal $word:ident $bit:literal $kernel:literal;)+) => {
        /// An ext4 feature.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Feature {
            $($(#[doc = $about])+ $variant,)+
        }

        impl Feature {
            /// Every feature, in the order of the superblock's words and bits.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name `-O` takes and `dumpe2fs` prints.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The word that holds it.
            pub const fn word(self) -> Word {
                match self { $(Self::$variant => Word::$word,)+ }
            }

            /// Its bit within that word.
            pub const fn bit(self) -> u32 {
                match self { $(Self::$variant => $bit,)+ }
            }

            /// One sentence on it.
            #[cfg(feature = "cli")]
            pub(crate) const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+).trim_ascii(),)+ }
            }

            /// The first Linux kernel that supports it.
            #[cfg(any(feature = "cli", test))]
            pub(crate) const fn kernel(self) -> &'static str {
                match self { $(Self::$variant => $kernel,)+ }
            }
        }
    };
}

features! {
    /// A journal, inside the filesystem or on a device of its own.
    HasJournal "has_journal" Compat 0x4 "2.4.15";
    /// Extended attributes.
    ExtAttr "ext_attr" Compat 0x8 "2.6.0";
    /// Reserved GDT blocks, owned by inode 7, for growing while mounted.
    ResizeInode "resize_inode" Compat 0x10 "2.6.10";
    /// Hashed directories (htree).
    DirIndex "dir_index" Compat 0x20 "2.6.0";
    /// At most two backup superblocks, in the groups that `s_backup_bgs` names.
    SparseSuper2 "sparse_super2" Compat 0x200 "3.16";
    /// Fast commits in the journal.
    FastCommit "fast_commit" Compat 0x400 "5.10";
    /// Inode numbers and the UUID never change, so the filesystem cannot shrink.
    StableInodes "stable_inodes" Compat 0x800 "5.5";
    /// Orphaned inodes are listed in a file, not in a linked list.
    OrphanFile "orphan_file" Compat 0x1000 "5.15";
    /// Directory entries store the file type.
    Filetype "filetype" Incompat 0x2 "2.2.0";
    /// The device holds only a journal, for another filesystem.
    JournalDev "journal_dev" Incompat 0x8 "2.4.15";
    /// Group descriptors are spread over the filesystem, in meta groups.
    MetaBg "meta_bg" Incompat 0x10 "2.6.28";
    /// Extent trees instead of block maps.
    Extent "extent" Incompat 0x40 "2.6.28";
    /// 64-bit block numbers and group descriptors of 64 bytes.
    SixtyFourBit "64bit" Incompat 0x80 "2.6.28";
    /// Multiple mount protection: two hosts cannot mount it at once.
    Mmp "mmp" Incompat 0x100 "3.0";
    /// Bitmaps and inode tables of several groups are placed together.
    FlexBg "flex_bg" Incompat 0x200 "2.6.28";
    /// Large xattr values are stored in inodes of their own.
    EaInode "ea_inode" Incompat 0x400 "4.13";
    /// The checksum seed is stored, so the UUID can change while mounted.
    MetadataCsumSeed "metadata_csum_seed" Incompat 0x2000 "4.4";
    /// Directories of three index levels, above 2 GiB.
    LargeDir "large_dir" Incompat 0x4000 "4.13";
    /// Small files and directories are stored in their inode.
    InlineData "inline_data" Incompat 0x8000 "3.8";
    /// Encrypted directories (fscrypt).
    Encrypt "encrypt" Incompat 0x1_0000 "4.1";
    /// Case-insensitive (casefolded) directories.
    Casefold "casefold" Incompat 0x2_0000 "5.2";
    /// Backup superblocks only in groups 0, 1 and powers of 3, 5 and 7.
    SparseSuper "sparse_super" RoCompat 0x1 "2.2.0";
    /// Files above 2 GiB.
    LargeFile "large_file" RoCompat 0x2 "2.2.0";
    /// Files above 2 TiB: `i_blocks` may count filesystem blocks.
    HugeFile "huge_file" RoCompat 0x8 "2.6.28";
    /// Group descriptors have a CRC-16, and unused inode tables stay unwritten.
    GdtCsum "uninit_bg" RoCompat 0x10 "2.6.28";
    /// Directories of more than 65,000 subdirectories.
    DirNlink "dir_nlink" RoCompat 0x20 "2.6.28";
    /// Inodes reserve room for the fields past 128 bytes.
    ExtraIsize "extra_isize" RoCompat 0x40 "2.6.28";
    /// Quota files in hidden inodes, enabled at mount.
    Quota "quota" RoCompat 0x100 "3.6";
    /// Blocks are allocated in clusters of several.
    Bigalloc "bigalloc" RoCompat 0x200 "3.2";
    /// CRC-32C checksums over all metadata.
    MetadataCsum "metadata_csum" RoCompat 0x400 "3.18";
    /// Project quotas and project IDs.
    Project "project" RoCompat 0x2000 "4.5";
    /// Files with fs-verity, whose data is verified on read.
    Verity "verity" RoCompat 0x8000 "5.4";
}

/// The second names that mke2fs knows.
pub(crate) const ALIASES: [(&str, Feature); 3] = [
    ("extents", Feature::Extent),
    ("uninit_groups", Feature::GdtCsum),
    ("fname_encoding", Feature::Casefold),
];

impl Feature {
    /// The feature `-O` calls `name`, with the second names mke2fs knows.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let names = Self::ALL.iter().map(|feature| (feature.name(), *feature));
        let mut names = names.chain(ALIASES);
        names.find_map(|(known, feature)| (known == name).then_some(feature))
    }
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FeatureSet {
    compat: u32,
    incompat: u32,
    ro_compat: u32,
}

impl FeatureSet {
    /// The empty set.
    pub const EMPTY: Self = Self {
        compat: 0,
        incompat: 0,
        ro_compat: 0,
    };

    /// Whether `feature` is in the set.
    pub const fn has(self, feature: Feature) -> bool {
        self.word(feature.word()) & feature.bit() != 0
    }

    /// The bits of one of the superblock's words.
    pub const fn word(self, word: Word) -> u32 {
        match word {
            Word::Compat => self.compat,
            Word::Incompat => self.incompat,
            Word::RoCompat => self.ro_compat,
        }
    }

    /// The set with `feature` in it.
    #[must_use]
    pub const fn with(mut self, feature: Feature) -> Self {
        match feature.word() {
            Word::Compat => self.compat |= feature.bit(),
            Word::Incompat => self.incompat |= feature.bit(),
            Word::RoCompat => self.ro_compat |= feature.bit(),
        }
        self
    }

    /// The set with `feature` out of it.
    #[must_use]
    pub const fn without(mut self, feature: Feature) -> Self {
        match feature.word() {
            Word::Compat => self.compat &= !feature.bit(),
            Word::Incompat => self.incompat &= !feature.bit(),
            Word::RoCompat => self.ro_compat &= !feature.bit(),
        }
        self
    }

    /// The features in the set, in the order of words and bits.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL
            .iter()
            .copied()
            .filter(move |feature| self.has(*feature))
    }

    /// Whether group descriptors carry checksums, and so lazy flags.
    pub const fn has_group_desc_csum(self) -> bool {
        self.has(Feature::GdtCsum) || self.has(Feature::MetadataCsum)
    }
}

impl FromIterator<Feature> for FeatureSet {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        features.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_feature() {
        for feature in Feature::ALL {
            assert_eq!(Feature::from_name(feature.name()), Some(*feature));
        }
        assert_eq!(Feature::from_name("extents"), Some(Feature::Extent));
        assert_eq!(Feature::from_name("Has_Journal"), Some(Feature::HasJournal));
        assert_eq!(Feature::from_name("nonsense"), None);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = FeatureSet::from_iter([Feature::Extent, Feature::SparseSuper]);
        assert!(set.has(Feature::Extent) && !set.has(Feature::Mmp));
        assert_eq!(set.word(Word::Incompat), 0x40);
        assert_eq!(set.without(Feature::Extent).word(Word::Incompat), 0);
        assert_eq!(set.iter().count(), 2);
    }
}
