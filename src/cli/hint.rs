//! Given a word that names nothing, finds what is called nearly so; never decides what was meant.

use crate::options::{
    Conf, ExtendedOptionError, SettingsErrorKind, SettingsWarning, SettingsWarningKind, choices,
};

/// How alike two words have to be, from 0 to 1: as much as clap wants for flags.
const ALIKE: f64 = 0.7;

/// The same of a verb, which is short: a file may be called nearly so.
const ALIKE_VERB: f64 = 0.8;

/// What may have been meant where options are refused; empty where nothing is like it. `conf` has types of
/// its own.
pub(super) fn of_error(refusal: &SettingsErrorKind, conf: Option<&Conf>) -> String {
    match refusal {
        SettingsErrorKind::Features { word, .. } => nearest(word, &choices::feature_names()),
        SettingsErrorKind::TypeUndefined(name) => nearest(name, &choices::type_names(conf)),
        SettingsErrorKind::Extended { errors, .. } => {
            let unknown = errors.iter().find_map(|error| match error {
                ExtendedOptionError::Unknown(name) => Some(name),
                _ => None,
            });
            let names = choices::extended_options()
                .into_iter()
                .map(|it| it.name.to_owned());
            unknown.map_or_else(String::new, |name| {
                nearest(name, &names.collect::<Vec<_>>())
            })
        }
        _ => String::new(),
    }
}

/// The same where options are remarkable.
pub(super) fn of_warning(warning: &SettingsWarning, conf: Option<&Conf>) -> String {
    match warning.kind() {
        SettingsWarningKind::UsageUndefined(name) | SettingsWarningKind::TypeUndefined(name) => {
            nearest(name, &choices::type_names(conf))
        }
        _ => String::new(),
    }
}

/// The one of `verbs` that `word` may have been meant for.
pub(super) fn of_verb<'a>(word: &str, verbs: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    most_alike(word, verbs, ALIKE_VERB)
}

pub(super) fn nearest(word: &str, known: &[String]) -> String {
    let nearest = most_alike(word, known.iter().map(String::as_str), ALIKE);
    nearest.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

/// The one of `known` that is most like `word`, and more than `least`.
fn most_alike<'a>(word: &str, known: impl Iterator<Item = &'a str>, least: f64) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let alike = known.map(|name| (strsim::jaro(&word, name), name));
    let alike = alike.filter(|(alike, _)| *alike > least);
    let nearest = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    nearest.map(|(_, name)| name)
}
