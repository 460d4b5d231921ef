//! Given the text of an mke2fs.conf, or none, gives the rules of every type; never applies one.
//!
//! The grammar is that of e2fsprogs' profile library: `[sections]`, `name = value` relations,
//! `name = { ... }` subsections, comments after `;` or `#`, values in double quotes. The first
//! relation of a name in its section counts. Without a file the rules are those built into
//! e2fsprogs 1.47.

use std::borrow::Cow;
use std::fmt;

use super::size;

type Text = Option<Cow<'static, str>>;

/// The relations of one type, or the defaults. What a file says in a form that its relation does
/// not take counts as not said, as in mke2fs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rules {
    /// Whether there is any relation, known here or not: mke2fs knows a type by that.
    pub(super) defined: bool,
    pub(super) base_features: Text,
    pub(super) default_features: Text,
    pub(super) features: Text,
    pub(super) default_mntopts: Text,
    pub(super) errors: Text,
    pub(super) hash_alg: Text,
    pub(super) journal_location: Text,
    /// Extended options, as `-E` takes them.
    pub(super) options: Text,
    pub(super) fs_type: Text,
    pub(super) usage_types: Text,
    pub(super) creator_os: Text,
    pub(super) encoding: Text,
    pub(super) encoding_flags: Text,
    /// Bytes; -1 for the page size.
    pub(super) blocksize: Option<i64>,
    pub(super) inode_size: Option<i64>,
    pub(super) inode_ratio: Option<i64>,
    pub(super) cluster_size: Option<i64>,
    pub(super) flex_bg_size: Option<i64>,
    pub(super) num_backup_sb: Option<i64>,
    /// Percent.
    pub(super) reserved_ratio: Option<f64>,
    pub(super) auto_64bit: Option<bool>,
    pub(super) discard: Option<bool>,
    pub(super) enable_periodic_fsck: Option<bool>,
    pub(super) lazy_itable_init: Option<bool>,
    pub(super) lazy_journal_init: Option<bool>,
    pub(super) make_hugefiles: Option<bool>,
    pub(super) hugefiles_slack: Text,
    pub(super) hugefiles_size: Text,
    pub(super) hugefiles_align: Text,
    pub(super) hugefiles_dir: Text,
    pub(super) hugefiles_name: Text,
    pub(super) num_hugefiles: Option<i64>,
    pub(super) hugefiles_uid: Option<i64>,
    pub(super) hugefiles_gid: Option<i64>,
    pub(super) hugefiles_umask: Option<i64>,
    pub(super) hugefiles_digits: Option<i64>,
    pub(super) hugefiles_align_disk: Option<bool>,
    pub(super) zero_hugefiles: Option<bool>,
    pub(super) packed_meta_blocks: Option<bool>,
    pub(super) warn_y2038_dates: Option<bool>,
    pub(super) force_undo: Option<i64>,
    pub(super) undo_dir: Text,
}

const NOTHING: Rules = Rules {
    defined: true,
    base_features: None,
    default_features: None,
    features: None,
    default_mntopts: None,
    errors: None,
    hash_alg: None,
    journal_location: None,
    options: None,
    fs_type: None,
    usage_types: None,
    creator_os: None,
    encoding: None,
    encoding_flags: None,
    blocksize: None,
    inode_size: None,
    inode_ratio: None,
    cluster_size: None,
    flex_bg_size: None,
    num_backup_sb: None,
    reserved_ratio: None,
    auto_64bit: None,
    discard: None,
    enable_periodic_fsck: None,
    lazy_itable_init: None,
    lazy_journal_init: None,
    make_hugefiles: None,
    hugefiles_slack: None,
    hugefiles_size: None,
    hugefiles_align: None,
    hugefiles_dir: None,
    hugefiles_name: None,
    num_hugefiles: None,
    hugefiles_uid: None,
    hugefiles_gid: None,
    hugefiles_umask: None,
    hugefiles_digits: None,
    hugefiles_align_disk: None,
    zero_hugefiles: None,
    packed_meta_blocks: None,
    warn_y2038_dates: None,
    force_undo: None,
    undo_dir: None,
};

/// The defaults built into e2fsprogs 1.47.
const DEFAULTS: Rules = Rules {
    base_features: Some(Cow::Borrowed(
        "sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr",
    )),
    default_mntopts: Some(Cow::Borrowed("acl,user_xattr")),
    enable_periodic_fsck: Some(false),
    blocksize: Some(4096),
    inode_size: Some(256),
    inode_ratio: Some(16384),
    ..NOTHING
};

/// A type that is built in.
pub(crate) struct BuiltIn {
    /// Its name, as `-t` or `-T` takes it.
    pub(crate) name: &'static str,
    /// What it is for.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "what help says"))]
    pub(crate) about: &'static str,
    rules: Rules,
}

/// The types built into e2fsprogs 1.47.
pub(crate) static TYPES: [BuiltIn; 10] = [
    BuiltIn {
        name: "ext3",
        about: "A filesystem with a journal and block maps",
        rules: Rules {
            features: Some(Cow::Borrowed("has_journal")),
            ..NOTHING
        },
    },
    BuiltIn {
        name: "ext4",
        about: "A filesystem with a journal, extents and checksums",
        rules: Rules {
            features: Some(Cow::Borrowed(
                "has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,\
                 dir_nlink,extra_isize,orphan_file",
            )),
            ..NOTHING
        },
    },
    usage(
        "small",
        "The default from 3 MiB to 512 MiB",
        ratio_and_block(4096, Some(1024)),
    ),
    usage(
        "floppy",
        "The default below 3 MiB",
        ratio_and_block(8192, Some(1024)),
    ),
    usage(
        "big",
        "The default from 4 TiB to 16 TiB",
        ratio_and_block(32768, None),
    ),
    usage(
        "huge",
        "The default from 16 TiB",
        ratio_and_block(65536, None),
    ),
    usage("news", "Many small files", ratio_and_block(4096, None)),
    usage(
        "largefile",
        "Few files of 1 MiB or more",
        ratio_and_block(1_048_576, Some(-1)),
    ),
    usage(
        "largefile4",
        "Few files of 4 MiB or more",
        ratio_and_block(4_194_304, Some(-1)),
    ),
    BuiltIn {
        name: "hurd",
        about: "A filesystem for the Hurd",
        rules: Rules {
            blocksize: Some(4096),
            inode_size: Some(128),
            warn_y2038_dates: Some(false),
            ..NOTHING
        },
    },
];

const fn usage(name: &'static str, about: &'static str, rules: Rules) -> BuiltIn {
    BuiltIn { name, about, rules }
}

const fn ratio_and_block(inode_ratio: i64, blocksize: Option<i64>) -> Rules {
    Rules {
        inode_ratio: Some(inode_ratio),
        blocksize,
        ..NOTHING
    }
}

/// What is wrong with a line of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyntaxFault {
    /// A `[section]` inside braces.
    SectionNotAtTop,
    /// A section header that does not end.
    SectionHeader,
    /// Not `name = value`.
    Relation,
    /// A closing brace too many.
    ExtraClosingBrace,
    /// `name =` with no brace on the line after.
    MissingOpeningBrace,
}

impl fmt::Display for SyntaxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SectionNotAtTop => "section header inside braces",
            Self::SectionHeader => "section header without its closing bracket",
            Self::Relation => "expected name = value",
            Self::ExtraClosingBrace => "closing brace without its opening brace",
            Self::MissingOpeningBrace => "expected an opening brace",
        })
    }
}

/// A line of a configuration file that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) fault: SyntaxFault,
}

/// All rules there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Profile {
    pub(super) defaults: Rules,
    /// Seconds after which a question counts as answered; none where it waits.
    pub(super) proceed_delay: Option<i64>,
    types: Vec<(Cow<'static, str>, Rules)>,
    devices: Vec<(Cow<'static, str>, Rules)>,
}

impl Profile {
    /// The rules built into e2fsprogs 1.47.
    pub(super) fn built_in() -> Self {
        Self {
            defaults: DEFAULTS,
            proceed_delay: None,
            // One at a time: a build without optimisation would keep copies of the whole table
            // on the stack, and threads have little of that.
            types: TYPES
                .iter()
                .map(|built_in| (Cow::Borrowed(built_in.name), built_in.rules.clone()))
                .collect(),
            devices: Vec::new(),
        }
    }

    /// The rules that a configuration file states. A file replaces the built-in rules whole.
    pub(super) fn parse(text: &[u8]) -> Result<Self, SyntaxError> {
        let mut parser = Parser::default();
        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
            let fault = |fault| SyntaxError {
                line: index + 1,
                fault,
            };
            parser.line(&String::from_utf8_lossy(line)).map_err(fault)?;
        }
        Ok(parser.profile)
    }

    /// The rules of the type called `name`, if the profile has any.
    pub(super) fn fs_type(&self, name: &str) -> Option<&Rules> {
        lookup(&self.types, name).filter(|rules| rules.defined)
    }

    /// The names of all types that it has rules for.
    #[cfg(feature = "cli")]
    pub(super) fn type_names(&self) -> impl Iterator<Item = &str> {
        let types = self.types.iter().filter(|(_, rules)| rules.defined);
        types.map(|(name, _)| &**name)
    }

    /// The rules for the device called `name`.
    pub(super) fn device(&self, name: &str) -> Option<&Rules> {
        lookup(&self.devices, name)
    }

    /// What the last of `types` that says anything about a relation says, or else the defaults.
    pub(super) fn find<'a, T>(
        &'a self,
        types: &[String],
        relation: impl Fn(&'a Rules) -> Option<T>,
    ) -> Option<T> {
        types
            .iter()
            .rev()
            .find_map(|name| lookup(&self.types, name).and_then(&relation))
            .or_else(|| relation(&self.defaults))
    }
}

fn lookup<'a>(rules: &'a [(Cow<'static, str>, Rules)], name: &str) -> Option<&'a Rules> {
    let found = rules.iter().find(|(known, _)| known == name);
    found.map(|(_, rules)| rules)
}

/// Where the parser is in a file.
#[derive(Default)]
struct Parser {
    profile: Profile,
    /// The section, and the subsections inside it.
    path: Vec<String>,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    /// Before the first `[section]` everything is comment.
    #[default]
    Preamble,
    Relations,
    /// After `name =`, the next line must open a brace.
    Brace,
}

impl Parser {
    /// Takes in one line; the order of the checks is that of `parse_line` in profile.c.
    fn line(&mut self, line: &str) -> Result<(), SyntaxFault> {
        match self.state {
            State::Brace if !line.trim_start().starts_with('{') => {
                return Err(SyntaxFault::MissingOpeningBrace);
            }
            State::Brace => {
                self.state = State::Relations;
                return Ok(());
            }
            State::Preamble if !line.starts_with('[') => return Ok(()),
            State::Preamble | State::Relations => self.state = State::Relations,
        }
        let body = line.trim_start();
        match body.chars().next() {
            None | Some('#' | ';') => Ok(()),
            Some('[') => self.section(&body[1..]),
            Some('}') => self.close(),
            Some(_) => self.relation(body),
        }
    }

    fn section(&mut self, body: &str) -> Result<(), SyntaxFault> {
        if self.path.len() > 1 {
            return Err(SyntaxFault::SectionNotAtTop);
        }
        let body = body.trim_start();
        let (name, rest) = body.split_once(']').ok_or(SyntaxFault::SectionHeader)?;
        let name = match name.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => name.trim_end().to_owned(),
        };
        let rest = rest.strip_prefix('*').unwrap_or(rest).trim_start();
        if name.is_empty() || !ends(rest) {
            return Err(SyntaxFault::SectionHeader);
        }
        self.path = vec![name];
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxFault> {
        if self.path.len() < 2 {
            return Err(SyntaxFault::ExtraClosingBrace);
        }
        self.path.pop();
        Ok(())
    }

    fn relation(&mut self, body: &str) -> Result<(), SyntaxFault> {
        let (tag, value) = body.split_once('=').ok_or(SyntaxFault::Relation)?;
        let tag = match tag.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let mut words = tag.split_whitespace();
                let word = words.next().ok_or(SyntaxFault::Relation)?;
                if words.next().is_some() {
                    return Err(SyntaxFault::Relation);
                }
                word.to_owned()
            }
        };
        let tag = tag.split('*').next().unwrap_or_default().to_owned();
        let value = value.trim_start();
        if let Some(quoted) = value.strip_prefix('"') {
            self.set(&tag, unquote(quoted));
        } else if ends(value) {
            self.path.push(tag);
            self.state = State::Brace;
        } else if let Some(rest) = value.strip_prefix('{') {
            if !ends(rest.trim_start()) {
                return Err(SyntaxFault::Relation);
            }
            self.path.push(tag);
        } else {
            let stops = |c: char| c.is_ascii_whitespace() || matches!(c, '#' | ';');
            let end = value.find(stops).unwrap_or(value.len());
            if !ends(value[end..].trim_start()) {
                return Err(SyntaxFault::Relation);
            }
            self.set(&tag, value[..end].to_owned());
        }
        Ok(())
    }

    /// Notes a relation, where it stands in a section that has rules.
    fn set(&mut self, tag: &str, value: String) {
        let rules = match self.path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["options"] if tag == "proceed_delay" => {
                first(&mut self.profile.proceed_delay, integer(&value));
                return;
            }
            ["defaults"] => &mut self.profile.defaults,
            ["fs_types", name] => entry(&mut self.profile.types, name),
            ["devices", name] => entry(&mut self.profile.devices, name),
            _ => return,
        };
        rules.defined = true;
        rules.set(tag, value);
    }
}

fn entry<'a>(rules: &'a mut Vec<(Cow<'static, str>, Rules)>, name: &str) -> &'a mut Rules {
    let index = rules.iter().position(|(known, _)| known == name);
    let index = index.unwrap_or_else(|| {
        rules.push((Cow::Owned(name.to_owned()), Rules::default()));
        rules.len() - 1
    });
    &mut rules[index].1
}

impl Rules {
    /// Notes a relation that is not there yet.
    fn set(&mut self, tag: &str, value: String) {
        match tag {
            "base_features" => note(&mut self.base_features, value),
            "default_features" => note(&mut self.default_features, value),
            "features" => note(&mut self.features, value),
            "default_mntopts" => note(&mut self.default_mntopts, value),
            "errors" => note(&mut self.errors, value),
            "hash_alg" => note(&mut self.hash_alg, value),
            "journal_location" => note(&mut self.journal_location, value),
            "options" => note(&mut self.options, value),
            "fs_type" => note(&mut self.fs_type, value),
            "usage_types" => note(&mut self.usage_types, value),
            "creator_os" => note(&mut self.creator_os, value),
            "undo_dir" => note(&mut self.undo_dir, value),
            "encoding" => note(&mut self.encoding, value),
            "encoding_flags" => note(&mut self.encoding_flags, value),
            "blocksize" => first(&mut self.blocksize, integer(&value)),
            "inode_size" => first(&mut self.inode_size, integer(&value)),
            "inode_ratio" => first(&mut self.inode_ratio, integer(&value)),
            "cluster_size" => first(&mut self.cluster_size, integer(&value)),
            "flex_bg_size" => first(&mut self.flex_bg_size, integer(&value)),
            "force_undo" => first(&mut self.force_undo, integer(&value)),
            "num_backup_sb" => first(&mut self.num_backup_sb, integer(&value)),
            "reserved_ratio" => first(&mut self.reserved_ratio, value.parse().ok()),
            "auto_64-bit_support" => first(&mut self.auto_64bit, boolean(&value)),
            "discard" => first(&mut self.discard, boolean(&value)),
            "enable_periodic_fsck" => first(&mut self.enable_periodic_fsck, boolean(&value)),
            "lazy_itable_init" => first(&mut self.lazy_itable_init, boolean(&value)),
            "lazy_journal_init" => first(&mut self.lazy_journal_init, boolean(&value)),
            "hugefiles_slack" => note(&mut self.hugefiles_slack, value),
            "hugefiles_size" => note(&mut self.hugefiles_size, value),
            "hugefiles_align" => note(&mut self.hugefiles_align, value),
            "hugefiles_dir" => note(&mut self.hugefiles_dir, value),
            "hugefiles_name" => note(&mut self.hugefiles_name, value),
            "num_hugefiles" => first(&mut self.num_hugefiles, integer(&value)),
            "hugefiles_uid" => first(&mut self.hugefiles_uid, integer(&value)),
            "hugefiles_gid" => first(&mut self.hugefiles_gid, integer(&value)),
            "hugefiles_umask" => first(&mut self.hugefiles_umask, integer(&value)),
            "hugefiles_digits" => first(&mut self.hugefiles_digits, integer(&value)),
            "hugefiles_align_disk" => first(&mut self.hugefiles_align_disk, boolean(&value)),
            "zero_hugefiles" => first(&mut self.zero_hugefiles, boolean(&value)),
            "make_hugefiles" => first(&mut self.make_hugefiles, boolean(&value)),
            "packed_meta_blocks" => first(&mut self.packed_meta_blocks, boolean(&value)),
            "warn_y2038_dates" => first(&mut self.warn_y2038_dates, boolean(&value)),
            _ => {}
        }
    }
}

fn note(slot: &mut Text, value: String) {
    first(slot, Some(Cow::Owned(value)));
}

fn first<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

/// Whether a line says no more.
fn ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['#', ';'])
}

/// The text up to the closing quote, its escapes resolved.
fn unquote(quoted: &str) -> String {
    let mut text = String::new();
    let mut chars = quoted.trim_end_matches(['\n', '\r']).chars();
    while let Some(c) = chars.next().filter(|c| *c != '"') {
        text.extend(match c {
            '\\' => chars.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                'b' => '\u{8}',
                other => other,
            }),
            plain => Some(plain),
        });
    }
    text
}

/// A number as `profile_get_integer` takes it: C's `strtol`, within 32 bits.
fn integer(value: &str) -> Option<i64> {
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || digits.starts_with(['-', '+']) && negative {
        return None;
    }
    let magnitude = i64::try_from(size::number(digits)?).ok()?;
    let number = if negative { -magnitude } else { magnitude };
    (i64::from(i32::MIN)..=i64::from(u32::MAX))
        .contains(&number)
        .then_some(number)
}

/// A truth value as `profile_parse_boolean` takes it.
fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "t" | "1" | "on" => Some(true),
        "n" | "no" | "false" | "nil" | "0" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "this is preamble { and ] is not read\n\
        [defaults]\n\
        \tblocksize = 2048 ; a comment\n\
        \tblocksize = 4096\n\
        \tbase_features = \"sparse_super, filetype\"\n\
        \tinode_ratio = many\n\
        \n\
        # another\n\
        [fs_types]\n\
        ext4 = {\n\
        \tfeatures = extent\n\
        \tlazy_itable_init = Off\n\
        \treserved_ratio = 2.5\n\
        }\n\
        empty = {\n\
        }\n\
        below =\n\
        {\n\
        \tblocksize = -1\n\
        }\n\
        [devices]\n\
        /dev/fd0 = {\n\
        \tusage_types = floppy\n\
        }\n";

    #[test]
    fn a_file_becomes_rules() {
        let profile = Profile::parse(SAMPLE.as_bytes()).expect("the sample is sound");
        assert_eq!(profile.defaults.blocksize, Some(2048));
        assert_eq!(profile.defaults.inode_ratio, None);
        assert_eq!(
            profile.defaults.base_features.as_deref(),
            Some("sparse_super, filetype")
        );
        let ext4 = profile.fs_type("ext4").expect("it is there");
        assert_eq!(ext4.lazy_itable_init, Some(false));
        assert_eq!(ext4.reserved_ratio, Some(2.5));
        assert_eq!(profile.fs_type("empty"), None);
        let below = profile.fs_type("below").expect("it is there");
        assert_eq!(below.blocksize, Some(-1));
        let floppy = profile.device("/dev/fd0").expect("it is there");
        assert_eq!(floppy.usage_types.as_deref(), Some("floppy"));
        let types = ["ext4".to_owned(), "below".to_owned()];
        assert_eq!(profile.find(&types, |rules| rules.blocksize), Some(-1));
        assert_eq!(
            profile.find(&types[..1], |rules| rules.blocksize),
            Some(2048)
        );
    }

    #[test]
    fn a_fault_names_its_line() {
        for (text, line, fault) in [
            ("[defaults\n", 1, SyntaxFault::SectionHeader),
            ("[]\n", 1, SyntaxFault::SectionHeader),
            ("[a] b\n", 1, SyntaxFault::SectionHeader),
            ("[a]\nb\n", 2, SyntaxFault::Relation),
            ("[a]\n= c\n", 2, SyntaxFault::Relation),
            ("[a]\nb d = c\n", 2, SyntaxFault::Relation),
            ("[a]\nb = c d\n", 2, SyntaxFault::Relation),
            ("[a]\nb = { c\n", 2, SyntaxFault::Relation),
            ("[a]\n}\n", 2, SyntaxFault::ExtraClosingBrace),
            ("[a]\nb =\nc\n", 3, SyntaxFault::MissingOpeningBrace),
            ("[a]\nb = {\n[c]\n", 3, SyntaxFault::SectionNotAtTop),
        ] {
            let error = SyntaxError { line, fault };
            assert_eq!(Profile::parse(text.as_bytes()), Err(error), "{text:?}");
        }
    }

    /// The file that e2fsprogs 1.47 installs says what is built in.
    #[test]
    fn the_built_in_rules_are_a_file_too() {
        let text = "[defaults]\n\
            base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr\n\
            default_mntopts = acl,user_xattr\nenable_periodic_fsck = 0\nblocksize = 4096\n\
            inode_size = 256\ninode_ratio = 16384\n\
            [fs_types]\next3 = {\nfeatures = has_journal\n}\next4 = {\nfeatures = \
            has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,\
            dir_nlink,extra_isize,orphan_file\n}\nsmall = {\nblocksize = 1024\n\
            inode_ratio = 4096\n}\nfloppy = {\nblocksize = 1024\ninode_ratio = 8192\n}\n\
            big = {\ninode_ratio = 32768\n}\nhuge = {\ninode_ratio = 65536\n}\n\
            news = {\ninode_ratio = 4096\n}\nlargefile = {\ninode_ratio = 1048576\n\
            blocksize = -1\n}\nlargefile4 = {\ninode_ratio = 4194304\nblocksize = -1\n}\n\
            hurd = {\nblocksize = 4096\ninode_size = 128\nwarn_y2038_dates = 0\n}\n";
        assert_eq!(Profile::parse(text.as_bytes()), Ok(Profile::built_in()));
    }

    #[test]
    fn values_are_read_as_the_profile_library_reads_them() {
        for (text, number) in [
            ("4096", Some(4096)),
            ("-1", Some(-1)),
            ("0x400", Some(1024)),
            ("1k", None),
            ("", None),
            ("--1", None),
            ("99999999999", None),
        ] {
            assert_eq!(integer(text), number, "{text:?}");
        }
        for (text, truth) in [("Yes", Some(true)), ("nil", Some(false)), ("2", None)] {
            assert_eq!(boolean(text), truth, "{text:?}");
        }
    }
}
