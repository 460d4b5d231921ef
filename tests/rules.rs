//! Given the command's flags for what a source holds, proves what the image holds by them; as far as
//! the kernel shows it, after a mount.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use common::mount::Scratch;
use common::papers::{recipes, text};
use common::place::{Place, attributes, names, shown};
use common::tools::{Need, Which, e2fsck, ready};

fn is_ready() -> bool {
    let programs = ["setpriv", "setfacl", "setfattr", "bsdtar", "fakeroot"].map(Need::Program);
    ready(&[Need::Root, Need::E2fsprogs(Which::Reference)]) && ready(&programs)
}

#[test]
fn excluded_files_are_left_out_unopened() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    for name in [
        "a.o",
        "a.c",
        "src/b.o",
        "src/b.c",
        "cache/x",
        "src/cache",
        "deep/a/b/c",
    ] {
        place.file(&format!("root/{name}"), "");
    }
    let line = "mke4fs -q -d root --exclude '*.o' --exclude /deep/**/c --exclude cache/ \
                --exclude '*.none' image";
    assert_eq!(
        place.make(line),
        "mke4fs: warning: exclude pattern *.none matches nothing\n"
    );
    let names = place.look(names);
    assert_eq!(
        names,
        [
            "a.c",
            "deep",
            "deep/a",
            "deep/a/b",
            "src",
            "src/b.c",
            "src/cache"
        ]
    );

    fs::remove_file(place.path("image")).expect("it is there");
    let said = place.refusal("mke4fs -d root --exclude '[a' image");
    assert_eq!(
        said,
        "mke4fs: --exclude: invalid pattern '[a': missing ] after [\n"
    );

    // What an ordinary user may not open stops nothing where it is excluded.
    let unreadable = "mkdir root/secret; touch root/secret/x; chmod 700 root/secret; chmod 755 . root; \
                      chmod 1777 .; setpriv --reuid 1000 --regid 1000 --clear-groups mke4fs -q -d root";
    let said = place.refusal(&format!("{unreadable} image"));
    assert!(said.contains("root/secret: Permission denied"), "{said}");
    place.make(&format!(
        "{} --exclude /secret image",
        unreadable.replace("mkdir", "mkdir -p")
    ));
}

#[test]
fn one_file_system_keeps_mount_points_empty() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/kept", "");
    place.directory("root/mounted");
    let other = Scratch::new(8 << 20).expect("another filesystem");
    fs::write(other.path().join("inside"), "").expect("a file");
    let bind = format!("mount --bind {} root/mounted", other.path().display());
    let line = format!("{bind}; trap 'umount root/mounted' EXIT; mke4fs -q -d root");
    place.make(&format!("{line} --one-file-system image"));
    assert_eq!(place.look(names), ["kept", "mounted"]);
    let mode = |root: &Path| {
        fs::metadata(root.join("mounted"))
            .expect("it is there")
            .mode()
    };
    assert_eq!(
        place.look(mode),
        other.path().metadata().expect("it is there").mode()
    );
    place.make(&format!("rm image; {line} image"));
    assert!(place.look(names).contains(&"mounted/inside".to_owned()));
}

#[test]
fn the_last_rule_about_owners_wins() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/a", "");
    place.owned("root/a", 1000, 1001);
    place.file("root/b", "");
    place.owned("root/b", 5, 6);
    for (flags, a, b, said) in [
        ("--all-root", "0:0", "0:0", ""),
        ("--owner 7:8", "7:8", "7:8", ""),
        ("--owner 7:8 --all-root", "0:0", "0:0", ""),
        ("--all-root --owner 7:8", "7:8", "7:8", ""),
        ("--uid-map 1000:0:1", "0:1001", "5:6", ""),
        (
            "--uid-map 5:1000:1 --uid-map 1000:5:1 --gid-map 6:0:1",
            "5:1001",
            "1000:0",
            "",
        ),
        ("--owner 7:8 --uid-map 7:9:1", "9:8", "9:8", ""),
        (
            "--uid-map 7:9:1 --owner 7:8",
            "7:8",
            "7:8",
            "mke4fs: warning: rule uid map 7:9:1 matches nothing\n",
        ),
    ] {
        assert_eq!(place.image(flags), said, "{flags}");
        assert_eq!(place.shown("a"), format!("file 644 {a}"), "{flags}");
        assert_eq!(place.shown("b"), format!("file 644 {b}"), "{flags}");
    }
    assert_eq!(place.shown(""), "dir 755 7:8");
    place.image("--keep-root --uid-map 0:3:1");
    assert_eq!(place.shown(""), "dir 755 3:0");
}

#[test]
fn maps_reach_into_acls_and_capabilities() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    let scratch = Scratch::new(8 << 20).expect("a filesystem with attributes");
    let file = scratch.path().join("f");
    let line = format!(
        "touch {0}; setfacl -m u:1000:rw,g:1000:r,u:1001:x {0}",
        file.display()
    );
    assert!(place.shell(&line).status.success());
    let make = format!(
        "rm -f image; mke4fs -q -d {} image",
        scratch.path().display()
    );
    place.make(&format!("{make} --uid-map 1000:5:1 --gid-map 1000:6:1"));
    let acl = place.look(|root| {
        let output = Command::new("getfacl")
            .args(["-cn"])
            .arg(root.join("f"))
            .output();
        String::from_utf8(output.expect("getfacl runs").stdout).expect("it is text")
    });
    assert_eq!(
        acl,
        "user::rw-\nuser:5:rw-\nuser:1001:--x\ngroup::r--\ngroup:6:r--\nmask::rwx\nother::r--\n\n"
    );
    place.file("m", "./f mode=0600\n");
    place.make(&format!("{make} --manifest m"));
    assert_eq!(place.shown("f"), "file 600 0:0");
    let attributes = place.look(|root| attributes(&root.join("f")));
    assert_eq!(attributes, ["system.posix_acl_access"]);
    place.make(&format!("{make} --xattr-exclude '*'"));
    assert_eq!(place.look(super_attributes), 0);
}

fn super_attributes(root: &Path) -> usize {
    attributes(&root.join("f")).len()
}

#[test]
fn attributes_stay_or_go_by_their_names() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    let scratch = Scratch::new(8 << 20).expect("a filesystem with attributes");
    let file = scratch.path().join("f");
    fs::write(&file, "").expect("a file");
    for name in ["user.a", "user.b", "trusted.c", "security.d"] {
        xattr::set(&file, name, b"v").expect("root may");
    }
    for (flags, left, said) in [
        ("", &["security.d", "trusted.c", "user.a", "user.b"][..], ""),
        ("--xattr-include 'user.*'", &["user.a", "user.b"], ""),
        ("--xattr-exclude 'user.*'", &["security.d", "trusted.c"], ""),
        (
            "--xattr-include 'user.*' --xattr-exclude '*.a'",
            &["user.b"],
            "",
        ),
        (
            "--xattr-exclude '*' --xattr-include user.a",
            &["user.a"],
            "",
        ),
        (
            "--xattr-exclude user.none",
            &["security.d", "trusted.c", "user.a", "user.b"],
            "mke4fs: warning: rule user.none matches nothing\n",
        ),
    ] {
        let source = scratch.path().display();
        let warned = place.make(&format!("rm -f image; mke4fs -q -d {source} {flags} image"));
        assert_eq!(warned, said);
        assert_eq!(
            place.look(|root| attributes(&root.join("f"))),
            left,
            "{flags}"
        );
    }
}

#[test]
fn attributes_that_may_not_be_read_are_told_of_unless_they_go() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    let scratch = Scratch::new(8 << 20).expect("a filesystem with attributes");
    // A capability of another namespace's root: whoever is root in a namespace of its own finds its
    // name, and EOVERFLOW for a value.
    let words: [u32; 6] = [0x0300_0001, 1, 0, 0, 0, 100_000];
    let capability: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    for name in ["d/f", "d/g", "h"] {
        let file = scratch.path().join(name);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        fs::write(&file, "").expect("a file");
        xattr::set(&file, "user.a", b"v").expect("root may");
        xattr::set(&file, "security.capability", &capability).expect("root may");
    }
    let lost = "3 files lost security.capability (first: ";
    for (flags, is_told) in [
        ("", true),
        ("--threads 1", true),
        ("--size 8M", true),
        ("--xattr-exclude security.capability", false),
        ("--xattr-exclude 'security.*' --copy SRC/h:/h2", false),
        ("--xattr-include 'user.*'", false),
        ("-E no_copy_xattrs", false),
    ] {
        let source = scratch.path().display().to_string();
        let flags = flags.replace("SRC", &source);
        let line = format!(
            "rm -f image; unshare --user --map-root-user mke4fs -q -d {source} {flags} image"
        );
        let warned = place.make(&line);
        let told = format!("mke4fs: warning: {lost}{source}/d/f): Value too large for");
        assert_eq!(warned.starts_with(&told), is_told, "{flags}: {warned}");
        assert_eq!(warned.is_empty(), !is_told, "{flags}: {warned}");
        let kept = place.look(|root| attributes(&root.join("d/g")));
        let left = usize::from(!flags.contains("no_copy"));
        assert_eq!(kept.len(), left, "{flags}: {kept:?}");
    }
}

#[test]
fn times_are_clamped_and_made_equal() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/f", "");
    let set =
        "touch -m -d @1500000000.5 root/f; touch -a -d @1600000000 root/f; touch -d @1000 root";
    assert!(place.shell(set).status.success());
    let times = |root: &Path| {
        let metadata = fs::metadata(root.join("f")).expect("it is there");
        let ctime = (metadata.ctime(), metadata.ctime_nsec());
        [
            (metadata.atime(), metadata.atime_nsec()),
            (metadata.mtime(), metadata.mtime_nsec()),
            ctime,
        ]
    };
    let written = (1_500_000_000, 500_000_000);
    for (flags, atime, mtime) in [
        ("--clamp-times 1550000000", (1_550_000_000, 0), written),
        (
            "--clamp-times @1400000000",
            (1_400_000_000, 0),
            (1_400_000_000, 0),
        ),
        ("--times mtime", written, written),
        (
            "--times mtime --clamp-times 1500000000",
            (1_500_000_000, 0),
            (1_500_000_000, 0),
        ),
    ] {
        place.image(flags);
        let [a, m, c] = place.look(times);
        assert_eq!((a, m), (atime, mtime), "{flags}");
        assert_eq!(c, a, "{flags}");
    }
    // The environment's moment comes first, so what is said on the command line has the last word.
    place.file("m", "./f time=1700000001.7\n");
    place.make("rm image; SOURCE_DATE_EPOCH=1450000000 mke4fs -q -d root --manifest m image");
    let [a, m, c] = place.look(times);
    assert_eq!(
        [a, m, c],
        [(1_450_000_000, 0), (1_700_000_001, 7), (1_450_000_000, 0)]
    );
}

#[test]
fn a_manifest_changes_and_adds() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/etc/shadow", "secret");
    place.file("root/dev/console", "");
    place.file("root/usr/lib/x", "");
    std::os::unix::fs::symlink("usr/lib", place.path("root/lib")).expect("a link");
    place.file("here/config", "content\n");
    place.file(
        "m",
        "#mtree\n\
         . type=dir mode=0711 uid=3 gid=4\n\
         /set type=file mode=0640 uid=0 gid=42\n\
         etc type=dir mode=0755 gid=0\n\
         \x20   shadow size=6 sha256digest=00 \\\n\
         \x20       time=12.000000034\n\
         \x20   new\\040file contents=here/config\n\
         \x20   missing optional\n\
         ..\n\
         /unset all\n\
         # Devices in the place of what stood for them.\n\
         ./dev/console type=char mode=0600 uid=0 gid=5 device=native,5,1\n\
         ./lib/../lib/y type=link link=x\n\
         ./lib/../../escape/deep type=fifo mode=0622\n\
         /lib/x uid=9 flags=nodump\n",
    );
    assert_eq!(place.image("--manifest m"), "");
    for (name, expected) in [
        ("", "dir 711 3:4"),
        ("etc", "dir 755 0:0"),
        ("etc/shadow", "file 640 0:42"),
        ("etc/new file", "file 640 0:42"),
        ("dev/console", "char 600 0:5 5,1"),
        ("usr/lib/y", "link 777 0:0 -> x"),
        ("escape", "dir 755 0:0"),
        ("escape/deep", "fifo 622 0:0"),
        ("usr/lib/x", "file 644 9:0"),
        ("lib", "link 777 0:0 -> usr/lib"),
    ] {
        assert_eq!(place.shown(name), expected, "{name}");
    }
    place.look(|root| {
        let content = fs::read(root.join("etc/new file")).expect("it is there");
        assert_eq!(content, b"content\n");
        assert_eq!(
            fs::read(root.join("etc/shadow")).expect("it is there"),
            b"secret"
        );
        let shadow = fs::metadata(root.join("etc/shadow")).expect("it is there");
        assert_eq!((shadow.mtime(), shadow.mtime_nsec()), (12, 34));
        assert!(!root.join("etc/missing").exists());
    });
    place.file("empty", "# nothing\n");
    assert_eq!(
        place.image("--manifest empty"),
        "mke4fs: warning: rule empty matches nothing\n"
    );
}

/// What bsdtar writes of a tree, over the same tree without owners: the image has all of it.
#[test]
fn a_manifest_of_bsdtar_brings_back_what_an_ordinary_copy_lost() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    let line = "mkdir root/d 'root/a b'; mknod root/d/null c 1 3; mknod root/d/disk b 259 70000; \
                mkfifo 'root/a b/p#1'; echo x > 'root/d/t\\[*?'; chmod 4755 'root/d/t\\[*?'; \
                chown 12:34 root/d/*; ln -s 'x=y z' root/d/l; touch -d @-5.25 root/d/l; \
                bsdtar -cf m --format=mtree --options=all -C root .; cp -r root plain; \
                chown -R 7:7 plain; rm plain/d/null plain/d/disk; chmod 600 plain/d/t*; \
                mke4fs -q -d plain --manifest m image";
    assert_eq!(place.make(line), "");
    let found = place.look(|root| {
        names(&place.path("root"))
            .into_iter()
            .map(|name| {
                let both = [place.path("root"), root.to_owned()].map(|root| {
                    let path = root.join(&name);
                    let metadata = fs::symlink_metadata(&path).expect("it is there");
                    (shown(&path), metadata.mtime(), metadata.mtime_nsec())
                });
                assert_eq!(both[0], both[1], "{name}");
            })
            .count()
    });
    assert_eq!(found, 8);
}

#[test]
fn a_device_table_makes_ranges() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/bin/su", "");
    place.file("root/home/u/f", "");
    place.file(
        "t",
        "# name type mode uid gid major minor start inc count\n\
         /dev d 755 0 0 - - - - -\n\
         /dev/console c 600 0 5 5 1 - - -\n\
         /dev/tty c 620 0 5 4 0 0 1 3\n\
         /dev/sda b 640 0 6 8 1 1 2 2\n\
         /dev/initctl p 600 0 0\n\
         /bin/su f 4755 0 0 - - - - -\n\
         /home/u r -1 1000 100 - - - - -\n\
         /gone f 644 0 0 - - - - -\n\
         /gone F 644 0 0 - - - - -\n",
    );
    assert_eq!(
        place.image("--device-table t"),
        "mke4fs: warning: rule t:9: /gone matches nothing\n"
    );
    for (name, expected) in [
        ("dev", "dir 755 0:0"),
        ("dev/console", "char 600 0:5 5,1"),
        ("dev/tty0", "char 620 0:5 4,0"),
        ("dev/tty1", "char 620 0:5 4,1"),
        ("dev/tty2", "char 620 0:5 4,2"),
        ("dev/sda1", "block 640 0:6 8,1"),
        ("dev/sda2", "block 640 0:6 8,3"),
        ("dev/initctl", "fifo 600 0:0"),
        ("bin/su", "file 4755 0:0"),
        ("home/u", "dir 755 1000:100"),
        ("home/u/f", "file 644 1000:100"),
        ("home", "dir 755 0:0"),
    ] {
        assert_eq!(place.shown(name), expected, "{name}");
    }
    assert_eq!(place.look(names).len(), 13);
}

#[test]
fn lines_that_cannot_be_followed_are_told_and_make_no_image() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/d/f", "");
    for (flag, text, said) in [
        (
            "manifest",
            "./d/../../x type=dir",
            "m:1: invalid path ./d/../../x: \"..\" leads above the root of the image",
        ),
        (
            "device-table",
            "/../x p 600 0 0",
            "m:1: invalid path /../x: \"..\" leads above the root of the image",
        ),
        (
            "manifest",
            "./x mode=8",
            "m:1: invalid mode '8': must be octal digits up to 7777",
        ),
        (
            "manifest",
            "\n./x mode=644",
            "m:2: ./x is not in any source: to add it, add type=",
        ),
        (
            "manifest",
            "./x type=file",
            "m:1: ./x is not in any source: to add it, add contents= or size=0",
        ),
        (
            "manifest",
            "./x type=link",
            "m:1: ./x is not in any source: to add it, add link=",
        ),
        (
            "manifest",
            "./x type=char",
            "m:1: ./x is not in any source: to add it, add device=",
        ),
        (
            "manifest",
            "./d type=file",
            "m:1: ./d is a directory and cannot become a file",
        ),
        (
            "manifest",
            "./d/f type=dir",
            "m:1: ./d/f is a file and cannot become a directory",
        ),
        ("manifest", "./d/f/g type=fifo", "m:1: f: not a directory"),
        (
            "manifest",
            "./x type=file contents=none",
            "m:1: cannot read none: No such file or directory",
        ),
        (
            "manifest",
            "./x type=file contents=/dev/zero",
            "m:1: cannot read /dev/zero: must be a regular file",
        ),
        (
            "device-table",
            "/d c 600 0 0 1 1",
            "m:1: /d is a directory and cannot become a device or named pipe",
        ),
        (
            "device-table",
            "/d d 755 0 0\n/x c 600 0 0 1 0 0 0 4294967296",
            "m:2: the ranges up to this line create 4294967296 nodes: must be at most 1048576 per table",
        ),
    ] {
        place.file("m", text);
        let refusal = place.refusal(&format!("mke4fs -d root --{flag} m image"));
        assert_eq!(refusal, format!("mke4fs: {said}\n"), "{text}");
    }
    let said = place.refusal("mke4fs -d root --manifest none image");
    assert_eq!(
        said,
        "mke4fs: cannot read none: No such file or directory\n"
    );
}

#[test]
fn copies_go_to_their_places() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/usr/bin/tool", "old");
    place.file("root/usr/bin/kept", "");
    std::os::unix::fs::symlink("usr/bin", place.path("root/bin")).expect("a link");
    place.file("new/tool", "new");
    place.file("new/more/deep", "");
    place.file("new/more/deep.o", "");
    let line = "chmod 2751 new/more; chown 5:6 new/tool; mknod node c 1 3; ln -s target link; \
                rm -f image; mke4fs -q -d root --copy new/tool:/bin/tool --copy new/more:/bin/ \
                --copy node:/dev/null --copy link:/etc/ --copy new:/opt/all --copy new/tool:/opt/a:b \
                --copy new/more:/opt/x/../y --exclude '*.o' image";
    assert_eq!(place.make(line), "");
    for (name, expected) in [
        ("usr/bin/tool", "file 644 5:6"),
        ("usr/bin/more", "dir 2751 0:0"),
        ("dev", "dir 755 0:0"),
        ("dev/null", "char 644 0:0 1,3"),
        ("etc/link", "link 777 0:0 -> target"),
        ("opt/a:b", "file 644 5:6"),
        ("bin", "link 777 0:0 -> usr/bin"),
    ] {
        assert_eq!(place.shown(name), expected, "{name}");
    }
    let names = place.look(names);
    let deep: Vec<&String> = names.iter().filter(|name| name.contains("deep")).collect();
    assert_eq!(
        deep,
        ["opt/all/more/deep", "opt/y/deep", "usr/bin/more/deep"]
    );
    assert!(names.contains(&"usr/bin/kept".to_owned()));
    let content = place.look(|root| fs::read(root.join("usr/bin/tool")).expect("it is there"));
    assert_eq!(content, b"new");

    fs::remove_file(place.path("image")).expect("it is there");
    for (copy, said) in [
        (
            "new/tool",
            "mke4fs: invalid value 'new/tool' for --copy: must be SRC:/DEST\n",
        ),
        (
            "none:/x",
            "mke4fs: cannot read none: No such file or directory\n",
        ),
        (
            "new/tool:/usr",
            "mke4fs: cannot copy new/tool to /usr: the destination is a directory; add a slash to copy \
             into it\n",
        ),
        (
            "new:/bin",
            "mke4fs: cannot copy new to /bin: the destination exists and is not a directory\n",
        ),
        (
            "new:/usr/bin/tool/x",
            "mke4fs: cannot copy to /usr/bin/tool/x: tool: not a directory\n",
        ),
        (
            "new/tool:/usr/../../x",
            "mke4fs: cannot copy to /usr/../../x: invalid path /usr/../../x: \"..\" leads above the root of the image\n",
        ),
    ] {
        assert_eq!(
            place.refusal(&format!("mke4fs -d root --copy {copy} image")),
            said
        );
    }
    place.make("mke4fs -q --copy new/tool:/init image");
    assert_eq!(place.shown("init"), "file 644 5:6");
}

/// What `line` prints below a directory: every path with its type, permissions, owner and numbers.
const LIST: &str = "find . -mindepth 1 ! -name lost+found -exec stat -c '%n %F %a %u:%g %t,%T' {} + | LC_ALL=C sort";

#[test]
fn the_image_holds_what_fakeroot_shows() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    for name in ["root/etc/shadow", "root/bin/su", "root/empty"] {
        place.file(name, "x");
    }
    place.for_user();
    let changes = "chown 0:42 root/etc/shadow; chmod 4755 root/bin/su; mknod root/console c 5 1; \
                   mknod root/disk b 8 17; chown -h 7:8 root/bin; ln -s x root/link; \
                   chown -h 9:9 root/link; chmod 600 root/console; mknod null c 1 3; \
                   setfattr -n security.x -v secret root/bin/su; \
                   setfattr -h -n trusted.y -v hidden root/link";
    let said = place.as_user(&format!(
        "fakeroot sh -euc \"{changes}; mke4fs -q -d root --copy null:/dev/null image; cd root; {LIST}\""
    ));
    let mut shown: Vec<String> = said.lines().map(str::to_owned).collect();
    shown.push("./dev directory 755 0:0 0,0".to_owned());
    shown.push("./dev/null character special file 644 0:0 1,3".to_owned());
    shown.sort();
    e2fsck(&place.path("image"), Which::Reference).expect("a sound image");
    place.look(|root| {
        let output = Command::new("sh")
            .args(["-euc", LIST])
            .current_dir(root)
            .output();
        let listed = String::from_utf8(output.expect("sh runs").stdout).expect("it is text");
        assert_eq!(listed.lines().collect::<Vec<_>>(), shown);
        assert!(
            listed.contains("./bin/su regular file 4755 0:0"),
            "{listed}"
        );
        let value = xattr::get(root.join("bin/su"), "security.x").expect("it can be read");
        assert_eq!(value.as_deref(), Some(&b"secret"[..]));
        let value = xattr::get(root.join("link"), "trusted.y").expect("it can be read");
        assert_eq!(value.as_deref(), Some(&b"hidden"[..]));
    });
}

#[test]
fn the_recipes_of_the_document_work_as_they_stand() {
    if !is_ready() {
        return;
    }
    let shadow = ("etc/shadow", "file 640 0:42");
    let su = ("bin/su", "file 755 0:0");
    let expected: [&[(&str, &str)]; 6] = [
        &[
            ("etc/shadow", "file 640 0:42"),
            ("dev/ttyS0", "char 644 0:0 4,64"),
            su,
        ],
        &[
            shadow,
            su,
            ("dev/console", "char 600 0:5 5,1"),
            ("etc/motd", "file 644 0:0"),
        ],
        &[
            shadow,
            su,
            ("dev", "dir 755 0:0"),
            ("dev/tty3", "char 620 0:5 4,3"),
        ],
        &[
            ("root", "file 644 0:0"),
            ("www", "file 644 33:33"),
            ("other", "file 644 5:5"),
        ],
        &[su, ("sbin/init", "file 755 0:0")],
        &[su],
    ];
    let mut expected = expected.into_iter();
    for recipe in recipes(&text(Path::new("docs/ownership.md"))) {
        let place = recipe_place();
        for (name, text) in &recipe.files {
            place.file(name, text);
        }
        place.for_user();
        for (name, id) in [("container/www", 100_032), ("container/other", 5)] {
            place.owned(name, id, id);
        }
        for command in &recipe.commands {
            place.as_user(&format!("rm -f disk.img; {command}; mv disk.img image"));
            e2fsck(&place.path("image"), Which::Reference).expect("a sound image");
            for (name, what) in expected.next().expect("each recipe is expected") {
                assert_eq!(place.shown(name), *what, "{command}: {name}");
            }
            if command.contains("--exclude") {
                let names = place.look(names);
                let left = names
                    .iter()
                    .any(|name| name.contains("cached") || name.contains("pyc"));
                assert!(
                    !left && names.contains(&"var/cache".to_owned()),
                    "{names:?}"
                );
            }
        }
    }
    assert_eq!(expected.next(), None, "a recipe is missing");
}

/// What the recipes speak of, as an ordinary user has it.
fn recipe_place() -> Place {
    let place = Place::new();
    for name in ["etc/shadow", "bin/su", "lib/x.pyc", "var/cache/cached"] {
        place.file(&format!("rootfs/{name}"), "");
    }
    place.directory("rootfs/dev");
    for name in [
        "motd.txt",
        "build/init",
        "container/root",
        "container/www",
        "container/other",
    ] {
        place.file(name, "");
    }
    let modes = "chmod 640 rootfs/etc/shadow; chmod 755 rootfs/bin/su build/init";
    assert!(place.shell(modes).status.success());
    place
}

#[test]
fn files_are_what_an_attribute_of_theirs_says() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    let stats = [
        ("etc/shadow", "user.containers.override_stat", "0:42:0640"),
        ("bin/su", "user.containers.override_stat", "0:0:04755:file"),
        (
            "dev/sda1",
            "user.containers.override_stat",
            "0:6:0660:block-8-1",
        ),
        (
            "dev/tty0",
            "user.fuseoverlayfs.override_stat",
            "0:5:0620:char-4-0",
        ),
        ("run/fifo", "user.containers.override_stat", "7:8:010600"),
        (
            "run/socket",
            "user.containers.override_stat",
            "7:8:0600:socket",
        ),
        ("plain", "user.kept", "x"),
    ];
    for (file, name, value) in stats {
        place.file(&format!("root/{file}"), "");
        let line = format!("setfattr -n {name} -v {value} root/{file}");
        assert!(place.shell(&line).status.success(), "{line}");
    }
    let line = "setfattr -n user.containers.override_stat -v 0:0:01777:dir root/run";
    assert!(place.shell(line).status.success(), "{line}");
    place.for_user();
    let made = "mke4fs -q -d root --owner 1:1 --override-stat --xattr-exclude user.c* image";
    assert_eq!(place.make(made), "");
    let paths = [
        "etc/shadow",
        "bin/su",
        "dev/sda1",
        "dev/tty0",
        "run/fifo",
        "run/socket",
        "run",
        "plain",
    ];
    let said = place.look(|mounted| {
        paths.map(|path| {
            let path = mounted.join(path);
            (shown(&path), attributes(&path))
        })
    });
    let shown: Vec<_> = said.iter().map(|(shown, _)| &shown[..]).collect();
    let expected = [
        "file 640 0:42",
        "file 4755 0:0",
        "block 660 0:6 8,1",
        "char 620 0:5 4,0",
        "fifo 600 7:8",
        "socket 600 7:8",
        "dir 1777 0:0",
        "file 644 1:1",
    ];
    assert_eq!(shown, expected);
    let attributes: Vec<_> = said.iter().flat_map(|(_, attributes)| attributes).collect();
    assert_eq!(attributes.len(), 1, "{attributes:?}");

    fs::remove_file(place.path("image")).expect("it is there");
    for (value, told) in [
        ("0:0:644:dir", "the file is a file"),
        ("0:0", "must be UID:GID:MODE[:TYPE]"),
    ] {
        let line = format!("setfattr -n user.x.stat -v {value} root/etc/shadow");
        assert!(place.shell(&line).status.success(), "{line}");
        let said = place.refusal("mke4fs -q -d root --override-stat=user.x.stat image");
        let whole = format!("invalid user.x.stat '{value}' of etc/shadow: {told}");
        assert!(said.contains(&whole), "{said}");
    }
}

/// What the kernel shows of a file's capabilities, as getcap says it.
fn getcap(root: &Path, name: &str) -> String {
    let output = Command::new("getcap").arg(root.join(name)).output();
    let said = String::from_utf8(output.expect("getcap runs").stdout).expect("it is text");
    said.split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn an_fs_config_gives_owners_modes_and_capabilities() {
    if !is_ready() || !ready(&[Need::Program("getcap")]) {
        return;
    }
    let place = Place::new();
    for name in ["bin/ping", "bin/sh", "etc/hosts", "lib/other"] {
        place.file(&format!("root/{name}"), "text");
    }
    place.shell("chmod 644 root/lib/other; chown 5:6 root/lib/other");
    place.file(
        "config",
        " 0 0 0755\nvendor/bin 0 2000 0751\nvendor/bin/ping 0 2000 0755 capabilities=0x1000003000\n\
         bin/sh 1 2 4711 capabilities=0x0\netc/none 0 0 644\n",
    );
    let said =
        place.make("mke4fs -q -d root --keep-root --fs-config config --mount-point /vendor image");
    let unmatched = "mke4fs: warning: rule config:5: etc/none matches nothing\n";
    assert!(said.contains("config:5: etc/none"), "{said}; {unmatched}");
    place.look(|root| {
        let of = |name: &str| {
            let found = fs::symlink_metadata(root.join(name)).expect("it is there");
            (found.uid(), found.gid(), found.mode() & 0o7777)
        };
        assert_eq!(of("bin"), (0, 2000, 0o751));
        assert_eq!(of("bin/ping"), (0, 2000, 0o755));
        assert_eq!(of("bin/sh"), (1, 2, 0o4711));
        assert_eq!(of("lib/other"), (5, 6, 0o644));
        assert_eq!(
            getcap(root, "bin/ping"),
            "cap_net_admin,cap_net_raw,cap_block_suspend=ep"
        );
        assert_eq!(getcap(root, "bin/sh"), "");
    });
    e2fsck(&place.path("image"), Which::Reference).expect("a sound image");
}

#[test]
fn capabilities_of_a_table_are_those_of_setcap() {
    let programs = ["setcap", "getcap"].map(Need::Program);
    if !is_ready() || !ready(&programs) {
        return;
    }
    let place = Place::new();
    for (number, text) in [
        "cap_net_raw+ep",
        "cap_net_raw,cap_net_admin=p",
        "cap_chown,cap_bpf+eip",
        "=ep",
        "all=ep",
        "cap_kill=i",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("f{number}");
        place.file(&format!("root/{name}"), "");
        place.file(&format!("by_setcap/{name}"), "");
        let set = place.shell(&format!("setcap '{text}' by_setcap/{name}"));
        assert!(set.status.success(), "{text}: {set:?}");
        place.shell(&format!(
            "printf '/{name} f 755 0 0 - - - - -\\n|xattr {text}\\n' >> table"
        ));
    }
    assert_eq!(
        place.make("mke4fs -q -d root --device-table table image"),
        ""
    );
    place.look(|root| {
        for number in 0..6 {
            let name = format!("f{number}");
            let ours = xattr::get(root.join(&name), "security.capability");
            let theirs = xattr::get(place.path("by_setcap").join(&name), "security.capability");
            assert_eq!(
                ours.expect("it is read"),
                theirs.expect("it is read"),
                "{name}"
            );
        }
    });
}

#[test]
fn a_manifest_of_gomtree_brings_extended_attributes() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/file", "text");
    place.shell("setfattr -n user.old -v kept root/file; setfattr -n user.new -v other root/file");
    // In base64: "value", and an ACL as getxattr(2) gives it.
    place.file(
        "manifest",
        "./file type=file mode=0640 xattr.user.new=dmFsdWU= xattr.user.with\\040space=AA== \
         xattr.user.empty=\n",
    );
    assert_eq!(
        place.make("mke4fs -q -d root --manifest manifest image"),
        ""
    );
    place.look(|root| {
        let of = |name: &str| xattr::get(root.join("file"), name).expect("it is read");
        assert_eq!(of("user.old").as_deref(), Some(&b"kept"[..]));
        assert_eq!(of("user.new").as_deref(), Some(&b"value"[..]));
        assert_eq!(of("user.with space").as_deref(), Some(&b"\0"[..]));
        assert_eq!(of("user.empty").as_deref(), Some(&b""[..]));
    });
    for (word, said) in [
        (
            "xattr.user.a=?",
            "invalid xattr 'user.a': must have a value in base64, of at most 65536 bytes",
        ),
        (
            "xattr.other.a=",
            "invalid xattr 'other.a': must be user., trusted. or security. with a name behind it, or a POSIX ACL, in at most 255 bytes",
        ),
    ] {
        place.file("manifest", &format!("./file {word}\n"));
        let output = place.shell("! mke4fs -q -d root --manifest manifest image");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text, format!("mke4fs: manifest:1: {said}\n"));
    }
}

#[test]
fn names_in_acls_that_the_image_does_not_know_have_two_ways_out() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/file", "text");
    // bsdtar writes names; the image has no passwd file.
    place.shell(
        "setfacl -m u:daemon:rw,u:1234:r root/file; bsdtar --acls --format pax -cf a.tar -C root .
         sed 's/user:daemon:rw-:1/user:daemon:rw-/; s/SCHILY.acl.access=/SCHILY.acl.access=/' a.tar > /dev/null
         python3 - <<'P'
import tarfile, io
t = tarfile.open('n.tar', 'w', format=tarfile.PAX_FORMAT)
i = tarfile.TarInfo('file')
i.pax_headers = {'SCHILY.acl.access': 'user::rw-,user:daemon:rw-,user:1234:r--,group::r--,mask::rw-,other::r--'}
t.addfile(i)
t.close()
P
",
    );
    let refused = place.shell("! mke4fs -q -d n.tar image");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(
        text.contains("use --acl-names host or skip, or --xattr-exclude"),
        "{text}"
    );
    let getfacl = |root: &Path| {
        let output = Command::new("getfacl")
            .args(["-cnp"])
            .arg(root.join("file"))
            .output();
        String::from_utf8(output.expect("getfacl runs").stdout).expect("it is text")
    };
    // Where the host was asked as well, that is not what would help.
    place.shell("sed s/user:daemon/user:nobodi/ n.tar > unknown.tar");
    let refused = place.shell("! mke4fs -q -d unknown.tar --acl-names host image");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(
        text.contains("for that name; use --acl-names skip, or --xattr-exclude"),
        "{text}"
    );
    assert_eq!(place.make("mke4fs -q -d n.tar --acl-names host image"), "");
    let acl = place.look(getfacl);
    assert!(
        acl.contains("user:1:rw-\n") && acl.contains("user:1234:r--\n"),
        "{acl}"
    );
    let said = place.make("mke4fs -q -F -d n.tar --acl-names skip image");
    assert_eq!(
        said,
        "mke4fs: warning: 1 ACL lost entries (first: file): the image's etc/passwd and etc/group do not have their users or groups\n"
    );
    let acl = place.look(getfacl);
    assert!(
        !acl.contains("user:1:") && acl.contains("user:1234:r--\n"),
        "{acl}"
    );
    e2fsck(&place.path("image"), Which::Reference).expect("a sound image");
    let refused = place.shell("! mke4fs -q --reproducible -d n.tar --acl-names host image");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(
        text,
        "mke4fs: --reproducible and --acl-names host cannot be combined; use --acl-names skip\n"
    );
}

#[test]
fn a_file_that_keeps_out_its_owner_has_a_way_out() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/shut", "text");
    place.shell("chmod 0 root/shut");
    place.for_user();
    let said = place.as_user("mke4fs -q -d root image 2>&1 || :");
    let way = "its mode keeps out its owner: run mke4fs under unshare -r, or use a tar archive that root made\n";
    assert!(said.ends_with(way), "{said}");
    // Where the kernel lets users have namespaces, the way leads out.
    place.as_user("if unshare -r true 2>/dev/null; then unshare -r mke4fs -q -d root image; mke4fs cat image shut | grep -q text; fi");
}

#[test]
fn files_beside_a_file_contexts_that_cannot_be_read_are_errors() {
    if !is_ready() {
        return;
    }
    let place = Place::new();
    place.file("root/file", "text");
    place.file("contexts", "/.* u:r:t\n");
    assert_eq!(
        place.make("mke4fs -q -d root --file-contexts contexts image"),
        ""
    );
    place.directory("contexts.subs");
    let output = place.shell("! mke4fs -q -F -d root --file-contexts contexts image");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("contexts.subs"), "{text}");
    // One of them is not the output, either.
    let output = place.shell("rmdir contexts.subs; echo > contexts.local; ! mke4fs -q -F -d root --file-contexts contexts contexts.local");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("contexts.local is both a file_contexts and the output"),
        "{text}"
    );
}
