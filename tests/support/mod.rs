//! What the end-to-end tests share: the built binary, the independent readers, a browser.

#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod browser;
pub mod lake;
pub mod node;
pub mod proxy;
pub mod python;
pub mod server;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// The binary under test, with nothing of the caller's AWS configuration.
pub fn millrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_") || name == "RUST_LOG" || name == "NO_COLOR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary and shows both streams when a test fails.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the binary starts");
    println!("$ {command:?}\n-> {}", output.status);
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs the binary and checks its exit code; gives stdout and stderr.
pub fn expect_exit(command: &mut Command, code: i32) -> (String, String) {
    let output = run(command);
    assert_eq!(output.status.code(), Some(code), "exit code of {command:?}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A measured run: it passes, or says that this machine was too busy for its measurement to be valid, and has the whole
/// machine to itself as far as these tests go. Every promise but the harness's is kept either way.
pub fn measure(command: &mut Command, out: &Path) -> (Value, String) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = run(command);
    drop(alone);
    assert!(matches!(output.status.code(), Some(0 | 4)), "exit code of {command:?}: {}", output.status);
    let record = record(out);
    for promise in at(&record, "verdict.promises").as_array().expect("promises") {
        assert!(promise["kept"] == true || promise["kind"] == "harness", "{promise:#}");
    }
    (record, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A run's record.
pub fn record(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("run.json")).expect("the run wrote run.json");
    serde_json::from_str(&text).expect("run.json is JSON")
}

/// The value at a path such as `load.accepted` or `queries.0.name`.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, key| match key.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[key],
    })
}

/// An unsigned number at a path.
pub fn number(value: &Value, path: &str) -> u64 {
    at(value, path).as_u64().unwrap_or_else(|| panic!("{path} is not a count in {value:#}"))
}

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Real input that may lie beside the project; `None`, with a printed reason, where it does not.
pub fn real_data(path: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}
