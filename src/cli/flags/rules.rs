//! Given the value of a flag that rules what sources hold, notes the rule in its order; never makes one
//! of a file.

use std::ffi::OsStr;

use super::error::FlagError;
use super::os_string;
use crate::cli::request::Request;
use crate::cli::rules::RuleArg;
use crate::source::AclNames;
use crate::source::patterns::PatternError;
use crate::source::rules::{IdMap, IdRange, OverrideStat, Rule, XattrAction, XattrPattern};
use crate::sys;
use crate::units::{Readable, Timestamp};

type Noted = Result<(), FlagError>;

fn fault(flag: &str, error: &dyn std::fmt::Display) -> FlagError {
    FlagError::Own(format!("{flag}: {error}"))
}

fn invalid(flag: &str, value: &OsStr, needed: &str) -> FlagError {
    let value = Readable(value.as_encoded_bytes());
    FlagError::Own(format!("invalid value '{value}' for {flag}: {needed}"))
}

pub(super) fn all_root(request: &mut Request, _: &OsStr) -> Noted {
    push(request, Rule::Owner { uid: 0, gid: 0 })
}

pub(super) fn owner(request: &mut Request, value: &OsStr) -> Noted {
    let text = value.to_string_lossy();
    let ids = text.split_once(':');
    // The last id stands for none.
    let id = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
    let ids = ids.and_then(|(uid, gid)| Some((id(uid)?, id(gid)?)));
    let needed = "must be UID:GID, two numbers up to 4294967294";
    let (uid, gid) = ids.ok_or_else(|| invalid("--owner", value, needed))?;
    push(request, Rule::Owner { uid, gid })
}

pub(super) fn uid_map(request: &mut Request, value: &OsStr) -> Noted {
    let range = range("--uid-map", value)?;
    let map = |rule: &mut RuleArg| match rule {
        RuleArg::Is(Rule::UidMap(map)) => Some(map.add(range)),
        _ => None,
    };
    let added = last_maps(request).find_map(map);
    match added {
        Some(added) => added.map_err(|error| fault("--uid-map", &error)),
        None => push(request, Rule::UidMap(map_of("--uid-map", range)?)),
    }
}

pub(super) fn gid_map(request: &mut Request, value: &OsStr) -> Noted {
    let range = range("--gid-map", value)?;
    let map = |rule: &mut RuleArg| match rule {
        RuleArg::Is(Rule::GidMap(map)) => Some(map.add(range)),
        _ => None,
    };
    let added = last_maps(request).find_map(map);
    match added {
        Some(added) => added.map_err(|error| fault("--gid-map", &error)),
        None => push(request, Rule::GidMap(map_of("--gid-map", range)?)),
    }
}

/// The maps in a row that were asked for last: several flags make one map.
fn last_maps(request: &mut Request) -> impl Iterator<Item = &mut RuleArg> {
    let is_map =
        |rule: &&mut RuleArg| matches!(rule, RuleArg::Is(Rule::UidMap(_) | Rule::GidMap(_)));
    request.rules.iter_mut().rev().take_while(is_map)
}

fn range(flag: &str, value: &OsStr) -> Result<IdRange, FlagError> {
    value
        .to_string_lossy()
        .parse()
        .map_err(|error| fault(flag, &error))
}

fn map_of(flag: &str, range: IdRange) -> Result<IdMap, FlagError> {
    let mut map = IdMap::default();
    map.add(range).map_err(|error| fault(flag, &error))?;
    Ok(map)
}

/// Where SRC ends, which names `drive` bytes of its own: at the last `:/`, since DEST begins with a slash.
fn end_of_source(bytes: &[u8], drive: usize) -> Option<usize> {
    let at = bytes.windows(2).rposition(|two| two == b":/");
    at.filter(|at| *at > 0 && *at >= drive)
}

pub(super) fn copy(request: &mut Request, value: &OsStr) -> Noted {
    let bytes = value.as_encoded_bytes();
    let Some(at) = end_of_source(bytes, sys::drive_bytes(bytes, sys::HAS_DRIVES)) else {
        return Err(invalid("--copy", value, "must be SRC:/DEST"));
    };
    let from = os_string(&bytes[..at]);
    request.copies.push((from, bytes[at + 1..].to_vec()));
    Ok(())
}

pub(super) fn override_stat(request: &mut Request, value: &OsStr) -> Noted {
    let rule = match value.as_encoded_bytes() {
        b"" => OverrideStat::default(),
        name => OverrideStat::of(name),
    };
    push(request, Rule::OverrideStat(rule))
}

pub(super) fn manifest(request: &mut Request, value: &OsStr) -> Noted {
    request.rules.push(RuleArg::Manifest(value.to_owned()));
    Ok(())
}

pub(super) fn device_table(request: &mut Request, value: &OsStr) -> Noted {
    request.rules.push(RuleArg::DeviceTable(value.to_owned()));
    Ok(())
}

pub(super) fn fs_config(request: &mut Request, value: &OsStr) -> Noted {
    request.rules.push(RuleArg::FsConfig(value.to_owned()));
    Ok(())
}

#[cfg(feature = "selinux")]
pub(super) fn file_contexts(request: &mut Request, value: &OsStr) -> Noted {
    request.rules.push(RuleArg::FileContexts(value.to_owned()));
    Ok(())
}

pub(super) fn mount_point(request: &mut Request, value: &OsStr) -> Noted {
    let path = value.as_encoded_bytes();
    if !path.starts_with(b"/") {
        return Err(invalid("--mount-point", value, "must be an absolute path"));
    }
    request.mount_point = path.to_vec();
    Ok(())
}

pub(super) fn acl_names(request: &mut Request, value: &OsStr) -> Noted {
    request.acl_names = match value.to_str() {
        Some("refuse") => AclNames::Refuse,
        Some("host") => AclNames::Host,
        Some("skip") => AclNames::Skip,
        _ => {
            return Err(invalid(
                "--acl-names",
                value,
                "must be refuse, host or skip",
            ));
        }
    };
    Ok(())
}

#[cfg(feature = "oci")]
pub(super) fn oci_config(request: &mut Request, value: &OsStr) -> Noted {
    request.oci_config = Some(value.to_owned());
    Ok(())
}

pub(super) fn clamp_times(request: &mut Request, value: &OsStr) -> Noted {
    let text = value.to_string_lossy();
    let seconds = text.strip_prefix('@').unwrap_or(&text).parse();
    let needed = "must be a number of seconds since 1970";
    let seconds = seconds.map_err(|_| invalid("--clamp-times", value, needed))?;
    push(request, Rule::LatestTime(Timestamp::from_seconds(seconds)))
}

pub(super) fn times(request: &mut Request, value: &OsStr) -> Noted {
    if value == "mtime" {
        push(request, Rule::TimesByMtime)
    } else {
        Err(invalid("--times", value, "must be mtime"))
    }
}

pub(super) fn xattr_include(request: &mut Request, value: &OsStr) -> Noted {
    let rule = xattrs(XattrAction::Include, value);
    push(
        request,
        rule.map_err(|error| fault("--xattr-include", &error))?,
    )
}

pub(super) fn xattr_exclude(request: &mut Request, value: &OsStr) -> Noted {
    let rule = xattrs(XattrAction::Exclude, value);
    push(
        request,
        rule.map_err(|error| fault("--xattr-exclude", &error))?,
    )
}

fn xattrs(stay: XattrAction, value: &OsStr) -> Result<Rule, PatternError> {
    XattrPattern::new(stay, value.as_encoded_bytes()).map(Rule::Xattrs)
}

fn push(request: &mut Request, rule: Rule) -> Noted {
    request.rules.push(RuleArg::Is(rule));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::request::Interface;

    #[test]
    fn a_source_ends_where_the_destination_begins_and_not_behind_its_drive() {
        for (value, on_windows, elsewhere) in [
            ("a/text:/etc/motd", Some(6), Some(6)),
            ("Z:/tmp/p.txt", None, Some(1)),
            (r"\\?\Z:/tmp/p.txt", None, Some(5)),
            ("Z:/tmp/p.txt:/p.txt", Some(12), Some(12)),
            ("/p.txt", None, None),
            (":/p.txt", None, None),
        ] {
            let bytes = value.as_bytes();
            let end = |has_drives| end_of_source(bytes, sys::drive_bytes(bytes, has_drives));
            assert_eq!(end(true), on_windows, "{value}");
            assert_eq!(end(false), elsewhere, "{value}");
        }
    }

    type Reader = fn(&mut Request, &OsStr) -> Noted;

    fn rules(flags: &[(Reader, &str)]) -> Result<Vec<String>, FlagError> {
        let mut request = Request::new(Interface::Mke4fs, "mke4fs");
        for (read, value) in flags {
            read(&mut request, OsStr::new(value))?;
        }
        Ok(request
            .rules
            .iter()
            .map(|rule| format!("{rule:?}"))
            .collect())
    }

    #[test]
    fn maps_in_a_row_are_one() {
        let flags: [(Reader, &str); 6] = [
            (uid_map, "0:1:1"),
            (gid_map, "0:5:1"),
            (uid_map, "1:0:1"),
            (owner, "7:8"),
            (uid_map, "7:9:1"),
            (gid_map, "8:9:1"),
        ];
        let rules = rules(&flags).expect("they can be read");
        assert_eq!(rules.len(), 5, "{rules:#?}");
        assert!(rules[0].contains("from: 1"), "{}", rules[0]);
    }

    #[test]
    fn values_that_cannot_be_are_told() {
        let flags: [(Reader, &str, &str); 9] = [
            (
                owner,
                "root:root",
                "invalid value 'root:root' for --owner: must be UID:GID, two numbers up to 4294967294",
            ),
            (
                owner,
                "5",
                "invalid value '5' for --owner: must be UID:GID, two numbers up to 4294967294",
            ),
            (
                owner,
                "0:4294967295",
                "invalid value '0:4294967295' for --owner: must be UID:GID, two numbers up to 4294967294",
            ),
            (
                uid_map,
                "1:2",
                "--uid-map: invalid ID range '1:2': must be IN:OUT:COUNT, COUNT at least 1, IN up to 4294967295 and OUT up to 4294967294",
            ),
            (
                gid_map,
                "0:4294967295:2",
                "--gid-map: invalid ID range '0:4294967295:2': must be IN:OUT:COUNT, COUNT at least 1, IN up to 4294967295 and OUT up to 4294967294",
            ),
            (
                clamp_times,
                "today",
                "invalid value 'today' for --clamp-times: must be a number of seconds since 1970",
            ),
            (
                times,
                "ctime",
                "invalid value 'ctime' for --times: must be mtime",
            ),
            (
                xattr_include,
                "",
                "--xattr-include: invalid pattern '': missing name",
            ),
            (
                xattr_exclude,
                "[",
                "--xattr-exclude: invalid pattern '[': missing ] after [",
            ),
        ];
        for (read, value, said) in flags {
            assert_eq!(
                rules(&[(read, value)]),
                Err(FlagError::Own(said.to_owned()))
            );
        }
    }
}
