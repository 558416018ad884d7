//! Every command in the documents runs. A block of shell is run from top to bottom in one folder with the built binary.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Mutex,
    thread,
};

use support::root;

/// A shell block of a document.
struct Block {
    line: usize,
    commands: Vec<String>,
    /// Why it is not run, when the document says so in a comment above it.
    skipped: Option<String>,
}

/// The ```sh blocks of a Markdown text. `<!-- not run: reason -->` on the line before takes one out.
fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            Some(_) if line.starts_with("```") => found.extend(open.take()),
            Some(block) if !line.trim().is_empty() && !line.starts_with('#') => block.commands.push(line.to_owned()),
            Some(_) => {}
            None if line == "```sh" => {
                let reason = before.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"));
                open = Some(Block { line: number + 1, commands: Vec::new(), skipped: reason.map(str::to_owned) });
            }
            None => {}
        }
        if !line.trim().is_empty() {
            before = line;
        }
    }
    found
}

/// README.md and everything under docs/.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("README.md")];
    let docs = fs::read_dir(root().join("docs")).expect("docs/ is there").flatten().map(|e| e.path());
    documents.extend(docs.filter(|p| p.extension().is_some_and(|e| e == "md")));
    documents.sort();
    documents
}

/// What stands for the binary in a script. A machine that is busy with other things may honestly make a run
/// harness-limited (exit 4); then every other line of its verdict has to be ticked, and the block goes on. A command
/// line that is wrong (exit 2) is noted even where a document shows how a failure looks: only a scenario is broken on
/// purpose.
const STAND_IN: &str = r#"set -euo pipefail
millrace() {
  local said code=0
  said=$(mktemp -p .)
  "$MILLRACE" "$@" | tee "$said" || code=$?
  if [ "$code" = 4 ] && grep -q '^HARNESS-LIMITED ' "$said" && [ "$(grep -c '✗' "$said")" = 1 ] \
    && grep -q '✗ harness was not the limit' "$said"; then
    code=0
  fi
  rm "$said"
  if [ "$code" = 2 ] && [ "$1" != scenario ]; then echo "$*" >> misused; fi
  return "$code"
}
"#;

/// A block as a script: `millrace` and `cargo run --release --` both mean the built binary.
fn script(block: &Block) -> String {
    let commands = block.commands.join("\n").replace("cargo run --release --", "millrace");
    format!("{STAND_IN}{commands}\n")
}

/// Runs a script with something for the binary.
fn bash(script: &str, binary: &Path, folder: &Path) -> Output {
    Command::new("bash").arg("-c").arg(script).env("MILLRACE", binary).current_dir(folder).output().unwrap()
}

fn run(document: &Path) {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("scenarios"), folder.path().join("scenarios")).unwrap();
    for block in blocks(&fs::read_to_string(document).unwrap()) {
        let place = format!("{}:{}", document.display(), block.line);
        if let Some(reason) = &block.skipped {
            println!("{place} is not run: {reason}");
            continue;
        }
        println!("{place}: {:?}", block.commands);
        let output = bash(&script(&block), Path::new(env!("CARGO_BIN_EXE_millrace")), folder.path());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{place}: {}\n{}\n{out}{err}", output.status, block.commands.join("\n"));
        assert_eq!(misused(folder.path()), None, "{place}: the command line is wrong\n{out}{err}");
    }
}

/// The command lines that were wrong, if any were.
fn misused(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join("misused")).ok()
}

/// Each document has a folder of its own, so three run side by side, the longest first: most of their time they wait for a
/// load to end.
#[test]
fn every_command_in_the_documents_runs() {
    let mut documents = documents();
    documents.sort_by_key(|document| blocks(&fs::read_to_string(document).unwrap()).len());
    let documents = Mutex::new(documents);
    let next = || documents.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(document) = next() {
                    run(&document);
                }
            });
        }
    });
}

/// The shapes of a stage and what stands as their examples, from the table in docs/scenarios.md.
fn shapes() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/scenarios.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| `shape` |")).skip(2);
    let cells = rows.map_while(|line| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        Some((cells.next()?.to_owned(), cells.last()?.trim_matches('`').to_owned()))
    });
    cells.collect()
}

#[test]
fn every_example_of_a_stage_is_accepted_and_understood_as_its_shape() {
    let shapes = shapes();
    assert_eq!(shapes.len(), 6, "{shapes:?}");
    for (name, example) in shapes {
        let stages = format!("load.stages=[{example}]");
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        let output = command.args(["scenario", "check", "sensors", "--set", &stages]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
        let shape = example.split_once("shape = ").and_then(|(_, rest)| rest.split('"').nth(1));
        assert!(shape.is_none_or(|shape| name == format!("`{shape}`")), "{name}: {example}");
        let said = shape.map_or("rate = ".to_owned(), |shape| format!("shape = \"{shape}\""));
        assert!(printed.contains(&said), "{name}: {printed}");
    }
}

#[test]
fn a_block_that_fails_would_be_noticed() {
    let text = "x\n```sh\nfalse\n```\n<!-- not run: it installs -->\n```sh\ncargo install\n```\n";
    let found = blocks(text);
    assert_eq!((found.len(), found[0].skipped.is_none(), found[1].skipped.as_deref()), (2, true, Some("it installs")));
    let folder = tempfile::tempdir().unwrap();
    assert!(!bash(&script(&found[0]), Path::new("true"), folder.path()).status.success());
}

#[test]
fn a_run_that_only_the_machine_spoiled_is_no_failure_and_any_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let block = Block { line: 1, commands: vec!["millrace run x".to_owned(), "echo after".to_owned()], skipped: None };
    let limited = "HARNESS-LIMITED  x-1\n  ✗ harness was not the limit: late\n  ✓ producer\n";
    for (code, said, passes) in [
        (0, "PASS", true),
        (4, limited, true),
        (4, &format!("{limited}  ✗ stream   accepted 3 = read 2 + lost 0\n"), false),
        (4, "nothing", false),
        (1, limited, false),
    ] {
        let stand_in = folder.path().join("stand-in");
        fs::write(&stand_in, format!("#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit {code}\n")).unwrap();
        fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = bash(&script(&block), &stand_in, folder.path());
        assert_eq!(output.status.success(), passes, "exit {code}, {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).contains("after"), passes, "exit {code}, {said}");
    }
}

#[test]
fn a_wrong_command_line_is_noticed_where_a_failure_is_shown_and_a_broken_scenario_is_not() {
    for (command, wrong) in [("run x --set a=b", Some("run x --set a=b\n")), ("scenario check x", None)] {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = folder.path().join("stand-in");
        fs::write(&stand_in, "#!/bin/sh\nexit 2\n").unwrap();
        fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let block = Block { line: 1, commands: vec![format!("millrace {command} || echo failed")], skipped: None };
        assert!(bash(&script(&block), &stand_in, folder.path()).status.success());
        assert_eq!(misused(folder.path()).as_deref(), wrong);
    }
}

#[test]
fn documents_name_no_path_of_one_machine() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for private in ["/home/", "/Users/", "C:\\"] {
            assert!(!text.contains(private), "{} names {private}", document.display());
        }
    }
}
