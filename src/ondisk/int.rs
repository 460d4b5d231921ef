//! Given bytes in the disk's order, gives integers, and back; never an alignment above one.
//!
//! `bytemuck` has no endian types, and a struct of native integers would have alignment, and so
//! padding. These newtypes have neither: a `repr(C)` struct of them *is* its on-disk form.

use bytemuck::{Pod, Zeroable};

macro_rules! integer {
    ($name:ident, $native:ty, $bytes:literal, $from:ident, $to:ident, $order:literal) => {
        #[doc = concat!("A `", stringify!($native), "` stored in ", $order, "-endian order.")]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
        #[repr(transparent)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Stores `value`.
            pub const fn new(value: $native) -> Self {
                Self(value.$to())
            }

            /// The stored value in the host's order.
            pub const fn get(self) -> $native {
                <$native>::$from(self.0)
            }
        }

        impl From<$native> for $name {
            fn from(value: $native) -> Self {
                Self::new(value)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.get(), f)
            }
        }
    };
}

integer!(Le16, u16, 2, from_le_bytes, to_le_bytes, "little");
integer!(Le32, u32, 4, from_le_bytes, to_le_bytes, "little");
integer!(Le64, u64, 8, from_le_bytes, to_le_bytes, "little");
integer!(Be16, u16, 2, from_be_bytes, to_be_bytes, "big");
integer!(Be32, u32, 4, from_be_bytes, to_be_bytes, "big");
integer!(Be64, u64, 8, from_be_bytes, to_be_bytes, "big");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_the_disks_order() {
        assert_eq!(bytemuck::bytes_of(&Le32::new(0x0102_0304)), [4, 3, 2, 1]);
        assert_eq!(bytemuck::bytes_of(&Be32::new(0x0102_0304)), [1, 2, 3, 4]);
        assert_eq!(Le64::new(7).get(), 7);
        assert_eq!(align_of::<Le64>(), 1);
    }
}
