//! Given what names one layer of an image, finds it among its layers; never reads one.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use super::choice::Layer;
use super::digest::Digest;
use super::error::{ImageErrorKind, OciError};

/// One layer of an image: its number, from 1 for the lowest, or its digest, compressed or not.
///
/// ```
/// use mke4fs::source::oci::{Image, LayerChoice};
///
/// let lowest: LayerChoice = "1".parse()?;
/// let image = Image::layout("images").layer(Some(lowest)).overlay_whiteouts(true);
/// assert!("0".parse::<LayerChoice>().is_err());
/// # Ok::<(), mke4fs::source::oci::LayerChoiceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerChoice(Choice);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Number(NonZero<usize>),
    Digest(Digest),
}

/// What names no layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerChoiceError(String);

impl fmt::Display for LayerChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = crate::units::Readable(self.0.as_bytes());
        write!(
            f,
            "invalid layer '{text}': must be a number from 1 for the lowest layer, or a digest such as sha256:…"
        )
    }
}

impl std::error::Error for LayerChoiceError {}

impl FromStr for LayerChoice {
    type Err = LayerChoiceError;

    fn from_str(text: &str) -> Result<Self, LayerChoiceError> {
        let number = text.parse().map(Choice::Number);
        let choice = number.or_else(|_| Digest::parse(text).map(Choice::Digest));
        choice
            .map(Self)
            .map_err(|_| LayerChoiceError(text.to_owned()))
    }
}

impl fmt::Display for LayerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::Number(number) => number.fmt(f),
            Choice::Digest(digest) => digest.fmt(f),
        }
    }
}

impl LayerChoice {
    /// Which of `layers` it is; of equal ones the lowest.
    pub(super) fn find(&self, layers: &[Layer]) -> Result<usize, OciError> {
        let found = match &self.0 {
            Choice::Number(number) => Some(number.get() - 1).filter(|at| *at < layers.len()),
            Choice::Digest(digest) => layers.iter().position(|layer| {
                layer.digest.as_ref() == Some(digest) || layer.diff_id == *digest
            }),
        };
        found.ok_or_else(|| {
            let layers = layers.len();
            let wanted = self.to_string();
            ImageErrorKind::NoSuchLayer { wanted, layers }.into()
        })
    }
}
