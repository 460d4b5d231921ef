//! Given the feature bits of an image and targets, says which of them suit each other; never reads the image.

use std::ffi::OsStr;
use std::process::ExitCode;

use super::check::{Form, status_if};
use crate::feature::Word;
use crate::json::Object;
use crate::options::{CompatTarget, Verdict, name_of_bit};
use crate::source::Readable;

/// What targets make of an image's features.
pub(super) struct Suited(Vec<One>);

/// What one target makes of them.
struct One {
    target: CompatTarget,
    /// By the names of the features.
    verdicts: Vec<(String, Verdict)>,
}

impl One {
    fn suits(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| verdict.suits())
    }

    /// The features that keep it from being of full use.
    fn faults(&self) -> Vec<&str> {
        let faults = self.verdicts.iter().filter(|(_, verdict)| !verdict.suits());
        faults.map(|(name, _)| name.as_str()).collect()
    }
}

impl Suited {
    pub(super) fn of(bits: &[(Word, u32)], targets: &[CompatTarget]) -> Self {
        let one = |target: &CompatTarget| One {
            target: *target,
            verdicts: bits
                .iter()
                .map(|(word, bit)| (name_of_bit(*word, *bit), target.verdict_of_bit(*word, *bit)))
                .collect(),
        };
        Self(targets.iter().map(one).collect())
    }

    /// The status that says whether the image suits all of them.
    pub(super) fn status(&self) -> ExitCode {
        status_if(self.0.iter().all(One::suits))
    }

    /// What is said of `image`.
    pub(super) fn told(&self, image: &OsStr, form: Form) -> String {
        match form {
            Form::Quiet => String::new(),
            Form::Json => self.json(image),
            Form::Text => self.text(&Readable(image.as_encoded_bytes()).to_string()),
        }
    }

    fn text(&self, path: &str) -> String {
        let mut lines = Vec::new();
        for one in &self.0 {
            let target = one.target.name();
            for (name, verdict) in &one.verdicts {
                lines.push(format!("{path}: {name}: {target} {}\n", verdict.words()));
            }
            let end = match one.faults()[..] {
                [] => format!("{path}: suitable for {target}\n"),
                ref faults => format!("{path}: not suitable for {target}: {}\n", faults.join(", ")),
            };
            lines.push(end);
        }
        lines.concat()
    }

    fn json(&self, image: &OsStr) -> String {
        let feature = |(name, verdict): &(String, Verdict)| {
            let mut object = Object::new();
            object.text("name", name).text("verdict", word(*verdict));
            object
        };
        let target = |one: &One| {
            let mut object = Object::new();
            object
                .text("name", one.target.name())
                .truth("suits", one.suits())
                .objects("features", one.verdicts.iter().map(feature));
            object
        };
        let mut object = Object::new();
        object
            .bytes("path", image.as_encoded_bytes())
            .truth("suits", self.0.iter().all(One::suits))
            .objects("targets", self.0.iter().map(target));
        object.finish()
    }
}

/// A verdict in one word.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Takes => "takes",
        Verdict::Ignores => "ignores",
        Verdict::Avoids => "avoids",
        Verdict::ReadsOnly => "reads_only",
        Verdict::Refuses => "refuses",
    }
}
