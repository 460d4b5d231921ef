//! Given two names of what can hold files, says in what the files differ; never which of them is right.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::{self, BufWriter, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Verb, VerbError};
use crate::cli::sources::{Named, OpenOptions, SPOOL_DIRECTORY};
use crate::cli::warn;
use crate::diff::{
    Attribute, Attributes, DiffError, DiffOptions, Difference, FileType, Finding, Links, diff_each,
};
use crate::export::list::Utc;
use crate::export::tar::acl;
use crate::json::Object;
use crate::source::Readable;
#[cfg(feature = "oci")]
use crate::source::oci::Platform;
use crate::source::patterns::Patterns;
use crate::sys;
use crate::tree::{Device, Metadata, NodeId, Tree};

pub(super) const VERB: Verb = Verb {
    name: "diff",
    about: "Compare the files of two directories, archives or images; the exit status is 1 if they differ",
    arguments,
    run,
    trouble: 2,
};

const SIDES: [&str; 2] = ["A", "B"];
const JSON: &str = "json";
const IGNORE: &str = "ignore";
const ALL: &str = "all";
const KEEP_ROOT: &str = "keep-root";
const EXCLUDE: &str = "exclude";
#[cfg(feature = "oci")]
const PLATFORM: &str = "platform";
/// Of a longer value of an extended attribute a line has this many bytes.
const VALUE_SHOWN: usize = 64;

fn arguments(command: Command) -> Command {
    let json = Arg::new(JSON)
        .long(JSON)
        .action(ArgAction::SetTrue)
        .help("Print one JSON object per line for each difference, with whole values");
    let ignore = Arg::new(IGNORE)
        .long(IGNORE)
        .value_name("LIST")
        .action(ArgAction::Append)
        .value_parser(|text: &str| Attributes::parse(text))
        .help(
            "Do not compare the listed properties: type, mode, uid, gid, owner, atime, mtime, ctime, times, flags, \
             links, device, target, xattrs, data",
        );
    let all = Arg::new(ALL)
        .long(ALL)
        .action(ArgAction::SetTrue)
        .help("Also compare atime and ctime if A or B is not an ext4 image");
    let keep_root = Arg::new(KEEP_ROOT)
        .long(KEEP_ROOT)
        .action(ArgAction::SetTrue)
        .help(
            "Also compare mode, owner, times and flags of the root directories, if both have them",
        );
    let exclude = Arg::new(EXCLUDE)
        .long(EXCLUDE)
        .value_name("GLOB")
        .action(ArgAction::Append)
        .value_parser(value_parser!(OsString))
        .help(
            "Leave out files that GLOB matches in both, as mke4fs --exclude does; can be repeated",
        );
    let side = |name: &'static str, help: &'static str| {
        let side = Arg::new(name).required(true);
        side.value_parser(value_parser!(PathBuf)).help(help)
    };
    let first = "Directory, archive, container image or ext4 image, as for -d";
    #[cfg(feature = "oci")]
    let command = command.arg(
        Arg::new(PLATFORM)
            .long(PLATFORM)
            .value_name("OS/ARCH[/VARIANT]")
            .value_parser(|text: &str| text.parse::<Platform>())
            .help("Select OS/ARCH or OS/ARCH/VARIANT of multi-platform container images"),
    );
    command
        .arg(exclude)
        .arg(ignore)
        .arg(all)
        .arg(keep_root)
        .arg(json)
        .arg(side(SIDES[0], first))
        .arg(side(SIDES[1], "Another"))
}

fn run(matches: &ArgMatches) -> Result<ExitCode, VerbError> {
    let names = SIDES.map(|side| {
        let name = matches.get_one::<PathBuf>(side);
        name.map_or_else(PathBuf::new, Clone::clone)
    });
    let [a, b] = &names;
    let found = [Named::of(a), Named::of(b)];
    if let [Named::Stdin, Named::Stdin] = found {
        let text = "standard input is named twice: only one archive can come from it";
        return Err(VerbError::Line(text.to_owned()));
    }
    let options = options(matches, &found);
    let [a, b] = declare(found, matches)?;
    let form = Form {
        is_json: matches.get_flag(JSON),
        names: &names,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut status = ExitCode::SUCCESS;
    let compared = diff_each(&a, &b, &options, &mut |difference| {
        status = ExitCode::from(1);
        out.write_all(form.line(&difference).as_bytes())
    });
    compared.map_err(|error| match error {
        DiffError::Told(error) => VerbError::unwritten(error),
        DiffError::Read { name, error } => {
            let reason = sys::reason(&error);
            VerbError::Line(format!("cannot read {}: {reason}", Readable(&name)))
        }
        cancelled @ DiffError::Cancelled(_) => VerbError::Line(cancelled.to_string()),
    })?;
    out.flush().map_err(VerbError::unwritten)?;
    Ok(status)
}

/// What is compared. Whoever reads a directory's files changes their atime, nobody can set their ctime, and
/// archives seldom have either.
fn options(matches: &ArgMatches, found: &[Named; 2]) -> DiffOptions {
    let mut options = DiffOptions::new();
    let has_all_times = found.iter().all(|it| matches!(it, Named::Image(_)));
    if !has_all_times && !matches.get_flag(ALL) {
        options.ignore(Attribute::Atime.into());
        options.ignore(Attribute::Ctime.into());
    }
    for ignored in matches.get_many::<Attributes>(IGNORE).unwrap_or_default() {
        options.ignore(*ignored);
    }
    options
}

/// Reads what two names name. The roots are alike, unless they are to be compared and both are known: a
/// filesystem is made with a root of its own, and an archive may have none.
fn declare(found: [Named; 2], matches: &ArgMatches) -> Result<[Tree; 2], VerbError> {
    let [a, b] = found;
    let (mut a, mut b) = (Declared::of(a, matches)?, Declared::of(b, matches)?);
    if let (Some(root_a), Some(root_b)) = (a.root, b.root)
        && matches.get_flag(KEEP_ROOT)
    {
        a.tree.replace_metadata(NodeId::ROOT, root_a);
        b.tree.replace_metadata(NodeId::ROOT, root_b);
    }
    Ok([a.tree, b.tree])
}

/// What a source holds.
struct Declared {
    tree: Tree,
    root: Option<Metadata>,
}

impl Declared {
    fn of(named: Named, matches: &ArgMatches) -> Result<Self, VerbError> {
        let told = |error: &dyn Display| VerbError::Line(format!("{error:#}"));
        let excluded = matches.get_many::<OsString>(EXCLUDE).unwrap_or_default();
        let excluded: Vec<&[u8]> = excluded.map(|it| it.as_encoded_bytes()).collect();
        let excluded = Patterns::new(&excluded);
        let excluded = excluded.map_err(|error| told(&format_args!("--{EXCLUDE}: {error}")))?;
        let wishes = OpenOptions {
            keep_xattrs: true,
            excluded: &excluded,
            one_file_system: false,
            excluded_file: None,
            threads: thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            spool_directory: SPOOL_DIRECTORY.into(),
            implied_time: 0,
            acl_names: crate::source::AclNames::default(),
            #[cfg(feature = "oci")]
            platform: matches.get_one(PLATFORM).cloned(),
            #[cfg(feature = "oci")]
            layer: None,
            whiteouts: None,
        };
        let opened = named.open(&wishes);
        let mut source = opened.map_err(|error| told(&error))?;
        let mut tree = Tree::with_root(Metadata::default());
        let declared = source.declare(&mut tree, NodeId::ROOT);
        let declared = declared.map_err(|error| VerbError::Line(error.of_any_source()))?;
        tree.finish().map_err(|error| told(&error))?;
        for warning in declared.warnings {
            warn(&format!("mke4fs diff: warning: {warning}\n"));
        }
        Ok(Self {
            tree,
            root: declared.root,
        })
    }
}

/// How a difference is told.
struct Form<'a> {
    is_json: bool,
    names: &'a [PathBuf; 2],
}

impl Form<'_> {
    fn line(&self, difference: &Difference<'_>) -> String {
        if self.is_json {
            return json(difference);
        }
        let path = match &difference.path[..] {
            b"" => b"/",
            path => path,
        };
        format!("{}: {}\n", Readable(path), self.text(&difference.finding))
    }

    fn text(&self, finding: &Finding<'_>) -> String {
        match finding {
            Finding::OnlyInA(it) => self.only(0, *it),
            Finding::OnlyInB(it) => self.only(1, *it),
            Finding::Xattr(name, a, b) => {
                let [a, b] = [a, b].map(|value| Value {
                    name,
                    value: *value,
                });
                format!("xattr {} {a} -> {b}", Readable(name))
            }
            Finding::Size(a, b) => format!("data {} -> {}", Bytes(*a), Bytes(*b)),
            Finding::Data { first } => format!("data from byte {first} on"),
            Finding::Target(a, b) => format!("target {} -> {}", Readable(a), Readable(b)),
            other => match (other.attribute(), values(other)) {
                (Some(attribute), Some([a, b])) => format!("{} {a} -> {b}", attribute.name()),
                _ => "differs".to_owned(),
            },
        }
    }

    fn only(&self, side: usize, file_type: FileType) -> String {
        let name = self.names.get(side).map(|name| name.as_os_str());
        let name = Readable(name.unwrap_or_default().as_encoded_bytes()).to_string();
        format!("only in {name}: {}", file_type.name())
    }
}

/// The values of what lines and JSON show alike.
fn values(finding: &Finding<'_>) -> Option<[String; 2]> {
    fn both<T>(a: T, b: T, shown: impl Fn(T) -> String) -> Option<[String; 2]> {
        Some([shown(a), shown(b)])
    }
    match finding {
        Finding::Type(a, b) => both(a, b, |it| it.name().to_owned()),
        Finding::Mode(a, b) => both(a, b, |it| format!("{it:04o}")),
        Finding::Uid(a, b) | Finding::Gid(a, b) => both(a, b, u32::to_string),
        Finding::Atime(a, b) | Finding::Mtime(a, b) | Finding::Ctime(a, b) => {
            both(a, b, |it| Utc(*it).to_string())
        }
        Finding::Flags(a, b) => both(a, b, |it| format!("{:#x}", it.bits())),
        Finding::Links(a, b) => both(a, b, |Links { names, first }| match names {
            1 => "1".to_owned(),
            _ => format!("{names} (first: {})", Readable(first)),
        }),
        Finding::Device(a, b) => both(a, b, |Device { major, minor }| format!("{major}:{minor}")),
        _ => None,
    }
}

/// A number of bytes, in words.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0 == 1 { "byte" } else { "bytes" };
        write!(f, "{} {noun}", self.0)
    }
}

/// The value of an extended attribute, if there is one: an ACL as text, another as far as a line can have it.
struct Value<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.value else {
            return f.write_str("absent");
        };
        let is_acl = self.name.starts_with(b"system.posix_acl_");
        if let Some(text) = acl::text(value).filter(|_| is_acl) {
            return f.write_str(&text);
        }
        match value.get(..VALUE_SHOWN) {
            Some(shown) if shown.len() < value.len() => {
                let all = Bytes(u64::try_from(value.len()).unwrap_or(u64::MAX));
                write!(f, "\"{}\"... ({all})", Readable(shown))
            }
            _ => write!(f, "\"{}\"", Readable(value)),
        }
    }
}

fn json(difference: &Difference<'_>) -> String {
    let mut object = Object::new();
    object.bytes("path", &difference.path);
    let attribute = difference.finding.attribute();
    object.text("differs", attribute.map_or("name", |it| it.name()));
    match &difference.finding {
        Finding::OnlyInA(it) => {
            object.text("a", it.name());
        }
        Finding::OnlyInB(it) => {
            object.text("b", it.name());
        }
        Finding::Xattr(name, a, b) => {
            object.bytes("xattr", name);
            for (side, value) in [("a", a), ("b", b)] {
                if let Some(value) = value {
                    object.bytes(side, value);
                }
            }
        }
        Finding::Size(a, b) => {
            object.number("a_bytes", *a).number("b_bytes", *b);
        }
        Finding::Data { first } => {
            object.number("first_byte", *first);
        }
        Finding::Target(a, b) => {
            object.bytes("a", a).bytes("b", b);
        }
        Finding::Links(a, b) => {
            for (side, links) in [("a", a), ("b", b)] {
                object.number(&format!("{side}_names"), links.names.into());
                object.bytes(&format!("{side}_first"), &links.first);
            }
        }
        other => {
            if let Some([a, b]) = values(other) {
                object.text("a", &a).text("b", &b);
            }
        }
    }
    object.finish()
}
