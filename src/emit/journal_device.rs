//! Given the device of a journal, lists the filesystem among those it is for; never changes its log.

use bytemuck::{Zeroable, bytes_of, bytes_of_mut};

use super::{EmitError, Writing};
use crate::ondisk::int::Be32;
use crate::ondisk::jbd2::{BLOCK_TYPE_SUPERBLOCK_V2, JournalSuperblock, MAGIC};
use crate::options::Settings;
use crate::sink::Sink;

/// The journal's superblock with the filesystem in its list, and where it goes.
pub(super) struct Listing<'a> {
    sink: &'a dyn Sink,
    offset: u64,
    superblock: JournalSuperblock,
}

impl<'a> Listing<'a> {
    /// Reads the superblock and adds the filesystem, unless it is there already
    /// (`ext2fs_add_journal_device`). `None` where the journal has no device of its own.
    ///
    /// # Errors
    /// Where that device is missing, or is not what it was.
    pub(super) fn new(
        settings: &Settings,
        sink: Option<&'a dyn Sink>,
    ) -> Result<Option<Self>, EmitError> {
        let Some(journal) = &settings.journal_device else {
            return Ok(None);
        };
        let sink = sink.ok_or(EmitError::Journal(
            "the journal is on a device of its own, which needs to be given as well",
        ))?;
        let offset = journal.block_size.bytes_u64().max(2048);
        let mut superblock = JournalSuperblock::zeroed();
        sink.read_at(offset, bytes_of_mut(&mut superblock))
            .map_err(|error| EmitError::Sink {
                doing: "reading the journal's superblock",
                offset,
                error,
            })?;
        let is_same = superblock.h_magic.get() == MAGIC
            && superblock.h_blocktype.get() == BLOCK_TYPE_SUPERBLOCK_V2
            && superblock.s_uuid == journal.uuid;
        if !is_same {
            return Err(EmitError::Journal(
                "the journal on the device was replaced since it was inspected",
            ));
        }
        let count = superblock.s_nr_users.get();
        let users = usize::try_from(count).unwrap_or(usize::MAX);
        let Some(listed) = superblock.s_users.get(..users) else {
            return Err(EmitError::Journal("The journal superblock is corrupt"));
        };
        if !listed.contains(&settings.uuid) {
            let slot = superblock.s_users.get_mut(users);
            *slot.ok_or(EmitError::Journal(
                "the journal already serves as many filesystems as it can list",
            ))? = settings.uuid;
            superblock.s_nr_users = Be32::new(count + 1);
        }
        Ok(Some(Self {
            sink,
            offset,
            superblock,
        }))
    }

    pub(super) fn write(&self, writing: &Writing<'_>) -> Result<(), EmitError> {
        let written = self.sink.write_at(self.offset, bytes_of(&self.superblock));
        let synced = written.and_then(|()| {
            if writing.sync {
                self.sink.sync()
            } else {
                Ok(())
            }
        });
        synced.map_err(|error| EmitError::Sink {
            doing: "writing the journal's superblock",
            offset: self.offset,
            error,
        })
    }
}
