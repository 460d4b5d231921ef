//! Given nothing or a file, gives the time of the host's clock; never decides what time an image bears, which
//! is the environment's.

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::units::Timestamp;

/// The time since 1970.
pub(crate) fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}

/// When a file was written last.
pub(crate) fn written(file: &File) -> Option<Timestamp> {
    let written = file.metadata().and_then(|it| it.modified()).ok()?;
    let since = written.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp {
        seconds: i64::try_from(since.as_secs()).ok()?,
        nanoseconds: since.subsec_nanos(),
    })
}
