//! Given what a room says is wrong, gives the one error that programs see; never a cure.

use std::fmt;

use crate::emit::EmitError;
use crate::geometry::GeometryError;
use crate::layout::LayoutError;
use crate::options::SettingsError;
use crate::source::SourceError;
use crate::tree::TreeError;

/// Why there is no image.
///
/// Its text is one sentence that says what is wrong, where, and what would have been needed.
#[derive(Debug)]
pub struct Error(Box<Kind>);

/// What is wrong, by the room that says so.
#[derive(Debug)]
pub(crate) enum Kind {
    Settings(SettingsError),
    Geometry(GeometryError),
    Source(SourceError),
    Tree(TreeError),
    Layout(LayoutError),
    Emit(EmitError),
    /// No size up to the largest would do.
    NoSizeFits,
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Box::new(kind))
    }

    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "what the command's words need")
    )]
    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }

    /// Whether the caller itself asked to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.0, Kind::Emit(EmitError::Cancelled))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Settings(error) => error.fmt(f),
            Kind::Geometry(error) => error.fmt(f),
            Kind::Source(error) => error.fmt(f),
            Kind::Tree(error) => error.fmt(f),
            Kind::Layout(error) => error.fmt(f),
            Kind::Emit(error) => error.fmt(f),
            Kind::NoSizeFits => f.write_str("no filesystem of any size holds the content"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Each text repeats that of the room's own error; what caused that one comes next.
        match &*self.0 {
            Kind::Settings(error) => error.source(),
            Kind::Geometry(error) => error.source(),
            Kind::Source(error) => error.source(),
            Kind::Tree(error) => error.source(),
            Kind::Layout(error) => error.source(),
            Kind::Emit(error) => error.source(),
            Kind::NoSizeFits => None,
        }
    }
}

macro_rules! from {
    ($($room:ident($error:ty)),+) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::new(Kind::$room(error))
            }
        })+
    };
}

from!(
    Settings(SettingsError),
    Geometry(GeometryError),
    Source(SourceError),
    Tree(TreeError),
    Layout(LayoutError),
    Emit(EmitError)
);
