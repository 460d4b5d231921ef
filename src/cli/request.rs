//! Given what the flags ask for, holds it until the command acts; never decides what a wish means.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;

use super::form_args::FormArgs;
use super::rules::RuleArg;
use crate::options::{JournalLength, Options, Size};
use crate::source::AclNames;
#[cfg(feature = "oci")]
use crate::source::oci::{LayerChoice, Platform};
use crate::units::VerityHash;
use crate::{Fit, Reflink, Sparse};

/// Whose way of talking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interface {
    /// mke2fs's words and statuses.
    Mke2fs,
    /// Our own.
    Mke4fs,
}

/// How long the filesystem shall be, by `--size`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SizeArg {
    /// So long.
    Exactly(Size),
    /// As long as the content needs.
    By(Fit),
    /// As long as the output is.
    Keep,
}

/// What becomes of names that a layer hides, by `--whiteouts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// They hide what earlier sources hold.
    Apply,
    /// They are made in the form of overlayfs.
    Overlay,
}

/// What one run of the command is asked for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) interface: Interface,
    /// The last part of the name it was called by.
    pub(super) program: String,
    /// What the options take at once; [`finished`](Self::finished) adds the rest.
    pub(super) options: Options,
    /// What came up while reading the flags, in lines.
    pub(super) warnings: Vec<String>,
    /// What is laid over one another, the last on top.
    pub(super) sources: Vec<OsString>,
    pub(super) size: Option<SizeArg>,
    pub(super) fs_type: Option<String>,
    pub(super) usage_types: Option<String>,
    pub(super) features: Vec<String>,
    pub(super) extended: Vec<String>,
    /// A UUID that is none, as it was given.
    pub(super) bad_uuid: Option<String>,
    /// In bytes; 0 takes back what was asked for before.
    pub(super) inode_size: Option<u32>,
    /// 0 takes back what was asked for before.
    pub(super) inodes_count: Option<u64>,
    pub(super) journal: Option<JournalLength>,
    /// In KiB; 0 takes back what was asked for before.
    pub(super) fast_commit: Option<u32>,
    pub(super) journal_location: Option<String>,
    pub(super) journal_v1: bool,
    /// The device that is to have the journal.
    pub(super) journal_device: Option<PathBuf>,
    /// The block size in bytes that is asked for, or the least.
    pub(super) block_size: Option<u32>,
    /// Whether it is said outright.
    pub(super) has_block_size: bool,
    /// 0 takes back what was asked for before.
    pub(super) blocks_per_group: Option<u32>,
    pub(super) threads: Option<NonZero<usize>>,
    pub(super) keep_root: bool,
    /// Files of the host and where they go in the image.
    pub(super) copies: Vec<(OsString, Vec<u8>)>,
    /// What holds for the files of all sources, in order.
    pub(super) rules: Vec<RuleArg>,
    /// What becomes of names in ACLs that the image does not know.
    pub(super) acl_names: AclNames,
    /// Where the configuration of a container image is written.
    #[cfg(feature = "oci")]
    pub(super) oci_config: Option<OsString>,
    /// Where the filesystem will be mounted, as labels go by that.
    pub(super) mount_point: Vec<u8>,
    /// For which platform, of an image that is for several.
    #[cfg(feature = "oci")]
    pub(super) platform: Option<Platform>,
    /// The only layer of a container image that is wanted.
    #[cfg(feature = "oci")]
    pub(super) layer: Option<LayerChoice>,
    /// What becomes of whiteouts, if not the usual.
    pub(super) whiteouts: Option<Whiteouts>,
    /// Patterns of what is left out.
    pub(super) exclude: Vec<Vec<u8>>,
    /// Patterns of what fs-verity shall protect, and what that is hashed with.
    pub(super) fs_verity: Vec<Vec<u8>>,
    pub(super) fs_verity_hash: Option<VerityHash>,
    /// The image in whose places everything is to stay.
    pub(super) base: Option<OsString>,
    /// What the output holds is to be changed in place.
    pub(super) update: bool,
    /// Files are read even where they seem unchanged.
    pub(super) checksum: bool,
    pub(super) one_file_system: bool,
    pub(super) sparse: Sparse,
    /// Whether data is shared with the files that it comes from.
    pub(super) reflink: Reflink,
    /// Nothing that was written stays in the page cache.
    pub(super) uncached: bool,
    /// What the output is beside the bytes of the filesystem.
    pub(super) form: FormArgs,
    /// Where to keep what is overwritten; "" is where mke2fs.conf says.
    pub(super) undo_file: Option<OsString>,
    pub(super) dry_run: bool,
    /// The features are to be explained, and nothing made.
    pub(super) explain: bool,
    /// The output is to be checked, not made.
    pub(super) check: bool,
    /// After how many seconds a question of mke2fs counts as answered by yes.
    pub(super) proceed_delay: Option<NonZero<u64>>,
    /// How often it is asked for.
    pub(super) force: u8,
    pub(super) sync: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    pub(super) json: bool,
    pub(super) version: bool,
}

impl Request {
    /// Nothing is asked for yet.
    pub(super) fn new(interface: Interface, program: &str) -> Self {
        Self {
            interface,
            program: program.to_owned(),
            options: Options::new(),
            warnings: Vec::new(),
            sources: Vec::new(),
            size: None,
            fs_type: None,
            usage_types: None,
            features: Vec::new(),
            extended: Vec::new(),
            bad_uuid: None,
            inode_size: None,
            inodes_count: None,
            journal: None,
            fast_commit: None,
            journal_location: None,
            journal_v1: false,
            journal_device: None,
            block_size: None,
            has_block_size: false,
            blocks_per_group: None,
            threads: None,
            keep_root: false,
            copies: Vec::new(),
            rules: Vec::new(),
            acl_names: AclNames::default(),
            #[cfg(feature = "oci")]
            oci_config: None,
            mount_point: Vec::new(),
            #[cfg(feature = "oci")]
            platform: None,
            #[cfg(feature = "oci")]
            layer: None,
            whiteouts: None,
            exclude: Vec::new(),
            fs_verity: Vec::new(),
            fs_verity_hash: None,
            base: None,
            update: false,
            checksum: false,
            one_file_system: false,
            sparse: Sparse::default(),
            reflink: Reflink::default(),
            uncached: false,
            form: FormArgs::default(),
            undo_file: None,
            dry_run: false,
            explain: false,
            check: false,
            proceed_delay: None,
            force: 0,
            sync: false,
            quiet: false,
            verbose: false,
            json: false,
            version: false,
        }
    }

    /// Whether files are to be put into the filesystem.
    pub(super) fn has_content(&self) -> bool {
        let adds = self.rules.iter().any(RuleArg::adds);
        adds || !self.sources.is_empty() || !self.copies.is_empty()
    }

    /// The options that all flags together make.
    pub(super) fn finished(&self) -> Options {
        let mut options = self.options.clone();
        if let Some(name) = &self.fs_type {
            options.fs_type(name);
        }
        if let Some(names) = &self.usage_types {
            options.usage_types(names);
        }
        if !self.features.is_empty() {
            options.features(self.features.join(","));
        }
        for text in &self.extended {
            options.extended(text);
        }
        if let Some(bytes) = self.inode_size.filter(|bytes| *bytes != 0) {
            options.inode_size(bytes);
        }
        if let Some(count) = self.inodes_count.filter(|count| *count != 0) {
            options.inodes_count(count);
        }
        match self.journal {
            Some(JournalLength::Mebibytes(mebibytes)) => {
                options.journal_mebibytes(mebibytes);
            }
            Some(JournalLength::ByFilesystem) => {
                options.with_journal();
            }
            None => {}
        }
        if let Some(kibibytes) = self.fast_commit.filter(|kibibytes| *kibibytes != 0) {
            options.fast_commit_kibibytes(kibibytes);
        }
        if let Some(text) = &self.journal_location {
            options.journal_location(text);
        }
        if self.journal_v1 {
            options.journal_v1();
        }
        if let Some(blocks) = self.blocks_per_group.filter(|blocks| *blocks != 0) {
            options.blocks_per_group(blocks);
        }
        if self.force > 0 {
            options.force();
        }
        if self.dry_run {
            options.dry_run();
        }
        if self.undo_file.as_ref().is_some_and(|path| !path.is_empty()) {
            options.undoable();
        }
        options
    }
}
