//! Given options and a host, proves that the settings are those of mke2fs 1.47.2, and that no
//! options make it panic.

use proptest::prelude::*;

use super::{Errors, JournalLength, RootOwner, Settings, UndoRule};
use crate::feature::Feature;
use crate::options::{Conf, Device, Environment, Options, Size, TargetKind};

/// A host with nothing of this one: its clock and randomness are stated.
fn host(kind: TargetKind) -> Environment {
    let mut host = Environment::detect();
    host.clock = 1_700_000_000;
    host.latest_time = None;
    host.real_clock = std::time::Duration::from_secs(1_700_000_000);
    host.random_uuid = [0xfe; 16];
    host.random_hash_seed = [0; 16];
    host.page_size = 4096;
    host.user = (1000, 1001);
    host.conf = None;
    host.sector_size = None;
    host.physical_sector_size = None;
    host.target.kind = kind;
    host
}

fn file(size_bytes: u64) -> Environment {
    host(TargetKind::File { size_bytes })
}

fn settings(options: &Options, host: &Environment) -> Settings {
    options.resolve(host).expect("it can be resolved").settings
}

fn refusal(options: &Options, host: &Environment) -> String {
    let error = options.resolve(host).expect_err("it is refused");
    error.to_string()
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// What the length alone decides, as mke2fs -n and dumpe2fs -h show it.
#[test]
fn the_length_decides_what_is_not_asked_for() {
    for (size_bytes, block_bytes, blocks, inodes, reserved) in [
        (MIB, 1024, 1024, 128, 51),
        (1440 * KIB, 1024, 1440, 180, 72),
        (3 * MIB, 1024, 3072, 768, 153),
        // A size that is the output's own is rounded down to a page.
        (3 * MIB + 7 * KIB, 1024, 3076, 769, 153),
        (100 * MIB + KIB, 1024, 102_400, 25600, 5120),
        (512 * MIB - 1, 1024, 524_284, 131_071, 26214),
        (512 * MIB, 4096, 131_072, 32768, 6553),
        (8 * GIB, 4096, 2_097_152, 524_288, 104_857),
        (4 * TIB, 4096, 1 << 30, 1 << 27, 53_687_091),
        (16 * TIB, 4096, 1 << 32, 1 << 28, 214_748_364),
    ] {
        let made = settings(&Options::new(), &file(size_bytes));
        assert_eq!(
            (
                made.block_size.bytes(),
                made.blocks_count,
                made.inodes_count,
                made.reserved_blocks,
            ),
            (block_bytes, blocks, inodes, reserved),
            "{size_bytes}"
        );
    }
}

#[test]
fn the_defaults_are_those_of_e2fsprogs() {
    let made = settings(&Options::new(), &file(64 * MIB));
    let features: Vec<_> = made.features.iter().map(Feature::name).collect();
    assert_eq!(
        features.join(","),
        "has_journal,ext_attr,resize_inode,dir_index,orphan_file,filetype,extent,64bit,flex_bg,\
         metadata_csum_seed,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
    );
    assert_eq!(made.inode_size, 256);
    assert_eq!(made.log_groups_per_flex, 4);
    assert_eq!(made.default_mount_opts, 0xc);
    assert_eq!(made.errors, Errors::Continue);
    assert_eq!(made.journal_length, JournalLength::ByFilesystem);
    assert_eq!((made.max_mnt_count, made.check_interval), (u16::MAX, 0));
    assert_eq!((made.root_owner, made.root_perms), (None, None));
    assert!(made.lazy_itable_init && !made.lazy_journal_init && made.discard);
    // Versions and variants of random UUIDs are marked as libuuid marks them.
    assert_eq!((made.uuid[6], made.uuid[8]), (0x4e, 0xbe));
    assert_eq!((made.hash_seed[6], made.hash_seed[8]), (0x40, 0x80));
    assert_eq!(made.clock, 1_700_000_000);
}

#[test]
fn a_new_output_has_nothing_to_discard() {
    let made = settings(
        Options::new().size(Size::Bytes(8 * MIB)),
        &host(TargetKind::Missing),
    );
    assert!(!made.discard);
    assert_eq!(made.blocks_count, 8192);
    let made = settings(Options::new().size(Size::Bytes(8 * MIB)), &file(500));
    assert!(!made.discard);
}

#[test]
fn wishes_go_before_rules() {
    let mut options = Options::new();
    options
        .block_size(4096)
        .inode_size(512)
        .inode_ratio(65536)
        .reserved_percent(12.5)
        .label("label")
        .last_mounted("/mnt")
        .uuid([7; 16])
        .hash_seed([8; 16])
        .errors(Errors::Panic)
        .groups_per_flex(64)
        .blocks_per_group(8192)
        .journal_mebibytes(4)
        .root_owner(1, 2)
        .root_perms(0o1777)
        .lazy_itable_init(false)
        .lazy_journal_init(true)
        .discard(false)
        .stride(16)
        .stripe_width(64)
        .num_backup_sb(1)
        .packed_meta_blocks(true)
        .orphan_file_size(Size::Kibibytes(64))
        .no_copy_xattrs()
        .without_feature(Feature::ResizeInode);
    let made = settings(&options, &file(64 * MIB));
    let default = settings(&Options::new(), &file(64 * MIB));
    let mut label = [0; 16];
    label[..5].copy_from_slice(b"label");
    let mut last_mounted = [0; 64];
    last_mounted[..4].copy_from_slice(b"/mnt");
    let expected = Settings {
        block_size: made.block_size,
        blocks_count: 16384,
        reserved_blocks: 2048,
        features: default.features.without(Feature::ResizeInode),
        inode_size: 512,
        inodes_count: 1024,
        blocks_per_group: Some(8192),
        log_groups_per_flex: 6,
        num_backup_sb: 1,
        packed_meta_blocks: true,
        journal_length: JournalLength::Mebibytes(4),
        journal_location: Some(0),
        orphan_file_blocks: Some(16),
        uuid: [7; 16],
        hash_seed: [8; 16],
        label,
        last_mounted,
        errors: Errors::Panic,
        raid_stride: 16,
        raid_stripe_width: 64,
        root_owner: Some(RootOwner { uid: 1, gid: 2 }),
        root_perms: Some(0o1777),
        lazy_itable_init: false,
        undo: UndoRule {
            automatic: false,
            ..default.undo.clone()
        },
        lazy_journal_init: true,
        discard: false,
        no_copy_xattrs: true,
        ..default
    };
    assert_eq!(made, expected);
}

#[test]
fn text_and_setters_say_the_same() {
    let mut by_text = Options::new();
    by_text
        .features("^resize_inode,^has_journal")
        .extended("stride=16,stripe_width=64,root_owner=1:2,nodiscard,lazy_itable_init=0");
    let mut by_setters = Options::new();
    by_setters
        .without_feature(Feature::ResizeInode)
        .without_feature(Feature::HasJournal)
        .stride(16)
        .stripe_width(64)
        .root_owner(1, 2)
        .discard(false)
        .lazy_itable_init(false);
    let host = file(64 * MIB);
    let made = settings(&by_text, &host);
    assert_eq!(made, settings(&by_setters, &host));
    // Without a journal an orphan file that came by default goes without a word.
    assert!(!made.features.has(Feature::OrphanFile));
}

/// `-E resize=` keeps descriptor blocks: ceil of the groups there may be, less those there are.
#[test]
fn room_to_grow_is_kept() {
    for (block_bytes, size, blocks) in [
        (4096, Size::Kibibytes(64 << 20), Some(7)),
        (1024, Size::Kibibytes(4 << 20), Some(31)),
        (1024, Size::Kibibytes(1 << 30), Some(256)),
        (4096, Size::Blocks(16385), None),
    ] {
        let mut options = Options::new();
        options.block_size(block_bytes).resize(size);
        let made = settings(&options, &file(64 * MIB));
        assert_eq!(made.reserved_gdt_blocks, blocks, "{block_bytes} {size:?}");
    }
    let mut options = Options::new();
    options.block_size(4096).resize(Size::Blocks(16384));
    assert_eq!(
        refusal(&options, &file(64 * MIB)),
        "invalid resize of 16384 blocks: must be more than the 16384 blocks of the filesystem"
    );
}

#[test]
fn an_offset_is_taken_off_the_output() {
    let mut options = Options::new();
    options.offset(MIB);
    let made = settings(&options, &file(64 * MIB));
    assert_eq!((made.blocks_count, made.offset_bytes), (63 * 1024, MIB));
    options.size(Size::Kibibytes(32 * 1024));
    assert_eq!(settings(&options, &file(64 * MIB)).blocks_count, 32 * 1024);
    assert_eq!(
        refusal(Options::new().offset(65 * MIB), &file(64 * MIB)),
        "invalid offset 68157440: the output has 67108864 bytes; use a smaller offset, or a size"
    );
    assert_eq!(
        refusal(Options::new().offset(64 * MIB), &file(64 * MIB)),
        "no space for a block after the offset; use a smaller offset, or a size"
    );
}

#[test]
fn a_device_says_how_it_likes_to_be_written() {
    let device = |sector_size| Device {
        size_bytes: 64 * MIB,
        sector_size,
        physical_sector_size: sector_size,
        minimum_io_size: 16384,
        optimal_io_size: 65536,
        alignment_offset: 0,
        dax: false,
    };
    let host = host(TargetKind::Device(device(4096)));
    let made = settings(&Options::new(), &host);
    assert_eq!(made.block_size.bytes(), 4096);
    assert_eq!((made.raid_stride, made.raid_stripe_width), (4, 16));
    assert_eq!(
        refusal(Options::new().block_size(1024), &host),
        "invalid block size 1024: the device has sectors of 4096 bytes; use -b 4096"
    );
}

#[test]
fn a_configuration_file_replaces_the_rules() {
    let conf = |text: &str| {
        let mut host = file(64 * MIB);
        host.conf = Some(Conf {
            name: "conf".to_owned(),
            text: Ok(text.as_bytes().to_vec()),
        });
        host
    };
    let made = settings(
        &Options::new(),
        &conf(
            "[defaults]\nbase_features = sparse_super\nenable_periodic_fsck = 1\n\
             reserved_ratio = 1.0\n[fs_types]\next4 = {\nfeatures = extent\nblocksize = 2048\n\
             inode_size = 128\ninode_ratio = 4096\nwarn_y2038_dates = 0\nerrors = remount-ro\n\
             options = stride=2,stripe_width=4\n}\nsmall = {\ninode_ratio = 8192\n}\n",
        ),
    );
    let features: Vec<_> = made.features.iter().map(Feature::name).collect();
    assert_eq!(features, ["extent", "sparse_super"]);
    assert_eq!((made.block_size.bytes(), made.inode_size), (2048, 128));
    assert_eq!((made.inodes_count, made.reserved_blocks), (8192, 327));
    assert_eq!((made.raid_stride, made.raid_stripe_width), (2, 4));
    assert_eq!(made.errors, Errors::RemountReadOnly);
    // 20, and the sum of the UUID's bytes modulo 20.
    let sum: u16 = made.uuid.iter().copied().map(u16::from).sum();
    assert_eq!(made.max_mnt_count, 20 + sum % 20);
    assert_eq!(made.check_interval, 180 * 86400);

    let huge = "[defaults]\nmake_hugefiles = 1\n[fs_types]\next4 = {\nfeatures = extent\n";
    let ext4 = conf(&format!(
        "{huge}num_hugefiles = 2\nhugefiles_align = 8K\nhugefiles_size = 12K\n\
         hugefiles_dir = //a/b/\n}}\n"
    ));
    let wish = settings(&Options::new(), &ext4).huge_files;
    let wish = wish.expect("huge files are asked for");
    assert_eq!((wish.count, wish.blocks, wish.align), (2, 4, 2));
    assert_eq!((wish.slack, wish.digits, wish.umask), (256, 5, 0o77));
    assert_eq!(
        (wish.name, wish.directory),
        (b"hugefile".to_vec(), vec![b"a".to_vec(), b"b".to_vec()])
    );
    for (features, what) in [
        ("^extent", "without the extent feature"),
        ("bigalloc", "with the bigalloc feature"),
        ("inline_data", "with the inline_data feature"),
        ("quota", "with the quota feature"),
    ] {
        assert_eq!(
            refusal(Options::new().features(features), &ext4),
            format!("make_hugefiles {what} is not supported")
        );
    }

    assert_eq!(
        refusal(&Options::new(), &conf("[defaults]\nblocksize 1024\n")),
        "conf:2: expected name = value"
    );
    assert_eq!(
        refusal(&Options::new(), &conf("[defaults]\nblocksize = 1024\n")),
        "unknown filesystem type 'ext4': MKE2FS_CONFIG does not define it; use -F to create it anyway"
    );
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    type Ask = fn(&mut Options) -> &mut Options;
    let asks: [(Ask, &str); 25] = [
        (
            |o| o.label(*b"seventeen bytes !"),
            "invalid label of 17 bytes: must be at most 16 bytes",
        ),
        (
            |o| o.last_mounted([b'x'; 65]),
            "invalid last mount point of 65 bytes: must be at most 64 bytes",
        ),
        (
            |o| o.block_size(3000),
            "invalid block size 3000: must be a power of two from 1024 to 65536 bytes",
        ),
        (
            |o| o.block_size(8192),
            "block size 8192 is above the page size 4096, which many kernels cannot mount; use -F to create it anyway",
        ),
        (
            |o| o.reserved_percent(f64::NAN),
            "invalid reserved percentage NaN: must be 0 to 50",
        ),
        (
            |o| o.inode_ratio(1),
            "invalid inode ratio 1: must be 1024 to 67108864 bytes per inode",
        ),
        (
            |o| o.inode_size(100),
            "invalid inode size 100: must be a power of two from 128 to 1024 bytes",
        ),
        (
            |o| o.inodes_count(1 << 32),
            "invalid number of inodes 4294967296: must be at most 4294967295",
        ),
        (
            |o| o.inodes_count(1 << 20),
            "1048576 inodes of 256 bytes do not fit in 65536 blocks; use fewer inodes (-N) or a larger inode ratio (-i)",
        ),
        (
            |o| o.groups_per_flex(3),
            "invalid flex group size 3: must be a power of two up to 2^31 groups",
        ),
        (
            |o| o.blocks_per_group(100),
            "invalid blocks per group 100: must be a multiple of 8 from 256 to 8192",
        ),
        (
            |o| o.groups_per_flex(4).without_feature(Feature::FlexBg),
            "a flex group size needs the flex_bg feature; use -O flex_bg",
        ),
        (
            |o| o.without_feature(Feature::Extent),
            "the 64bit feature needs the extent feature; use -O extent or -O ^64bit",
        ),
        (
            |o| o.without_feature(Feature::SparseSuper),
            "the resize_inode feature needs the sparse_super feature; use -O ^resize_inode",
        ),
        (
            |o| o.with_feature(Feature::MetaBg),
            "the meta_bg and resize_inode features cannot be combined; use -O ^resize_inode",
        ),
        (
            |o| o.features("^metadata_csum,metadata_csum_seed,nonsense"),
            "invalid feature 'nonsense': expected feature names, with ^ to disable one",
        ),
        (
            |o| o.size(Size::Bytes(1023)),
            "invalid size: must be at least one block",
        ),
        (
            |o| {
                o.size(Size::Bytes(u64::MAX))
                    .block_size(1024)
                    .without_feature(Feature::SixtyFourBit)
            },
            "18014398509481983 blocks of 1024 bytes need the 64bit feature; use -O 64bit",
        ),
        (
            |o| o.size(Size::Bytes(u64::MAX)).block_size(1024),
            "18014398509481983 blocks of 1024 bytes are more than ext4 supports; use larger blocks or a smaller size",
        ),
        (
            |o| o.fs_type("ext3").with_feature(Feature::Verity),
            "the verity feature needs the extent feature; use -O extent",
        ),
        (
            |o| o.with_feature(Feature::Project).inode_size(128),
            "project IDs need inodes of at least 256 bytes; use -I 256",
        ),
        (
            |o| o.creator_os("plan9"),
            "invalid creator OS 'plan9': must be linux, hurd, freebsd, lites or a number",
        ),
        (
            |o| o.creator_os("hurd").with_feature(Feature::Filetype),
            "the Hurd does not support the filetype feature; use -O ^filetype",
        ),
        (
            |o| o.extended("revision=0").with_feature(Feature::Mmp),
            "revision 0 does not support features; use -E revision=1",
        ),
        (
            |o| o.extended("encoding_flags=strict"),
            "encoding flags need an encoding; use -E encoding=utf8",
        ),
    ];
    for (ask, said) in asks {
        let mut options = Options::new();
        ask(&mut options);
        assert_eq!(refusal(&options, &file(64 * MIB)), said);
    }
}

#[test]
fn what_is_remarkable_is_noted_in_order() {
    let mut options = Options::new();
    options
        .force()
        .block_size(8192)
        .inode_size(128)
        .usage_types("bogus,small")
        .extended("stride=3,stripe_width=4");
    let resolved = options
        .resolve(&file(64 * MIB))
        .expect("it can be resolved");
    let warnings: Vec<_> = resolved.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "unknown usage type 'bogus'; using the defaults",
            "usage types: ext4, small",
            "block size 8192 is above the page size 4096, which many kernels cannot mount",
            "stripe width 4 is not a multiple of the stride 3",
            "inodes of 128 bytes cannot store times past 2038",
        ]
    );
}

proptest! {
    #[test]
    fn no_options_panic(
        sizes in (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>()),
        texts in ("[a-z_=^,0-9:+-]{0,40}", "\\PC{0,20}", "\\PC{0,60}"),
        percent in any::<f64>(),
        force in any::<bool>(),
    ) {
        let (output, size, small, other, count) = sizes;
        let (extended, features, conf) = texts;
        let mut host = file(output);
        host.page_size = other;
        host.sector_size = Some(small);
        host.conf = force.then(|| Conf {
            name: String::new(),
            text: Ok(format!("[defaults]\nblocksize = {small}\n{conf}").into_bytes()),
        });
        let mut options = Options::new();
        let _ = options.resolve(&host);
        options.extended(extended).reserved_percent(percent).offset(count);
        let _ = options.resolve(&host);
        options.size(Size::Blocks(size)).inodes_count(count).features(features);
        let _ = options.resolve(&host);
        options
            .block_size(1 << (small % 20))
            .inode_size(other)
            .blocks_per_group(other)
            .groups_per_flex(small)
            .journal_mebibytes(small)
            .resize(Size::Kibibytes(count));
        if force {
            options.force();
        }
        let _ = options.resolve(&host);
    }

    #[test]
    fn equal_wishes_make_equal_settings(size in 1_u64 << 20..1 << 44, count in 1_u64..1 << 20) {
        let mut options = Options::new();
        options.size(Size::Bytes(size)).inodes_count(count);
        let host = file(0);
        prop_assert_eq!(options.resolve(&host), options.resolve(&host));
    }
}
