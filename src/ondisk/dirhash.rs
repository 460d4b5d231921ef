//! dirhash
