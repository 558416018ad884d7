//! `docs/fidelity.md` keeps its word: every test it names exists, and every operation that is served has its row.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use support::root;

/// The cells of each row of a Markdown table's body, under a heading.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = text.split("\n## ").find(|s| s.starts_with(heading)).expect("the heading is there");
    let cells = |line: &'a str| line.trim_matches('|').split('|').map(str::trim).collect();
    section.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of every test in the sources below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a source folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.extend(tests_in(&fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// The names of the functions that are marked as tests.
fn tests_in(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim_start) {
        marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let (true, Some(name)) = (marked, name) {
            names.push(name.to_owned());
            marked = false;
        }
    }
    names
}

fn fidelity() -> String {
    fs::read_to_string(root().join("docs/fidelity.md")).expect("docs/fidelity.md is there")
}

#[test]
fn every_test_the_conformance_table_names_exists() {
    let mut tests = BTreeSet::new();
    for folder in ["tests", "pipeline/src", "src"] {
        tests_below(&root().join(folder), &mut tests);
    }
    let text = fidelity();
    let mut named = 0;
    for heading in ["Who uses it unmodified", "Operations", "Limits", "Errors and the wire", "Firehose"] {
        for row in rows(&text, heading) {
            let shown_by: Vec<_> = quoted(row.last().expect("a row has cells")).collect();
            assert!(!shown_by.is_empty(), "no test shows {:?}", row[0]);
            for name in shown_by {
                assert!(tests.contains(name), "{name}, which is to show {:?}, is no test", row[0]);
                named += 1;
            }
        }
    }
    assert!(named > 100, "{named} tests are named");
}

#[test]
fn every_operation_that_is_served_has_a_row_and_no_other() {
    let source = fs::read_to_string(root().join("pipeline/src/stream/operations.rs")).unwrap();
    let (_, list) = source.split_once("\noperations! {\n").expect("the list of operations");
    let (list, _) = list.split_once("\n}").expect("its end");
    let served: Vec<_> = list.lines().filter_map(|line| line.trim().split_once(" => ")).map(|(name, _)| name).collect();
    assert!(served.len() >= 40, "{served:?}");
    let text = fidelity();
    let described: Vec<_> = rows(&text, "Operations")
        .into_iter()
        .map(|row| row[0])
        .filter(|name| !name.starts_with("every other"))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn a_test_is_known_by_its_mark() {
    let source = "#[test]\nfn one() {}\nfn helper() {}\n#[tokio::test]\nasync fn two() {}\n    #[test]\n    #[cfg(x)]\n    fn three(a in 0..2) {}\n";
    assert_eq!(tests_in(source), ["one", "two", "three"]);
}
