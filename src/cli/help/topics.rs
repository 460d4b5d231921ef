//! Given nothing, lists what help explains beside the flags; never how it is laid out.

use crate::options::CompatTarget;
use crate::options::choices::{self, Choice};

/// One thing and what is said of it.
pub(super) struct Entry {
    pub(super) term: String,
    pub(super) about: String,
}

/// Entries under a title.
pub(super) struct Topic {
    pub(super) title: &'static str,
    /// What stands before them.
    pub(super) intro: &'static str,
    pub(super) entries: Vec<Entry>,
}

/// What `-E` takes.
pub(super) fn extended() -> Topic {
    Topic {
        title: "Extended options",
        intro: "-E takes these, separated by commas.",
        entries: entries(choices::extended_options()),
    }
}

/// What `-O` takes.
pub(super) fn features() -> Topic {
    Topic {
        title: "Features",
        intro: "-O takes these, separated by commas; ^ before one disables it, none disables all. Older \
            kernels than the one named may refuse to mount the filesystem, or to write to it.",
        entries: entries(choices::features()),
    }
}

/// What `-T` takes.
pub(super) fn usage_types() -> Topic {
    Topic {
        title: "Usage types",
        intro: "-T takes these, separated by commas; later ones take precedence. A configuration file that \
            MKE2FS_CONFIG names defines its own.",
        entries: entries(choices::usage_types()),
    }
}

/// What `--compat` takes.
pub(super) fn compat() -> Topic {
    let entry = |target: CompatTarget| Entry {
        term: target.name().to_owned(),
        about: target.about().to_owned(),
    };
    Topic {
        title: "Compatibility targets",
        intro: "--compat takes these, separated by commas. A feature that one of them does not support is left out.",
        entries: CompatTarget::all().map(entry).collect(),
    }
}

fn entries(choices: Vec<Choice>) -> Vec<Entry> {
    let entry = |choice: Choice| Entry {
        term: format!("{}{}", choice.name, choice.value),
        about: choice.about,
    };
    choices.into_iter().map(entry).collect()
}

/// Commands as people need them.
pub(super) fn examples() -> Topic {
    listed(
        "Examples",
        "",
        &[
            (
                "mke4fs disk.img 512M",
                "Create an empty filesystem of 512 MiB in a new file",
            ),
            (
                "mke4fs -d rootfs -L root disk.img",
                "Create a filesystem with the files under rootfs, and some free space",
            ),
            (
                "mke4fs -d rootfs --size min disk.img",
                "Create the smallest filesystem that holds them",
            ),
            (
                "mke4fs -d rootfs --size +512M --keep-root disk.img",
                "Leave 512 MiB free for ordinary users; keep rootfs's own owner and mode",
            ),
            (
                "mke4fs -d rootfs.tar.zst --keep-root disk.img",
                "Use a tar archive, with owners, devices and capabilities, without root",
            ),
            (
                "mke4fs -d oci:images:debian -d overlay disk.img",
                "Use the layers of a container image, and the files under overlay on top",
            ),
            (
                "mke4fs -d base.img -d overlay --size +1G vm.img",
                "Use the files of an ext4 image, and those under overlay on top",
            ),
            (
                "mke4fs -d old.img --size min -O ^has_journal small.img",
                "Copy an image into a smaller one, defragmented and without a journal",
            ),
            (
                "mke4fs --reproducible --all-root -d rootfs disk.img",
                "Create the same bytes on every machine",
            ),
            (
                "mke4fs -O ^has_journal,^orphan_file -m 0 -E root_owner=1000:1000 disk.img 64M",
                "Create it without a journal and reserved blocks; user 1000 owns the root directory",
            ),
            (
                "mke4fs check disk.img",
                "Check an image; the exit status is 4 if it has errors",
            ),
            (
                "mke4fs tar disk.img etc | tar x",
                "Extract files of an image without root",
            ),
        ],
    )
}

/// What the process ends with.
pub(super) fn statuses() -> Topic {
    listed(
        "Exit status",
        "",
        &[
            ("0", "Success"),
            ("1", "Failure; diff: the files differ"),
            ("2", "diff: failure"),
            ("4", "check: the image has errors"),
        ],
    )
}

/// What the environment says.
pub(super) fn environment() -> Topic {
    listed(
        "Environment",
        "",
        &[
            (
                "SOURCE_DATE_EPOCH",
                "The clock, in seconds since 1970; later times of the sources are set to it",
            ),
            (
                "E2FSPROGS_FAKE_TIME",
                "The clock, if SOURCE_DATE_EPOCH is not set; times of the sources are kept",
            ),
            (
                "MKE2FS_CONFIG",
                "A configuration file in the format of mke2fs.conf(5); /etc/mke2fs.conf is not read",
            ),
            (
                "MKE2FS_DEVICE_SECTSIZE, MKE2FS_DEVICE_PHYS_SECTSIZE",
                "The logical and physical sector sizes of OUTPUT, in bytes",
            ),
            (
                "MKE2FS_FIRST_META_BG",
                "With -O meta_bg, the number of meta groups whose descriptors stay at the front",
            ),
            ("NO_COLOR", "Use no colors if set and not empty"),
            (
                "E2FSPROGS_UNDO_DIR, E2FSPROGS_SKIP_PROGRESS, MKE2FS_SKIP_CHECK_MSG",
                "As in mke2fs, if the command is called mke2fs or mkfs.*",
            ),
        ],
    )
}

fn listed(title: &'static str, intro: &'static str, entries: &[(&str, &str)]) -> Topic {
    let entry = |entry: &(&str, &str)| Entry {
        term: entry.0.to_owned(),
        about: entry.1.to_owned(),
    };
    Topic {
        title,
        intro,
        entries: entries.iter().map(entry).collect(),
    }
}
