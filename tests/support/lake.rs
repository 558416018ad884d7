//! Lakes made by hand, whose contents a test knows to the row.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// Writes one gzip object of these bytes under the lake; gives its path.
pub fn object(lake: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = lake.join(name);
    fs::create_dir_all(path.parent().expect("an object has a folder")).expect("the lake is writable");
    fs::write(&path, gzip(bytes)).expect("the object can be written");
    path
}

/// Bytes as a gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// One sensor reading as the shipped scenario's table wants it.
pub fn reading(sensor: u32, second: u32, seq: u64) -> String {
    let time = format!("2025-01-01T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
    format!(
        r#"{{"sensor_id":"sensor-{sensor:03}","timestamp":"{time}","temperature":21.5,"humidity":40.25,"pressure":1001.0,"millrace_run":"hand","millrace_seq":{seq},"millrace_due_us":1735689600000000}}"#
    )
}
