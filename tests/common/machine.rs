//! Given images and a script, gives what the script says in a machine whose kernel can do what this
//! process may not: grow a mounted filesystem, count quota, fold case. Never touches this kernel.
//!
//! The machine is QEMU's, without KVM. Its kernel is Debian's for virtual machines, which
//! tests/install-oracles unpacks into target/machine; its only program is busybox, beside resize2fs and
//! veritysetup where a script names them.
//! It is up in three seconds.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools::{self, Result};

/// What the machine needs to see its disks, each after those it needs itself, to count quota, and to verify.
const MODULES: [&str; 12] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "quota_tree",
    "quota_v2",
    "dm-mod",
    "dm-bufio",
    "reed_solomon",
    "dm-verity",
];

/// What a script may name beside busybox's programs.
const PROGRAMS: [&str; 2] = ["resize2fs", "veritysetup"];

/// Lines that enclose what the script says.
const BEGIN: &str = "=== the script begins";
const END: &str = "=== the script ended well";

/// How long a machine may take, in seconds; a script takes a few.
const PATIENCE: &str = "300";

/// Regular files in the machine may be run.
const EXECUTABLE: u32 = 0o100_755;
const DIRECTORY: u32 = 0o040_755;

/// Whether there is all that a machine is made of.
///
/// # Errors
///
/// Something is missing; the error names it.
pub(crate) fn check() -> Result<()> {
    kernel()?;
    for program in ["qemu-system-x86_64", "busybox"].iter().chain(&PROGRAMS) {
        program_path(program)?;
    }
    Ok(())
}

/// Runs `script` in a machine that has each of `disks` as /dev/vda, /dev/vdb and so on, and gives
/// what it said.
///
/// # Errors
///
/// Something is missing, the machine does not come up, or a command of the script fails.
pub(crate) fn run(disks: &[&Path], script: &str) -> Result<String> {
    let room = tempfile::tempdir()?;
    let initramfs = room.path().join("initramfs");
    fs::write(&initramfs, archive(script)?)?;
    let mut machine = Command::new("timeout");
    machine.args([PATIENCE, "qemu-system-x86_64"]);
    machine.args(["-machine", "q35", "-accel", "tcg"]);
    // Without KVM, QEMU 7.2 breaks the flags in CMPXCHG16B, and newer kernels end in a double fault.
    machine.args([
        "-cpu",
        "max,cx16=off",
        "-m",
        "512",
        "-nodefaults",
        "-no-reboot",
    ]);
    machine.args(["-display", "none", "-serial", "stdio"]);
    machine.args(["-append", "console=ttyS0 quiet panic=-1"]);
    machine.arg("-kernel").arg(kernel()?);
    machine.arg("-initrd").arg(&initramfs);
    for disk in disks {
        let disk = disk.display().to_string().replace(',', ",,");
        machine.args(["-drive", &format!("file={disk},format=raw,if=virtio")]);
    }
    let said = tools::run(&mut machine)?.replace('\r', "");
    let (_, told) = said.split_once(BEGIN).ok_or_else(|| said.clone())?;
    let (told, _) = told
        .split_once(END)
        .ok_or_else(|| format!("the script failed:\n{told}"))?;
    let release = told.trim_start().lines().next().unwrap_or_default();
    tools::report(&format!("oracle: the ext4 of Linux {release}, in QEMU"));
    Ok(told.to_owned())
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/machine")
}

fn kernel() -> Result<PathBuf> {
    let path = directory().join("vmlinuz");
    if path.is_file() {
        Ok(path)
    } else {
        Err("target/machine/vmlinuz is needed: tests/install-oracles brings it".into())
    }
}

fn program_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(usual);
    let found = places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()));
    Ok(found.ok_or_else(|| format!("{name} is needed"))?)
}

/// What the machine's kernel unpacks: its whole userland.
fn archive(script: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in [
        "bin", "sbin", "etc", "proc", "run", "sys", "dev", "mnt", "modules",
    ] {
        archive.add(Path::new(name), DIRECTORY, b"");
    }
    let busybox = fs::read(program_path("busybox")?)?;
    archive.add(Path::new("bin/busybox"), EXECUTABLE, &busybox);
    for program in PROGRAMS.iter().filter(|program| script.contains(**program)) {
        let path = program_path(program)?;
        archive.add(
            Path::new(&format!("sbin/{program}")),
            EXECUTABLE,
            &fs::read(&path)?,
        );
        // Each line of ldd's has one absolute path: of a library, or of the loader.
        let libraries = tools::run(Command::new("ldd").arg(&path))?;
        for library in libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            archive.add_below_root(Path::new(library))?;
        }
    }
    let mut init = String::from(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin:/sbin\n\
         mount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\n\
         ln -s /proc/mounts /etc/mtab\n",
    );
    for module in MODULES {
        let path = directory().join(format!("{module}.ko"));
        // A kernel may have it built in.
        if path.is_file() {
            let name = format!("modules/{module}.ko");
            archive.add(Path::new(&name), EXECUTABLE, &fs::read(path)?);
            writeln!(init, "insmod /{name}")?;
        }
    }
    writeln!(init, "echo '{BEGIN}'\nuname -r")?;
    writeln!(init, "sh -eu /script 2>&1 && echo '{END}'\npoweroff -f")?;
    archive.add(Path::new("init"), EXECUTABLE, init.as_bytes());
    archive.add(Path::new("script"), EXECUTABLE, script.as_bytes());
    Ok(archive.end())
}

/// An archive in the "newc" form of the kernel's Documentation/driver-api/early-userspace.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a file of the host at the same place, and the directories above it.
    fn add_below_root(&mut self, file: &Path) -> Result<()> {
        let name = file.strip_prefix("/")?;
        let above: Vec<&Path> = name.ancestors().skip(1).collect();
        for directory in above
            .into_iter()
            .rev()
            .filter(|path| path.as_os_str() != "")
        {
            self.add(directory, DIRECTORY, b"");
        }
        self.add(name, EXECUTABLE, &fs::read(file)?);
        Ok(())
    }

    fn add(&mut self, name: &Path, mode: u32, content: &[u8]) {
        self.entries += 1;
        let name = name.as_os_str();
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length(content),
            0,
            0,
            0,
            0,
            length(name.as_encoded_bytes()) + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.push(name, content);
    }

    fn push(&mut self, name: &OsStr, content: &[u8]) {
        self.bytes.extend_from_slice(name.as_encoded_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.add(Path::new("TRAILER!!!"), 0, b"");
        self.bytes
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a program is shorter than 4 GiB")
}
