#!/usr/bin/env python3
"""Given a root filesystem, times two ways from a container image to ext4 as an ordinary user,
and counts what each gets wrong.

The old way unpacks the layer without root, lets mkfs.ext4 -d take what came of it, and repairs type,
owner and mode of every file with debugfs. The new one is one command. Both images are mounted and
compared with the root filesystem itself.

usage, as root, with umoci, e2fsprogs and setpriv: benches/old_flow.py ROOTFS [MKE4FS]
"""

import hashlib
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict

USER = "1000"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

# What tar calls a type, the kernel does, and debugfs where it can make it.
KINDS = {
    tarfile.DIRTYPE: (stat.S_IFDIR, None),
    tarfile.SYMTYPE: (stat.S_IFLNK, None),
    tarfile.CHRTYPE: (stat.S_IFCHR, "c"),
    tarfile.BLKTYPE: (stat.S_IFBLK, "b"),
    tarfile.FIFOTYPE: (stat.S_IFIFO, "p"),
}


def run(*command, **options):
    subprocess.run(command, check=True, **options)


def as_user(*command, **options):
    """Runs a command as the ordinary user, and gives the seconds that it took."""
    ids = ["--reuid", USER, "--regid", USER, "--clear-groups"]
    begun = time.monotonic()
    run("setpriv", *ids, *command, **options)
    return time.monotonic() - begun


def pack(rootfs, layer):
    """Makes of `rootfs` an image of one layer, which is also left in the file `layer`."""
    attributes = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
    run("tar", "--format=pax", *attributes, "-cf", layer, "-C", rootfs, ".")
    run("umoci", "init", "--layout", "images")
    run("umoci", "new", "--image", "images:app")
    run("umoci", "raw", "add-layer", "--image", "images:app", layer)


def repairs(layer):
    """The commands with which debugfs gives every file of the layer its type, owner and mode."""
    with tarfile.open(layer) as archive:
        for member in archive:
            path = os.path.normpath("/" + member.name)
            if member.islnk():
                continue
            kind, letter = KINDS.get(member.type, (stat.S_IFREG, None))
            if letter:
                above, name = os.path.split(path)
                numbers = "" if letter == "p" else f" {member.devmajor} {member.devminor}"
                yield f'rm "{path}"\ncd "{above}"\nmknod "{name}" {letter}{numbers}\ncd /\n'
            yield f'set_inode_field "{path}" uid {member.uid}\n'
            yield f'set_inode_field "{path}" gid {member.gid}\n'
            yield f'set_inode_field "{path}" mode 0{kind | member.mode:o}\n'


def old_way(layer, size, expected):
    unpack = ["umoci", "raw", "unpack", "--rootless", "--image", "images:app", "staged"]
    steps = {"umoci": as_user(*unpack, **QUIET)}
    options = ["-q", "-F", "-E", "root_owner=0:0"]
    mkfs = ["mkfs.ext4", *options, "-d", "staged", "old.img", size]
    steps["mkfs.ext4 -d"] = as_user(*mkfs, **QUIET)
    unrepaired = wrong("old.img", expected)
    begun = time.monotonic()
    with open("repairs", "w", encoding="utf-8", errors="surrogateescape") as commands:
        commands.writelines(repairs(layer))
    steps["debugfs"] = time.monotonic() - begun
    steps["debugfs"] += as_user("debugfs", "-w", "-f", "repairs", "old.img", **QUIET)
    tell("old way", steps, {"before debugfs": unrepaired, "wrong": wrong("old.img", expected)})


def new_way(mke4fs, size, expected):
    command = [mke4fs, "-q", "--keep-root", "-d", "oci:images:app", "new.img", size]
    tell("new way", {"mke4fs": as_user(*command)}, {"wrong": wrong("new.img", expected)})


def tell(name, steps, faults):
    each = ", ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items())
    print(f"{name}: {sum(steps.values()):.2f} s ({each})")
    for when, what in faults.items():
        print(f"  {when}: {what}")


def look(top):
    """All that the files below `top` say of themselves, by their paths."""
    found, links = {}, defaultdict(list)
    for directory, names, files in os.walk(top):
        for name in [".", *names, *files]:
            path = os.path.normpath(os.path.join(directory, name))
            if name == "." and directory != top:
                continue
            at, short = os.lstat(path), os.path.relpath(path, top)
            if short.split("/")[0] == "lost+found":
                continue
            attributes = os.listxattr(path, follow_symlinks=False)
            values = {key: os.getxattr(path, key, follow_symlinks=False) for key in attributes}
            data = open(path, "rb").read() if stat.S_ISREG(at.st_mode) else b""
            found[short] = {
                "type": (stat.S_IFMT(at.st_mode), at.st_rdev),
                "owner": (at.st_uid, at.st_gid),
                "mode": stat.S_IMODE(at.st_mode),
                "capabilities": values.pop("security.capability", None),
                "other attributes": values,
                "time of writing": at.st_mtime_ns,
                "target": os.readlink(path) if stat.S_ISLNK(at.st_mode) else None,
                "bytes": (len(data), hashlib.sha256(data).digest()),
            }
            if at.st_nlink > 1 and not stat.S_ISDIR(at.st_mode):
                links[at.st_ino].append(short)
    for names in links.values():
        for name in names:
            found[name]["hard links"] = sorted(names)
    return found


def wrong(image, expected):
    """How many files of `image` are not as `expected` says, by what is wrong with them."""
    os.makedirs("mounted", exist_ok=True)
    run("mount", "-o", "loop,ro", image, "mounted")
    try:
        found = look("mounted")
    finally:
        run("umount", "mounted")
    faults = Counter()
    for path in expected.keys() | found.keys():
        if path not in expected or path not in found:
            faults["missing" if path in expected else "too many"] += 1
            continue
        fields = expected[path].keys() | found[path].keys()
        faults.update(key for key in fields if expected[path].get(key) != found[path].get(key))
    if subprocess.run(["e2fsck", "-fn", image], **QUIET).returncode:
        faults["e2fsck"] = 1
    return ", ".join(f"{key} {count}" for key, count in sorted(faults.items())) or "nothing"


def main():
    rootfs = os.path.abspath(sys.argv[1])
    mke4fs = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else "target/release/mke4fs")
    expected = look(rootfs)
    data = sum(entry["bytes"][0] for entry in expected.values())
    size = f"{data * 3 // 2 // 2**20 + 128}M"
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        pack(rootfs, "layer.tar")
        run("chown", "-R", f"{USER}:{USER}", ".")
        print(f"{len(expected)} files, {data >> 20} MiB, load {os.getloadavg()[0]:.1f}")
        old_way("layer.tar", size, expected)
        new_way(mke4fs, size, expected)
        os.chdir("/")


if __name__ == "__main__":
    main()
