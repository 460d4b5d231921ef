//! Given a request whose settings are settled, makes the filesystem; never says a word about it.

use std::fmt;
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use super::request::Request;
use crate::cancel::Cancel;
use crate::emit::{EmitError, Writing, emit};
use crate::feature::Feature;
use crate::geometry::{Geometry, GeometryError};
use crate::layout::{self, Layout, LayoutError};
use crate::options::Settings;
use crate::sink::{Draft, IfBusy, OpenError, Output, Sink};
use crate::source::{Notice, SourceError};
use crate::tree::{Metadata, NodeId, Tree, TreeError};
use crate::units::Timestamp;

/// Why no filesystem was made.
#[derive(Debug)]
pub(super) enum Failure {
    Cancelled,
    Declined,
    Geometry(GeometryError),
    Io(io::Error),
    Layout(LayoutError),
    Emit(EmitError),
    Open(OpenError),
    Source(SourceError),
    Tree(TreeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("interrupted"),
            Self::Declined => f.write_str("nothing was written"),
            Self::Geometry(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::Emit(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Source(error) => error.fmt(f),
            Self::Tree(error) => error.fmt(f),
        }
    }
}

macro_rules! failure_from {
    ($($error:ty => $variant:ident,)+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+
    };
}

failure_from! {
    GeometryError => Geometry,
    io::Error => Io,
    LayoutError => Layout,
    EmitError => Emit,
    OpenError => Open,
    SourceError => Source,
    TreeError => Tree,
}

/// The tree that the request's source fills, and what it leaves out.
pub(super) fn tree(
    request: &Request,
    settings: &Settings,
    output: &Path,
) -> Result<(Tree, Vec<Notice>), Failure> {
    let now = Timestamp::from_seconds(settings.clock);
    let mut tree = Tree::new(Metadata {
        permissions: settings.root_perms,
        uid: settings.root_uid,
        gid: settings.root_gid,
        atime: now,
        mtime: now,
        ctime: now,
        flags: 0,
    });
    let notices = match &request.source {
        Some(source) => fill(&mut tree, Path::new(source), request, settings, output)?,
        None => Vec::new(),
    };
    tree.finish()?;
    Ok((tree, notices))
}

#[cfg(unix)]
fn fill(
    tree: &mut Tree,
    source: &Path,
    request: &Request,
    settings: &Settings,
    output: &Path,
) -> Result<Vec<Notice>, Failure> {
    use std::os::unix::fs::MetadataExt;

    use crate::source::{Source, dir::Directory};

    let mut directory = Directory::new(source)
        .keep_xattrs(!settings.no_copy_xattrs)
        .latest_time(settings.latest_time);
    if let Ok(metadata) = std::fs::metadata(output) {
        directory = directory.exclude_inode(metadata.dev(), metadata.ino());
    }
    let declared = directory.declare(tree, NodeId::ROOT)?;
    if request.keep_root
        && let Some(root) = declared.root
    {
        tree.set_metadata(NodeId::ROOT, root);
    }
    Ok(declared.notices)
}

#[cfg(not(unix))]
fn fill(
    _tree: &mut Tree,
    source: &Path,
    _request: &Request,
    _settings: &Settings,
    _output: &Path,
) -> Result<Vec<Notice>, Failure> {
    let unsupported = io::Error::from(io::ErrorKind::Unsupported);
    Err(SourceError::read(source.as_os_str().as_encoded_bytes(), unsupported).into())
}

/// Raises the number of inodes to what the tree needs, where no number is asked for.
pub(super) fn raise_inodes(request: &Request, settings: &mut Settings, tree: &Tree) {
    if request.source.is_none() || request.has_inode_wish() {
        return;
    }
    let has_orphan_file = settings.features.has(Feature::OrphanFile);
    let needed = layout::inodes_needed(tree, has_orphan_file);
    let needed = u32::try_from(needed).unwrap_or(u32::MAX);
    let by_geometry = settings.blocks_count / (4096 / settings.block_size.bytes_u64()).max(1);
    let enough = settings.inodes_count == 0 && u64::from(needed) <= by_geometry;
    if !enough {
        settings.inodes_count = settings.inodes_count.max(needed);
    }
}

/// Where everything goes.
pub(super) fn layout(settings: &Settings, tree: &Tree) -> Result<Layout, Failure> {
    let geometry = Geometry::new(settings)?;
    Ok(Layout::new(settings, geometry, tree)?)
}

/// Opens the output. What is in use is refused, unless it is asked for twice to go on.
pub(super) fn open(request: &Request, output: &Path) -> Result<Output, Failure> {
    let if_busy = match request.force {
        0 | 1 => IfBusy::Refuse,
        _ => IfBusy::Overwrite,
    };
    Ok(Output::open(output, if_busy)?)
}

/// What writing needs besides the layout.
pub(super) struct Work<'a> {
    pub(super) request: &'a Request,
    pub(super) settings: &'a Settings,
    pub(super) layout: &'a Layout,
    pub(super) tree: &'a Tree,
    /// Called with bytes as they are written.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    pub(super) cancel: &'a Cancel,
}

/// Writes the image and leaves the output finished, or as if nothing had been begun.
pub(super) fn write(work: &Work<'_>, output: Output) -> Result<(), Failure> {
    let (settings, layout) = (work.settings, work.layout);
    let length = layout.geometry.blocks_count * settings.block_size.bytes_u64();
    let end = settings.offset_bytes.saturating_add(length);
    let draft = output.begin(settings.offset_bytes..end)?;
    let writing = Writing {
        threads: threads(work.request),
        progress: work.progress,
        cancel: work.cancel,
    };
    let emitted = emit(settings, layout, work.tree, draft.file(), &writing);
    match emitted {
        Err(EmitError::Cancelled) => return Err(Failure::Cancelled),
        emitted => emitted?,
    }
    finish(work.request, draft)
}

fn finish(request: &Request, draft: Draft) -> Result<(), Failure> {
    // mke2fs leaves a device synced, and so do we; a file only on demand.
    if request.sync || draft.file().is_block_device() {
        draft.file().sync()?;
    }
    draft.keep();
    Ok(())
}

/// A wish to stop that the signals to end have, where there are signals.
pub(super) fn cancel() -> Cancel {
    #[cfg(unix)]
    if let Ok(cancel) = Cancel::by_signals() {
        return cancel;
    }
    Cancel::new()
}

/// Ends the process by the signal that asked for it, now that everything is cleaned up.
pub(super) fn die_if_cancelled(work: &Work<'_>, failure: &Failure) {
    #[cfg(unix)]
    if matches!(failure, Failure::Cancelled) {
        // Where the signal cannot be raised again, the status of a failure tells enough.
        let _ = work.cancel.die_of_signal();
    }
    #[cfg(not(unix))]
    let _ = (work, failure);
}

fn threads(request: &Request) -> NonZero<usize> {
    request
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZero::<usize>::MIN)
}
