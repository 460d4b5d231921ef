#!/usr/bin/env python3
"""Given a root filesystem, counts how much the next version of its image differs from the last one, with --base
and without, for a directory, a tar archive and an ext4 image as the source.

UUID, hash seed, clock and size are the same in all images. A row has the blocks of 4 KiB that differ at the same
place, those whose content is nowhere in the old image, and the bytes of a delta of xdelta3. Behind a bound is what
the change itself takes: the blocks of changed data, and the old image's blocks with an inode or a name that changed.

usage, as root, in a directory with room for six images, with xdelta3: benches/next_version.py ROOTFS [MKE4FS]
"""

import hashlib
import os
import random
import subprocess
import sys

BLOCK = 4096
INODES = 16  # in a block of an inode table
PINNED = "-q -b 4096 -U 01234567-89ab-4def-8123-456789abcdef -E hash_seed=fedcba98-7654-4210-bedc-ba9876543210".split()
CLOCK = {"E2FSPROGS_FAKE_TIME": "1700000000"}
PROGRAM = (sys.argv + ["mke4fs"])[2]
KINDS = ("directory", "tar", "image")
LATER, EARLIER = 2_000_000_000, 1_000_000_000


def run(*command, **more):
    subprocess.run(command, check=True, env={**os.environ, **CLOCK, **more})


class Build:
    """How images are made of the tree: of what kind of source, in which environment."""

    def __init__(self, kind, more):
        self.kind, self.more = kind, more

    def image(self, output, base=None):
        source = getattr(self, "of_" + self.kind)()
        keep = ["--base", base] if base else ["--size", "3300M"]
        run(PROGRAM, *PINNED, *keep, "-d", source, output, **self.more)
        return output

    def of_directory(self):
        return "tree"

    def of_tar(self):
        pax = ["--format=pax", "--xattrs", "--xattrs-include=*", "--numeric-owner"]
        # By default a pax header names the process that wrote it.
        name = "--pax-option=exthdr.name=%d/PaxHeaders/%f"
        run("tar", *pax, name, "--sort=name", "-cf", "source.tar", "-C", "tree/", ".")
        return "source.tar"

    def of_image(self):
        run(PROGRAM, *PINNED, "-d", "tree", "source.img", "-F")
        return "source.img"


def blocks(image):
    with open(image, "rb") as file:
        while block := file.read(BLOCK):
            yield hashlib.blake2b(block, digest_size=12).digest()


def compare(old, new):
    """How many blocks of `new` differ in place, how many are new, and how long the delta is."""
    before = list(blocks(old))
    known = set(before)
    in_place = fresh = 0
    for number, block in enumerate(blocks(new)):
        in_place += number >= len(before) or before[number] != block
        fresh += block not in known
    delta = ["xdelta3", "-1", "-e", "-f", "-B", str(1 << 30), "-s", old, new, "delta"]
    subprocess.run(delta, check=True)
    return in_place, fresh, os.path.getsize("delta")


def write(path, length, mode="wb"):
    with open(os.path.join("tree", path), mode) as file:
        file.write(random.Random(f"{path} {length}").randbytes(length))


def add_a_file(name):
    write(f"etc/{name}", 3)
    return [f"etc/{name}"], []


def replace_a_file(name):
    """Of 1 MiB, by one of 1 MiB and a byte."""
    write(f"usr/replaced-{name}", (1 << 20) + 1)
    return [f"usr/replaced-{name}"], []


def change_many(name):
    """1 % of the files get longer, 0.5 % go, and as many come."""
    chance = random.Random(name)
    files = []
    for directory, names, leaves in os.walk("tree/"):
        names.sort()
        paths = [os.path.join(directory, leaf) for leaf in sorted(leaves)]
        plain = [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
        files += [os.path.relpath(path, "tree") for path in plain]
    percent = len(files) // 100
    chosen = chance.sample(files, 2 * percent)
    longer, gone, beside = chosen[:percent], chosen[percent : percent * 3 // 2], chosen[percent * 3 // 2 :]
    come = sorted({os.path.join(os.path.dirname(path), f"added-{name}") for path in beside})
    for path in longer:
        write(path, chance.randrange(1, 20000), "ab")
    for path in come:
        write(path, chance.randrange(1, 40000))
    for path in gone:
        os.unlink(os.path.join("tree", path))
    return longer + come, gone


def bound(old, changed, gone):
    """The blocks of changed data, and those of `old` with an inode or a name that changed."""
    data = sum(-(-os.path.getsize(f"tree/{path}") // BLOCK) for path in changed)
    os.makedirs("mounted", exist_ok=True)
    run("mount", "-o", "loop,ro,noload", old, "mounted")
    try:
        inodes, names = set(), set()
        for path in changed + gone:
            is_old = os.path.lexists(f"mounted/{path}")
            above = os.path.dirname(path)
            touched = [path] if is_old else [above]
            if not is_old or path in gone:
                names.add(above)
                touched.append(above)
            inodes.update((os.lstat(f"mounted/{at}").st_ino - 1) // INODES for at in touched)
    finally:
        run("umount", "mounted")
    return data, len(inodes) + len(names)


def row(title, kind, change, more=None):
    """Changes the tree, and compares the images from before and after."""
    build = Build(kind, more or {})
    old = build.image("old.img")
    changed, gone = change()
    data, metadata = bound(old, changed, gone)
    print(f"{title}, {kind}: {data} blocks of data, {metadata} of inodes and names", flush=True)
    for way, base in {"--base": old, "without": None}.items():
        in_place, fresh, delta = compare(old, build.image("new.img", base))
        said = f"{in_place} in place, {fresh} new, delta {delta / 1024:.1f} KiB"
        print(f"  {way}: {said}", flush=True)
        os.unlink("new.img")
    os.unlink(old)


def main():
    if not os.path.exists("tree"):
        run("cp", "-a", sys.argv[1], "tree")
    for kind in KINDS:
        write(f"usr/replaced-{kind}", 1 << 20)
    for kind in KINDS:
        row("one file added", kind, lambda: add_a_file(kind))
        row("1 MiB replaced", kind, lambda: replace_a_file(kind))
    for name, when in (("later", LATER), ("earlier", EARLIER)):
        epoch = {"SOURCE_DATE_EPOCH": str(when)}
        title = f"one file added, SOURCE_DATE_EPOCH {name}"
        row(title, "directory", lambda: add_a_file(name), epoch)
    for kind in KINDS:
        row("1 % longer, 0.5 % gone, 0.5 % added", kind, lambda: change_many(kind))


main()
