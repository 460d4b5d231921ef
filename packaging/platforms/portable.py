# python3 portable.py SOURCE COPY windows|wasm: copies of a tree what such a system can hold, and writes COPY.mtree,
# a manifest of what it must tell of each file (docs/platforms.md). Times are whole seconds.
import os, stat, sys

source, copy, system = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), sys.argv[3]
LARGEST, LONGEST_PATH = 64 << 20, 3500
# wasmtime lists a directory anew for every few names, which takes minutes for thousands.
MOST_NAMES = 1000 if system == 'wasm' else 1 << 20
linked, manifest = {}, []

def can_hold(name):
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return False
    if system == 'wasm':
        return True
    return not any(c < ' ' or c in '<>:"/\\|?*' for c in text) and text[-1] not in '. '

def permissions(found):
    if stat.S_ISDIR(found.st_mode):
        return 0o755
    if stat.S_ISLNK(found.st_mode):
        return 0o777
    return 0o444 if system == 'windows' and not found.st_mode & 0o222 else 0o644

def note(name, found, seconds):
    # Every byte that could mean something in a manifest is written by its number.
    plain = ''.join(chr(b) if chr(b).isalnum() and b < 128 or b in b'/.-_' else '\\%03o' % b for b in name)
    manifest.append('%s mode=%04o uid=0 gid=0 time=%d.0' % (plain, permissions(found), seconds))

def place(at, to, found):
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(to)
        fill(at, to)
    elif stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(at), to)
    elif found.st_ino in linked:
        os.link(linked[found.st_ino], to)
    else:
        linked[found.st_ino] = to
        with open(at, 'rb') as old, open(to, 'wb') as new:
            new.write(old.read())

def held(at, name, found):
    if len(at) > LONGEST_PATH or not can_hold(name):
        return False
    if stat.S_ISLNK(found.st_mode):
        # wasip1 tells no absolute target.
        target = os.readlink(at)
        return system == 'wasm' and can_hold(target) and not target.startswith(b'/')
    return stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST

def fill(at, to):
    for name in sorted(os.listdir(at))[:MOST_NAMES]:
        below, beside = os.path.join(at, name), os.path.join(to, name)
        found = os.lstat(below)
        if held(below, name, found):
            place(below, beside, found)
            finish(beside, found)

def finish(to, found):
    # wasip1 has no times before 1970.
    seconds = max(int(found.st_mtime_ns // 10**9), 0 if system == 'wasm' else -1 << 31)
    if not stat.S_ISLNK(found.st_mode):
        os.chown(to, found.st_uid, found.st_gid)
        os.chmod(to, found.st_mode & 0o7777)
    os.utime(to, ns=(seconds * 10**9,) * 2, follow_symlinks=False)
    # The root's mtime is the clock's, whatever the directory has.
    if to != copy:
        note(b'.' + to[len(copy):], found, seconds)

os.mkdir(copy)
fill(source, copy)
finish(copy, os.lstat(source))
with open(copy + b'.mtree', 'w') as file:
    file.write('\n'.join(manifest) + '\n')
print('%s: %d files of the tree' % (system, len(manifest)), file=sys.stderr)
