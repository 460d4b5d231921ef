//! Given a base, says what a new filesystem takes over from it beside the places of its files; never a place.

use crate::base::Base;
use crate::error::Error;
use crate::feature::Feature;
use crate::geometry::{Geometry, MIN_DATA_BLOCKS, default_journal_blocks};
use crate::layout::{Layout, Matched};
use crate::options::{Errors, Inherited, MmpInfo, Options, QuotaType, QuotaTypes, Resolved};
use crate::plan::Planned;
use crate::tree::{Kind, Metadata, NodeId, Tree};
use crate::units::Timestamp;

const MEBIBYTE: u64 = 1 << 20;

/// Takes from `base` what `options` do not ask for otherwise.
pub(crate) fn inherit(options: &mut Options, base: &Base) {
    options.inherit(inherited(base));
}

fn inherited(base: &Base) -> Inherited {
    let (sb, stored) = (base.superblock(), base.stored());
    let block_size = sb.block_size();
    let ratio = sb.cluster_ratio();
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let per_group = sb.blocks_per_group() / ratio;
    let most_per_group = (8 * block_size.bytes_u64()).min(65_528);
    let has = |feature| sb.has(feature);
    let log_flex = stored.s_log_groups_per_flex;
    Inherited {
        block_size: block_size.bytes(),
        blocks_count: sb.blocks_count(),
        first_data_block: sb.first_data_block().get(),
        features: sb.features(),
        inode_size: u32::try_from(sb.inode_size()).unwrap_or(u32::MAX),
        inodes_count: sb.inodes_count(),
        inodes_per_group: sb.inodes_per_group(),
        blocks_per_group: narrow(sb.blocks_per_group()),
        group_size: (per_group < most_per_group).then(|| narrow(per_group)),
        cluster_size: has(Feature::Bigalloc).then(|| narrow(block_size.bytes_u64() * ratio)),
        least_next_group: least_next_group(base),
        groups_per_flex: 1_u32.checked_shl(log_flex.into()).filter(|_| log_flex > 0),
        reserved_blocks: base.reserved_blocks(),
        label: sb.label().to_vec(),
        uuid: sb.uuid(),
        hash_seed: stored.s_hash_seed,
        hash_version: stored.s_def_hash_version,
        errors: match stored.s_errors.get() {
            2 => Errors::RemountReadOnly,
            3 => Errors::Panic,
            _ => Errors::Continue,
        },
        default_mount_opts: stored.s_default_mount_opts.get(),
        max_mnt_count: stored.s_max_mnt_count.get(),
        check_interval: stored.s_checkinterval.get(),
        raid_stride: stored.s_raid_stride.get(),
        raid_stripe_width: stored.s_raid_stripe_width.get(),
        mmp_update_interval: stored.s_mmp_interval.get(),
        mmp_info: base.mmp().map(|mmp| MmpInfo {
            host_name: mmp.mmp_nodename,
            device_name: mmp.mmp_bdevname,
            time: mmp.mmp_time.get(),
        }),
        quota_types: quota_types(base),
        encoding: stored.s_encoding.get(),
        encoding_flags: stored.s_encoding_flags.get(),
        desc_size: has(Feature::SixtyFourBit).then(|| stored.s_desc_size.get()),
        reserved_gdt_blocks: has(Feature::ResizeInode).then(|| stored.s_reserved_gdt_blocks.get()),
        first_meta_bg: has(Feature::MetaBg).then(|| stored.s_first_meta_bg.get()),
        journal_mebibytes: journal_mebibytes(base),
        orphan_file_blocks: base.orphan_blocks(),
        clock: base.made(),
        creator_os: stored.s_creator_os.get(),
        test_fs: base.is_for_tests(),
    }
}

/// How many blocks one group more has to have at least, as the geometry has it.
fn least_next_group(base: &Base) -> u64 {
    let sb = base.superblock();
    // Where the backups of sparse_super2 lie depends on how many groups there are.
    let has_backup = sb.has(Feature::SparseSuper2) || sb.has_superblock(sb.groups);
    let backup = if has_backup {
        let groups = u64::from(sb.groups) + 1;
        let descriptors = groups.div_ceil(sb.descs_per_block().max(1).into());
        1 + descriptors + u64::from(base.stored().s_reserved_gdt_blocks.get())
    } else {
        0
    };
    u64::from(MIN_DATA_BLOCKS) + 2 + sb.table_blocks() + backup
}

fn quota_types(base: &Base) -> QuotaTypes {
    let stored = base.stored();
    let files = [
        (QuotaType::User, stored.s_usr_quota_inum),
        (QuotaType::Group, stored.s_grp_quota_inum),
        (QuotaType::Project, stored.s_prj_quota_inum),
    ];
    let files = files.into_iter().filter(|(_, ino)| ino.get() > 0);
    files.fold(QuotaTypes::NONE, |types, (quota_type, _)| {
        types.with(quota_type)
    })
}

/// The journal's length, if it is none that a filesystem of this size has anyway.
fn journal_mebibytes(base: &Base) -> Option<u32> {
    let sb = base.superblock();
    let blocks = base.journal_blocks()?;
    let default = default_journal_blocks(sb.blocks_count()).map(u64::from);
    if default == Some(blocks) || sb.has(Feature::FastCommit) {
        return None;
    }
    let bytes = blocks * sb.block_size().bytes_u64();
    let mebibytes = u32::try_from(bytes / MEBIBYTE).ok();
    mebibytes.filter(|_| bytes.is_multiple_of(MEBIBYTE))
}

/// Gives the base's atime to the files of `tree` that differ from the base's in nothing else: reading a file
/// changes nothing.
pub(super) fn keep_atimes(tree: &mut Tree, matched: &Matched<'_>) {
    let Some(base) = matched.base() else {
        return;
    };
    let has_nanoseconds = base.superblock().inode_size() > 128;
    let same = |one: Timestamp, other: Timestamp| {
        let is_same = one.nanoseconds == other.nanoseconds || !has_nanoseconds;
        one.seconds == other.seconds && is_same
    };
    let nodes = tree.nodes().filter_map(|(id, node)| {
        let inode = matched.inode_like(id, &node.kind)?;
        let metadata = &node.metadata;
        let is_size = match &node.kind {
            Kind::File(content) => content.size_bytes == inode.size(),
            _ => true,
        };
        let is_same = is_size
            && metadata.permissions == inode.mode() & 0xfff
            && (metadata.uid, metadata.gid) == inode.owner()
            && same(metadata.mtime, inode.mtime())
            && same(metadata.ctime, inode.ctime())
            && !same(metadata.atime, inode.atime());
        let atime = inode.atime();
        is_same.then_some((id, Metadata { atime, ..*metadata }))
    });
    let changed: Vec<(NodeId, Metadata)> = nodes.collect();
    for (id, metadata) in changed {
        tree.replace_metadata(id, metadata);
    }
}

/// What was planned by its content, laid out once more with what stays where it is, if it fits so.
pub(super) fn keep_places(
    planned: Planned,
    tree: &Tree,
    matched: &Matched<'_>,
) -> Result<(Resolved, Box<Layout>), Error> {
    let Planned { resolved, layout } = planned;
    if matched.base().is_none() {
        return Ok((resolved, layout));
    }
    let geometry = Geometry::new(&resolved.settings)?;
    let kept = Layout::keeping(&resolved.settings, geometry, tree, matched)?;
    Ok((resolved, Box::new(kept)))
}
