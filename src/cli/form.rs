//! Given what is asked of the form of an output, says what it is, and writes what lies beside the image;
//! never the image.

use std::io;
use std::path::Path;

use super::request::{Interface, Request, SizeArg};
use crate::builder::{Beside, Form};
use crate::feature::Feature;
use crate::json::Object;
use crate::options::{Environment, Settings, TargetKind};
use crate::sink::{
    Format, IfBusy, ImageRange, Output, Sink, VERITY_BLOCK_BYTES, VerityOptions, VerityTree,
};
use crate::source::Readable;

/// What stands for standard output as OUTPUT.
const STDOUT: &str = "-";

impl Request {
    /// The form of the output.
    pub(super) fn format(&self) -> Format {
        let mut extended = self.extended.iter().flat_map(|text| text.split(','));
        // Its value, if it is given one, counts for nothing.
        let is_sparse = |option: &str| option.split('=').next() == Some("android_sparse");
        match (self.form.format, self.form.compression) {
            (Some(Format::Qcow2(_)), Some(compression)) => Format::Qcow2(compression),
            (Some(format), _) => format,
            (None, _) if extended.any(is_sparse) => Format::AndroidSparse,
            (None, _) => Format::Raw,
        }
    }

    /// Whether the image has to be decided before the first byte is written.
    pub(super) fn is_formed(&self, output: &Path) -> bool {
        self.has_form() || self.is_stdout(output)
    }

    /// Whether `output` is standard output; to mke2fs it is a file of that name.
    pub(super) fn is_stdout(&self, output: &Path) -> bool {
        self.interface == Interface::Mke4fs && output == Path::new(STDOUT)
    }

    /// Whether there is more than the bytes of the filesystem.
    pub(super) fn has_form(&self) -> bool {
        let form = &self.form;
        self.format() != Format::Raw || form.verity.is_some() || form.bmap.is_some()
    }

    /// The same, as `write_formed` wants it.
    pub(super) fn form<'a>(&self, settings: &Settings, spool_directory: &'a Path) -> Form<'a> {
        let wish = &self.form;
        let verity = wish.verity.as_ref().map(|_| {
            let mut options = VerityOptions::of(settings.uuid);
            if let Some(salt) = &wish.salt {
                options.salt.clone_from(salt);
            }
            options.uuid = wish.uuid.unwrap_or(options.uuid);
            options
        });
        Form {
            format: self.format(),
            verity,
            tree: None,
            bmap: wish.bmap.is_some(),
            spool_directory,
        }
    }
}

/// Refuses what makes no sense together, by the flags' names.
pub(super) fn refuse(request: &Request, host: &Environment, output: &Path) -> Result<(), String> {
    let form = &request.form;
    let says = |text: &str| Err(text.to_owned());
    let needs_verity = form.salt.is_some() || form.uuid.is_some() || form.root_hash_file.is_some();
    if form.verity.is_none() && needs_verity {
        return says("--verity-salt, --verity-uuid and --root-hash-file need --verity");
    }
    if form.compression.is_some() && !matches!(request.format(), Format::Qcow2(_)) {
        return says("--compress needs --format qcow2");
    }
    if cfg!(not(feature = "compress")) && form.compression.is_some() {
        return says("--compress is not part of this build");
    }
    if form.bmap.is_some() && request.format() != Format::Raw {
        return says("--bmap describes a raw image: use --format raw");
    }
    if !request.is_formed(output) {
        return Ok(());
    }
    refuse_other_flags(request, host, output)
}

/// Refuses flags that no form but the plain one can have.
fn refuse_other_flags(request: &Request, host: &Environment, output: &Path) -> Result<(), String> {
    let form = &request.form;
    let format = request.format();
    let is_stdout = request.is_stdout(output);
    let what = if is_stdout {
        "standard output as OUTPUT"
    } else if format != Format::Raw {
        "--format"
    } else if form.verity.is_some() {
        "--verity"
    } else {
        "--bmap"
    };
    let with = |other: &str| Err(format!("{what} cannot be combined with {other}"));
    if request.undo_file.is_some() {
        return with("-z: there is no old content to keep");
    }
    if request.journal_device.is_some() {
        return with("-J device=");
    }
    let is_kept = request.size == Some(SizeArg::Keep);
    if is_kept && (is_stdout || format != Format::Raw) {
        return with("--size keep");
    }
    if is_stdout && format != Format::Raw {
        return with("--format: a virtual disk's tables are written last; name a file");
    }
    if is_stdout && form.bmap.is_some() {
        return with("--bmap");
    }
    let is_device = matches!(host.target.kind, TargetKind::Device(_));
    if is_device && format != Format::Raw {
        return with("a device as OUTPUT; use --format raw or name a file");
    }
    if is_device && form.bmap.is_some() {
        return with("a device as OUTPUT; name a file");
    }
    for (path, what) in form.files() {
        if crate::sys::is_same_file(path, output) || path == output {
            return Err(super::rules::refusal(path, what));
        }
    }
    Ok(())
}

/// Refuses what the settings show to make no sense.
pub(super) fn refuse_settings(
    request: &Request,
    settings: &Settings,
    output: &Path,
) -> Result<(), String> {
    if !request.is_formed(output) {
        return Ok(());
    }
    if settings.super_only {
        return Err(
            "-S writes into a filesystem that is there: it needs a raw OUTPUT, \
                    no --verity and no --bmap"
                .to_owned(),
        );
    }
    if settings.features.has(Feature::JournalDev) {
        return Err(
            "-O journal_dev makes no filesystem: it needs a raw OUTPUT, \
                    no --verity and no --bmap"
                .to_owned(),
        );
    }
    Ok(())
}

/// What a filesystem cannot be used for, though it is asked for it.
pub(super) fn warning_of_settings(request: &Request, settings: &Settings) -> Option<String> {
    let block_bytes = settings.block_size.bytes_u64();
    let is_small = block_bytes < VERITY_BLOCK_BYTES;
    (request.form.verity.is_some() && is_small).then(|| {
        format!(
            "the kernel cannot mount blocks of {block_bytes} bytes over dm-verity's of {VERITY_BLOCK_BYTES} bytes; use -b {VERITY_BLOCK_BYTES}"
        )
    })
}

/// What a name promises that the format does not keep.
pub(super) fn warning(request: &Request, output: &Path) -> Option<String> {
    let extension = output.extension()?.to_str()?.to_ascii_lowercase();
    let is_named = matches!(extension.as_str(), "qcow2" | "vhdx" | "vhd");
    let path = Readable(output.as_os_str().as_encoded_bytes());
    (is_named && request.form.format.is_none())
        .then(|| format!("{path} will be a raw image despite its name; use --format {extension}"))
}

/// Opens the file of the verity tree, if there is to be one; a signal removes it if it is new.
pub(super) fn open_tree(request: &Request) -> io::Result<Option<Output>> {
    let Some(path) = request.form.tree_file() else {
        return Ok(None);
    };
    let mut output = Output::open(path, IfBusy::Refuse)?;
    output.lies_beside();
    #[cfg(any(unix, windows))]
    output.remove_beside_on_abort()?;
    output.replace(0);
    Ok(Some(output))
}

/// Writes the small files beside the image.
pub(super) fn write_beside(request: &Request, beside: &Beside) -> io::Result<()> {
    if let (Some(path), Some(tree)) = (&request.form.root_hash_file, &beside.tree) {
        write_text(path, &hex(&tree.root_hash))?;
    }
    if let (Some(path), Some(map)) = (&request.form.bmap, &beside.bmap) {
        write_text(path, map)?;
    }
    Ok(())
}

fn write_text(path: &Path, text: &str) -> io::Result<()> {
    let mut output = Output::open(path, IfBusy::Refuse)?;
    output.lies_beside();
    output.replace(0);
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let draft = output.begin(&ImageRange::new(0..length))?;
    draft.file().write_at(0, text.as_bytes())?;
    draft.keep();
    Ok(())
}

/// What people and programs need to open a verity device.
pub(super) struct Opening<'a> {
    tree: &'a VerityTree,
    /// Where it begins.
    offset: u64,
    image: &'a Path,
    hash_file: &'a Path,
}

impl<'a> Opening<'a> {
    pub(super) fn new(request: &'a Request, beside: &'a Beside, image: &'a Path) -> Option<Self> {
        Some(Self {
            tree: beside.tree.as_ref()?,
            offset: beside.tree_offset,
            image,
            hash_file: request.form.tree_file().unwrap_or(image),
        })
    }

    fn veritysetup(&self) -> String {
        let path = |path: &Path| Readable(path.as_os_str().as_encoded_bytes()).to_string();
        let offset = match self.offset {
            0 => String::new(),
            offset => format!(" --hash-offset={offset}"),
        };
        format!(
            "veritysetup open{offset} {} NAME {} {}",
            path(self.image),
            path(self.hash_file),
            hex(&self.tree.root_hash),
        )
    }

    fn kernel(&self) -> String {
        let tree = self.tree;
        let sectors = tree.data_blocks * (VERITY_BLOCK_BYTES / 512);
        // The superblock's own block comes before the tree.
        let first = self.offset / VERITY_BLOCK_BYTES + 1;
        let salt = match &tree.salt[..] {
            [] => "-".to_owned(),
            salt => hex(salt),
        };
        format!(
            "dm-mod.create=\"NAME,,,ro,0 {sectors} verity 1 DATA HASH {VERITY_BLOCK_BYTES} \
             {VERITY_BLOCK_BYTES} {} {first} sha256 {} {salt}\"",
            tree.data_blocks,
            hex(&tree.root_hash),
        )
    }

    pub(super) fn text(&self) -> String {
        let tree = self.tree;
        format!(
            "verity root hash {}\n{} data blocks, {} hash blocks\n{}\n{}\n",
            hex(&tree.root_hash),
            tree.data_blocks,
            tree.hash_blocks,
            self.veritysetup(),
            self.kernel(),
        )
    }

    pub(super) fn put(&self, object: &mut Object) {
        let tree = self.tree;
        object
            .text("root_hash", &hex(&tree.root_hash))
            .text("verity_salt", &hex(&tree.salt))
            .text(
                "verity_uuid",
                &uuid::Uuid::from_bytes(tree.uuid).to_string(),
            )
            .number("data_blocks", tree.data_blocks)
            .number("hash_blocks", tree.hash_blocks)
            .number("hash_offset", self.offset)
            .text("veritysetup", &self.veritysetup())
            .text("kernel", &self.kernel());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
