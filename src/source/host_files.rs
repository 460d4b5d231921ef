//! Given the directories and files a walk found, opens them again by number; never by a long path.
//!
//! What is kept of a file is its parent's number, its name, and a fingerprint: sixteen bytes beside the
//! name's. A path is put together for messages only; files are opened relative to their
//! directory, of which the most recently used stay open, so no path is too long.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::sys::{self, FileType, HostHandle, Stat};
use crate::tree::{
    Access, ContentKey, ContentReader, ContentSource, DataMap, NameAt, NameList, Stored,
};
use crate::units::Ino;

/// How many directories stay open.
const OPEN_DIRECTORIES: usize = 32;

/// How many of those on the way down to a directory stay open, itself included: with all of them, threads
/// in different places of a deep tree would have nothing left of each other's.
const OPEN_ON_THE_WAY: usize = 2;

/// How many steps up or down an open directory is sought first, before a wider search.
const FIRST_STEPS: usize = 4;

/// The bit of a key that says that the content has holes.
const HAS_HOLES: ContentKey = 1 << 63;

/// The number of a directory or file among those of one walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileNumber(u32);

impl FileNumber {
    /// The directory the walk begins at.
    pub(super) const ROOT: Self = Self(0);

    /// The number as content is called by, with whether the content has holes.
    pub(super) fn key(self, data: &DataMap) -> ContentKey {
        let holes = match data {
            DataMap::Whole => 0,
            DataMap::Ranges(_) => HAS_HOLES,
        };
        u64::from(self.0) | holes
    }

    fn of_key(key: ContentKey) -> Option<Self> {
        u32::try_from(key & !HAS_HOLES).ok().map(Self)
    }

    fn index(self) -> usize {
        usize::try_from(self.0).expect("a file's number fits any usize")
    }
}

/// What must stay the same of a file between its declaration and its last read byte.
///
/// A hash, since a tree may have millions: device, inode number and type, and for a regular file
/// also the size and the times of the last write and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint(u64);

impl Fingerprint {
    fn of(stat: &Stat) -> Self {
        let mut hasher = DefaultHasher::new();
        (stat.dev, stat.ino).hash(&mut hasher);
        if stat.file_type == FileType::Regular {
            let times = [stat.mtime, stat.ctime].map(|time| (time.seconds, time.nanoseconds));
            (stat.size_bytes, times).hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

#[derive(Debug)]
struct Record {
    fingerprint: Fingerprint,
    /// The inode of a base that it is: of a file, one that holds what it holds. 0 for none.
    base: Ino,
    name: NameAt,
    parent: FileNumber,
}

/// The directories and regular files that a walk found.
#[derive(Debug)]
pub(super) struct HostFiles {
    root: Arc<HostHandle>,
    root_path: PathBuf,
    names: NameList,
    records: Vec<Record>,
    /// Open directories, the most recently used last.
    open: Mutex<Vec<(FileNumber, Arc<HostHandle>)>>,
}

impl HostFiles {
    /// Opens the directory `path`, and says what it is.
    pub(super) fn new(path: &Path) -> io::Result<(Self, Stat)> {
        let root = Arc::new(sys::open_directory(path)?);
        let stat = sys::stat_of(&*root)?;
        let mut files = Self {
            root,
            root_path: path.to_owned(),
            names: NameList::default(),
            records: Vec::new(),
            open: Mutex::default(),
        };
        files.add(FileNumber::ROOT, b"", &stat, Some(Ino::ROOT))?;
        Ok((files, stat))
    }

    /// Remembers the directory or file `name` in `parent` as `stat` shows it, and which inode of a base it is.
    pub(super) fn add(
        &mut self,
        parent: FileNumber,
        name: &[u8],
        stat: &Stat,
        base: Option<Ino>,
    ) -> io::Result<FileNumber> {
        let too_many = || io::Error::other("a source has too many files, or too long names");
        let number = u32::try_from(self.records.len()).map_err(|_| too_many())?;
        self.records.push(Record {
            fingerprint: Fingerprint::of(stat),
            base: base.unwrap_or_default(),
            name: self.names.push(name).ok_or_else(too_many)?,
            parent,
        });
        Ok(FileNumber(number))
    }

    /// Which inode of a base the directory or file is.
    pub(super) fn base_of(&self, number: FileNumber) -> Option<Ino> {
        let base = self.records.get(number.index())?.base;
        (base.get() > 0).then_some(base)
    }

    /// The path of `name` in `parent`, as the walk's root was called.
    pub(super) fn path_of(&self, parent: FileNumber, name: &[u8]) -> Vec<u8> {
        let mut path = self.path(parent);
        push_name(&mut path, name);
        path
    }

    /// The path of a directory or file from the walk's root, without a slash in front, unless it is
    /// longer than `most` bytes.
    pub(super) fn path_below(&self, number: FileNumber, most: usize) -> Option<Vec<u8>> {
        let mut bytes = 0;
        for number in self.line(number) {
            bytes += 1 + self.name(number).len();
            if bytes > most {
                return None;
            }
        }
        let mut path = Vec::with_capacity(bytes);
        self.push_line(&mut path, number);
        Some(path)
    }

    /// The path of a directory or file.
    pub(super) fn path(&self, number: FileNumber) -> Vec<u8> {
        let mut path = self.root_path.as_os_str().as_encoded_bytes().to_vec();
        self.push_line(&mut path, number);
        path
    }

    fn push_line(&self, path: &mut Vec<u8>, number: FileNumber) {
        let line: Vec<FileNumber> = self.line(number).collect();
        for number in line.into_iter().rev() {
            push_name(path, self.name(number));
        }
    }

    /// The directory `number`, open.
    ///
    /// # Errors
    /// Where it cannot be reached, or is another by now.
    pub(super) fn directory(&self, number: FileNumber) -> io::Result<Arc<HostHandle>> {
        // Mostly the last one that was asked for.
        if let Some(directory) = self.recall(number) {
            return Ok(directory);
        }
        // What is open is sought nearby first: a tree may be as deep as it has directories.
        let mut within = FIRST_STEPS;
        loop {
            let missing: Vec<FileNumber> = self.line(number).take(within).collect();
            let reaches_root = missing.len() < within;
            let mut ways = (0..).zip(&missing);
            let above = ways.find_map(|(steps, number)| Some((steps, self.recall(*number)?)));
            if let Some((steps, directory)) = above {
                return self.descend(directory, &missing[..steps]);
            }
            if reaches_root {
                return self.descend(self.root.clone(), &missing);
            }
            if let Some((steps, directory)) = self.ascend(&missing) {
                return self.descend(directory, &missing[..steps]);
            }
            within = within.saturating_mul(4);
        }
    }

    /// Opens the directories `missing`, from the last to the first, the last of which is in `directory`.
    fn descend(
        &self,
        mut directory: Arc<HostHandle>,
        missing: &[FileNumber],
    ) -> io::Result<Arc<HostHandle>> {
        for (after, number) in missing.iter().enumerate().rev() {
            let file = sys::open_directory_at(&*directory, self.name(*number))?;
            self.verify(*number, &file)?;
            directory = Arc::new(file);
            if after < OPEN_ON_THE_WAY {
                self.remember(*number, directory.clone());
            }
        }
        Ok(directory)
    }

    /// One of the directories `line`, each of which lies in the one behind it, with its place among them,
    /// reached from an open one below it in as few steps as they are: whoever comes up from the bottom
    /// of a deep tree would otherwise go all the way down to each directory on the way.
    fn ascend(&self, line: &[FileNumber]) -> Option<(usize, Arc<HostHandle>)> {
        let places: HashMap<FileNumber, usize> = line.iter().copied().zip(0..).collect();
        let open = {
            let open = self.open.lock();
            open.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let ways = open.into_iter().filter_map(|(below, file)| {
            let mut above = (0..).zip(self.line(below).take(line.len() + 1));
            let (up, at) = above.find(|(_, at)| places.contains_key(at))?;
            Some((up, places[&at], file))
        });
        let (up, place, below) = ways.min_by_key(|(up, place, _)| up + place)?;
        let climb =
            |file: Arc<HostHandle>, _| Some(Arc::new(sys::open_directory_at(&*file, b"..").ok()?));
        let directory = (0..up).try_fold(below, climb)?;
        // One on the way may have been moved.
        self.verify(line[place], &directory).ok()?;
        self.remember(line[place], directory.clone());
        Some((place, directory))
    }

    /// Keeps the directory `number` open for what is read next.
    pub(super) fn remember(&self, number: FileNumber, directory: Arc<HostHandle>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(other, _)| *other != number);
        if open.len() == OPEN_DIRECTORIES {
            open.remove(0);
        }
        open.push((number, directory));
    }

    /// Opens what is now the regular file `number`; whether it is still the one that was declared
    /// shows once it is read.
    pub(super) fn file(&self, number: FileNumber) -> io::Result<HostHandle> {
        let record = self.records.get(number.index()).ok_or_else(changed)?;
        let directory = self.directory(record.parent).map_err(gone)?;
        sys::open_file_at(&*directory, self.name(number)).map_err(gone)
    }

    /// Says whether `file` is still what was remembered as `number`.
    fn verify(&self, number: FileNumber, file: &HostHandle) -> io::Result<()> {
        let stat = sys::stat_of(file)?;
        if Fingerprint::of(&stat) != self.records[number.index()].fingerprint {
            return Err(changed());
        }
        Ok(())
    }

    fn recall(&self, number: FileNumber) -> Option<Arc<HostHandle>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().rposition(|(other, _)| *other == number)?;
        let found = open.remove(at);
        let directory = found.1.clone();
        open.push(found);
        Some(directory)
    }

    /// `number` and the directories above it, upwards to the one below the root.
    fn line(&self, number: FileNumber) -> impl Iterator<Item = FileNumber> {
        let below_root = |number: &FileNumber| *number != FileNumber::ROOT;
        let parent = move |number: &FileNumber| Some(self.records[number.index()].parent);
        std::iter::successors(Some(number), parent).take_while(below_root)
    }

    fn name(&self, number: FileNumber) -> &[u8] {
        self.names.get(self.records[number.index()].name)
    }
}

/// Puts `name` behind `path`; the root's name is empty, and so is its path below itself.
pub(super) fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !name.is_empty() && !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Whether two answers about a file are about the same one, unchanged.
pub(super) fn same_file(a: &Stat, b: &Stat) -> bool {
    a.file_type == b.file_type && Fingerprint::of(a) == Fingerprint::of(b)
}

/// A file that is not what it was.
pub(super) fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "changed while it was read")
}

/// Whether `error` says that a file known to have been there is not there, or is another.
pub(super) fn means_changed(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotADirectory, NotFound, StaleNetworkFileHandle};
    matches!(
        error.kind(),
        InvalidData | NotADirectory | NotFound | StaleNetworkFileHandle
    ) || sys::means_other_type(error)
}

fn gone(error: io::Error) -> io::Error {
    if means_changed(&error) {
        changed()
    } else {
        error
    }
}

/// The contents of [`HostFiles`], readable once the walk is over.
#[derive(Debug, Default)]
pub(super) struct HostContents(OnceLock<HostFiles>);

impl HostContents {
    /// Lets the contents be read.
    pub(super) fn set(&self, files: HostFiles) {
        // One walk makes one HostContents and ends once, so there is nothing to replace.
        let _ = self.0.set(files);
    }
}

impl ContentSource for HostContents {
    fn access(&self, _key: ContentKey) -> Access {
        Access::Anywhere
    }

    fn unchanged(&self, key: ContentKey) -> Option<Ino> {
        self.0.get()?.base_of(FileNumber::of_key(key)?)
    }

    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        let unfinished = || io::Error::other("its source was not declared to the end");
        let files = self.0.get().ok_or_else(unfinished)?;
        let number = FileNumber::of_key(key).ok_or_else(changed)?;
        let file = files.file(number)?;
        if key & HAS_HOLES != 0 {
            sys::read_no_further(&file);
        }
        Ok(Box::new(HostReader {
            files,
            number,
            file,
        }))
    }

    fn lies_in(&self, key: ContentKey, file: &fs::File) -> bool {
        let record = || {
            let number = FileNumber::of_key(key)?;
            self.0.get()?.records.get(number.index())
        };
        let is_it = |record: &Record| {
            let stat = sys::stat_of_file(file);
            stat.is_ok_and(|stat| Fingerprint::of(&stat) == record.fingerprint)
        };
        record().is_some_and(is_it)
    }

    fn describe(&self, key: ContentKey) -> Vec<u8> {
        let number = FileNumber::of_key(key);
        match (self.0.get(), number) {
            (Some(files), Some(number)) if number.index() < files.records.len() => {
                files.path(number)
            }
            _ => b"a file of the source".to_vec(),
        }
    }
}

struct HostReader<'a> {
    files: &'a HostFiles,
    number: FileNumber,
    file: HostHandle,
}

impl ContentReader for HostReader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match sys::read_exact_at(&self.file, offset, buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(changed()),
            // What took the file's place may be nothing to read from.
            Err(error) => self.finish().and(Err(error)),
            Ok(()) => Ok(()),
        }
    }

    fn stored(&mut self, range: Range<u64>) -> io::Result<Option<Stored<'_>>> {
        let file = &self.file;
        Ok(Some(Stored { file, range }))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.files.verify(self.number, &self.file)
    }
}
