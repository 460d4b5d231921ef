//! Given a block of 512 bytes, reads the fields of a header in any of tar's forms; never what
//! follows it.
//!
//! The forms are those of POSIX pax (ustar), of GNU tar's manual ("Basic Tar Format") and of the
//! seventh edition, which has no magic.

use std::ops::Range;

use crate::source::archive::Oddity;
use crate::source::archive::error::{ErrorKind, Field};
use crate::units::is_zero;

/// Bytes of a block: of a header, and what contents are padded to.
pub(super) const BLOCK: usize = 512;

const NAME: Range<usize> = 0..100;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK_NAME: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const PREFIX: Range<usize> = 345..500;

/// GNU's atime and ctime, within what is ustar's prefix.
const GNU_TIMES: [Range<usize>; 2] = [345..357, 357..369];

/// GNU's old sparse header: four ranges, whether more follow, and the size with holes.
const SPARSE: Range<usize> = 386..482;
const SPARSE_CONTINUES: usize = 482;
const REAL_SIZE: Range<usize> = 483..495;
/// The same in a block of nothing but ranges.
const MORE_SPARSE: Range<usize> = 0..504;
const MORE_SPARSE_CONTINUES: usize = 504;

/// Which form a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The seventh edition's.
    V7,
    /// POSIX's.
    Ustar,
    /// That of star, with times where ustar's prefix ends.
    Star,
    /// GNU's, with times where ustar has its prefix.
    Gnu,
}

/// A header whose checksum is right.
#[derive(Clone, Debug)]
pub(super) struct Header {
    block: [u8; BLOCK],
    pub(super) form: Form,
}

/// Whether an uncompressed archive can begin with `head`. One that begins with zeros is one only if
/// nothing else follows.
pub fn is_tar(head: &[u8]) -> bool {
    let block = head.first_chunk::<BLOCK>();
    block.is_some_and(|block| *block == [0; BLOCK] || Header::new(*block).is_ok())
}

impl Header {
    /// The header that `block` is.
    pub(super) fn new(block: [u8; BLOCK]) -> Result<Self, ErrorKind> {
        let stated = number(&block[CHECKSUM], Field::Checksum).map_err(|_| ErrorKind::Checksum)?;
        let field = &block[CHECKSUM];
        // The field counts as spaces. Some old programs added up signed bytes, and GNU tar takes that
        // as well.
        let spaces = i64::from(b' ') * 8;
        let unsigned = |bytes: &[u8]| i64::from(bytes.iter().map(|it| u32::from(*it)).sum::<u32>());
        let signed = |bytes: &[u8]| {
            i64::from(
                bytes
                    .iter()
                    .map(|it| i32::from(it.cast_signed()))
                    .sum::<i32>(),
            )
        };
        let is_stated = stated == unsigned(&block) - unsigned(field) + spaces
            || stated == signed(&block) - signed(field) + spaces;
        if !is_stated || field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            return Err(ErrorKind::Checksum);
        }
        let form = form(&block);
        Ok(Self { block, form })
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[TYPE]
    }

    /// The name, with ustar's prefix before it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.block[NAME]);
        let prefix = match self.form {
            Form::Ustar => text(&self.block[PREFIX]),
            Form::Star => text(&self.block[345..476]),
            Form::Gnu if self.oddity() == Some(Oddity::GnuPrefix) => text(&self.block[PREFIX]),
            Form::V7 | Form::Gnu => b"",
        };
        match prefix {
            b"" => name.to_vec(),
            prefix => [prefix, name].join(&b'/'),
        }
    }

    /// What is wrong with the times of GNU's form. Go before 1.8 wrote ustar's prefix there where a name
    /// was long, and Go takes what is neither number for that since.
    pub(super) fn oddity(&self) -> Option<Oddity> {
        if self.form != Form::Gnu || self.times(GNU_TIMES).is_ok() {
            return None;
        }
        let prefix = text(&self.block[PREFIX]);
        let is_prefix = !prefix.is_empty() && prefix.is_ascii();
        Some(if is_prefix {
            Oddity::GnuPrefix
        } else {
            Oddity::GnuTimes
        })
    }

    pub(super) fn link_name(&self) -> &[u8] {
        text(&self.block[LINK_NAME])
    }

    /// Mode, owner, group, size, time of the last write, and device numbers.
    pub(super) fn number(&self, field: Field) -> Result<i64, ErrorKind> {
        let range = match field {
            Field::Mode => 100..108,
            Field::Uid => 108..116,
            Field::Gid => 116..124,
            Field::Size => 124..136,
            Field::Mtime => 136..148,
            Field::Checksum => CHECKSUM,
            // The seventh edition has none of these.
            _ if self.form == Form::V7 => return Ok(0),
            Field::Major => 329..337,
            Field::Minor => 337..345,
            Field::RealSize => REAL_SIZE,
            Field::Atime | Field::Ctime | Field::SparseMap => return Ok(0),
        };
        number(&self.block[range], field)
    }

    /// The times of the last read and change, where the header has them.
    pub(super) fn other_times(&self) -> Result<[Option<i64>; 2], ErrorKind> {
        match self.form {
            Form::Gnu => Ok(self.times(GNU_TIMES).unwrap_or_default()),
            Form::Star => self.times([476..488, 488..500]),
            Form::V7 | Form::Ustar => Ok([None, None]),
        }
    }

    fn times(&self, ranges: [Range<usize>; 2]) -> Result<[Option<i64>; 2], ErrorKind> {
        let mut times = [None, None];
        for ((time, range), field) in times
            .iter_mut()
            .zip(ranges)
            .zip([Field::Atime, Field::Ctime])
        {
            let bytes = &self.block[range];
            if bytes.iter().any(|byte| !matches!(byte, 0 | b' ')) {
                *time = Some(number(bytes, field)?);
            }
        }
        Ok(times)
    }

    /// The ranges of GNU's old sparse map that the header holds, and whether a block of more follows.
    pub(super) fn sparse(&self) -> Result<(Vec<(u64, u64)>, bool), ErrorKind> {
        let ranges = sparse_ranges(&self.block[SPARSE])?;
        Ok((ranges, self.block[SPARSE_CONTINUES] != 0))
    }
}

/// As [`Header::sparse`], for a block that follows.
pub(super) fn more_sparse(block: &[u8; BLOCK]) -> Result<(Vec<(u64, u64)>, bool), ErrorKind> {
    let ranges = sparse_ranges(&block[MORE_SPARSE])?;
    Ok((ranges, block[MORE_SPARSE_CONTINUES] != 0))
}

fn sparse_ranges(bytes: &[u8]) -> Result<Vec<(u64, u64)>, ErrorKind> {
    let mut ranges = Vec::new();
    for pair in bytes.chunks_exact(24) {
        // The first without a length in digits ends the map.
        if pair[12] == 0 {
            break;
        }
        let of = |bytes| {
            let value = number(bytes, Field::SparseMap)?;
            u64::try_from(value).map_err(|_| ErrorKind::Number(Field::SparseMap))
        };
        ranges.push((of(&pair[..12])?, of(&pair[12..])?));
    }
    Ok(ranges)
}

fn form(block: &[u8; BLOCK]) -> Form {
    let is_time =
        |bytes: &[u8]| bytes[0].is_ascii_digit() && matches!(bytes[11], b' ' | 0) || is_zero(bytes);
    match &block[MAGIC] {
        b"ustar  \0" => Form::Gnu,
        magic if magic.starts_with(b"ustar\0") => {
            let is_star = block[508..] == *b"tar\0"
                && block[475] == 0
                && is_time(&block[476..488])
                && is_time(&block[488..500]);
            if is_star { Form::Star } else { Form::Ustar }
        }
        // Some wrote the magic without the version.
        magic if magic.starts_with(b"ustar") => Form::Ustar,
        _ => Form::V7,
    }
}

/// What stands before the first NUL.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// A number in octal digits, or in GNU's form of bytes behind a set first bit. Nothing is 0.
fn number(bytes: &[u8], field: Field) -> Result<i64, ErrorKind> {
    let fault = || ErrorKind::Number(field);
    if let Some(negative) = match bytes[0] {
        0x80 => Some(0_i64),
        0xff => Some(-1),
        _ => None,
    } {
        let digits = bytes[1..].iter();
        return digits
            .copied()
            .try_fold(negative, |value, byte| {
                value.checked_mul(256)?.checked_add(i64::from(byte))
            })
            .ok_or_else(fault);
    }
    let digits = text(bytes).trim_ascii();
    digits
        .iter()
        .try_fold(0_i64, |value, byte| match byte {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
            _ => None,
        })
        .ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_bytes() {
        for (bytes, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
                Some(-2),
            ),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"-0000644", None),
            (b"+0000644", None),
            (b"64 4\0\0\0\0", None),
        ] {
            let read = number(bytes, Field::Mode);
            assert_eq!(read.ok(), value, "{}", bytes.escape_ascii());
        }
    }
}
