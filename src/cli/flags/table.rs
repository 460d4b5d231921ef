//! Given nothing, lists the flags in the groups and the order of help; never reads a value.

use super::flag::{Flag, Group, Shown};
use super::{readers, rules};

/// Every flag.
pub(in crate::cli) static GROUPS: &[Group] = &[
    Group {
        title: "Content",
        flags: CONTENT,
    },
    Group {
        title: "Size",
        flags: SIZE,
    },
    Group {
        title: "Format",
        flags: FORMAT,
    },
    Group {
        title: "Ownership and metadata",
        flags: METADATA,
    },
    Group {
        title: "Reproducibility",
        flags: REPRODUCIBILITY,
    },
    Group {
        title: "Output format",
        flags: OUTPUT_FORMAT,
    },
    Group {
        title: "Output",
        flags: OUTPUT,
    },
];

const CONTENT: &[Flag] = &[
    Flag::new(
        'd',
        "source",
        "Add the files of SOURCE: a directory, tar archive, container image or ext4 image; can be repeated [default: none]",
        readers::source,
    )
    .path("SOURCE")
    .more(
        "SOURCE is a directory, a tar archive (compressed with gzip, bzip2, xz or zstd, or not), - for an archive on standard input, oci:DIR[:REF], oci-archive:FILE[:REF] or docker-archive:FILE[:REF] for a container image, or an ext2, ext3 or ext4 image: FILE, FILE@OFFSET, FILE#PARTITION, or any of them after ext4:. The format is detected from the content, never from the file name; an existing path is used as it is, even if its name begins with such a prefix. The files of a later SOURCE replace those of earlier ones, and directories are merged.",
    )
    .example("-d rootfs.tar.zst -d overlay"),
    Flag::long(
        "copy",
        "Copy the file or directory SRC of the host to /DEST, or into /DEST if that ends in / [default: none]",
        rules::copy,
    )
    .path("SRC:/DEST")
    .example("--copy motd:/etc/motd"),
    Flag::long(
        "exclude",
        "Leave out files that GLOB matches: a name, or a path in the image [default: none]",
        readers::exclude,
    )
    .value("GLOB")
    .more(
        "A GLOB with a slash before its end matches whole paths; any other GLOB matches names in all directories. A slash at the end matches directories only. * and ? do not match slashes; ** does.",
    )
    .example("--exclude '*.pyc' --exclude '/var/cache/**'"),
    #[cfg(feature = "oci")]
    Flag::long(
        "oci-config",
        "Write the configuration of the container image to FILE: entrypoint, environment, user, labels [default: none]",
        rules::oci_config,
    )
    .path("FILE")
    .more("With several images it is that of the last one. --json prints it too, with the digests of manifest and layers.")
    .example("-d oci:images:debian:12 --oci-config config.json")
    .shown(Shown::Long),
    Flag::long(
        "fs-verity",
        "Protect the regular files that GLOB matches with fs-verity [default: those that their source protects, with -O verity]",
        readers::fs_verity,
    )
    .value("GLOB")
    .more(
        "GLOB is as for --exclude. The verity feature is enabled. Merkle tree blocks have 4096 bytes, or the filesystem's block size if that is smaller; --json prints the digests. A file that its source already protects keeps its hash, salt and signature.",
    )
    .example("--fs-verity '/usr/**'")
    .shown(Shown::Long),
    Flag::long(
        "fs-verity-hash",
        "Set the hash algorithm of --fs-verity [default: sha256]",
        readers::fs_verity_hash,
    )
    .value("HASH")
    .among(&["sha256", "sha512"])
    .shown(Shown::Long),
    Flag::long(
        "one-file-system",
        "Do not enter other mounted filesystems: their mount points become empty directories [default: include them]",
        |request, _| {
            request.one_file_system = true;
            Ok(())
        },
    )
    .shown(Shown::Long),
    #[cfg(feature = "oci")]
    Flag::long(
        "platform",
        "Select OS/ARCH or OS/ARCH/VARIANT of a multi-platform container image [default: the host's]",
        readers::platform,
    )
    .value("PLATFORM")
    .example("--platform linux/arm64")
    .shown(Shown::Long),
    #[cfg(feature = "oci")]
    Flag::long(
        "layer",
        "Add only one layer of a container image: N, which is 1 for the lowest, or DIGEST [default: all]",
        readers::layer,
    )
    .value("LAYER")
    .example("-d oci:images:app --layer 2 --whiteouts overlay")
    .shown(Shown::Long),
    Flag::long(
        "whiteouts",
        "apply: overlayfs whiteouts in directories hide files of earlier sources; overlay: keep the whiteouts of --layer in overlayfs form [default: directories keep them as devices, --layer drops them]",
        readers::whiteouts,
    )
    .value("FORM")
    .among(&["apply", "overlay"])
    .more(
        "An overlayfs whiteout is a character device 0:0 for each hidden name, or trusted.overlay.opaque=y on a directory that hides everything below it; apply also follows user.overlay.opaque. An overlay mount of the images of all layers shows the files of the whole image.",
    )
    .example("-d lower -d upper --whiteouts apply")
    .shown(Shown::Long),
    Flag::long(
        "sparse",
        "Store blocks of zeros as holes; auto does so only if SIZE is too small otherwise [default: auto]",
        readers::sparse,
    )
    .value("WHEN")
    .among(&["auto", "always", "never"])
    .more("Holes in the sources stay holes with auto and always; never allocates all blocks.")
    .shown(Shown::Long),
];

const SIZE: &[Flag] = &[
    Flag::long(
        "size",
        "Set the filesystem size: SIZE, from the content (min, auto, +512M, +20%), or keep for the size of OUTPUT [default: auto with content, else keep]",
        readers::size,
    )
    .value("SIZE")
    .more(
        "min is the smallest size that holds the content; auto leaves a tenth of the content free, and at least 16 MiB; +512M leaves 512 MiB free for ordinary users, and +20% a fifth of the content; keep fills the existing OUTPUT. A number is in KiB, or in blocks with -b; the units k, M, G, T and s (sectors of 512 bytes) may follow it.",
    )
    .example("--size +512M"),
];

const FORMAT: &[Flag] = &[
    Flag::new(
        'L',
        "label",
        "Set the volume label, at most 16 bytes [default: none]",
        readers::label,
    )
    .value("LABEL")
    .example("-L rootfs"),
    Flag::new(
        't',
        "type",
        "Set the filesystem type [default: ext4]",
        readers::fs_type,
    )
    .value("TYPE")
    .among(&["ext2", "ext3", "ext4"])
    .more("It decides the default features. MKE2FS_CONFIG can define more types."),
    Flag::new(
        'T',
        "usage-type",
        "Set the usage types, which decide block size and inode ratio [default: by size]",
        readers::usage,
    )
    .value("TYPES")
    .more("Several are separated by commas. --help=usage-types lists them.")
    .example("-T largefile"),
    Flag::new(
        'O',
        "features",
        "Enable features, or disable them with ^ [default: by type]",
        readers::features,
    )
    .value("FEATURES")
    .more("They are separated by commas; none disables all that are enabled so far. --help=features lists them.")
    .example("-O casefold,^has_journal"),
    Flag::long(
        "compat",
        "Leave out the features that one of these kernels, boot loaders or tools does not support [default: none]",
        readers::compat,
    )
    .value("NAME[,NAME]")
    .more("--help=compat lists the names. A feature that -O enables and a target does not support is an error. read-only is for an image that is never written to: no journal, no reserved blocks, and as few inodes as possible.")
    .example("--compat linux-4.14,grub-2.06,e2fsck-1.43"),
    Flag::new(
        'E',
        "extended",
        "Set extended options, NAME or NAME=VALUE [default: none]",
        readers::extended,
    )
    .value("OPTIONS")
    .more("They are separated by commas. --help=extended lists them.")
    .example("-E root_owner=1000:1000,stride=16"),
    Flag::new(
        'b',
        "block-size",
        "Set the block size: a power of two from 1024 to 65536, or -BYTES for at least that [default: 4096; below 512 MiB, 1024 if there is no content or it needs that]",
        readers::block_size,
    )
    .value("BYTES")
    .more("A kernel may refuse to mount blocks larger than its page size.")
    .example("-b 4096"),
    Flag::new(
        'I',
        "inode-size",
        "Set the inode size: a power of two from 128 to the block size [default: 256]",
        readers::inode_size,
    )
    .value("BYTES")
    .shown(Shown::Long),
    Flag::new(
        'i',
        "inode-ratio",
        "Create one inode per BYTES bytes of space, 1024 to 67108864 [default: by usage type]",
        readers::inode_ratio,
    )
    .value("BYTES")
    .example("-i 65536"),
    Flag::new(
        'N',
        "inodes",
        "Set the number of inodes, rounded up to fill inode tables [default: by inode ratio, and at least what the content needs]",
        readers::inodes_count,
    )
    .value("COUNT"),
    Flag::new(
        'm',
        "reserved",
        "Reserve a percentage of the blocks for root, 0 to 50 [default: 5]",
        readers::reserved,
    )
    .value("PERCENT")
    .example("-m 0.5"),
    Flag::new(
        'J',
        "journal",
        "Set journal options: size=MIB, location=BLOCK, fast_commit_size=KIB, device=PATH, v1_superblock [default: size by filesystem size]",
        readers::journal,
    )
    .value("OPTIONS")
    .more("They are separated by commas. device= also takes LABEL= and UUID= of a device made with -O journal_dev.")
    .example("-J size=64"),
    Flag::new(
        'j',
        "with-journal",
        "Create a journal, as -O has_journal does [default: by type]",
        readers::with_journal,
    )
    .shown(Shown::Long),
    Flag::new(
        'C',
        "cluster-size",
        "Set the cluster size with -O bigalloc: a power of two from 2048 to 536870912 [default: 16 blocks]",
        readers::cluster_size,
    )
    .value("BYTES")
    .shown(Shown::Long),
    Flag::new(
        'g',
        "blocks-per-group",
        "Set the blocks per group, a multiple of 8 [default: 8 times the block size]",
        readers::blocks_per_group,
    )
    .value("BLOCKS")
    .shown(Shown::Long),
    Flag::new(
        'G',
        "groups-per-flex",
        "Set the groups per flex group, whose bitmaps and inode tables lie together: a power of two [default: 16]",
        readers::groups_per_flex,
    )
    .value("GROUPS")
    .shown(Shown::Long),
    Flag::new(
        'e',
        "errors",
        "Set what the kernel does on errors [default: continue]",
        readers::errors,
    )
    .value("BEHAVIOR")
    .among(&["continue", "remount-ro", "panic"])
    .shown(Shown::Long),
    Flag::new(
        'M',
        "last-mounted",
        "Set the directory of the last mount, at most 64 bytes [default: none]",
        readers::last_mounted,
    )
    .value("PATH")
    .shown(Shown::Long),
    Flag::new(
        'o',
        "creator-os",
        "Set the creator OS: linux, hurd, freebsd, lites or a number [default: linux]",
        readers::creator_os,
    )
    .value("OS")
    .shown(Shown::Long),
    Flag::new(
        'r',
        "revision",
        "Set the filesystem revision, which must be 1; -E revision=0 sets the old one [default: 1]",
        readers::revision,
    )
    .value("1")
    .shown(Shown::Long),
];

const METADATA: &[Flag] = &[
    Flag::long(
        "keep-root",
        "Take owner, mode and times of the root directory from the source [default: 0:0, 0755]",
        |request, _| {
            request.keep_root = true;
            Ok(())
        },
    )
    .more("-E root_owner= and root_perms= take precedence."),
    Flag::long(
        "all-root",
        "Set the owner and group of all files to root [default: kept]",
        rules::all_root,
    )
    .more("This option and those below, up to --xattr-exclude, apply in the order given."),
    Flag::long(
        "owner",
        "Set the owner and group of all files [default: kept]",
        rules::owner,
    )
    .value("UID:GID")
    .example("--owner 1000:1000"),
    Flag::long(
        "uid-map",
        "Map COUNT user IDs starting at IN to OUT; others are unchanged [default: none]",
        rules::uid_map,
    )
    .value("IN:OUT:COUNT")
    .more("Consecutive --uid-map options are one map: no ID is mapped twice.")
    .example("--uid-map 0:100000:65536"),
    Flag::long(
        "gid-map",
        "Map COUNT group IDs starting at IN to OUT; others are unchanged [default: none]",
        rules::gid_map,
    )
    .value("IN:OUT:COUNT")
    .shown(Shown::Long),
    Flag::long(
        "override-stat",
        "Take owner, mode and type of each file from its xattr XATTR, and drop that xattr [default: off]",
        rules::override_stat,
    )
    .optional("XATTR")
    .more(
        "Without =XATTR it is user.containers.override_stat, or user.fuseoverlayfs.override_stat if a file has only that. The value is UID:GID:MODE[:TYPE], as rootless podman, buildah and libkrun store it.",
    )
    .example("--override-stat")
    .shown(Shown::Long),
    Flag::long(
        "manifest",
        "Change and add files as listed in an mtree(5) manifest [default: none]",
        rules::manifest,
    )
    .path("FILE")
    .more("contents= names a file of the host.")
    .example("--manifest files.mtree"),
    Flag::long(
        "device-table",
        "Change and add files as listed in a device table of genext2fs or makedevs [default: none]",
        rules::device_table,
    )
    .path("FILE")
    .shown(Shown::Long),
    Flag::long(
        "fs-config",
        "Set owners, modes and capabilities of files as listed in an fs_config file of Android [default: none]",
        rules::fs_config,
    )
    .path("FILE")
    .more("Its lines are PATH UID GID MODE [capabilities=MASK]. Files that it does not list are unchanged.")
    .shown(Shown::Long),
    #[cfg(feature = "selinux")]
    Flag::long(
        "file-contexts",
        "Set SELinux labels by path, as listed in a file_contexts(5) file [default: none]",
        rules::file_contexts,
    )
    .path("FILE")
    .more(
        "FILE.homedirs, FILE.local, FILE.subs and FILE.subs_dist are read too if they exist. The root directory and lost+found are labelled as well; a file that no line matches, or <<none>>, keeps its label. Patterns with look-around are refused.",
    )
    .example("--file-contexts /etc/selinux/targeted/contexts/files/file_contexts"),
    Flag::long(
        "mount-point",
        "Look up paths in file_contexts and fs_config below PREFIX, where the filesystem will be mounted [default: /]",
        rules::mount_point,
    )
    .value("PREFIX")
    .example("--file-contexts file_contexts --mount-point /vendor")
    .shown(Shown::Long),
    Flag::long(
        "acl-names",
        "Choose what to do with ACL entries of archives for a name that the image does not know: refuse, look it up on the host, or skip the entry [default: refuse]",
        rules::acl_names,
    )
    .value("WHERE")
    .among(&["refuse", "host", "skip"])
    .more("The image's own etc/passwd and etc/group are always searched first.")
    .shown(Shown::Long),
    Flag::long(
        "xattr-include",
        "Store xattrs whose names match GLOB, and no others; the last GLOB that matches decides [default: all]",
        rules::xattr_include,
    )
    .value("GLOB")
    .example("--xattr-include 'user.*'")
    .shown(Shown::Long),
    Flag::long(
        "xattr-exclude",
        "Do not store xattrs whose names match GLOB [default: none]",
        rules::xattr_exclude,
    )
    .value("GLOB")
    .example("--xattr-exclude security.selinux")
    .shown(Shown::Long),
];

const REPRODUCIBILITY: &[Flag] = &[
    Flag::new(
        'U',
        "uuid",
        "Set the UUID: a value, or clear, random or time [default: random]",
        readers::uuid,
    )
    .value("UUID")
    .more("The hash seed is derived from a given UUID, unless -E hash_seed= sets it.")
    .example("-U 01234567-89ab-4def-8123-456789abcdef"),
    Flag::long(
        "reproducible",
        "Make the image depend on the options and the content only [default: off]",
        readers::reproducible,
    )
    .more("The UUID is derived from the label and the content unless -U sets it, and the hash seed from the UUID. The clock is SOURCE_DATE_EPOCH, or else the newest mtime. atime and ctime are set to mtime, and blocks of zeros become holes. All data is read twice, and a stream is kept in a temporary file.")
    .example("--reproducible --all-root -d rootfs disk.img"),
    Flag::long(
        "clamp-times",
        "Limit times of the sources to SECONDS since 1970 [default: SOURCE_DATE_EPOCH, if that is set]",
        rules::clamp_times,
    )
    .value("SECONDS")
    .example("--clamp-times 1700000000"),
    Flag::long(
        "times",
        "Set atime and ctime to mtime [default: kept]",
        rules::times,
    )
    .value("mtime")
    .among(&["mtime"])
    .shown(Shown::Long),
];

const OUTPUT_FORMAT: &[Flag] = &[
    Flag::long(
        "base",
        "Keep inode numbers and blocks as in OLD, an ext2, ext3 or ext4 image, so that few blocks differ [default: none]",
        readers::base,
    )
    .path("OLD")
    .more(
        "OLD is FILE, FILE@OFFSET or FILE#PARTITION and must be clean. A file at the same path keeps its inode and its blocks as far as they still fit. UUID, hash seed, label, size, features, number of inodes and creation times are OLD's unless an option sets them. With an option that moves everything, such as another block size, an ordinary image is made, with a warning.",
    )
    .example("--base v1.img -d rootfs v2.img"),
    Flag::long(
        "update",
        "Update the image that OUTPUT holds in place: write only blocks that differ [default: off]",
        readers::update,
    )
    .more(
        "OUTPUT is the base, as with --base. Where it holds no ext2, ext3 or ext4 filesystem that is clean, it is made anew. Until the last block is written, what is there does not mount; a run that was killed is mended by the next.",
    )
    .example("--update -d rootfs disk.img"),
    Flag::long(
        "checksum",
        "With --update, read and compare every file [default: off]",
        readers::checksum,
    )
    .more(
        "Without it, files of a directory whose size, mtime and ctime are those in the image are not opened.",
    )
    .shown(Shown::Long),
    Flag::long(
        "reflink",
        "Share data of source files and of OLD with OUTPUT where its filesystem can, such as btrfs and XFS, instead of copying it; auto does so where it is faster, always fails where data cannot be shared [default: auto]",
        readers::reflink,
    )
    .value("WHEN")
    .among(&["auto", "always", "never"])
    .more(
        "The sources are files of directories and ext2, ext3 or ext4 images, on the same filesystem as OUTPUT, a raw image in a file. The bytes of OUTPUT are the same either way. always shares all whole blocks of the filesystem; what is less than one is copied.",
    )
    .example("--reflink always -d rootfs disk.img")
    .shown(Shown::Long),
    Flag::long(
        "format",
        "Write the image in this format; simg is an Android sparse image [default: raw]",
        readers::format,
    )
    .value("FORMAT")
    .among(&["raw", "qcow2", "vhdx", "vhd", "vhd,dynamic", "simg"])
    .more("The virtual disk holds the bytes of the raw image; parts that were never written take no space. Formats other than raw need a regular file, which is replaced.")
    .example("--format vhdx -d rootfs ext4.vhdx 64G"),
    Flag::long(
        "compress",
        "Compress the clusters of --format qcow2 [default: none]",
        readers::compress,
    )
    .value("METHOD")
    .among(&["zlib", "zstd", "none"])
    .shown(Shown::Long),
    Flag::long(
        "verity",
        "Append a dm-verity hash tree to the filesystem, or write it to FILE [default: none]",
        readers::verity,
    )
    .path("FILE")
    .optional("FILE")
    .more("The tree has SHA-256 hashes over blocks of 4096 bytes. The summary and --json show the root hash and how to open the device.")
    .example("--verity -O ^has_journal -d rootfs --size min root.img"),
    Flag::long(
        "verity-salt",
        "Set the salt of --verity in hexadecimal, - for none [default: derived from the filesystem's UUID]",
        readers::verity_salt,
    )
    .value("HEX")
    .shown(Shown::Long),
    Flag::long(
        "verity-uuid",
        "Set the UUID of --verity [default: derived from the filesystem's UUID]",
        readers::verity_uuid,
    )
    .value("UUID")
    .shown(Shown::Long),
    Flag::long(
        "root-hash-file",
        "Write the root hash of --verity to FILE [default: none]",
        readers::root_hash_file,
    )
    .path("FILE")
    .shown(Shown::Long),
    Flag::long(
        "bmap",
        "Write a bmap of the raw image to FILE, for bmaptool [default: none]",
        readers::bmap,
    )
    .path("FILE")
    .more("Blocks in use are mapped, even if they hold zeros; free blocks are not.")
    .shown(Shown::Long),
];

const OUTPUT: &[Flag] = &[
    Flag::new(
        'n',
        "dry-run",
        "Write nothing; print what would be created [default: off]",
        |request, _| {
            request.dry_run = true;
            Ok(())
        },
    ),
    Flag::new(
        'F',
        "force",
        "Do not ask for confirmation; twice, also overwrite an output that is in use [default: ask]",
        |request, _| {
            request.force = request.force.saturating_add(1);
            Ok(())
        },
    ),
    Flag::long(
        "sync",
        "Wait until the data is on disk [default: for devices only]",
        |request, _| {
            request.sync = true;
            Ok(())
        },
    )
    .shown(Shown::Long),
    Flag::long(
        "threads",
        "Read and write with N threads; the image is the same [default: number of CPUs]",
        readers::threads,
    )
    .value("N")
    .shown(Shown::Long),
    Flag::new(
        'q',
        "quiet",
        "Print only warnings and errors [default: off]",
        |request, _| {
            request.quiet = true;
            Ok(())
        },
    ),
    Flag::new(
        'v',
        "verbose",
        "Print more details about what was created [default: off]",
        |request, _| {
            request.verbose = true;
            Ok(())
        },
    ),
    Flag::long(
        "json",
        "Print what was created as a JSON object [default: off]",
        |request, _| {
            request.json = true;
            Ok(())
        },
    ),
    Flag::long(
        "explain",
        "Write nothing; print for each feature whether it is on and why, what supports it and what it costs [default: off]",
        |request, _| {
            request.explain = true;
            Ok(())
        },
    )
    .more("OUTPUT and SIZE can be omitted.")
    .example("--explain --compat rhel7,grub-2.06")
    .shown(Shown::Long),
    Flag::long(
        "check",
        "Write nothing; check OUTPUT, the same as mke4fs check OUTPUT [default: off]",
        |request, _| {
            request.check = true;
            Ok(())
        },
    )
    .shown(Shown::Long),
    Flag::new(
        'z',
        "undo-file",
        "Save overwritten data in FILE, from which e2undo restores it; discard nothing [default: none]",
        readers::undo_file,
    )
    .path("FILE")
    .shown(Shown::Long),
    Flag::new(
        'D',
        "direct-io",
        "Keep the written data out of the page cache [default: off]",
        |request, _| {
            request.uncached = true;
            Ok(())
        },
    )
    .shown(Shown::Long),
    Flag::new(
        'K',
        "no-discard",
        "Do not discard the output's blocks first, the same as -E nodiscard [default: discard]",
        readers::no_discard,
    )
    .shown(Shown::Long),
    Flag::new(
        'S',
        "super-only",
        "Write only superblocks and group descriptors, to rescue a filesystem that lost them [default: off]",
        readers::super_only,
    )
    .more("All other options must be those that the filesystem was created with. Run e2fsck afterwards.")
    .shown(Shown::Long),
    Flag::new('V', "version", "Print the version", |request, _| {
        request.version = true;
        Ok(())
    }),
    Flag::bare('R', "The same as -E", readers::extended_by_old_name)
        .value("OPTIONS")
        .shown(Shown::Never),
    Flag::bare('s', "Removed", readers::sparse_super)
        .value("FLAG")
        .shown(Shown::Never),
    Flag::bare('c', "Not supported", readers::bad_blocks).shown(Shown::Never),
    Flag::bare('l', "Not supported", readers::bad_blocks_file)
        .value("FILE")
        .shown(Shown::Never),
];
