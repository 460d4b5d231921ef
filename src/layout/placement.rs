//! Given a filesystem in which nothing but its tables has a place, gives contents theirs where there is
//! plenty of room; never those of anything else.
//!
//! A block map lies among the data it names, and so comes about with them. And where room is short,
//! what the filesystem itself needs in one piece goes first.

use super::content::ContentPlanner;
use super::data_allocator::DataAllocator;
use super::matched::Stop;
use super::{Front, LayoutError, Ledger, system};
use crate::geometry::Geometry;
use crate::options::Settings;
use crate::tree::{Metadata, Tree};

impl DataAllocator {
    /// The places that a filesystem of `geometry` has.
    ///
    /// # Errors
    /// Where it has none for its own files.
    pub fn new(settings: &Settings, geometry: &Geometry) -> Result<Self, LayoutError> {
        if let Some(reason) = settings.no_files() {
            return Err(LayoutError::ContentWithoutInodes(reason));
        }
        if settings.huge_files.is_some() {
            return Err(LayoutError::HugeFilesWithContent);
        }
        let Front { ledger, .. } = Front::new(settings, geometry, Stop::default())?;
        allocator(settings, geometry, ledger)
    }
}

/// The places that the blocks free in `ledger` are, but for those where the filesystem's own files will
/// be.
fn allocator(
    settings: &Settings,
    geometry: &Geometry,
    mut ledger: Ledger,
) -> Result<DataAllocator, LayoutError> {
    let empty = Tree::with_root(Metadata::default());
    let planner = ContentPlanner::new(settings, geometry, &empty)?;
    system::claim(
        settings,
        geometry,
        &planner.expecting_content(),
        &mut ledger,
    )?;
    Ok(DataAllocator::outside(geometry, &ledger))
}

/// Claims the blocks of contents that are in their places already; if there are none, those of all
/// contents where extents tell of them and there is plenty of room.
pub(super) fn claim(
    settings: &Settings,
    geometry: &Geometry,
    planner: &mut ContentPlanner<'_>,
    ledger: &mut Ledger,
) -> Result<(), LayoutError> {
    planner.claim_placed(ledger)?;
    if let Some(demand) = planner.data_demand()? {
        let mut allocator = allocator(settings, geometry, ledger.clone())?;
        if allocator.has_plenty(&demand) {
            planner.place_contents(&mut allocator, ledger)?;
        }
    }
    planner.form_clusters(ledger)
}
