//! The servers that are compared: how each is had, started and ended.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::options::Options;

const FERROKINESIS: &str = "0.7.0";
const KINESALITE: &str = "3.3.3";

/// A server that can be started.
#[derive(Debug)]
pub struct Rival {
    /// Its name and version.
    pub name: String,
    program: PathBuf,
    arguments: Vec<String>,
    /// It keeps a write-ahead log.
    logs: bool,
}

/// A started server; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its log is, which goes with it.
    _folder: Option<TempDir>,
}

/// Ours first, then the peers asked for, installed where they are not yet.
pub fn install(options: &Options) -> Vec<Rival> {
    let ours = |name: &str, program: PathBuf| Rival {
        name: name.to_owned(),
        program,
        arguments: ["serve", "--quota", "off", "--port"].map(str::to_owned).to_vec(),
        logs: false,
    };
    let this = PathBuf::from(env!("CARGO_BIN_EXE_millrace"));
    let mut rivals = vec![ours("millrace", this.clone())];
    rivals.extend(options.baseline.clone().map(|path| ours("millrace (baseline)", path)));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("rivals");
    for name in &options.against {
        match name.as_str() {
            "ferrokinesis" => rivals.push(ferrokinesis(&folder)),
            "kinesalite" => rivals.extend(kinesalite(&folder)),
            "log" => rivals.push(Rival { logs: true, ..ours("millrace --data", this.clone()) }),
            "none" => {}
            other => panic!("there is no peer called {other}"),
        }
    }
    rivals
}

/// From crates.io, built with its own release profile.
fn ferrokinesis(folder: &Path) -> Rival {
    let root = folder.join(format!("ferrokinesis-{FERROKINESIS}"));
    let program = root.join("bin/ferrokinesis");
    if !program.exists() {
        eprintln!("installing ferrokinesis {FERROKINESIS} into the target folder");
        let mut install = Command::new("cargo");
        install.args(["install", "ferrokinesis", "--locked", "--quiet", "--version", FERROKINESIS, "--root"]);
        run(install.arg(&root).arg("--target-dir").arg(folder.join("build")));
    }
    Rival { name: format!("ferrokinesis {FERROKINESIS}"), program, arguments: vec!["--port".to_owned()], logs: false }
}

/// From npm; `None`, with a word on the terminal, where there is no Node.
fn kinesalite(folder: &Path) -> Option<Rival> {
    let root = folder.join(format!("kinesalite-{KINESALITE}"));
    let script = root.join("node_modules/kinesalite/cli.js");
    if Command::new("npm").arg("--version").output().is_err() {
        eprintln!("kinesalite is left out: there is no npm");
        return None;
    }
    if !script.exists() {
        eprintln!("installing kinesalite {KINESALITE} into the target folder");
        fs::create_dir_all(&root).expect("the target folder is writable");
        let package = format!("kinesalite@{KINESALITE}");
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&root).arg(package));
    }
    Some(Rival {
        name: format!("kinesalite {KINESALITE}"),
        program: PathBuf::from("node"),
        arguments: vec![script.display().to_string(), "--port".to_owned()],
        logs: false,
    })
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

impl Rival {
    /// Starts it on a free port and waits until it answers the door.
    pub fn start(&self) -> Running {
        let address = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
        let folder = self.logs.then(|| tempfile::tempdir().expect("a folder for the log"));
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(address.port().to_string());
        if let Some(folder) = &folder {
            command.arg("--data").arg(folder.path());
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let running = Running { child, address, _folder: folder };
        let patience = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(patience.elapsed() < Duration::from_secs(30), "{} did not start", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }
}

impl Running {
    /// The server's process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
