//! Given an output whose filesystem is the base of a new one, writes over it what differs; never decides
//! where anything goes.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::run;
use super::stream::Built;
use super::{Builder, Plan, Sparse, based};
use crate::base::{Base, BaseInode};
use crate::emit::{self, EmitError, Sinks, Writing};
use crate::error::{Error, Kind};
use crate::layout::{Claim, Owner};
use crate::options::TargetKind;
use crate::sink::{File, Output, ReadAt, Sink, Tables, Update};
use crate::source::rules::Rule;
use crate::summary::{Summary, UpdateCounts};
use crate::tree::{Kind as NodeKind, NodeIndex};
use crate::units::{Ino, Run, Timestamp};

/// How much is cleared before a wish to stop is heard, in bytes.
const STEP_BYTES: u64 = 64 << 20;

fn failed(error: io::Error) -> Error {
    Error::new(Kind::Output(error))
}

impl Builder {
    /// Makes the image in the file or on the device `path`, which holds the one before: that is its
    /// [`base`](Self::base), and only blocks that differ are written. Where there is no file, or it holds no
    /// filesystem that can be a base, the image is made anew as by [`write_file`](Self::write_file), and
    /// [`Summary::update`] says why.
    ///
    /// Once the first block is written, the output holds no filesystem until the last one is: what fails or is
    /// killed leaves nothing that mounts, and the next update makes it anew. Before that it is as it was.
    ///
    /// ```
    /// use mke4fs::{Builder, Tree};
    ///
    /// let place = tempfile::tempdir()?;
    /// let update = |text: &str| {
    ///     let mut tree = Tree::default();
    ///     tree.file("/etc/motd", text)?;
    ///     tree.file("/usr/share/data", vec![7; 1 << 20])?;
    ///     let builder = Builder::new().source(tree).size_bytes(16 << 20);
    ///     let summary = builder.update_file(place.path().join("disk.img"))?;
    ///     Ok::<_, Box<dyn std::error::Error>>(summary.update.expect("it tells"))
    /// };
    /// assert!(update("Welcome.\n")?.made_anew.is_some());
    /// assert_eq!(update("Welcome.\n")?.blocks_written, 0);
    /// assert!(update("Good morning.\n")?.blocks_written < 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As those of [`write_file`](Self::write_file).
    pub fn update_file(self, path: impl AsRef<Path>) -> Result<Summary, Error> {
        let path = path.as_ref();
        let mut environment = self.world();
        environment.probe(path).map_err(failed)?;
        if environment.target.kind == TargetKind::Missing {
            return self.anew(path, NO_FILE);
        }
        let output = run::open(path)?;
        let offset_bytes = self.options.of_any_size().resolve(&environment)?;
        let offset_bytes = offset_bytes.settings.offset_bytes;
        let base = match base_of(output.file(), offset_bytes, environment.real_clock) {
            Ok(base) => base,
            Err(reason) => {
                drop(output);
                return self.anew(path, &reason);
            }
        };
        if matches!(environment.target.kind, TargetKind::File { .. }) {
            environment.target.kind = TargetKind::Missing;
        }
        let mut builder = self.environment(environment).updating(Arc::new(base));
        builder.wanted.for_output(path);
        let run = builder.run.clone();
        let plan = builder.plan()?;
        let is_device = output.file().is_block_device();
        let built = run.write(plan.total(&run), is_device, |writing| {
            plan.write_update(output, 0, writing)
        })?;
        Ok(built.into_summary())
    }

    /// Makes the image in `sink` as [`update_file`](Self::update_file) does in a file, if the filesystem that
    /// begins with its first byte can be the base.
    ///
    /// # Errors
    /// As those of [`plan`](Self::plan); and where `sink` holds no such filesystem, fails or is too small.
    pub fn update<S: Sink + ReadAt>(self, sink: &S) -> Result<Summary, Error> {
        let base = base_in(sink, 0).map_err(|reason| {
            let text = format!("cannot update the output: {reason}");
            failed(io::Error::new(io::ErrorKind::InvalidData, text))
        })?;
        let builder = self.updating(Arc::new(base));
        let run = builder.run.clone();
        let plan = builder.plan()?;
        let built = run.write(plan.total(&run), false, |writing| {
            plan.write_differences(sink, writing)
        })?;
        Ok(built.into_summary())
    }

    /// Whether an update reads and compares all files. Unless told so, it does not open a file of a
    /// [directory](crate::Directory) whose size, mtime and ctime are those in the image, and whose directories have
    /// their ctimes there, if the file was older when the image was written, mke4fs wrote it and nobody mounted
    /// it since, no rule sets times, and blocks of zeros are treated as [`Sparse::Auto`](crate::Sparse) does.
    #[must_use]
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.compares_all = checksum;
        self
    }

    /// The base by which sources may tell what is unchanged.
    pub(super) fn base_for_sources(&self) -> Option<Arc<Base>> {
        let base = self
            .base
            .as_ref()
            .filter(|_| self.is_update && !self.compares_all)?;
        let is_told = base.is_untouched()
            && base.superblock().inode_size() > 128
            && self.sparse_in_effect() == Sparse::Auto
            && self.wanted.rules.iter().all(Rule::keeps_files);
        is_told.then(|| base.clone())
    }

    /// Lets `base` be what the output holds.
    #[must_use]
    pub(crate) fn updating(mut self, base: Arc<Base>) -> Self {
        based::inherit(&mut self.options, &base);
        self.base = Some(base);
        self.is_update = true;
        self
    }

    fn anew(self, path: &Path, reason: &str) -> Result<Summary, Error> {
        let summary = self.write_file(path)?;
        Ok(Summary {
            update: Some(UpdateCounts::anew(reason)),
            ..summary
        })
    }
}

/// Why a file that is not there is made anew.
pub(crate) const NO_FILE: &str = "there is no such file";

/// The filesystem that begins at a byte of an output as a base, or why it cannot be one.
pub(crate) fn base_of(file: &File, offset_bytes: u64, now: Duration) -> Result<Base, String> {
    let base = base_in(file, offset_bytes)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    Ok(base.written(file.written(), Timestamp::from_seconds(now)))
}

/// The filesystem that begins at a byte of an image as a base, or why it cannot be one.
fn base_in(image: &impl ReadAt, offset_bytes: u64) -> Result<Base, String> {
    Base::read_at(image, offset_bytes).map_err(|error| error.to_string())
}

impl Plan {
    /// Whether its base is what the output holds.
    #[cfg(feature = "cli")]
    pub(crate) fn is_update(&self) -> bool {
        self.base.is_some()
    }

    /// Writes what differs to `output`, which holds the base. A regular file ends with the image, or after
    /// `least_bytes`.
    pub(crate) fn write_update(
        &self,
        mut output: Output,
        least_bytes: u64,
        writing: &Writing<'_>,
    ) -> Result<Built, Error> {
        output.make_room(&self.range()).map_err(failed)?;
        let file = output.file();
        let room = file.keep_room(self.new_places()).map_err(failed)?;
        let end = self.size_bytes().max(least_bytes);
        let is_longer = !file.is_block_device() && Sink::size_bytes(file) > end;
        if is_longer && self.settings.offset_bytes == 0 {
            self.update_of(file, writing)?.begin().map_err(failed)?;
            file.cut(end).map_err(failed)?;
        }
        let built = self.write_differences(file, writing)?;
        drop(room);
        output.keep();
        Ok(built)
    }

    /// The bytes of the output, in ascending order, that are blocks of files which do not have them in the base.
    fn new_places(&self) -> Vec<Range<u64>> {
        let offset = self.settings.offset_bytes;
        let mut places: Vec<Range<u64>> = Vec::new();
        for claim in self.layout.ledger.claims() {
            if self.is_new(claim) {
                let bytes = self.bytes_of(claim.run());
                match places.last_mut() {
                    Some(last) if last.end == offset + bytes.start => last.end = offset + bytes.end,
                    _ => places.push(offset + bytes.start..offset + bytes.end),
                }
            }
        }
        places
    }

    /// Whether blocks are a file's, or a directory's or a link's, that does not have them in the base.
    fn is_new(&self, claim: &Claim) -> bool {
        let run = claim.run();
        let (node, logical) = match claim.owner {
            Owner::File(node, logical) | Owner::Directory(node, logical) => {
                (node, u64::from(logical.get()))
            }
            Owner::Symlink(node) => (node, 0),
            Owner::MapNode(node, number) => {
                let inode = self.inode_in_base(node);
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                let before = inode.and_then(|inode| inode.nodes.get(number));
                return before != Some(&run.start);
            }
            _ => return false,
        };
        let stays = self.layout.stays.is_in_place(node);
        !stays
            && !self
                .inode_in_base(node)
                .is_some_and(|inode| inode.has(logical, run))
    }

    /// What the base says of a node that it has at the same path.
    fn inode_in_base(&self, node: NodeIndex) -> Option<BaseInode<'_>> {
        let base = self.base.as_deref()?;
        let is_there = self.layout.kept.is_some() && self.layout.stays.has(node);
        let ino = self.layout.content.ino_of(self.tree.id(node));
        is_there.then(|| base.inode(ino)).flatten()
    }

    /// Writes what differs to `sink`, which holds the base.
    fn write_differences<S: Sink + ReadAt>(
        &self,
        sink: &S,
        writing: &Writing<'_>,
    ) -> Result<Built, Error> {
        let sink = self.update_of(sink, writing)?;
        self.clear_left(&sink, writing)?;
        let sinks = Sinks {
            image: &sink,
            journal: None,
        };
        let digests = self.write_hashed(sinks, writing)?;
        let mut built = Built::of(self, digests);
        built.summary.update = Some(self.counts(&sink));
        Ok(built)
    }

    fn update_of<'s, S: Sink + ReadAt>(
        &self,
        sink: &'s S,
        writing: &Writing<'_>,
    ) -> Result<Update<'s, S>, Error> {
        let geometry = &self.layout.geometry;
        if Sink::size_bytes(sink) < self.size_bytes() {
            let (size, needed) = (Sink::size_bytes(sink), self.size_bytes());
            return Err(EmitError::SinkTooSmall { size, needed }.into());
        }
        let block_bytes = geometry.block_size.bytes_u64();
        let tables = geometry.all_groups().map(|group| {
            let table = self.layout.tables_of(group).inode_table;
            self.bytes_of(Run::new(table, geometry.inode_blocks_per_group.into()))
        });
        let mut places: Vec<Range<u64>> = tables.collect();
        places.sort_unstable_by_key(|place| place.start);
        let update = Update::new(sink, &self.range(), block_bytes, writing.sync);
        let unit = geometry.inode_size.into();
        Ok(update.map_err(failed)?.with_tables(Tables { places, unit }))
    }

    /// Clears what nobody writes: what fell free alone, where the rest is known to be clear.
    fn clear_left<S: Sink + ReadAt>(
        &self,
        sink: &Update<'_, S>,
        writing: &Writing<'_>,
    ) -> Result<(), Error> {
        let used = self.known_clear().map(|base| self.used_by(base));
        let left = emit::bytes_left(&self.settings, &self.layout, &self.tree, used.as_deref());
        for range in left {
            let mut at = range.start;
            while at < range.end {
                if writing.cancel.load(Ordering::Relaxed) {
                    return Err(EmitError::Cancelled.into());
                }
                let end = range.end.min(at.saturating_add(STEP_BYTES));
                let offset = self.settings.offset_bytes;
                sink.clear(offset + at..offset + end).map_err(failed)?;
                at = end;
            }
        }
        Ok(())
    }

    /// The bytes that `base` uses for inodes and what they have, in ascending order.
    fn used_by(&self, base: &Base) -> Vec<Range<u64>> {
        let blocks = base.used().into_iter().map(|run| self.bytes_of(run));
        let inodes = base.used_inodes().map(|ino| self.inode_bytes(ino));
        let mut used: Vec<Range<u64>> = blocks.chain(inodes).collect();
        used.sort_unstable_by_key(|range| range.start);
        used
    }

    /// The base, if what it does not use reads as zeros and what it uses is where this image has it.
    fn known_clear(&self) -> Option<&Base> {
        let base = self.base.as_deref()?;
        let is_size = base.superblock().blocks_count() == self.layout.geometry.blocks_count;
        (is_size && self.layout.kept.is_some() && base.is_untouched()).then_some(base)
    }

    fn bytes_of(&self, run: Run) -> Range<u64> {
        let block_bytes = self.layout.geometry.block_size.bytes_u64();
        run.start.get() * block_bytes..run.end().get() * block_bytes
    }

    /// What became of the files, once `sink` knows what differs.
    fn counts<S: Sink + ReadAt>(&self, sink: &Update<'_, S>) -> UpdateCounts {
        let all = u64::try_from(self.tree.len()).unwrap_or(u64::MAX);
        let (had, added, removed) = match self.layout.kept {
            Some(kept) => (kept.inodes, kept.inodes_added, kept.inodes_removed),
            None => (0, all, self.base.as_ref().map_or(0, |base| base.files())),
        };
        let files_changed = if sink.blocks_written() > 0 {
            self.changed_nodes(sink)
        } else {
            0
        };
        UpdateCounts {
            files_kept: had.saturating_sub(files_changed),
            files_added: added,
            files_changed,
            files_removed: removed,
            blocks_written: sink.blocks_written(),
            bytes_read: self.bytes_read(),
            made_anew: None,
        }
    }

    /// How many nodes that the base has too differ from what is there, in their inodes or their blocks.
    fn changed_nodes<S: Sink + ReadAt>(&self, sink: &Update<'_, S>) -> u64 {
        let mut changed = vec![false; self.tree.len()];
        let mut xattr_blocks = vec![false; 0];
        for claim in self.layout.ledger.claims() {
            let place = match claim.owner {
                Owner::File(node, _)
                | Owner::Directory(node, _)
                | Owner::Symlink(node)
                | Owner::MapNode(node, _) => changed.get_mut(node.get()),
                Owner::Xattrs(number) => {
                    let number = usize::try_from(number).unwrap_or(usize::MAX);
                    if xattr_blocks.len() <= number {
                        xattr_blocks.resize(number + 1, false);
                    }
                    xattr_blocks.get_mut(number)
                }
                _ => None,
            };
            if let Some(place) = place {
                *place |= sink.has_changed(self.bytes_of(claim.run()));
            }
        }
        let nodes = self.tree.nodes().filter(|(id, _)| {
            let xattrs = self.layout.xattrs.block_of(*id);
            let number = xattrs.and_then(|number| usize::try_from(number).ok());
            let has_xattrs = number.and_then(|number| xattr_blocks.get(number));
            let node: NodeIndex = id.in_tree();
            let differs = changed.get(node.get()).copied().unwrap_or(false)
                || has_xattrs.copied().unwrap_or(false)
                || sink.has_changed(self.inode_bytes(self.layout.content.ino_of(*id)));
            differs && self.layout.stays.has(node)
        });
        u64::try_from(nodes.count()).unwrap_or(u64::MAX)
    }

    /// The bytes of an inode in the image.
    fn inode_bytes(&self, ino: Ino) -> Range<u64> {
        let geometry = &self.layout.geometry;
        let group = geometry.group_of_ino(ino);
        let before = ino.get() - geometry.group_first_ino(group).get();
        let table = self.layout.tables_of(group).inode_table;
        let inode_bytes = u64::from(geometry.inode_size);
        let start = table.get() * geometry.block_size.bytes_u64() + u64::from(before) * inode_bytes;
        start..start + inode_bytes
    }

    /// How much data of the sources was read.
    fn bytes_read(&self) -> u64 {
        let files = self.tree.nodes().filter_map(|(id, node)| match &node.kind {
            NodeKind::File(content) => {
                let is_in_place = self.layout.stays.is_in_place(id.in_tree());
                (!is_in_place).then_some(content)
            }
            _ => None,
        });
        files
            .flat_map(|content| content.data_ranges())
            .map(|range| range.end - range.start)
            .sum()
    }
}
