//! Given what was measured, says whether it is within what is claimed; never measures.

use super::contenders::{
    ARCBOX, FLOOR, GZIP, MKE4FS, MKE4FS_ALONE, MKE4FS_OCI, MKE4FS_TAR, MKE4FS_ZSTD, MKEXT4, TAR_XF,
    ZSTD,
};
use super::table::Times;

/// What one contender may take at most of the fastest of others.
struct Claim {
    of: &'static str,
    others: &'static [&'static str],
    most: f64,
}

const CLAIMS: [Claim; 6] = [
    claim(MKE4FS, &[MKEXT4], 0.55),
    claim(MKE4FS, &[FLOOR], 1.25),
    claim(MKE4FS_ALONE, &[MKEXT4], 0.85),
    claim(MKE4FS_TAR, &[ARCBOX, TAR_XF], 0.6),
    claim(MKE4FS_ZSTD, &[ZSTD], 1.15),
    claim(MKE4FS_OCI, &[GZIP], 1.1),
];

const fn claim(of: &'static str, others: &'static [&'static str], most: f64) -> Claim {
    Claim { of, others, most }
}

/// One line of the table at the end.
pub(crate) struct Verdict {
    pub(crate) work: String,
    /// What was measured, and against what.
    pub(crate) measured: String,
    /// How much it is of what it is held against, or by itself.
    pub(crate) value: f64,
    pub(crate) most: f64,
    /// How far apart the runs were, in percent of the median.
    pub(crate) spread: f64,
}

/// What the times of all contenders at `work` say of the claims about them; a claim about one that
/// did not run is left out.
pub(crate) fn of_times(work: &str, times: &[(&'static str, Times)]) -> Vec<Verdict> {
    let find = |name: &str| times.iter().find(|(other, _)| *other == name);
    let verdict = |claim: &Claim| {
        let (name, own) = find(claim.of)?;
        let others = claim.others.iter().filter_map(|name| find(name));
        let (base, least) = others.min_by(|(_, a), (_, b)| a.median().total_cmp(&b.median()))?;
        Some(Verdict {
            work: work.to_owned(),
            measured: format!("{name}, of {base}"),
            value: own.median() / least.median(),
            most: claim.most,
            spread: own.spread(),
        })
    };
    CLAIMS.iter().filter_map(verdict).collect()
}

/// Prints all of them.
pub(crate) fn print(verdicts: &[Verdict]) {
    println!("\n| work | measured | is | at most | holds | spread |\n|---|---|---|---|---|---|");
    for verdict in verdicts {
        let Verdict {
            work,
            measured,
            value,
            most,
            spread,
        } = verdict;
        let holds = if value <= most { "yes" } else { "no" };
        println!("| {work} | {measured} | {value:.2} | {most} | {holds} | {spread:.0} % |");
    }
}
