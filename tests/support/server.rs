//! Programs that serve on a loopback port while a test talks to them.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{millrace, python::python};

/// On a free port.
const SERVE: [&str; 3] = ["serve", "--port", "0"];

/// A server that is killed when the test ends.
pub struct Server {
    child: Child,
    /// Its URL.
    pub url: String,
}

impl Server {
    /// `millrace serve` on a free port.
    pub fn millrace(arguments: &[&str]) -> Self {
        let mut command = millrace();
        command.args(SERVE).args(arguments);
        Self::started(command)
    }

    /// The same on this port.
    pub fn millrace_on(port: u16, arguments: &[&str]) -> Self {
        let mut command = millrace();
        command.args(["serve", "--port", &port.to_string()]).args(arguments);
        Self::started(command)
    }

    /// The same over TLS, for calls that are signed with the key `test` and the secret `test`. The certificate of its
    /// authority is written to the file.
    pub fn millrace_behind_tls(arguments: &[&str], authority: &Path) -> Self {
        let mut command = millrace();
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.args(SERVE).args(arguments).args(["--tls", "--require-credentials", "--tls-ca-out"]).arg(authority);
        Self::started(command)
    }

    /// The same for a process that may write no file longer than so many KiB, as if the disk were full there. It lasts
    /// until [`allow_any_file`](Self::allow_any_file).
    pub fn millrace_on_a_small_disk(kib: u32, arguments: &[&str]) -> Self {
        let server = millrace();
        let mut command = Command::new("bash");
        // Without the signal the write fails as on a full disk: what fits is written, and then there is an error.
        command.args(["-c", r#"trap "" XFSZ; ulimit -S -f "$0"; exec "$@""#, &kib.to_string()]);
        command.arg(server.get_program()).args(SERVE).args(arguments);
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self::started(command)
    }

    /// Gives room to a server that was started on a small disk.
    pub fn allow_any_file(&self) {
        let status = Command::new("prlimit").args(["--pid", &self.id().to_string(), "--fsize=unlimited"]).status();
        assert!(status.expect("prlimit starts").success());
    }

    fn started(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("the server says that it is ready");
        let url = line.trim().rsplit(' ').next().expect("the line ends with a URL").to_owned();
        assert!(url.contains("://127.0.0.1:"), "{line}");
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Self { child, url }
    }

    /// An S3 endpoint of moto on a free port, with one empty bucket.
    pub fn s3(bucket: &str) -> Self {
        let server = Self::moto();
        super::python::ask("s3.py", &[&server.url, "create", bucket]);
        server
    }

    /// Moto, which stands in for the other services of AWS, on a free port.
    pub fn moto() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port();
        let child = Command::new(python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let server = Self { child, url: format!("http://127.0.0.1:{port}") };
        let patience = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(patience.elapsed() < Duration::from_secs(60), "moto did not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    /// The server's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        signal(self.id(), "TERM");
        self.child.wait().expect("the server ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status().expect("kill runs");
    assert!(status.success(), "process {process} takes {name}");
}
