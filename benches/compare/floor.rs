//! Given a directory and an output, lists, stats, reads and writes what an image builder cannot do
//! without, in batches; never makes a filesystem.
//!
//! Directories are shared out among the threads; each file's bytes go to whole blocks that the next
//! thread's follow, as they would in an image, a mebibyte at a time.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, flistxattr, openat, statat};

use super::Result;

const BLOCK: usize = 4096;
const BATCH: usize = 1 << 20;

/// Copies the bytes of all files below `source` to `output` with `threads` threads.
pub(crate) fn copy(source: &str, output: &str, threads: usize) -> Result<()> {
    let root = openat(CWD, source, OFlags::DIRECTORY, Mode::empty())?;
    let shared = Shared {
        directories: Mutex::new(vec![root]),
        more: Condvar::new(),
        at_work: AtomicUsize::new(1),
        end: AtomicU64::new(0),
        output: File::create(output)?,
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| scope.spawn(|| shared.work().map_err(|error| error.to_string())))
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a thread ended early")??;
        }
        Ok(())
    })
}

struct Shared {
    directories: Mutex<Vec<OwnedFd>>,
    more: Condvar,
    /// Directories that wait or are being read.
    at_work: AtomicUsize,
    /// Where the next batch goes.
    end: AtomicU64,
    output: File,
}

impl Shared {
    fn work(&self) -> Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(directory) = self.next() {
            let done = self.read_directory(&directory, &mut batch);
            if self.at_work.fetch_sub(1, Ordering::AcqRel) == 1 || done.is_err() {
                self.at_work.store(0, Ordering::Release);
                self.more.notify_all();
            }
            done?;
        }
        self.flush(&mut batch)
    }

    fn next(&self) -> Option<OwnedFd> {
        let mut waiting = self.directories.lock().ok()?;
        loop {
            if let Some(directory) = waiting.pop() {
                return Some(directory);
            }
            if self.at_work.load(Ordering::Acquire) == 0 {
                return None;
            }
            // Another thread may end without making more, and is not always heard.
            let wait = std::time::Duration::from_millis(1);
            waiting = self.more.wait_timeout(waiting, wait).ok()?.0;
        }
    }

    fn read_directory(&self, directory: &OwnedFd, batch: &mut Vec<u8>) -> Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let open = |flags| openat(directory, name, flags | OFlags::NOFOLLOW, Mode::empty());
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let below = open(OFlags::DIRECTORY)?;
                    let _ = flistxattr(&below, &mut [0_u8; 1024]);
                    self.at_work.fetch_add(1, Ordering::AcqRel);
                    if let Ok(mut waiting) = self.directories.lock() {
                        waiting.push(below);
                    }
                    self.more.notify_one();
                }
                FileType::RegularFile => {
                    let file = open(OFlags::empty())?;
                    let _ = flistxattr(&file, &mut [0_u8; 1024]);
                    self.read_file(&file, stat.st_size.unsigned_abs(), batch)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_file(&self, file: impl AsFd, size: u64, batch: &mut Vec<u8>) -> Result<()> {
        let mut left = usize::try_from(size)?;
        while left > 0 {
            if batch.len() == BATCH {
                self.flush(batch)?;
            }
            let start = batch.len();
            let wanted = left.min(BATCH - start);
            batch.resize(start + wanted.next_multiple_of(BLOCK).min(BATCH - start), 0);
            let mut done = 0;
            while done < wanted {
                let read =
                    rustix::io::read(file.as_fd(), &mut batch[start + done..start + wanted])?;
                if read == 0 {
                    return Err("a file shrank".into());
                }
                done += read;
            }
            left -= wanted;
        }
        Ok(())
    }

    fn flush(&self, batch: &mut Vec<u8>) -> Result<()> {
        let length = u64::try_from(batch.len())?;
        let place = self.end.fetch_add(length, Ordering::Relaxed);
        self.output.write_all_at(batch, place)?;
        batch.clear();
        Ok(())
    }
}
