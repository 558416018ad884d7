//! Memory does not grow with the time a load lasts, the rate it runs at, or the size of the lake that is compacted.

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
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use support::{at, lake, millrace, number, record, server::Server};

const MIB: u64 = 1 << 20;
/// How often a load's memory is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The memory of a load on a stream in another process that is its own, not a file's: bytes at one look after another.
fn memory_of_load(server: &Server, rate: &str, duration: &str) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", rate, "--for", duration, "--set", "slo=[]"]);
    command.args(["--set", "stream.name=bounded", "--set", "delivery.buffer_interval=1s", "--target", &server.url]);
    let mut load = command.arg("--out").arg(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut looks = Vec::new();
    while load.try_wait().unwrap().is_none() {
        looks.extend(own_memory_bytes(load.id()));
        std::thread::sleep(BETWEEN_LOOKS);
    }
    let record = record(&out);
    assert_eq!(number(&record, "ledger.lost"), 0);
    println!("{rate}/s for {duration}: {} accepted", number(&record, "load.accepted"));
    looks
}

fn own_memory_bytes(process: u32) -> Option<u64> {
    memory_bytes(process, "RssAnon:")
}

fn memory_bytes(process: u32, kind: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(kind))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// The least that one part of a run got by with: what is kept raises it, and a busy moment does not.
fn least(looks: &[u64]) -> u64 {
    looks.iter().copied().min().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn the_memory_of_a_load_grows_neither_with_time_nor_with_its_rate() {
    let server = Server::millrace(&["--stream", "bounded:8", "--quota", "off"]);
    let long = memory_of_load(&server, "5000", "24s");
    let slow = memory_of_load(&server, "1000", "6s");
    let quarter = long.len() / 4;
    let [_, second, third, last] = [0, 1, 2, 3].map(|part| least(&long[part * quarter..(part + 1) * quarter]));
    let slow = least(&slow[slow.len() / 2..]);
    let mib = [second, third, last, slow].map(|bytes| bytes / MIB);
    println!("MiB in the quarters of the long run after the first: {:?}, in the slow run: {}", &mib[..3], mib[3]);
    // The generator's own bound, with the delivery that reads beside it.
    assert!(least(&long[3 * quarter..]) <= 64 * MIB, "{last}");
    // From the second quarter to the last, 60,000 records of 300 bytes go by: kept, they were 17 MiB and more.
    assert!(last < second + 12 * MIB, "{second} -> {third} -> {last}");
    assert!(last < slow + 32 * MIB, "{slow} -> {last}");
}

/// What a compaction may take at any size of the lake and any number of partitions.
const COMPACTION: u64 = 256 * MIB;

/// The most memory that compacting so many objects of 20,000 readings of 400 sensors took, partitioned as told.
fn peak_of_compaction(objects: u32, partition_by: &str) -> u64 {
    compacted(objects, partition_by).1
}

/// The same, and the folder that the table is in.
fn compacted(objects: u32, partition_by: &str) -> (TempDir, u64) {
    let folder = tempfile::tempdir().unwrap();
    let (lake_folder, out) = (folder.path().join("lake"), folder.path().join("out"));
    for object in 0..objects {
        let first = u64::from(object) * 20_000;
        let line = |k: u64| lake::reading(1 + (k % 400) as u32, (k / 400 % 86_400) as u32, k) + "\n";
        let text: String = (first..first + 20_000).map(line).collect();
        lake::object(&lake_folder, &format!("{object:04}.gz"), text.as_bytes());
    }
    let mut command = millrace();
    command.args(["compact", "sensors", "--set", &format!("table.partition_by=[{partition_by:?}]"), "--lake"]);
    command.arg(&lake_folder).arg("--table").arg(folder.path().join("table"));
    support::expect_exit(command.arg("--out").arg(&out), 0);
    let record = record(&out);
    assert_eq!(number(&record, "compaction.lines"), u64::from(objects) * 20_000);
    assert_eq!(at(&record, "compaction.quarantined"), 0);
    fs::remove_dir_all(&lake_folder).unwrap();
    (folder, number(&record, "harness.max_rss_bytes"))
}

#[test]
fn a_lake_three_times_as_large_needs_no_more_memory_to_compact() {
    // The small lake fills more than one batch already.
    let (small, large) = (peak_of_compaction(80, "event_hour"), peak_of_compaction(240, "event_hour"));
    println!("peak resident: 80 objects {} MiB, 240 objects {} MiB", small / MIB, large / MIB);
    assert!(large < small + small / 4, "{small} -> {large}");
    assert!(large <= COMPACTION, "{large}");
}

#[test]
fn rows_of_four_hundred_partitions_in_every_object_need_no_more_memory_either() {
    let peak = peak_of_compaction(40, "sensor_id");
    println!("peak resident: 40 objects to 400 partitions {} MiB", peak / MIB);
    assert!(peak <= COMPACTION, "{peak}");
}

/// The most memory that a command took, as the kernel keeps it.
#[cfg(target_os = "linux")]
fn peak_of(command: &mut Command) -> u64 {
    let mut process = command.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        peak = memory_bytes(process.id(), "VmHWM:").unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{command:?}: {status}");
    peak
}

#[test]
#[cfg(target_os = "linux")]
fn rows_put_in_order_need_no_more_memory_than_a_compaction() {
    let (folder, _) = compacted(160, "event_hour");
    let mut optimize = millrace();
    optimize.arg("optimize").arg(folder.path().join("table")).args(["--cluster-by", "sensor_id,timestamp"]);
    let peak = peak_of(&mut optimize);
    println!("peak resident: 3.2 million rows in order {} MiB", peak / MIB);
    assert!(peak > 32 * MIB && peak <= COMPACTION, "{peak}");
}

/// One row for each key, over the whole table.
const KEYED: &str = r#"
name = "keyed"

[source]
kind = "sensors"
sensors = 1
epoch = "2025-01-01T00:00:00Z"
interval = "1s"

[load]
stages = [{ rate = 1, for = "1s" }]

[keys]
kind = "uniform"

[stream]
name = "keyed"
shards = 1

[table]
columns = { id = "string", seq = "integer" }

[table.dedup]
key = ["id"]
keep = "first"
order_by = "seq"
"#;

/// Rows of one object.
const ROWS: u64 = 20_000;

/// A key of 32 characters without an order: the keys of any two objects lie in the same range.
fn key(number: u64) -> String {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    let high = mix(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    format!("{high:016x}{:016x}", mix(high ^ number))
}

/// The same for as many keys as the long form has: the index of a hundred million takes room of its own.
const MANY_KEYS: u64 = 512 * MIB;

/// `MILLRACE_KEYS=100000000` is the long form.
#[test]
fn keys_that_no_memory_holds_are_told_apart_in_bounded_memory() {
    let keys = std::env::var("MILLRACE_KEYS").map_or(1_600_000, |keys| keys.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (lake_folder, out) = (folder.path().join("lake"), folder.path().join("out"));
    fs::write(folder.path().join("keyed.toml"), KEYED).unwrap();
    let put = |name: &str, rows: &mut dyn Iterator<Item = u64>, seq: u64| {
        let text: String = rows.map(|k| format!("{{\"id\":\"{}\",\"seq\":{seq}}}\n", key(k))).collect();
        lake::object(&lake_folder, name, text.as_bytes());
    };
    // One object in fifty comes late: half of its rows were in another, long ago.
    let (objects, late) = (keys / ROWS, keys / ROWS / 50);
    (0..objects).for_each(|n| put(&format!("a/{n:06}.gz"), &mut (n * ROWS..(n + 1) * ROWS), 1));
    for n in 0..late {
        let again = n * 50 * ROWS..n * 50 * ROWS + ROWS / 2;
        let new = keys + n * ROWS / 2..keys + (n + 1) * ROWS / 2;
        put(&format!("late/{n:06}.gz"), &mut again.chain(new), 2);
    }
    let mut command = millrace();
    command.arg("compact").arg(folder.path().join("keyed.toml")).arg("--lake").arg(&lake_folder);
    let started = std::time::Instant::now();
    support::expect_exit(command.arg("--table").arg(folder.path().join("table")).arg("--out").arg(&out), 0);
    let (record, took) = (record(&out), started.elapsed());
    let peak = number(&record, "harness.max_rss_bytes");
    println!("{keys} keys of 32 characters in {took:?}, {} MiB resident at most", peak / MIB);
    let rows = objects * ROWS + late * ROWS / 2;
    assert_eq!((number(&record, "compaction.rows"), number(&record, "compaction.duplicates")), (rows, late * ROWS / 2));
    assert!(peak <= if keys < 10_000_000 { COMPACTION } else { MANY_KEYS }, "{peak}");
}
