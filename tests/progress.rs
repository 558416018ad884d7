//! What a compaction shows of itself while it runs: a line that is drawn again on a terminal, and no control characters
//! anywhere else.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{path::Path, process::Command};

use support::{lake, millrace, number, python::python, record, root};

/// Objects, and readings in each.
const OBJECTS: u32 = 80;
const ROWS: u32 = 5_000;
/// What a terminal's line is drawn over with.
const ERASE: &str = "\r\u{1b}[2K";
/// How often the line is drawn before the compaction is ended.
const DRAWS: &str = "4";

fn compact(lake: &Path, home: &Path) -> Command {
    let mut command = millrace();
    command.args(["compact", "sensors", "--lake"]).arg(lake);
    command.arg("--table").arg(home.join("table")).arg("--out").arg(home.join("out"));
    command
}

/// `12/80` of a line, as numbers; the second may still be growing.
fn objects(line: &str) -> (u32, u32) {
    let (done, found) = line.split_whitespace().nth(1).unwrap().split_once('/').unwrap();
    (done.parse().unwrap(), found.trim_end_matches('+').parse().unwrap())
}

#[test]
fn a_compaction_shows_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (home, lake_folder) = (folder.path(), folder.path().join("lake"));
    for object in 0..OBJECTS {
        let line = |row: u32| lake::reading(object, row, u64::from(object * ROWS + row)) + "\n";
        lake::object(&lake_folder, &format!("{object:03}.gz"), (0..ROWS).map(line).collect::<String>().as_bytes());
    }

    // However fast the machine, it waits after the first commit, and is shown there.
    let mut on_terminal = compact(&lake_folder, &home.join("a"));
    on_terminal.args(["--hold-at", "after-commit:1"]);
    let mut terminal = Command::new(python());
    terminal.arg(root().join("tests/python/terminal.py")).arg(DRAWS).arg(on_terminal.get_program());
    terminal.args(on_terminal.get_args()).env("TERM", "xterm").current_dir(root());
    let output = terminal.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    // Where the process waits it says so, behind a line.
    let lines = shown.split(ERASE).filter_map(|line| line.split('\u{1b}').next());
    let lines: Vec<&str> = lines.filter(|line| line.contains(" ETA ")).collect();
    assert!(lines.len() >= 3, "{shown}");
    for pair in lines.windows(2) {
        assert!(objects(pair[0]).0 <= objects(pair[1]).0, "{pair:?}");
    }
    for line in &lines {
        let (done, found) = objects(line);
        assert!(done <= found && found <= OBJECTS && line.trim_end().chars().count() <= 100, "{line}");
    }
    let (done, found) = objects(lines.last().unwrap());
    assert!(done > 0 && found == OBJECTS, "{shown}");
    assert!(lines.last().unwrap().contains(" rows "), "{shown}");

    let plain = compact(&lake_folder, &home.join("b")).output().unwrap();
    assert!(plain.status.success());
    for text in [plain.stdout, plain.stderr] {
        let text = String::from_utf8(text).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
    assert_eq!(number(&record(&home.join("b/out")), "compaction.rows"), u64::from(OBJECTS * ROWS));
}
