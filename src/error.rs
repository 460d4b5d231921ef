//! Given what a room says is wrong, gives the one error that programs see; never a cure.

use std::fmt;
use std::io;

use crate::emit::EmitError;
use crate::geometry::GeometryError;
use crate::layout::LayoutError;
use crate::options::{NoFiles, Options, SettingsError};
use crate::sink::{Format, OpenError};
use crate::source::SourceError;
use crate::source::rules::IdMapError;
use crate::tree::TreeError;
use crate::units::reason;

/// Why there is no image.
///
/// Its text is one sentence that says what is wrong, where, and what would have been needed; what caused
/// it, such as an error of the system, is its [`source`](std::error::Error::source) and no part of the
/// text. `{:#}` says both. A program that acts on errors asks for the [`kind`](Self::kind).
///
/// ```
/// use mke4fs::{Builder, ErrorKind, Tree};
///
/// let mut tree = Tree::default();
/// tree.file("/large", vec![1; 8 << 20])?;
/// let made = Builder::new().size_bytes(4 << 20).source(tree).to_vec();
/// match made.expect_err("it does not fit").kind() {
///     ErrorKind::DoesNotFit { needed, available } => assert!(needed > available),
///     kind => panic!("{kind:?}"),
/// }
/// # Ok::<(), mke4fs::TreeError>(())
/// ```
///
/// What `main` says of one that it returns is the text with all causes.
pub struct Error {
    room: Box<Kind>,
    /// The size in bytes of an image that would hold what does not fit, if one was found.
    size_that_fits: Option<u64>,
    /// The value of the option that is wrong, as it was asked for, where the room knows only what became of it.
    asked: Option<String>,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

/// What is wrong, for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The sources, or what the filesystem itself is made of, are more than there is room for, in bytes.
    DoesNotFit {
        /// What they need.
        needed: u64,
        /// What there is for them.
        available: u64,
    },
    /// The sources hold more than there are inodes.
    TooFewInodes {
        /// How many are needed.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// Something of a source cannot be read.
    SourceUnreadable {
        /// What, by the name that the source has for it: of an archive or an image, the path of its file.
        path: Vec<u8>,
    },
    /// Something of a source is not what it was when it was declared.
    SourceChanged {
        /// What, by the name that the source has for it: of an archive or an image, the path of its file.
        path: Vec<u8>,
    },
    /// The output is smaller than the image, in bytes.
    OutputTooSmall {
        /// What the image takes, with what lies before it.
        needed: u64,
        /// What the output holds.
        available: u64,
    },
    /// The output cannot be opened or written.
    OutputFailed,
    /// It was asked to stop.
    Cancelled,
    /// An option is out of range, contradicts another or is not known.
    InvalidOption {
        /// The option, as the command or mke2fs.conf calls it; empty where several contradict each other.
        name: String,
        /// Its value; empty where it is not the value that is wrong.
        value: String,
    },
    /// What no other kind says.
    Other,
}

/// What is wrong, by the room that says so.
#[derive(Debug)]
pub(crate) enum Kind {
    Settings(SettingsError),
    Geometry(GeometryError),
    Source(SourceError),
    /// Ids are changed into what are none.
    Ids(IdMapError),
    Tree(TreeError),
    Layout(LayoutError),
    Emit(EmitError),
    Open(OpenError),
    Output(io::Error),
    /// An image is asked for in a format that its output cannot have.
    NotRaw(Format),
    /// No size up to the largest would do.
    NoSizeFits,
    /// A size is to be found by the content of a journal device.
    FitOfJournalDevice,
    /// More is to stay free than is sought for.
    FitTooLarge {
        bytes: u64,
        most: u64,
    },
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            room: Box::new(kind),
            size_that_fits: None,
            asked: None,
        }
    }

    /// The same, with the size in bytes of an image that would hold what does not fit.
    pub(crate) fn with_size_that_fits(mut self, bytes: Option<u64>) -> Self {
        self.size_that_fits = bytes;
        self
    }

    /// The same, of an image that `options` ask for.
    pub(crate) fn asked_by(mut self, options: &Options) -> Self {
        if let ErrorKind::InvalidOption { name, .. } = self.kind() {
            self.asked = options.asked(&name);
        }
        self
    }

    /// The size in bytes of an image that would hold what does not fit, if one was found.
    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "what the command's words need")
    )]
    pub(crate) fn size_that_fits(&self) -> Option<u64> {
        self.size_that_fits
    }

    /// What the command says, whose options are flags.
    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "what the command's words need")
    )]
    pub(crate) fn by_flags(&self) -> String {
        match &*self.room {
            Kind::Settings(error) => error.to_string(),
            Kind::Geometry(error) => error.to_string(),
            Kind::Source(error) => error.of_any_source(),
            _ => format!("{self:#}"),
        }
    }

    pub(crate) fn room(&self) -> &Kind {
        &self.room
    }

    /// Whether the caller itself asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// What is wrong, with the numbers, names and paths that belong to it.
    pub fn kind(&self) -> ErrorKind {
        match (self.kind_by_room(), &self.asked) {
            (ErrorKind::InvalidOption { name, .. }, Some(asked)) => invalid(&name, asked),
            (kind, _) => kind,
        }
    }

    fn kind_by_room(&self) -> ErrorKind {
        match &*self.room {
            Kind::Settings(error) => {
                let (name, value) = error.option();
                invalid(name, value)
            }
            Kind::Geometry(error) => of_geometry(error),
            Kind::Source(error) => match error.path() {
                Some(path) if error.is_changed() => ErrorKind::SourceChanged { path: path.into() },
                Some(path) => ErrorKind::SourceUnreadable { path: path.into() },
                None => ErrorKind::Other,
            },
            Kind::Ids(error) => invalid("map_ids", error.ids()),
            Kind::Layout(error) => of_layout(error),
            Kind::Emit(error) => of_emit(error),
            Kind::Open(_) | Kind::Output(_) => ErrorKind::OutputFailed,
            Kind::NotRaw(format) => invalid("format", format.name()),
            Kind::FitTooLarge { bytes, .. } => invalid("fit", bytes),
            Kind::FitOfJournalDevice => invalid("fit", ""),
            Kind::Tree(_) | Kind::NoSizeFits => ErrorKind::Other,
        }
    }

    /// Says what is wrong, but for its cause.
    fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.room {
            Kind::Settings(error) => error.say_to_program(f),
            Kind::Geometry(error) => error.say_to_program(f),
            Kind::Source(error) => error.say(f),
            Kind::Ids(error) => error.say_to_program(f),
            Kind::Tree(error) => write!(f, "{error}"),
            Kind::Layout(error) => write!(f, "{error}"),
            Kind::Emit(error) => error.say(f),
            Kind::Open(error) => error.say(f),
            Kind::Output(_) => f.write_str("the output cannot be written"),
            Kind::NotRaw(format) => write!(
                f,
                "{} needs a regular file: give write_file its name, or use Format::Raw",
                format.name()
            ),
            Kind::NoSizeFits => f.write_str("no filesystem of any size holds the content"),
            Kind::FitOfJournalDevice => f.write_str(
                "the size of a journal device (-O journal_dev) cannot follow from content; give a size",
            ),
            Kind::FitTooLarge { bytes, most } => write!(
                f,
                "{bytes} bytes cannot be kept free by a size that is sought: at most {most}; give the size \
                 itself instead"
            ),
        }
    }
}

fn invalid(name: &str, value: impl ToString) -> ErrorKind {
    ErrorKind::InvalidOption {
        name: name.to_owned(),
        value: value.to_string(),
    }
}

fn of_geometry(error: &GeometryError) -> ErrorKind {
    match *error {
        GeometryError::TooSmall {
            blocks,
            needed,
            block_size,
        } => ErrorKind::DoesNotFit {
            needed: needed.saturating_mul(block_size.into()),
            available: blocks.saturating_mul(block_size.into()),
        },
        GeometryError::TooManyInodes { inodes } => invalid("-N", inodes),
        GeometryError::ReservedGdtBlocks { .. } => invalid("resize", ""),
        GeometryError::JournalLength { .. }
        | GeometryError::JournalTooShort { .. }
        | GeometryError::JournalTooBig { .. } => invalid("-J", ""),
        GeometryError::JournalDeviceTooShort { .. } => invalid("SIZE", ""),
        GeometryError::MmpInterval { seconds } => invalid("mmp_update_interval", seconds),
        GeometryError::OrphanFileTooBig { .. } => invalid("orphan_file_size", ""),
        GeometryError::OrphanFileWithoutJournal => invalid("-O", "orphan_file"),
        GeometryError::InvalidArgument => invalid("", ""),
    }
}

fn of_layout(error: &LayoutError) -> ErrorKind {
    match *error {
        LayoutError::ContentTooBig {
            needed,
            free,
            block_size,
        } => ErrorKind::DoesNotFit {
            needed: needed.saturating_mul(block_size.into()),
            available: free.saturating_mul(block_size.into()),
        },
        LayoutError::TooFewInodes { needed, inodes } => ErrorKind::TooFewInodes {
            needed,
            available: inodes.into(),
        },
        LayoutError::Cancelled => ErrorKind::Cancelled,
        LayoutError::ContentWithoutInodes(NoFiles::JournalDevice) => invalid("-O", "journal_dev"),
        LayoutError::ContentWithoutInodes(NoFiles::SuperOnly) => invalid("-S", ""),
        // How much more it would need nobody knows by then.
        LayoutError::NoRoom { .. } => invalid("SIZE", ""),
        _ => ErrorKind::Other,
    }
}

fn of_emit(error: &EmitError) -> ErrorKind {
    match error {
        EmitError::SinkTooSmall { size, needed } => ErrorKind::OutputTooSmall {
            needed: *needed,
            available: *size,
        },
        EmitError::Content { path, error, .. } if error.kind() == io::ErrorKind::InvalidData => {
            ErrorKind::SourceChanged { path: path.clone() }
        }
        EmitError::Content { path, .. } => ErrorKind::SourceUnreadable { path: path.clone() },
        EmitError::Sink { .. } => ErrorKind::OutputFailed,
        EmitError::Cancelled => ErrorKind::Cancelled,
        EmitError::QuotaInUse | EmitError::Journal(_) | EmitError::Unshared { .. } => {
            ErrorKind::Other
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return self.say(f);
        }
        match &*self.room {
            Kind::Source(error) => error.fmt(f),
            Kind::Emit(error) => error.fmt(f),
            Kind::Open(error) => error.fmt(f),
            Kind::Output(error) => f.write_str(&reason(error)),
            _ => self.say(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // What is wrong says the room's own error in the text; what caused that one comes next.
        match &*self.room {
            Kind::Settings(error) => error.source(),
            Kind::Geometry(error) => error.source(),
            Kind::Source(error) => error.source(),
            Kind::Ids(error) => error.source(),
            Kind::Tree(error) => error.source(),
            Kind::Layout(error) => error.source(),
            Kind::Emit(error) => error.source(),
            Kind::Open(error) => error.source(),
            Kind::Output(error) => Some(error),
            Kind::NotRaw(_)
            | Kind::NoSizeFits
            | Kind::FitOfJournalDevice
            | Kind::FitTooLarge { .. } => None,
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
    Emit(EmitError),
    Open(OpenError)
);
