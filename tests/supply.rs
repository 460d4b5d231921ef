//! Given the crates that this one needs, proves that they build with the Rust that it says it needs;
//! cargo-deny, which `.ci/supply-chain` asks, says the rest.

use std::process::Command;

use serde_json::Value;

/// A Rust version as numbers: `1.89` and `1.89.0` are the same.
fn version(text: &str) -> Vec<u64> {
    let mut parts: Vec<u64> = text
        .split('.')
        .map(|part| part.parse().expect("a version is numbers"))
        .collect();
    parts.resize(3, 0);
    parts
}

/// The packages that `cargo metadata` lists for this one.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

#[test]
fn no_dependency_needs_a_later_rust() {
    let metadata = metadata();
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 20, "{} packages", packages.len());
    let later: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let needed = package["rust_version"].as_str()?;
            let (name, its) = (&package["name"], &package["version"]);
            (version(needed) > ours).then(|| format!("{name} {its} needs Rust {needed}"))
        })
        .collect();
    assert!(later.is_empty(), "{}", later.join("\n"));
}
