//! Given a superblock that makes sense, gives the filesystem's bytes by block and keeps what is found in
//! them; never judges what they say.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::ops::{Deref, RangeInclusive};

use super::finding::{Area, Finding, FindingKind, Location, Report};
use crate::read::Superblock;
pub(super) use crate::read::bytes::{half, index, join, length, pod as read, word};
use crate::sink::ReadAt;
use crate::work;

/// Where findings go, and what they are found in.
pub(super) struct Volume<'a> {
    image: &'a dyn ReadAt,
    base: u64,
    most_findings: usize,
    report: RefCell<Report>,
    /// What was read, of which nothing is read twice.
    met: RefCell<HashSet<(Area, u64)>>,
    /// The primary superblock and the geometry.
    superblock: Superblock,
}

/// The storage, where the filesystem begins in it, and how many findings are kept.
#[derive(Clone, Copy)]
pub(super) struct Storage<'a> {
    pub(super) image: &'a dyn ReadAt,
    pub(super) base: u64,
    pub(super) most_findings: usize,
}

impl Deref for Volume<'_> {
    type Target = Superblock;

    fn deref(&self) -> &Superblock {
        &self.superblock
    }
}

impl<'a> Volume<'a> {
    pub(super) fn new(storage: Storage<'a>, superblock: Superblock, report: Report) -> Self {
        Self {
            image: storage.image,
            base: storage.base,
            most_findings: storage.most_findings,
            report: RefCell::new(report),
            met: RefCell::default(),
            superblock,
        }
    }

    /// What was found.
    pub(super) fn into_report(self) -> Report {
        self.report.into_inner()
    }

    /// How many findings there are by now.
    pub(super) fn found(&self) -> u64 {
        self.report.borrow().total
    }

    /// Whether `number`, a block or a place of another unit, is met for the first time in structures of
    /// this kind. What many claim is told by the claims; that it is read once bounds the check by what
    /// the image holds.
    pub(super) fn is_first(&self, area: Area, number: u64) -> bool {
        work::add(1);
        self.met.borrow_mut().insert((area, number))
    }

    /// Notes a finding.
    pub(super) fn note(&self, area: Area, location: Location, kind: FindingKind) {
        let finding = Finding {
            area,
            location,
            kind,
        };
        self.report.borrow_mut().add(finding, self.most_findings);
    }

    /// Notes a broken rule.
    pub(super) fn rule(&self, area: Area, place: Location, rule: &'static str) {
        self.note(area, place, FindingKind::Rule(rule));
    }

    /// Notes a value that is not the one that is needed.
    pub(super) fn equal(&self, at: (Area, Location), what: &'static str, pair: (u64, u64)) {
        let (found, needed) = pair;
        if found != needed {
            let fault = FindingKind::Value {
                what,
                found,
                needed,
            };
            self.note(at.0, at.1, fault);
        }
    }

    /// Notes a value that is out of its bounds, and says whether it is within.
    pub(super) fn within(
        &self,
        at: (Area, Location),
        what: &'static str,
        found: u64,
        bounds: RangeInclusive<u64>,
    ) -> bool {
        let is_within = bounds.contains(&found);
        if !is_within {
            let (least, most) = bounds.into_inner();
            let fault = FindingKind::Bounds {
                what,
                found,
                least,
                most,
            };
            self.note(at.0, at.1, fault);
        }
        is_within
    }

    /// Notes a checksum or hash that is not the one that is needed.
    pub(super) fn sum(&self, at: (Area, Location), what: &'static str, pair: (u32, u32)) {
        let (found, needed) = pair;
        if found != needed {
            let fault = FindingKind::Checksum {
                what,
                found,
                needed,
            };
            self.note(at.0, at.1, fault);
        }
    }

    /// Reads bytes of the filesystem, or notes that it cannot be done.
    pub(super) fn bytes(
        &self,
        at: (Area, Location),
        offset: u64,
        length: usize,
    ) -> Option<Vec<u8>> {
        let offset = self.base.checked_add(offset)?;
        // What lies past the end costs nothing: descriptors may lead there by the thousand.
        let is_past_end =
            offset.saturating_add(crate::read::bytes::length(length)) > self.image.size_bytes();
        let read = if is_past_end {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            work::add_bytes(length);
            let mut bytes = vec![0; length];
            let read = self.image.read_exact_at(offset, &mut bytes);
            read.map(|()| bytes)
        };
        match read {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.note(at.0, at.1, FindingKind::Unreadable(error.kind()));
                None
            }
        }
    }

    /// Reads a block, or notes that it cannot be read.
    pub(super) fn block(&self, at: (Area, Location), block: u64) -> Option<Vec<u8>> {
        let offset = block.checked_mul(self.block_size.bytes_u64())?;
        let place = at.1.at(block);
        self.bytes((at.0, place), offset, self.block_size.bytes_usize())
    }

    /// Whether bytes of the filesystem surely are zeros that nobody wrote.
    pub(super) fn is_hole(&self, offset: u64, length: u64) -> bool {
        let Some(offset) = self.base.checked_add(offset) else {
            return false;
        };
        let end = offset.saturating_add(length).min(self.image.size_bytes());
        self.image.next_data(offset).is_some_and(|next| next >= end)
    }
}
