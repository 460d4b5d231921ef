//! Given a target, proves that the filesystem made for it has nothing that the target does not take, is
//! sound, and that a wish against it is refused by name.

#![cfg(target_os = "linux")]

use crate::common;

use common::place::Place;
use common::tools::{self, Need, Which, ready};
use mke4fs::feature::Feature;
use mke4fs::options::{CompatTarget, Verdict};

/// What the lines say on standard output; all of them succeed.
fn said(place: &Place, lines: &str) -> String {
    let output = place.shell(lines);
    assert!(output.status.success(), "{lines}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `line` says on standard error; it fails with `status`.
fn refused(place: &Place, status: i32, line: &str) -> String {
    let output = place.shell(line);
    assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn filled() -> Place {
    let place = Place::new();
    place.shell(
        "cd root; mkdir -p boot/grub; for i in $(seq 400); do echo $i > boot/$i; done
         head -c 300000 /dev/urandom > boot/vmlinuz; ln -s vmlinuz boot/link",
    );
    place
}

#[test]
fn an_image_suits_the_target_that_it_is_made_for() {
    if !ready(&[
        Need::E2fsprogs(Which::Reference),
        Need::E2fsprogs(Which::System),
    ]) {
        return;
    }
    let place = filled();
    for target in CompatTarget::all() {
        let name = target.name();
        let text = said(
            &place,
            &format!(
                "mke4fs -q --compat {name} -d root {name}.img; mke4fs check --compat {name} {name}.img"
            ),
        );
        let takes = text
            .lines()
            .filter(|line| line.ends_with(" supports it"))
            .count();
        assert!(
            text.ends_with(&format!("{name}.img: suitable for {name}\n")),
            "{text}"
        );
        assert_eq!(takes + 1, text.lines().count(), "{text}");
        for which in [Which::System, Which::Reference] {
            tools::e2fsck(&place.path(&format!("{name}.img")), which).expect("a sound image");
        }
    }
    // All at once, and every file is in it.
    let names: Vec<&str> = CompatTarget::all().map(CompatTarget::name).collect();
    let all = names.join(",");
    said(
        &place,
        &format!(
            "mke4fs -q --compat {all} -d root all.img; mke4fs check -q --compat {all} all.img; mke4fs diff root all.img --ignore atime"
        ),
    );
    tools::e2fsck(&place.path("all.img"), Which::Reference).expect("a sound image");
}

#[test]
fn what_a_target_does_not_take_is_refused_by_name() {
    let place = filled();
    for target in CompatTarget::all() {
        for feature in Feature::ALL
            .iter()
            .filter(|it| !target.verdict(**it).suits())
        {
            let (name, of) = (feature.name(), target.name());
            if *feature == Feature::JournalDev {
                continue;
            }
            // With what it needs, which may be refused first.
            let line = format!("mke4fs --compat {of} -O {name} refused.img 64M");
            let said = refused(&place, 1, &line);
            let words = target.verdict(*feature).words();
            let expected = format!(
                "mke4fs: the {name} feature is not for --compat {of}, which {words}; use -O ^{name}\n"
            );
            assert_eq!(said, expected, "{line}");
            assert!(!place.path("refused.img").exists());
        }
    }
    let said = refused(&place, 1, "mke4fs --compat grub-2.05 image 8M");
    let expected = "mke4fs: unknown compatibility target 'grub-2.05'; --help=compat lists them; did you mean 'grub-2.06'?\n";
    assert_eq!(said, expected);
}

#[test]
fn images_of_others_are_judged_feature_by_feature() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = Place::new();
    said(&place, "truncate -s 16M image");
    tools::mke2fs(&place.path("image"), &["-t", "ext4", "-O", "casefold"]).expect("an image");
    let output = place.shell("mke4fs check --compat grub-2.06,linux-4.14 image");
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8_lossy(&output.stdout);
    for line in [
        "image: extent: grub-2.06 supports it\n",
        "image: casefold: grub-2.06 refuses it\n",
        "image: not suitable for grub-2.06: metadata_csum_seed, casefold\n",
        "image: orphan_file: linux-4.14 ignores it\n",
        "image: not suitable for linux-4.14: casefold\n",
    ] {
        let found = text.contains(line);
        assert!(
            found
                || line.contains("metadata_csum_seed, casefold")
                    && text.contains("casefold, metadata_csum_seed"),
            "{line}: {text}"
        );
    }
    let json = place.shell("mke4fs check --json --compat linux-5.4 image");
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(value["suits"], true, "{value}");
    assert_eq!(
        value["targets"][0]["features"][0]["verdict"], "takes",
        "{value}"
    );
    // A bit that nobody knows, and an image of revision 0.
    said(
        &place,
        "printf '\\000\\000\\000\\200' | dd of=image bs=1 seek=1120 conv=notrunc status=none",
    );
    let output = place.shell("mke4fs check --compat linux-5.4 image");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("FEATURE_I31: linux-5.4 refuses it"),
        "{output:?}"
    );
    said(
        &place,
        "mke4fs -q -t ext2 -E revision=0 old 1M; mke4fs check --compat linux-2.6.32 old",
    );
    let said = refused(
        &place,
        1,
        "echo text > none; mke4fs check --compat linux-5.4 none",
    );
    assert!(said.starts_with("mke4fs check: "), "{said}");
}

#[test]
fn read_only_images_have_nothing_to_spare() {
    if !ready(&[Need::E2fsprogs(Which::Reference)]) {
        return;
    }
    let place = filled();
    let object = said(
        &place,
        "mke4fs --json --compat read-only -d root --size min image",
    );
    let value: serde_json::Value = serde_json::from_str(&object).expect("JSON");
    let number = |name: &str| value[name].as_u64().expect("a number");
    assert_eq!(number("blocks_reserved"), 0, "{value}");
    // 403 files, directories and links, lost+found, the root, and 10 that are reserved, in whole blocks of 16.
    assert!(number("inodes") <= 432, "{value}");
    assert!(number("inodes_free") < 16, "{value}");
    let features = value["features"].to_string();
    for feature in ["has_journal", "resize_inode", "orphan_file"] {
        assert!(!features.contains(feature), "{feature}: {features}");
    }
    tools::e2fsck(&place.path("image"), Which::Reference).expect("a sound image");
}

#[test]
fn every_feature_is_explained() {
    let place = Place::new();
    let text = said(
        &place,
        "mke4fs --explain --compat rhel7 -O casefold,^huge_file || mke4fs --explain --compat grub-2.06,rhel7 -O quota,^huge_file || mke4fs --explain --compat grub-2.06,linux-3.10 -O quota,^huge_file",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 * Feature::ALL.len(), "{text}");
    let of = |name: &str| {
        let at = lines
            .iter()
            .position(|line| line.split_whitespace().next() == Some(name));
        let at = at.expect("every feature has a line");
        format!("{}\n{}", lines[at], lines[at + 1])
    };
    for (name, said) in [
        ("has_journal", "on  by default"),
        ("quota", "on  asked for"),
        ("huge_file", "off left out by -O"),
        (
            "metadata_csum",
            "off linux-3.10 supports it, but works better without it",
        ),
        ("metadata_csum_seed", "off grub-2.06 refuses it"),
        ("uninit_bg", "on  instead of metadata_csum"),
        ("orphan_file", "off linux-3.10 ignores it"),
        ("casefold", "Linux 5.2, e2fsck 1.45, no GRUB"),
        ("bigalloc", "off not by default"),
    ] {
        assert!(of(name).contains(said), "{said}: {}", of(name));
    }
}

#[test]
fn verdicts_are_ordered_by_their_harm() {
    let verdicts = [
        Verdict::Takes,
        Verdict::Ignores,
        Verdict::Avoids,
        Verdict::ReadsOnly,
        Verdict::Refuses,
    ];
    assert!(verdicts.is_sorted());
    assert_eq!(
        verdicts.map(Verdict::suits),
        [true, true, true, false, false]
    );
}
