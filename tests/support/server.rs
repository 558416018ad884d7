//! Programs that serve on a loopback port while a test talks to them.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{millrace, python::python};

/// A server that is killed when the test ends.
pub struct Server {
    child: Child,
    /// Its URL.
    pub url: String,
}

impl Server {
    /// `millrace serve` on a free port.
    pub fn millrace(arguments: &[&str]) -> Self {
        let mut child = millrace()
            .args(["serve", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("the server says that it is ready");
        let url = line.trim().rsplit(' ').next().expect("the line ends with a URL").to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
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
