//! Given who has which blocks, gives those that two have, and what is in use by group; never reads.

use super::finding::{Area, FindingKind, Location, Owner};
use super::volume::Volume;
use crate::units::{Block, Run};
use crate::work;

/// Every block that something has.
#[derive(Default)]
pub(super) struct Claims {
    list: Vec<(Run, Owner)>,
}

impl Claims {
    /// Notes who has some blocks.
    pub(super) fn add(&mut self, run: Run, owner: Owner) {
        work::add(1);
        if run.len > 0 {
            self.list.push((run, owner));
        }
    }

    /// Notes who has the block behind the last that it was noted for.
    pub(super) fn extend_last(&mut self, run: Run, owner: Owner) {
        match self.list.last_mut() {
            Some((last, of)) if *of == owner && last.end() == run.start => last.len += run.len,
            _ => self.add(run, owner),
        }
    }

    /// Puts the claims in order, tells which blocks have two owners, and gives what is in use.
    pub(super) fn settle(mut self, volume: &Volume<'_>) -> Used {
        self.list.sort_unstable();
        let ratio = volume.cluster_ratio;
        let mut last: Option<(Run, Owner)> = None;
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (run, owner) in self.list {
            if let Some((before, other)) = last {
                tell_shared(volume, (before, other), (run, owner));
            }
            // The claim that reaches furthest is the one that the next may overlap.
            if last.is_none_or(|(before, _)| before.end() <= run.end()) {
                last = Some((run, owner));
            }
            let first = run.start.get() / ratio;
            let end = run.end().get().div_ceil(ratio);
            match runs.last_mut() {
                Some((_, last_end)) if *last_end >= first => *last_end = end.max(*last_end),
                _ => runs.push((first, end)),
            }
        }
        Used { runs }
    }
}

/// Notes what two neighbours in the order have both: blocks, or a cluster where one is a file's.
fn tell_shared(volume: &Volume<'_>, before: (Run, Owner), after: (Run, Owner)) {
    let ((first, one), (second, other)) = (before, after);
    let place = match (one.ino(), other.ino()) {
        (_, Some(ino)) | (Some(ino), None) => Location::inode(ino.get()),
        (None, None) => Location::WHOLE,
    };
    let end = first.end().get().min(second.end().get());
    let start = second.start.get();
    let run = if start < end {
        Run::new(second.start, end - start)
    } else {
        let ratio = volume.cluster_ratio;
        let is_one_cluster = (first.end().get() - 1) / ratio == start / ratio;
        let are_files = one.ino().is_some() || other.ino().is_some();
        if !is_one_cluster || !are_files || one.ino() == other.ino() {
            return;
        }
        Run::new(Block::new(start / ratio * ratio), ratio)
    };
    let fault = FindingKind::Shared { run, one, other };
    volume.note(Area::Blocks, place, fault);
}

/// What is in use, in clusters of the whole filesystem: neither overlapping nor touching, in order.
pub(super) struct Used {
    runs: Vec<(u64, u64)>,
}

impl Used {
    /// The clusters in use from `start` to `end`, as offsets from `start`.
    pub(super) fn within(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let first = self.runs.partition_point(|(_, run_end)| *run_end <= start);
        let runs = self.runs.get(first..).unwrap_or_default();
        let inside = runs.iter().take_while(|(run_start, _)| *run_start < end);
        inside
            .map(|(run_start, run_end)| {
                ((*run_start).max(start) - start, (*run_end).min(end) - start)
            })
            .collect()
    }
}
