//! Given the tables that options are read by, lists what can be chosen, for help and for hints; never
//! reads an option.

use super::Conf;
use super::extended::ROWS;
use super::features::edit_features;
use super::profile::{Profile, TYPES};
use crate::feature::{ALIASES, Feature, FeatureSet};

/// A word that can be chosen.
pub(crate) struct Choice {
    /// The word.
    pub(crate) name: &'static str,
    /// What follows it, such as `=BYTES`.
    pub(crate) value: &'static str,
    /// What it means, what holds without it, and the first kernel that knows it.
    pub(crate) about: String,
}

/// What `-E` takes.
pub(crate) fn extended_options() -> Vec<Choice> {
    let choice = |row: &'static super::extended::Row| {
        let kernel = row.kernel.unwrap_or("any");
        Choice {
            name: row.name,
            value: row.value,
            about: format!("{} [default: {}; kernel: {kernel}]", row.about, row.default),
        }
    };
    ROWS.iter().map(choice).collect()
}

/// What `-O` takes.
pub(crate) fn features() -> Vec<Choice> {
    let types = ["ext2", "ext3", "ext4"].map(|name| (name, default_features(name)));
    let choice = |feature: &Feature| {
        let with = types.iter().filter(|(_, set)| set.has(*feature));
        let with: Vec<&str> = with.map(|(name, _)| *name).collect();
        let default = if with.is_empty() {
            "off".to_owned()
        } else {
            with.join(", ")
        };
        let alias = ALIASES.iter().find(|(_, aliased)| aliased == feature);
        let alias = alias.map_or(String::new(), |(name, _)| format!("; also called {name}"));
        Choice {
            name: feature.name(),
            value: "",
            about: format!(
                "{} [default: {default}; kernel: {}{alias}]",
                feature.about().trim_end_matches('.').replace('`', ""),
                feature.kernel(),
            ),
        }
    };
    Feature::ALL.iter().map(choice).collect()
}

/// The features of a type that is built in, unless more is asked for.
fn default_features(name: &str) -> FeatureSet {
    let profile = Profile::built_in();
    let own = profile
        .fs_type(name)
        .and_then(|rules| rules.features.as_deref());
    let base = profile.defaults.base_features.as_deref();
    let edited = |set, text: &str| edit_features(set, text).unwrap_or(set);
    base.into_iter().chain(own).fold(FeatureSet::EMPTY, edited)
}

/// What `-T` takes where no configuration says otherwise.
pub(crate) fn usage_types() -> Vec<Choice> {
    let profile = Profile::built_in();
    let by_default = &profile.defaults;
    let usage = TYPES
        .iter()
        .filter(|built_in| !built_in.name.starts_with("ext"));
    let choice = |built_in: &'static super::profile::BuiltIn| {
        let rules = profile.fs_type(built_in.name).unwrap_or(by_default);
        let number = |own: Option<i64>, default: Option<i64>| {
            let own = own.filter(|number| *number > 0);
            own.or(default).unwrap_or_default()
        };
        Choice {
            name: built_in.name,
            value: "",
            about: format!(
                "{}: one inode per {} bytes, blocks of {} bytes, inodes of {} bytes",
                built_in.about,
                number(rules.inode_ratio, by_default.inode_ratio),
                number(rules.blocksize, by_default.blocksize),
                number(rules.inode_size, by_default.inode_size),
            ),
        }
    };
    usage.map(choice).collect()
}

/// The names that `-O` takes.
pub(crate) fn feature_names() -> Vec<String> {
    let names = Feature::ALL.iter().map(|feature| feature.name());
    let aliases = ALIASES.iter().map(|(name, _)| *name);
    names.chain(aliases).map(str::to_owned).collect()
}

/// The types that `-t` and `-T` take, by `conf` if that can be read, and else by the built-in rules.
pub(crate) fn type_names(conf: Option<&Conf>) -> Vec<String> {
    let text = conf.and_then(|conf| conf.text.as_ref().ok());
    let profile = text.and_then(|text| Profile::parse(text).ok());
    let profile = profile.unwrap_or_else(Profile::built_in);
    let names = profile.type_names().chain(["ext2"]);
    names.map(str::to_owned).collect()
}
