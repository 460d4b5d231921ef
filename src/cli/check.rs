//! Given an image's name, prints what is wrong in it and gives the status; never writes to it.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use super::request::Request;
use super::{Failed, tell_surely, warn};
use crate::check::{CheckOptions, Finding, ImageFile, Report, check_with};
use crate::json::Object;
use crate::options::number;
use crate::source::Readable;
use crate::sys;

/// The status where something is wrong: the one by which e2fsck says that errors are left.
const FOUND: u8 = 4;

/// How what is found is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    /// By the status alone.
    Quiet,
}

impl Form {
    /// The one that is asked for.
    pub(super) fn asked(json: bool, quiet: bool) -> Self {
        if json {
            Self::Json
        } else if quiet {
            Self::Quiet
        } else {
            Self::Text
        }
    }
}

/// Checks the one image that `operands` name.
pub(super) fn run(request: &Request, operands: &[OsString]) -> Result<ExitCode, Failed> {
    let [image] = operands else {
        return fail(request, "--check takes one image, a file or a device");
    };
    let mut options = CheckOptions::default();
    for word in request.extended.iter().flat_map(|words| words.split(',')) {
        let offset = word.strip_prefix("offset=").and_then(number);
        match offset {
            Some(bytes) => options.offset_bytes = bytes,
            None => {
                let text = format!("invalid -E '{word}' with --check: must be offset=BYTES");
                return fail(request, &text);
            }
        }
    }
    let file = match ImageFile::open(Path::new(image)) {
        Ok(file) => file,
        Err(error) => {
            let path = Readable(image.as_encoded_bytes());
            let text = format!("cannot check {path}: {}", sys::reason(&error));
            return fail(request, &text);
        }
    };
    let report = check_with(&file, &options);
    let form = Form::asked(request.json, request.quiet);
    if let Err(error) = tell_surely(&told(image, &report, form)) {
        let text = format!("cannot write the findings: {}", sys::reason(&error));
        return fail(request, &text);
    }
    Ok(status(&report))
}

/// What is said of what was found in `image`.
pub(super) fn told(image: &OsStr, report: &Report, form: Form) -> String {
    match form {
        Form::Json => json(image, report),
        Form::Text => {
            let path = Readable(image.as_encoded_bytes()).to_string();
            text(&path, report)
        }
        Form::Quiet => String::new(),
    }
}

/// The status that says whether anything was found.
pub(super) fn status(report: &Report) -> ExitCode {
    status_if(report.is_clean())
}

/// The status that says whether all is well.
pub(super) fn status_if(is_well: bool) -> ExitCode {
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    }
}

fn fail<T>(request: &Request, text: &str) -> Result<T, Failed> {
    warn(&format!("{}: {text}\n", request.program));
    Err(Failed)
}

fn text(path: &str, report: &Report) -> String {
    let mut lines: String = report
        .findings
        .iter()
        .map(|finding| format!("{path}: {finding}\n"))
        .collect();
    let told = u64::try_from(report.findings.len()).unwrap_or(u64::MAX);
    match report.total.saturating_sub(told) {
        0 => {}
        more => lines.push_str(&format!("{path}: {more} more findings\n")),
    }
    if report.is_clean() {
        lines.push_str(&format!("{path}: no errors found\n"));
    }
    lines
}

fn json(image: &OsStr, report: &Report) -> String {
    let mut object = Object::new();
    object
        .bytes("path", image.as_encoded_bytes())
        .truth("clean", report.is_clean())
        .number("total", report.total)
        .objects("findings", report.findings.iter().map(finding));
    object.finish()
}

fn finding(finding: &Finding) -> Object {
    let mut object = Object::new();
    object.text("area", finding.area.name());
    let location = finding.location;
    let numbers = [
        ("group", location.group.map(|group| u64::from(group.get()))),
        ("inode", location.inode.map(|ino| u64::from(ino.get()))),
        ("block", location.block.map(|block| block.get())),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            object.number(name, number);
        }
    }
    object.text("fault", &finding.kind.to_string());
    object
}
