//! Given the text of a platform, gives what an image must be made for; never looks at an image.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// What an image is made for: `os/architecture[/variant]`, in Go's words, such as `linux/arm/v7`.
///
/// ```
/// use mke4fs::source::oci::Platform;
///
/// let platform: Platform = "linux/arm64/v8".parse()?;
/// assert_eq!(platform.to_string(), "linux/arm64/v8");
/// assert!("linux".parse::<Platform>().is_err());
/// # Ok::<(), mke4fs::source::oci::PlatformError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Linux on the architecture that this program was built for.
    pub fn host() -> Self {
        let little = cfg!(target_endian = "little");
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if little => "ppc64le",
            "powerpc64" => "ppc64",
            "mips64" if little => "mips64le",
            "mips" if little => "mipsle",
            "loongarch64" => "loong64",
            same => same,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// The platform that the parts say; an empty variant is none.
    pub(super) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.filter(|it| !it.is_empty()).map(str::to_owned),
        }
    }

    /// How well an image for `other` suits, the less the better; `None` if it does not.
    ///
    /// Asked for no variant, the one that the architecture commonly means comes first, then the
    /// greatest.
    pub(super) fn distance(&self, other: &Self) -> Option<u8> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let (wanted, has) = (self.variant(), other.variant());
        if wanted == has {
            return Some(0);
        }
        if self.variant.is_some() {
            return None;
        }
        let number = has.strip_prefix('v').and_then(|it| it.parse::<u8>().ok());
        Some(number.map_or(u8::MAX, |number| (u8::MAX - 1).saturating_sub(number)))
    }

    /// The variant, or the one that the architecture means without one.
    fn variant(&self) -> &str {
        let common = match &*self.architecture {
            "arm64" => "v8",
            "arm" => "v7",
            "amd64" => "v1",
            _ => "",
        };
        self.variant.as_deref().unwrap_or(common)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let error = || PlatformError(text.to_owned());
        if parts.iter().any(|part| part.is_empty()) {
            return Err(error());
        }
        match parts[..] {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// A text that is no platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformError(String);

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.escape_debug();
        write!(
            f,
            "invalid platform '{text}': must be OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64"
        )
    }
}

impl Error for PlatformError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_two_or_three_parts() {
        for text in ["", "linux", "linux/", "/amd64", "linux//v8", "a/b/c/d"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_variant_suits_best() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let nearest = |wanted: &str, there: &[&str]| {
            let wanted = platform(wanted);
            let suited = there.iter().filter_map(|text| {
                let distance = wanted.distance(&platform(text))?;
                Some((distance, (*text).to_owned()))
            });
            suited.min().map(|(_, text)| text)
        };
        let arm = [
            "linux/arm/v5",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/amd64",
        ];
        assert_eq!(nearest("linux/arm", &arm).unwrap(), "linux/arm/v7");
        assert_eq!(nearest("linux/arm", &arm[..2]).unwrap(), "linux/arm/v6");
        assert_eq!(nearest("linux/arm/v5", &arm).unwrap(), "linux/arm/v5");
        assert_eq!(nearest("linux/arm/v8", &arm), None);
        assert_eq!(
            nearest("linux/arm64/v8", &["linux/arm64"]).unwrap(),
            "linux/arm64"
        );
        assert_eq!(nearest("windows/amd64", &arm), None);
    }
}
