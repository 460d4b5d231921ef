//! Given bytes and an offset, gives the number or the structure there; never panics past the end.

use bytemuck::{AnyBitPattern, pod_read_unaligned};

/// A structure at `offset` of `bytes`, if they reach that far.
pub(crate) fn pod<T: AnyBitPattern>(bytes: &[u8], offset: usize) -> Option<T> {
    let end = offset.checked_add(size_of::<T>())?;
    Some(pod_read_unaligned(bytes.get(offset..end)?))
}

/// A structure at the start of `bytes`, its fields zero where they do not reach.
pub(crate) fn pod_or_zeros<T: bytemuck::Pod>(bytes: &[u8]) -> T {
    let mut whole = T::zeroed();
    let slots = bytemuck::bytes_of_mut(&mut whole).iter_mut();
    for (slot, byte) in slots.zip(bytes) {
        *slot = *byte;
    }
    whole
}

/// The little-endian 32 bits at `offset`, zero past the end.
pub(crate) fn word(bytes: &[u8], offset: usize) -> u32 {
    let four = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    four.map_or(0, |four| u32::from_le_bytes(*four))
}

/// The little-endian 16 bits at `offset`, zero past the end.
pub(crate) fn half(bytes: &[u8], offset: usize) -> u16 {
    let two = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    two.map_or(0, |two| u16::from_le_bytes(*two))
}

/// A length of bytes for arithmetic on places.
pub(crate) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// An index below a length that fits memory.
pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A number of 64 bits from its halves.
pub(crate) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}
