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

macro_rules! features {
    ($($(#[$doc:meta])* $variant:ident $name:literal $word:ident $bit:literal;)+) => {
        /// An ext4 feature.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Feature {
            $($(#[$doc])* $variant,)+
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
        }
    };
}

features! {
    /// A journal, inside or on a device of its own.
    HasJournal "has_journal" Compat 0x4;
    /// Extended attributes.
    ExtAttr "ext_attr" Compat 0x8;
    /// Descriptor blocks kept for growing, owned by inode 7.
    ResizeInode "resize_inode" Compat 0x10;
    /// Hashed directories.
    DirIndex "dir_index" Compat 0x20;
    /// At most two backup superblocks, named in `s_backup_bgs`.
    SparseSuper2 "sparse_super2" Compat 0x200;
    /// Fast commits in the journal.
    FastCommit "fast_commit" Compat 0x400;
    /// Inode numbers never change.
    StableInodes "stable_inodes" Compat 0x800;
    /// A file of orphaned inodes instead of a list.
    OrphanFile "orphan_file" Compat 0x1000;
    /// File types in directory entries.
    Filetype "filetype" Incompat 0x2;
    /// The device holds nothing but a journal.
    JournalDev "journal_dev" Incompat 0x8;
    /// Descriptors spread over the filesystem.
    MetaBg "meta_bg" Incompat 0x10;
    /// Extent trees instead of block maps.
    Extent "extent" Incompat 0x40;
    /// Block numbers of 64 bits, descriptors of 64 bytes.
    SixtyFourBit "64bit" Incompat 0x80;
    /// Protection against two hosts mounting at once.
    Mmp "mmp" Incompat 0x100;
    /// Bitmaps and inode tables of several groups side by side.
    FlexBg "flex_bg" Incompat 0x200;
    /// Large attribute values in inodes of their own.
    EaInode "ea_inode" Incompat 0x400;
    /// The checksum seed is stored, so that the UUID may change.
    MetadataCsumSeed "metadata_csum_seed" Incompat 0x2000;
    /// Directories of three index levels.
    LargeDir "large_dir" Incompat 0x4000;
    /// Small files and directories inside their inode.
    InlineData "inline_data" Incompat 0x8000;
    /// Encrypted directories.
    Encrypt "encrypt" Incompat 0x1_0000;
    /// Directories that fold case.
    Casefold "casefold" Incompat 0x2_0000;
    /// Backups only in groups 0, 1 and powers of 3, 5 and 7.
    SparseSuper "sparse_super" RoCompat 0x1;
    /// Files past 2 GiB.
    LargeFile "large_file" RoCompat 0x2;
    /// Files past 2 TiB: `i_blocks` may count filesystem blocks.
    HugeFile "huge_file" RoCompat 0x8;
    /// Group descriptors have a CRC-16 and lazy flags.
    GdtCsum "uninit_bg" RoCompat 0x10;
    /// Directories of more than 65,000 subdirectories.
    DirNlink "dir_nlink" RoCompat 0x20;
    /// Inodes promise room for the extra fields.
    ExtraIsize "extra_isize" RoCompat 0x40;
    /// Quota files in hidden inodes.
    Quota "quota" RoCompat 0x100;
    /// Blocks are allocated in clusters.
    Bigalloc "bigalloc" RoCompat 0x200;
    /// CRC-32C over all metadata.
    MetadataCsum "metadata_csum" RoCompat 0x400;
    /// Quota by project.
    Project "project" RoCompat 0x2000;
    /// Files of verified content.
    Verity "verity" RoCompat 0x8000;
}

impl Feature {
    /// The feature `-O` calls `name`, with the second names mke2fs knows.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "extents" => return Some(Self::Extent),
            "uninit_groups" => return Some(Self::GdtCsum),
            "fname_encoding" => return Some(Self::Casefold),
            _ => {}
        }
        Self::ALL
            .iter()
            .copied()
            .find(|feature| feature.name() == name)
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
