//! Given wishes, gives [`Settings`]; never a count that depends on another count.

mod settings;

pub use settings::{Errors, JournalLength, Settings};
