//! Given planted damages, proves that the checker finds whatever e2fsck finds, and that the table in
//! fixtures/README.md tells both verdicts; never plants one.

use std::collections::BTreeMap;
use std::fs;

use super::damages::{DAMAGES, Damage, Kind};
use super::image::{Image, Shared};
use crate::common::making::workplace;
use crate::common::tools::{self, Need, Result, Which, ready};
use mke4fs::check::{CheckOptions, check_with};

/// The heading of the table in fixtures/README.md.
const HEADING: &str = "| damage | what it is | e2fsck | ours |\n|---|---|---|---|\n";

/// A sound image of every kind.
fn images() -> Result<BTreeMap<Kind, Shared>> {
    let mut images = BTreeMap::new();
    for Damage { kind, .. } in DAMAGES {
        if !images.contains_key(kind) {
            let image = Image::make(
                kind.words(),
                *kind == Kind::EaInode,
                *kind == Kind::Casefold,
            );
            let image = image.map_err(|error| format!("{kind:?}: {error}"))?;
            images.insert(*kind, Shared::new(image));
        }
    }
    Ok(images)
}

#[test]
fn all_that_e2fsck_finds_is_found() -> Result<()> {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return Ok(());
    }
    let dir = workplace()?;
    let path = dir.path().join("img");
    let images = images()?;
    for (kind, image) in &images {
        fs::write(&path, &image.bytes)?;
        tools::e2fsck(&path, Which::Reference)?;
        let report = check_with(&image.bytes[..], &CheckOptions::default());
        assert!(report.is_clean(), "{kind:?}: {:?}", report.findings);
    }
    let mut table = String::from(HEADING);
    let mut missed = Vec::new();
    for damage in DAMAGES {
        let mut image = Image::clone(&images[&damage.kind]);
        (damage.plant)(&mut image);
        assert!(image.bytes != images[&damage.kind].bytes, "{}", damage.name);
        fs::write(&path, &image.bytes)?;
        let mut command = tools::command(Which::Reference, "e2fsck")?;
        let theirs = command.arg("-fn").arg(&path).output()?.status.code();
        let theirs = theirs.ok_or_else(|| format!("{}: e2fsck was killed", damage.name))?;
        let report = check_with(&image.bytes[..], &CheckOptions::default());
        let ours = if report.is_clean() { 0 } else { 4 };
        if theirs != 0 && ours == 0 {
            missed.push(damage.name);
        }
        let (name, about) = (damage.name, damage.about);
        table.push_str(&format!("| `{name}` | {about} | {theirs} | {ours} |\n"));
    }
    assert!(missed.is_empty(), "{missed:?}");
    let readme = include_str!("../../fixtures/README.md");
    assert!(
        readme.contains(&table),
        "fixtures/README.md needs:\n{table}"
    );
    Ok(())
}
