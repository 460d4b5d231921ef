//! The files in the archive ZIP in a new file IMAGE, each uncompressed when its turn comes.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::DeflateDecoder;
use mke4fs::{Builder, Content, Tree};
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

/// Where a file lies in the archive.
struct Member {
    archive: PathBuf,
    range: (u64, u64),
    is_deflated: bool,
}

impl Member {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.archive)?;
        let (start, end) = self.range;
        file.seek(SeekFrom::Start(start))?;
        let bytes = BufReader::new(file.take(end - start));
        if self.is_deflated {
            Ok(Box::new(DeflateDecoder::new(bytes)))
        } else {
            Ok(Box::new(bytes))
        }
    }
}

fn tree(path: &Path) -> Result<Tree, Box<dyn Error>> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(File::open(path)?, &mut buffer)?;
    let mut entries = archive.entries(&mut buffer);
    let mut tree = Tree::new();
    while let Some(entry) = entries.next_entry()? {
        let name = entry.file_path();
        let mode = u16::try_from(entry.mode().value() & 0o7777)?;
        if entry.is_dir() {
            tree.directory(name)?.permissions(mode);
            continue;
        }
        let member = Member {
            archive: path.to_owned(),
            range: archive
                .get_entry(entry.wayfinder())?
                .compressed_data_range(),
            is_deflated: entry.compression_method() == CompressionMethod::DEFLATE,
        };
        let size = entry.uncompressed_size_hint();
        let content = Content::from_fn(size, move || member.open());
        tree.file(name, content)?.permissions(mode);
    }
    Ok(tree)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [archive, image] = &arguments[..] else {
        return Err("usage: zip ZIP IMAGE".into());
    };
    Builder::new().source(tree(archive)?).write_file(image)?;
    Ok(())
}
