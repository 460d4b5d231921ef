//! Given names one by one, keeps them in one piece of memory; never what they are names of.

/// Names begin at multiples of this, so that 32 bits count 16 GiB of them.
const UNIT: usize = 4;
/// The bytes before a name that say how long it is.
const LENGTH_BYTES: usize = 2;

/// Many names. A million small ones by themselves would take as much again for the allocator as for
/// their bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameList {
    bytes: Vec<u8>,
}

/// Where a name is in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameAt(u32);

impl NameList {
    /// Adds a name, if it is shorter than 64 KiB and there is room for it.
    pub(crate) fn push(&mut self, name: &[u8]) -> Option<NameAt> {
        let at = u32::try_from(self.bytes.len() / UNIT).ok()?;
        let length = u16::try_from(name.len()).ok()?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(name);
        let end = self.bytes.len().next_multiple_of(UNIT);
        self.bytes.resize(end, 0);
        Some(NameAt(at))
    }

    /// How many bytes all names take.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The name at a place that [`push`](Self::push) gave.
    pub(crate) fn get(&self, at: NameAt) -> &[u8] {
        let start = usize::try_from(at.0).expect("32 bits fit any usize") * UNIT;
        let (length, rest) = self.bytes[start..].split_at(LENGTH_BYTES);
        let length = u16::from_le_bytes([length[0], length[1]]);
        &rest[..usize::from(length)]
    }
}
