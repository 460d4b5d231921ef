//! Given a name, makes the same tree each time; never the same bytes twice in it.
//!
//! | name | at 100 percent |
//! |---|---|
//! | small | 100,000 files of 1 to 8 KiB, a hundred in each of 1,000 directories, ten of those in one |
//! | flat | 50,000 files of at most 2 KiB in one directory |
//! | big | four files of 512 MiB that do not compress |

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Result;
use super::layers;
use super::programs::in_path;

/// A tree to make images of.
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// All files, directories and the rest.
    pub(crate) entries: u64,
    /// The sizes of all regular files together, each in whole blocks of 4 KiB.
    pub(crate) bytes: u64,
}

impl Workload {
    /// The tree at `path`, which is there already.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut workload = Self {
            name: name.into_owned(),
            path: path.to_owned(),
            entries: 0,
            bytes: 0,
        };
        workload.count(path)?;
        Ok(workload)
    }

    fn count(&mut self, directory: &Path) -> Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            self.entries += 1;
            if metadata.is_dir() {
                self.count(&entry.path())?;
            } else if metadata.is_file() {
                self.bytes += metadata.len().next_multiple_of(4096);
            }
        }
        Ok(())
    }

    /// How many bytes an image of it has, with room for everybody's metadata: mkext4 has an inode for
    /// each 16 KiB, and no more.
    pub(crate) fn image_bytes(&self) -> u64 {
        let blocks = self.bytes + self.bytes / 8 + self.entries * 1024;
        let inodes = (self.entries + 1000) << 14;
        (blocks.max(inodes) + (192 << 20)).next_multiple_of(1 << 20)
    }

    /// The tree as a tar file, for those that take no directories.
    pub(crate) fn tar(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.tar", self.name))
    }

    /// That tar file, compressed.
    pub(crate) fn zstd(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.tar.zst", self.name))
    }

    /// The tree as an OCI layout.
    pub(crate) fn oci(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.oci", self.name))
    }

    /// Makes the tar file, a compressed one where there is zstd, and an OCI layout, if they are not
    /// there.
    pub(crate) fn pack(&self, dir: &Path) -> Result<()> {
        let (tar, zstd) = (self.tar(dir), self.zstd(dir));
        if !tar.exists() {
            let mut command = Command::new("tar");
            command.arg("-C").arg(&self.path).arg("--format=pax");
            let status = command.arg("-cf").arg(&tar).arg(".").status()?;
            if !status.success() {
                return Err(format!("tar: {status}").into());
            }
        }
        if !zstd.exists() && in_path("zstd").is_ok() {
            let mut command = Command::new("zstd");
            let status = command.arg("-q").arg(&tar).arg("-o").arg(&zstd).status()?;
            if !status.success() {
                return Err(format!("zstd: {status}").into());
            }
        }
        layers::pack(&self.path, &self.oci(dir))?;
        // What follows shall not share the disk with these.
        Command::new("sync").status()?;
        Ok(())
    }

    /// Reads every file, and what they are packed in, so that the page cache holds them.
    pub(crate) fn warm(&self, dir: &Path) -> Result<()> {
        let sink = std::io::sink;
        for packed in [self.tar(dir), self.zstd(dir)] {
            if packed.exists() {
                std::io::copy(&mut File::open(packed)?, &mut sink())?;
            }
        }
        let mut directories = vec![self.path.clone()];
        if self.oci(dir).exists() {
            directories.push(self.oci(dir));
        }
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    directories.push(entry.path());
                } else if kind.is_file() {
                    std::io::copy(&mut File::open(entry.path())?, &mut sink())?;
                }
            }
        }
        Ok(())
    }
}

/// Makes the tree called `name` at `scale` percent below `dir`, if it is not there.
pub(crate) fn make(dir: &Path, name: &str, scale: u64) -> Result<Workload> {
    let path = dir.join(format!("{name}-{scale}"));
    if !path.exists() {
        let begun = dir.join(format!("{name}.begun"));
        if begun.exists() {
            fs::remove_dir_all(&begun)?;
        }
        fs::create_dir_all(&begun)?;
        match name {
            "small" => small(&begun, scale)?,
            "flat" => flat(&begun, scale)?,
            "big" => big(&begun, scale)?,
            _ => {
                return Err(
                    format!("there is no tree {name}; there are small, flat and big").into(),
                );
            }
        }
        fs::rename(&begun, &path)?;
    }
    Workload::of(&path)
}

fn small(path: &Path, scale: u64) -> Result<()> {
    let mut random = Random(42);
    let pool = random.bytes(1 << 20);
    for directory in 0..(1000 * scale / 100).max(1) {
        let within = path.join(format!("d{:02}/s{:03}", directory / 100, directory % 100));
        fs::create_dir_all(&within)?;
        for file in 0..100 {
            let length = 1024 + random.below(7 * 1024 + 1);
            let name = format!("file_{file:03}_{:06x}.js", random.below(1 << 24));
            fs::write(within.join(name), random.part(&pool, length))?;
        }
    }
    Ok(())
}

fn flat(path: &Path, scale: u64) -> Result<()> {
    let mut random = Random(43);
    let pool = random.bytes(1 << 20);
    for file in 0..(50_000 * scale / 100).max(1) {
        let length = random.below(2049);
        let (high, low) = (random.next(), random.next());
        let name = format!("{high:016x}{low:016x}-{file:05}.json");
        fs::write(path.join(name), random.part(&pool, length))?;
    }
    Ok(())
}

fn big(path: &Path, scale: u64) -> Result<()> {
    for number in 0..4 {
        let mut random = Random(44 + number);
        let file = File::create(path.join(format!("big{number}.bin")))?;
        let mut file = BufWriter::new(file);
        for _ in 0..(128 * scale / 100).max(1) {
            file.write_all(&random.bytes(4 << 20))?;
        }
        file.flush()?;
    }
    Ok(())
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length / 8)
            .flat_map(|_| self.next().to_le_bytes())
            .collect()
    }

    fn part<'a>(&mut self, pool: &'a [u8], length: usize) -> &'a [u8] {
        let start = self.below(pool.len() - length);
        &pool[start..start + length]
    }
}
