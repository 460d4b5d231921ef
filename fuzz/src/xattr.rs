//! Given any bytes as attributes, checks that they are refused or taken apart, and that whatever is
//! rendered is parsed.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use mke4fs::raw::ondisk::xattr::{
    StoredXattr, Value, XattrEntry, block_checksum, block_size_needed, ibody_size, parse_block,
    parse_ibody, prefix, render_block, render_ibody, seal_block, split_name,
};

#[derive(Arbitrary, Debug)]
enum Input {
    Area(Vec<u8>),
    /// An area with its magic number, so that more of it is looked at.
    Ibody(Vec<u8>),
    Block(Vec<u8>),
    Entries(Vec<Entry>, u16),
    Name(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Entry {
    name_index: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Checks what `bytes` stand for.
pub fn run(bytes: &[u8]) {
    let _ = (parse_ibody(bytes), parse_block(bytes));
    match super::value(bytes) {
        Some(Input::Area(area)) => {
            let _ = (parse_ibody(&area), parse_block(&area));
        }
        Some(Input::Ibody(rest)) => {
            let _ = parse_ibody(&[&0xEA02_0000_u32.to_le_bytes()[..], &rest].concat());
        }
        Some(Input::Block(rest)) => {
            let header = [0xEA02_0000_u32, 1, 1].map(u32::to_le_bytes).concat();
            let _ = parse_block(&[&header[..], &rest].concat());
        }
        Some(Input::Entries(entries, space)) => check_entries(&entries, usize::from(space)),
        Some(Input::Name(name)) => check_name(&name),
        None => {}
    }
}

fn check_name(name: &[u8]) {
    if let Some((index, rest)) = split_name(name) {
        let known = prefix(index).expect("an index that a name has stands for a prefix");
        assert_eq!([known, rest].concat(), name);
    }
}

/// Rendered attributes are those that parsing finds.
fn check_entries(entries: &[Entry], space: usize) {
    let entries: Vec<XattrEntry<'_>> = entries
        .iter()
        .map(|entry| XattrEntry {
            name_index: entry.name_index,
            name: &entry.name,
            value: Value::Inline(&entry.value),
        })
        .collect();
    let expected: BTreeMap<(u8, &[u8]), &[u8]> = entries
        .iter()
        .map(|entry| {
            let Value::Inline(value) = entry.value else {
                unreachable!("all values are inline");
            };
            ((entry.name_index, entry.name), value)
        })
        .collect();
    let check = |found: Vec<StoredXattr<'_>>| {
        let found: BTreeMap<(u8, &[u8]), &[u8]> = found
            .iter()
            .map(|xattr| {
                let value = xattr.value.expect("all values are inline");
                ((xattr.entry.e_name_index, xattr.name), value)
            })
            .collect();
        assert_eq!(found, expected);
    };
    // The parser also wants of a name what `split_name` makes sure of.
    let nameable = entries.iter().all(|entry| !entry.name.contains(&0));
    let ibody = render_ibody(&entries, space);
    if let Ok(area) = &ibody {
        assert!(ibody_size(&entries) <= space);
        if nameable {
            check(parse_ibody(area).expect("what is rendered can be parsed"));
        }
    }
    if let Ok(mut block) = render_block(&entries, space, 1) {
        assert!(block_size_needed(&entries) <= space);
        seal_block(7, 9, &mut block);
        assert_eq!(block[16..20], block_checksum(7, 9, &block).to_le_bytes());
        if nameable {
            let parsed = parse_block(&block).expect("what is rendered can be parsed");
            check(parsed.entries);
        }
    }
}
