//! Records a second for each second of the client's processor time.

use std::{fs, process::Command, sync::Arc, time::Instant};

use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use millrace_loadgen::{
    client::{Endpoint, StreamClient, connect},
    clock::cpu_us,
    saturate::{Stock, saturate},
};
use millrace_scenarios::Load;
use tokio::runtime::Runtime;

use crate::{
    null_server::{NullServer, settle},
    options::Options,
};

/// Records of a call.
const BATCH: usize = 500;
/// Calls under way at once, of every client.
const IN_FLIGHT: usize = 4;
const KEY_BYTES: usize = 12;

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Measured {
    records: u64,
    wall_s: f64,
    cpu_s: f64,
}

impl Measured {
    fn a_core(self) -> f64 {
        self.records as f64 / self.cpu_s
    }
    fn a_second(self) -> f64 {
        self.records as f64 / self.wall_s
    }
}

/// Measures every client at 100 and 1,024 bytes, and prints the table.
pub fn measure(runtime: &Runtime, options: &Options) {
    println!(
        "\n| data | client | records/s a core: median (least to most) | records/s | ns of CPU a record | millrace is | records, rounds |"
    );
    println!("|---|---|---|---|---|---|---|");
    for bytes in [100, 1_024] {
        let mut rows: Vec<(&str, Vec<Measured>)> = ["millrace", "millrace, CBOR", "millrace, unsigned", "aws-sdk-rust"]
            .map(|name| (name, Vec::new()))
            .to_vec();
        if options.rival.is_some() {
            rows.push(("boto3", Vec::new()));
        }
        let stock = Arc::new(stock(bytes));
        for round in 1..=options.rounds {
            for (client, all) in &mut rows {
                let server = NullServer::start();
                settle();
                let measured = match *client {
                    "millrace" => ours(runtime, &server, &stock, ("json", true), options),
                    "millrace, CBOR" => ours(runtime, &server, &stock, ("cbor", true), options),
                    "millrace, unsigned" => ours(runtime, &server, &stock, ("json", false), options),
                    "aws-sdk-rust" => sdk(runtime, &server, &stock, options),
                    _ => boto3(&server, bytes, options),
                };
                eprintln!(
                    "round {round}, {bytes} B, {client}: {:.0} records/s a core, {:.0} records/s",
                    measured.a_core(),
                    measured.a_second()
                );
                all.push(measured);
            }
        }
        let ours = median(&rows[0].1, Measured::a_core);
        for (client, all) in &rows {
            let a_core = median(all, |m| m.a_core());
            let (least, most) =
                all.iter().map(|m| m.a_core()).fold((f64::MAX, 0.0_f64), |(l, m), x| (l.min(x), m.max(x)));
            println!(
                "| {bytes} B | {client} | {:.3} M ({:.3} to {:.3}) | {:.3} M | {:.0} | {:.2} x | {}, {} |",
                a_core / 1e6,
                least / 1e6,
                most / 1e6,
                median(all, |m| m.a_second()) / 1e6,
                1e9 / a_core,
                ours / a_core,
                all.iter().map(|m| m.records).sum::<u64>(),
                all.len(),
            );
        }
    }
    println!(
        "\nA call has {BATCH} records, {IN_FLIGHT} calls are under way; processor time is user and system time of the client."
    );
}

fn median(all: &[Measured], figure: impl Fn(Measured) -> f64) -> f64 {
    let mut figures: Vec<f64> = all.iter().map(|m| figure(*m)).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Bytes that no compressor knows: SplitMix64 (Steele, Lea and Flood, 2014).
fn stock(bytes: usize) -> Stock {
    let mut state = 0_u64;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut record = |_| {
        let data = (0..bytes).map(|_| next() as u8).collect();
        (data, format!("{:0KEY_BYTES$x}", next() >> 16))
    };
    Stock { records: (0..8 * BATCH).map(&mut record).collect() }
}

fn ours(
    runtime: &Runtime,
    server: &NullServer,
    stock: &Arc<Stock>,
    (body, sign): (&str, bool),
    options: &Options,
) -> Measured {
    let load =
        serde_json::json!({"stages": [], "in_flight": IN_FLIGHT, "batch_records": BATCH, "body": body, "sign": sign});
    let load: Load = serde_json::from_value(load).expect("a load");
    runtime.block_on(async {
        let reached = connect(&Endpoint::Local(server.url())).await.expect("reached");
        let stream = StreamClient::new(&reached, "null");
        let before = cpu_us();
        let done = saturate(stream, &load, Arc::clone(stock), options.window).await.expect("sent");
        assert_eq!(done.refused, 0);
        Measured { records: done.accepted, wall_s: done.elapsed.as_secs_f64(), cpu_s: (cpu_us() - before) as f64 / 1e6 }
    })
}

/// A plain loop over the SDK: as many tasks as calls under way, each sends call after call.
fn sdk(runtime: &Runtime, server: &NullServer, stock: &Arc<Stock>, options: &Options) -> Measured {
    runtime.block_on(async {
        let client = connect(&Endpoint::Local(server.url())).await.expect("reached").client;
        let (start, before) = (Instant::now(), cpu_us());
        let tasks: Vec<_> = (0..IN_FLIGHT)
            .map(|task| {
                let (client, stock, window) = (client.clone(), Arc::clone(stock), options.window);
                tokio::spawn(async move {
                    let mut records = 0;
                    for call in stock.records.chunks(BATCH).cycle().skip(task) {
                        let entry = |(data, key): &(Vec<u8>, String)| {
                            let entry = PutRecordsRequestEntry::builder().data(Blob::new(data.clone()));
                            entry.partition_key(key).build().expect("complete")
                        };
                        let entries = call.iter().map(entry).collect();
                        let answer = client.put_records().stream_name("null").set_records(Some(entries)).send().await;
                        let answer = answer.expect("an answer");
                        records += answer.records().iter().filter(|entry| entry.error_code().is_none()).count() as u64;
                        if start.elapsed() >= window {
                            break;
                        }
                    }
                    records
                })
            })
            .collect();
        let mut records = 0;
        for task in tasks {
            records += task.await.expect("no panic");
        }
        Measured { records, wall_s: start.elapsed().as_secs_f64(), cpu_s: (cpu_us() - before) as f64 / 1e6 }
    })
}

/// A program of its own; its processor time is that of this process's children that have ended.
fn boto3(server: &NullServer, bytes: usize, options: &Options) -> Measured {
    let script = options.rival.as_ref().expect("a rival");
    let seconds = options.window.as_secs_f64();
    let before = children_cpu_s();
    let output = Command::new(&options.python)
        .arg(script)
        .args([server.url(), "null".to_owned(), seconds.to_string(), bytes.to_string(), "2".to_owned(), "2".to_owned()])
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let rate: f64 = text.split_whitespace().find_map(|word| word.parse().ok()).expect("a rate");
    Measured { records: (rate * seconds) as u64, wall_s: seconds, cpu_s: children_cpu_s() - before }
}

/// User and system time of children that have ended (proc(5), fields 16 and 17), in hundredths of a second.
fn children_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("this process");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = |place: usize| -> f64 {
        fields.split_ascii_whitespace().nth(place - 3).expect("there").parse().expect("a count")
    };
    (ticks(16) + ticks(17)) / 100.0
}
