//! Trees that are made by chance, each in an image that is then checked.

use std::error::Error;

use mke4fs::{Builder, Fit, Tree, check};

/// xorshift64
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn tree(mut chance: Chance) -> Result<Tree, Box<dyn Error>> {
    let mut tree = Tree::new();
    for number in 0..chance.below(50) {
        let path = format!("{}/{}/n{number}", chance.below(5), chance.below(5));
        let data = vec![b'x'; usize::try_from(chance.below(100_000))?];
        let mode = u16::try_from(chance.below(0o10000))?;
        let uid = u32::try_from(chance.below(1 << 32))?;
        tree.file(path, data)?.permissions(mode).owner(uid, 0);
    }
    Ok(tree)
}

fn main() -> Result<(), Box<dyn Error>> {
    for seed in 1..=20 {
        let builder = Builder::new().reproducible().source(tree(Chance(seed))?);
        let report = check(&builder.fit(Fit::Minimum).to_vec()?);
        assert!(report.is_clean(), "seed {seed}: {report}");
    }
    Ok(())
}
