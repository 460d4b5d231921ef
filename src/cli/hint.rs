//! Given a word that names nothing, finds what is called nearly so; never decides what was meant.

use crate::options::{
    ExtendedOptionError, SettingsErrorKind, SettingsWarning, SettingsWarningKind, choices,
};

/// How alike two words have to be, from 0 to 1: as much as clap wants for flags.
const ALIKE: f64 = 0.7;

/// What may have been meant where options are refused; empty where nothing is like it.
pub(super) fn of_error(refusal: &SettingsErrorKind) -> String {
    match refusal {
        SettingsErrorKind::Features { word, .. } => nearest(word, &choices::feature_names()),
        SettingsErrorKind::TypeUndefined(name) => nearest(name, &choices::type_names()),
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
pub(super) fn of_warning(warning: &SettingsWarning) -> String {
    match warning.kind() {
        SettingsWarningKind::UsageUndefined(name) | SettingsWarningKind::TypeUndefined(name) => {
            nearest(name, &choices::type_names())
        }
        _ => String::new(),
    }
}

pub(super) fn nearest(word: &str, known: &[String]) -> String {
    let word = word.to_ascii_lowercase();
    let alike = known.iter().map(|name| (strsim::jaro(&word, name), name));
    let alike = alike.filter(|(alike, _)| *alike > ALIKE);
    let nearest = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    nearest.map_or_else(String::new, |(_, name)| format!("; did you mean '{name}'?"))
}
