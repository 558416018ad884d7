//! What the project stands on: licences it may use, one source, one version of each big crate.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Licences that allow use in a permissively licensed program (MPL-2.0 asks only for changes to its own files, and there
/// are none). An expression passes when one of its alternatives does.
const ALLOWED: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// Crates whose second version would cost minutes of every build.
const ONCE: [&str; 14] = [
    "arrow",
    "parquet",
    "datafusion",
    "deltalake-core",
    "polars-core",
    "object_store",
    "aws-sdk-kinesis",
    "aws-sdk-s3",
    "tokio",
    "hyper",
    "rustls",
    "sqlparser",
    "serde_json",
    "hdrhistogram",
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// Whether an SPDX expression can be met with allowed licences: every AND part needs one allowed OR alternative.
fn allowed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    flat.split(" AND ").all(|part| part.split(" OR ").any(|licence| ALLOWED.contains(&licence.trim())))
}

#[test]
fn the_licence_check_knows_a_licence_it_must_refuse() {
    assert!(allowed("MIT OR Apache-2.0"));
    assert!(allowed("GPL-3.0 OR MIT"));
    assert!(!allowed("AGPL-3.0-only"));
    assert!(!allowed("MIT AND GPL-2.0"));
}

#[test]
fn every_dependency_has_a_licence_that_allows_its_use() {
    let refused: Vec<_> = packages()
        .iter()
        .filter(|p| !p["license"].as_str().is_some_and(allowed) && p["license_file"].is_null())
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn every_dependency_comes_from_the_registry_and_none_is_yanked_into_a_fork() {
    for package in packages() {
        let source = package["source"].as_str().unwrap_or("the workspace");
        assert!(
            source == "the workspace" || source.starts_with("registry+"),
            "{} comes from {source}",
            package["name"]
        );
    }
}

#[test]
fn each_big_crate_is_built_once() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        versions.entry(name).or_default().push(package["version"].to_string());
    }
    for name in ONCE {
        assert_eq!(versions.get(name).map(Vec::len), Some(1), "{name}: {:?}", versions.get(name));
    }
}
