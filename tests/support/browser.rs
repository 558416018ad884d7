//! Headless Chromium: the page as a person's browser sees it. Installed from Debian's packages when it is not there.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::python::announce;

/// What a page became in the browser.
pub struct Page {
    /// The document after loading, as HTML.
    pub dom: String,
    /// What it wrote to the console, one line each: errors, blocked requests.
    pub console: Vec<String>,
}

/// Opens a file in headless Chromium.
pub fn open(path: &Path) -> Page {
    let profile = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .expect("chromium starts");
    assert!(output.status.success(), "chromium failed: {}", String::from_utf8_lossy(&output.stderr));
    let console = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .map(str::to_owned)
        .collect();
    Page { dom: String::from_utf8_lossy(&output.stdout).into_owned(), console }
}

/// The browser's program.
fn chromium() -> &'static PathBuf {
    static CHROMIUM: OnceLock<PathBuf> = OnceLock::new();
    CHROMIUM.get_or_init(|| {
        if let Some(found) = find() {
            return found;
        }
        let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("chromium.lock")).expect("a lock file");
        lock.lock().expect("the lock can be taken");
        find().unwrap_or_else(|| {
            announce("installing Debian's chromium to open the report as a browser does");
            let install = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium";
            let sudo = if Path::new("/usr/bin/sudo").exists() { "sudo -n " } else { "" };
            let status = Command::new("sh").arg("-c").arg(format!("{sudo}sh -c '{install}'")).output();
            let status = status.expect("sh starts");
            let found = find();
            assert!(found.is_some(), "install chromium and try again: {}", String::from_utf8_lossy(&status.stderr));
            found.unwrap_or_default()
        })
    })
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|p| p.is_file())
}

/// The `data-field` and `data-value` of every element of a document that has both.
pub fn fields(dom: &str) -> Vec<(String, String)> {
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let tags = dom.split('<').filter_map(|piece| piece.split_once('>').map(|(tag, _)| tag));
    tags.filter_map(|tag| Some((attribute(tag, "data-field")?, attribute(tag, "data-value")?))).collect()
}
