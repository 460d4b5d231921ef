//! Given names of what can differ, says what they mean; never compares anything.

use std::error::Error;
use std::fmt;

/// Something of a file that can differ between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Attribute {
    Type,
    Mode,
    Uid,
    Gid,
    Atime,
    Mtime,
    Ctime,
    Flags,
    Links,
    Device,
    Target,
    Xattrs,
    Data,
}

/// Names that mean several attributes.
const GROUPS: [(&str, &[Attribute]); 2] = [
    ("owner", &[Attribute::Uid, Attribute::Gid]),
    (
        "times",
        &[Attribute::Atime, Attribute::Mtime, Attribute::Ctime],
    ),
];

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Type,
        Self::Mode,
        Self::Uid,
        Self::Gid,
        Self::Atime,
        Self::Mtime,
        Self::Ctime,
        Self::Flags,
        Self::Links,
        Self::Device,
        Self::Target,
        Self::Xattrs,
        Self::Data,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Atime => "atime",
            Self::Mtime => "mtime",
            Self::Ctime => "ctime",
            Self::Flags => "flags",
            Self::Links => "links",
            Self::Device => "device",
            Self::Target => "target",
            Self::Xattrs => "xattrs",
            Self::Data => "data",
        }
    }

    fn bit(self) -> u16 {
        let index = Self::ALL.iter().position(|it| *it == self);
        index.map_or(0, |index| 1 << index)
    }
}

/// Some attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u16);

impl Attributes {
    /// Those that a list of names means, apart by commas: those of [`Attribute::name`], `owner` for `uid` and
    /// `gid`, and `times` for `atime`, `mtime` and `ctime`.
    ///
    /// ```
    /// use mke4fs::diff::{Attribute, Attributes};
    ///
    /// let some = Attributes::parse("times,owner")?;
    /// assert!(some.has(Attribute::Ctime) && some.has(Attribute::Gid) && !some.has(Attribute::Mode));
    /// assert!(Attributes::parse("time").is_err());
    /// # Ok::<(), mke4fs::diff::UnknownAttribute>(())
    /// ```
    ///
    /// # Errors
    /// Where a name is none of them.
    pub fn parse(names: &str) -> Result<Self, UnknownAttribute> {
        let mut named = names.split(',').map(Self::named);
        named.try_fold(Self::default(), |all, named| Ok(all.with(named?)))
    }

    /// Whether an attribute is among them.
    pub fn has(self, attribute: Attribute) -> bool {
        self.0 & attribute.bit() != 0
    }

    /// These and others.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    fn named(name: &str) -> Result<Self, UnknownAttribute> {
        if let Some(attribute) = Attribute::ALL.iter().find(|it| it.name() == name) {
            return Ok(Self(attribute.bit()));
        }
        let group = GROUPS.iter().find(|(it, _)| *it == name);
        let (_, attributes) = group.ok_or_else(|| UnknownAttribute(name.to_owned()))?;
        let bits = attributes.iter().map(|attribute| attribute.bit());
        Ok(Self(bits.fold(0, |all, bit| all | bit)))
    }
}

impl From<Attribute> for Attributes {
    fn from(attribute: Attribute) -> Self {
        Self(attribute.bit())
    }
}

/// A name that no attribute has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAttribute(String);

impl fmt::Display for UnknownAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Attribute::ALL.iter().map(|attribute| attribute.name());
        let groups = GROUPS.iter().map(|(name, _)| *name);
        let names: Vec<&str> = names.chain(groups).collect();
        let name = self.0.escape_debug();
        write!(
            f,
            "invalid value '{name}': must be one of {}",
            names.join(", ")
        )
    }
}

impl Error for UnknownAttribute {}
