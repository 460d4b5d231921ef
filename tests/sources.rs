//! Given several sources, or the same files as a directory, an archive and a container image,
//! proves that they lie over one another in their order, and that every rule means the same to each.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;

use common::image::Layout;
use common::making::{SEED_TEXT, UUID_TEXT};
use common::mount::Scratch;
use common::place::{Place, attributes, names, shown};
use common::tools::{Need, Which, e2fsck, ready};

fn is_ready() -> bool {
    let programs = ["setfattr", "setfacl", "bsdtar"].map(Need::Program);
    ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) && ready(&programs)
}

/// Every path of the image with what it shows.
fn listing(place: &Place) -> Vec<String> {
    place.look(|root| {
        let line = |name: &String| {
            let path = root.join(name);
            let bytes = if path.is_file() {
                fs::read(&path).expect("it can be read")
            } else {
                Vec::new()
            };
            format!("{name} {} {}", shown(&path), bytes.escape_ascii())
        };
        names(root).iter().map(line).collect()
    })
}

/// Makes an image layout in `place` whose only layer is the archive `name`.
fn layout_of(place: &Place, name: &str) -> Layout {
    let archive = fs::read(place.path(name)).expect("it is there");
    Layout::of(&[archive]).expect("a layout")
}

#[test]
fn later_sources_lie_over_earlier_ones() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    let line = "mkdir -p low/d/sub mid/d top/d; echo low > low/a; echo low > low/d/x; \
                echo low > low/d/sub/y; ln low/a low/b; mkdir low/dir; echo low > low/file; \
                chmod 700 low; chown 1:1 low; chmod 750 low/d; \
                echo mid > mid/a; echo mid > mid/d/m; echo mid > mid/dir; mkdir mid/file; \
                chmod 711 mid; chown 2:2 mid; \
                echo top > top/d/x; ln -s d/x top/link; chmod 701 top; chown 3:3 top; \
                tar --sort=name -cf low.tar -C low .; tar -cf mid.tar -C mid .; \
                (cd mid && tar -cf ../rootless.tar *)";
    assert!(place.shell(line).status.success());
    let layout = layout_of(&place, "low.tar");
    let low = format!("oci:{}", layout.path().display());
    let expected = [
        "a file 644 0:0 mid\\n",
        "b file 644 0:0 low\\n",
        "d dir 755 0:0 ",
        "d/m file 644 0:0 mid\\n",
        "d/sub dir 755 0:0 ",
        "d/sub/y file 644 0:0 low\\n",
        "d/x file 644 0:0 top\\n",
        "dir file 644 0:0 mid\\n",
        "file dir 755 0:0 ",
        "link link 777 0:0 -> d/x top\\n",
    ];
    for (sources, root) in [
        (format!("-d {low} -d mid.tar -d top"), "dir 701 3:3"),
        (format!("-d {low} -d mid -d top"), "dir 701 3:3"),
        ("-d low -d mid.tar -d top".to_owned(), "dir 701 3:3"),
        (format!("-d {low} -d - -d top < mid.tar"), "dir 701 3:3"),
        (
            format!("-d {low} -d - -d top < rootless.tar"),
            "dir 701 3:3",
        ),
    ] {
        for size in ["", "8M"] {
            let line = format!("rm -f image; mke4fs -q --keep-root image {size} {sources}");
            assert_eq!(place.make(&line), "", "{line}");
            assert_eq!(listing(&place), expected, "{line}");
            assert_eq!(place.shown("."), root, "{line}");
        }
    }
    // What has no entry for the root says nothing of it.
    for (sources, root) in [
        ("-d low -d rootless.tar", "dir 700 1:1"),
        ("-d low -d mid.tar", "dir 711 2:2"),
        ("-d rootless.tar", "dir 755 0:0"),
    ] {
        place.make(&format!(
            "rm -f image; mke4fs -q --keep-root {sources} image"
        ));
        assert_eq!(place.shown("."), root, "{sources}");
        place.make(&format!("rm -f image; mke4fs -q {sources} image"));
        assert_eq!(place.shown("."), "dir 755 0:0", "{sources}");
    }
    // A hard link without its file would be one to nothing.
    let said = place.refusal("rm image; mke4fs -d low.tar --exclude /a image");
    assert!(
        said.contains("it is a hard link to ./a, which is left out"),
        "{said}"
    );
}

/// Rules of every kind, some of which find nothing.
const RULES: &str = "--keep-root --exclude '*.o' --exclude /cache --exclude '*.none' \
    --uid-map 1905:7:1 --uid-map 900:1:1 --gid-map 1906:8:1 --xattr-exclude 'user.b*' \
    --manifest manifest --device-table table --copy extra:/opt/ --clamp-times 1500000000 --times mtime";

const WARNINGS: &str = "mke4fs: warning: rule uid map 900:1:1 matches nothing\n\
    mke4fs: warning: rule table:3: /none matches nothing\n\
    mke4fs: warning: exclude pattern *.none matches nothing\n";

#[test]
fn rules_mean_the_same_to_every_source() {
    if !is_ready() {
        return;
    }
    let scratch = Scratch::new(64 << 20).expect("a filesystem with attributes");
    let place = Place::within(scratch.path());
    place.file(
        "manifest",
        "./etc/shadow mode=0640 gid=42\n./run type=dir mode=0711\n",
    );
    place.file(
        "table",
        "/dev d 755 0 0\n/dev/tty c 620 0 5 4 0 0 1 3\n/none f 644 0 0\n",
    );
    let line = "mkdir -p root/etc root/cache/deep root/d; cd root; echo s > etc/shadow; \
                echo x > a.o; echo c > cache/deep/c; echo x > d/x; ln d/x d/link; ln -s x d/symlink; \
                mkfifo d/fifo; mknod d/null c 1 3; head -c 70000 /dev/urandom > d/large; \
                setfattr -n user.bad -v 1 d/x; setfattr -n user.good -v 1 d/x; \
                setfacl -m u:1905:r,g:1906:rw d/large; chown 1905:1906 d/x d/fifo; chown -h 1905:1906 d/symlink; \
                chmod 4755 d/x; chmod 2750 .; chown 1905:1906 .; touch -d @1600000000.5 d/large; \
                touch -d @1400000000.25 d; cd ..; echo extra > extra; \
                tar --format=pax --xattrs --xattrs-include='*' --acls --numeric-owner -cf tar -C root .; \
                bsdtar --format=pax --xattrs --acls -cf bsdtar -C root .; zstd -q tar -o tar.zst";
    assert!(place.shell(line).status.success());
    let layout = layout_of(&place, "tar");
    let oci = format!("-d oci:{}", layout.path().display());
    let make = |source: &str, size: &str| {
        let line = format!(
            "rm -f image; E2FSPROGS_FAKE_TIME=1700000000 mke4fs -q -U {UUID_TEXT} \
             -E hash_seed={SEED_TEXT} {RULES} image {size} {source}"
        );
        assert_eq!(place.make(&line), WARNINGS, "{line}");
        e2fsck(&place.path("image"), Which::Reference).expect("a sound image");
        fs::read(place.path("image")).expect("it is there")
    };
    let expected = make("-d root", "");
    let shown_first = listing(&place);
    for source in ["-d tar", "-d bsdtar", "-d tar.zst", "-d - < tar", &oci] {
        assert!(make(source, "") == expected, "{source}: another image");
    }
    make("-d - < tar.zst", "32M");
    assert_eq!(listing(&place), shown_first);
    for (name, expected) in [
        (".", "dir 2750 7:8"),
        ("etc/shadow", "file 640 0:42"),
        ("run", "dir 711 0:0"),
        ("dev/tty2", "char 620 0:5 4,2"),
        ("d/x", "file 4755 7:8"),
        ("d/symlink", "link 777 7:8 -> x"),
        ("d/null", "char 644 0:0 1,3"),
        ("opt/extra", "file 644 0:0"),
    ] {
        assert_eq!(place.shown(name), expected, "{name}");
    }
    let found = place.look(|root| attributes(&root.join("d/link")));
    assert_eq!(found, ["user.good"]);
    let left = names(&place.path("root")).len() - 4;
    // What the rules add: run, dev, three devices, opt and extra.
    assert_eq!(shown_first.len(), left + 7);
}
