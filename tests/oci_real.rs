//! Given images that umoci and skopeo made, proves that the command makes of them what umoci unpacks
//! as root, by whatever transport they come; never asks a registry.

#![cfg(target_os = "linux")]

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::attrs::{Field, Options, RootRule, Snapshot};
use common::making::{SEED_TEXT, UUID_TEXT};
use common::mount::{Scratch, mount_ro};
use common::tools::{self, Need, Which, e2fsck, ready};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::E2fsprogs(Which::Reference),
    Need::Program("umoci"),
    Need::Program("skopeo"),
];

/// The lowest layer: something of every type, owner and attribute.
pub(crate) const LOWEST: &str = "
mkdir lowest && cd lowest
mkdir -p etc/skel usr/bin usr/lib/deep opaque/kept/below whole/of/it plain/sub file-to-be var/tmp
echo first > etc/motd; echo secret > etc/shadow; echo was > directory-to-be; echo gone > plain/gone
echo x > opaque/x; echo y > opaque/kept/below/y; echo z > whole/of/it/z; echo q > file-to-be/q
echo tool > usr/bin/tool; ln usr/bin/tool usr/bin/alias; ln usr/bin/tool usr/lib/deep/third
ln -s usr/lib lib; ln -s /usr/bin bin; ln -s ../usr/lib/deep etc/deep; ln -s nowhere dangling
head -c 300000 /dev/urandom > usr/lib/large; truncate -s 1M var/hollow; echo end >> var/hollow
cp usr/bin/tool usr/bin/capable; setcap cap_net_raw,cap_net_admin+ep usr/bin/capable
setfattr -n user.note -v 'a note' etc/motd; setfattr -n user.dir -v d etc
setfattr -n trusted.kept -v secret etc/shadow; setfattr -h -n trusted.link -v l dangling
mknod null c 1 3; mknod disk b 259 70000; mkfifo pipe; mknod zero c 0 0
chown 1000:2000 etc/motd; chown 70000:4294967294 usr/lib/large; chown -h 5:6 dangling
chmod 4755 usr/bin/tool; chmod 640 etc/shadow; chmod 1777 var/tmp; chmod 2750 .
touch -d '2001-02-03 04:05:06.789' etc/motd; touch -d '1969-12-31 23:59:58.25' etc/skel
touch -h -d '2040-01-01 00:00:00' dangling; printf x > 'name with spaces and ü'
cd .. && tar --format=pax --xattrs --xattrs-include='*' --numeric-owner --sparse -cf 1.tar -C lowest .";

/// A layer over it, packed by hand: whiteouts before and behind what they do not touch.
pub(crate) const OVER: &str = "
mkdir -p over/lib over/bin over/opaque/new over/plain over/directory-to-be over/etc && cd over
echo new > opaque/n; touch opaque/.wh..wh..opq .wh.whole .wh.null plain/.wh.gone plain/.wh.never
echo now > file-to-be; echo in > directory-to-be/in; echo so > lib/so; echo ls > bin/ls
ln lib/so lib/so.1; echo second > etc/motd; chmod 700 etc; setfattr -n user.two -v 2 etc
cd .. && tar --format=gnu --numeric-owner -cf 2.tar -C over \\
  opaque/n lib/so lib/so.1 bin/ls .wh.whole file-to-be directory-to-be \\
  plain/.wh.gone plain/.wh.never .wh.null opaque/.wh..wh..opq opaque/new
tar --format=pax --xattrs --xattrs-include='*' -rf 2.tar -C over --no-recursion etc etc/motd";

/// The image, a third layer that umoci finds the changes for, and what it unpacks of all three.
pub(crate) const IMAGE: &str = "
umoci init --layout layout && umoci new --image layout:app:1
umoci raw add-layer --image layout:app:1 1.tar && umoci raw add-layer --image layout:app:1 2.tar
umoci unpack --image layout:app:1 bundle && cd bundle/rootfs
rm usr/bin/alias lib/so.1; rm -r etc/skel; echo third > etc/issue; ln etc/issue etc/issue.net
rm usr/lib/large; mkdir usr/lib/large; echo inside > usr/lib/large/inside
rm -r directory-to-be; ln -s etc directory-to-be; chown 7:8 pipe
cd ../.. && umoci repack --image layout:app:1 bundle
umoci raw unpack --image layout:app:1 unpacked";

const COPIES: &str = "
skopeo copy -q oci:layout:app:1 oci:copy:app:1
skopeo copy -q --dest-compress-format zstd oci:layout:app:1 oci:zstd:app:1
skopeo copy -q oci:layout:app:1 oci-archive:oci.tar:app:1
skopeo copy -q oci:layout:app:1 docker-archive:docker.tar:app:1
gzip -k docker.tar; zstd -q oci.tar";

pub(crate) fn sh(directory: &Path, script: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-euc", script]).current_dir(directory);
    tools::run(&mut shell).expect(script);
}

/// The image that the command makes of `source` in `directory`, by `flags` too.
fn make(directory: &Path, source: &str, flags: &[&str]) -> PathBuf {
    let image = directory.join("image");
    tools::run(command(directory, source).args(flags)).expect(source);
    image
}

/// The command that makes an image of `source` in `directory`.
fn command(directory: &Path, source: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mke4fs"));
    command
        .current_dir(directory)
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .env_remove("SOURCE_DATE_EPOCH")
        .args(["-q", "--keep-root", "-U", UUID_TEXT, "-d", source, "-E"])
        .arg(format!("hash_seed={SEED_TEXT}"))
        .args(["image", "64M"]);
    command
}

/// Makes the image of the archive `saved`, which comes through a pipe, as from `docker save`.
fn make_of_pipe(directory: &Path, saved: &str) {
    let mut cat = Command::new("cat");
    cat.arg(saved).current_dir(directory).stdout(Stdio::piped());
    let mut cat = cat.spawn().expect("cat runs");
    let pipe = cat.stdout.take().expect("a pipe");
    tools::run(command(directory, "docker-archive:/dev/stdin").stdin(pipe)).expect(saved);
    assert!(cat.wait().expect("it ends").success());
}

#[test]
fn an_image_is_what_umoci_unpacks_by_every_transport() {
    if !ready(NEEDS) {
        return;
    }
    let scratch = Scratch::new(256 << 20).expect("a place");
    let directory = scratch.path();
    for script in [LOWEST, OVER, IMAGE, COPIES] {
        sh(directory, script);
    }
    let unpacked = Snapshot::take(&directory.join("unpacked")).expect("it can be read");
    // umoci writes zeros where a sparse file has holes, and makes its own atimes where the
    // layer has none; nobody can set the ctime.
    let options = Options {
        root: RootRule::Kept,
        ignore: [Field::Holes, Field::Atime, Field::Ctime].into(),
        ..Options::default()
    };
    let image = make(directory, "oci:layout:app:1", &[]);
    e2fsck(&image, Which::Reference).expect("a sound image");
    let found = mount_ro(&image, |mounted| unpacked.compare(mounted, &options));
    let found = found.expect("it can be mounted").expect("it can be read");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{found:#?}");
    let first = fs::read(&image).expect("the image can be read");
    for source in [
        "oci:copy:app",
        "oci:zstd",
        "oci-archive:oci.tar:app:1",
        "oci-archive:oci.tar.zst",
        "docker-archive:docker.tar:docker.io/library/app:1",
        "docker-archive:docker.tar.gz",
    ] {
        fs::remove_file(&image).expect("it was made");
        make(directory, source, &[]);
        let same = fs::read(&image).expect("the image can be read") == first;
        assert!(same, "{source}: gives another image");
    }
    for saved in ["docker.tar", "docker.tar.gz"] {
        fs::remove_file(&image).expect("it was made");
        make_of_pipe(directory, saved);
        let same = fs::read(&image).expect("the image can be read") == first;
        assert!(same, "{saved}: through a pipe it gives another image");
    }
    // umoci has filled the holes of one file; apart from that, its files make the same image.
    let flags = ["--times", "mtime", "--exclude", "hollow"];
    let [of_layers, of_files] = ["oci:layout:app:1", "unpacked"].map(|source| {
        fs::remove_file(&image).expect("it was made");
        make(directory, source, &flags);
        fs::read(&image).expect("the image can be read")
    });
    assert!(of_layers == of_files, "the directory gives another image");
}
