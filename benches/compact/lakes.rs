//! The lakes: what Firehose would have written, made from a fixed seed.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::options::Options;

/// A lake on the disk and the scenario whose `[table]` it is compacted by.
#[derive(Debug)]
pub struct Lake {
    /// Its name in the table.
    pub name: &'static str,
    /// What is in it.
    pub about: String,
    /// The folder of the objects.
    pub folder: PathBuf,
    /// The scenario file.
    pub scenario: PathBuf,
    /// Bytes of JSON.
    pub json_bytes: u64,
    /// Bytes of the objects.
    pub object_bytes: u64,
    /// What the peers' scripts call its records; `None` when the peers are left out.
    pub shape: Option<&'static str>,
}

/// The lakes asked for, below `home`.
pub fn make(options: &Options, home: &Path) -> Vec<Lake> {
    type Maker<'a> = &'a dyn Fn(&mut Lake);
    let rows = options.rows;
    let makers: [(&'static str, Option<&'static str>, &str, Maker<'_>); 7] = [
        ("sensors", Some("sensors"), SENSORS, &|lake| sensors(lake, rows, 24)),
        ("sensors x10", Some("sensors"), SENSORS, &|lake| sensors(lake, rows * 10, 240)),
        ("weather", Some("weather"), WEATHER, &weather),
        ("nested", Some("nested"), NESTED, &|lake| nested(lake, rows / 2, 100, 60)),
        ("nested x4", Some("nested"), NESTED, &|lake| nested(lake, rows * 2, 400, 240)),
        ("GH Archive", Some("gharchive"), EVENTS, &|lake| lake.copy(options.gharchive.as_deref())),
        ("ten small", None, SENSORS, &|lake| sensors(lake, 10_000, 10)),
    ];
    let mut lakes = Vec::new();
    for (name, shape, table, maker) in makers {
        let wanted = match name {
            "sensors x10" | "nested x4" => options.large,
            "GH Archive" => options.gharchive.is_some(),
            _ => true,
        };
        if !wanted || !name.contains(&options.only) {
            continue;
        }
        let folder = home.join(name.replace(' ', "-"));
        let scenario = folder.with_extension("toml");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(&scenario, format!("{HEAD}{table}")).expect("a scenario");
        let about = String::new();
        let mut lake = Lake { name, about, folder, scenario, json_bytes: 0, object_bytes: 0, shape };
        maker(&mut lake);
        lakes.push(lake);
    }
    lakes
}

/// `SplitMix64` (Steele, Lea, Flood, 2014): the same lake on every machine.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

impl Lake {
    fn put(&mut self, key: &str, text: &str) {
        let path = self.folder.join(key);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(text.as_bytes()).expect("memory");
        let bytes = gzip.finish().expect("memory");
        self.json_bytes += text.len() as u64;
        self.object_bytes += bytes.len() as u64;
        fs::write(path, bytes).expect("an object");
    }

    /// A lake of one object that is there already, gzip in one member.
    fn copy(&mut self, object: Option<&Path>) {
        let bytes = fs::read(object.expect("an object is named")).expect("the object");
        let mut text = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut text).expect("gzip");
        (self.json_bytes, self.object_bytes) = (text.len() as u64, bytes.len() as u64);
        fs::write(self.folder.join("2015-01-01-0.json.gz"), bytes).expect("an object");
        let rows = text.iter().filter(|byte| **byte == b'\n').count();
        self.about = format!("{rows} real events of one hour in 1 object");
    }
}

/// Readings of 200 sensors, the low numbers oftener; one in twenty is a copy of a recent one. Objects go round the hours
/// of a day, so ten times the objects are ten times the rows in the same hours.
fn sensors(lake: &mut Lake, rows: u64, objects: u64) {
    let per_object = rows / objects;
    for object in 0..objects {
        let (hour, mut draw) = (object % 24, Draw(object));
        let mut text = String::new();
        let mut recent: Vec<(usize, usize)> = Vec::new();
        for row in 0..per_object {
            if !recent.is_empty() && draw.unit() < 0.05 {
                let (from, to) = recent[draw.below(recent.len() as u64) as usize];
                text.extend_from_within(from..to);
                continue;
            }
            let us = row * 3_600_000_000 / per_object + object / 24;
            let from = text.len();
            writeln!(
                text,
                "{{\"sensor_id\": \"sensor-{:03}\", \"timestamp\": \"2025-01-01T{hour:02}:{:02}:{:02}.{:06}\", \
                 \"temperature\": {:.2}, \"humidity\": {:.2}, \"pressure\": {:.2}, \"seq\": {}}}",
                1 + (draw.unit().powi(2) * 200.0) as u64,
                us / 60_000_000,
                us / 1_000_000 % 60,
                us % 1_000_000,
                10.0 + draw.unit() * 30.0,
                30.0 + draw.unit() * 60.0,
                980.0 + draw.unit() * 50.0,
                object * per_object + row,
            )
            .expect("memory");
            if recent.len() < 2_000 {
                recent.push((from, text.len()));
            } else {
                recent[row as usize % 2_000] = (from, text.len());
            }
        }
        let key = format!(
            "raw/year=2025/month=01/day=01/hour={hour:02}/sensors-1-2025-01-01-{hour:02}-{:02}-00-{:016x}.gz",
            object / 24,
            draw.next()
        );
        lake.put(&key, &text);
    }
    lake.about = format!("{rows} sensor readings in {objects} objects, 5 % twice, 24 partitions");
}

/// A poll a minute of values that change every quarter of an hour: 20 places, 7 days, an object an hour.
fn weather(lake: &mut Lake) {
    let mut draw = Draw(7);
    for place in 0..20 {
        let city = match place {
            0 => "London".to_owned(),
            1 => "Manchester".to_owned(),
            2 => "Edinburgh".to_owned(),
            _ => format!("Turbine {place:03}/é"),
        };
        for (day, hour) in (1..=7).flat_map(|day| (0..24).map(move |hour| (day, hour))) {
            let mut text = String::new();
            let mut celsius = 0.0;
            for minute in 0..60 {
                if minute % 15 == 0 {
                    celsius = 10.0 + draw.unit() * 5.0;
                }
                writeln!(
                    text,
                    "{{\"city\": \"{city}\", \"temperature\": {celsius:.1}, \"measurement_time\": \
                     \"2025-01-{day:02}T{hour:02}:{:02}\", \"collection_time\": \
                     \"2025-01-{day:02}T{hour:02}:{minute:02}:{:02}.{:06}\", \"source\": \"open-meteo\"}}",
                    minute / 15 * 15,
                    draw.below(60),
                    draw.below(1_000_000),
                )
                .expect("memory");
            }
            let key = format!(
                "weather-data/location={}/year=2025/month=01/day={day:02}/weather-1-2025-01-{day:02}-{hour:02}-{:016x}.gz",
                city.replace('/', "%2F"),
                draw.next()
            );
            lake.put(&key, &text);
        }
    }
    lake.about = "201,600 polls in 3,360 objects, every value 15 times, 20 partitions".to_owned();
}

/// Sixteen fields with an object and a list among them, one row in twenty a copy of a recent one; columns and types are
/// left to inference. Objects go round the hours, of which there are as many as partitions.
fn nested(lake: &mut Lake, rows: u64, objects: u64, hours: u64) {
    for object in 0..objects {
        let (day, hour) = (1 + object % hours / 24, object % hours % 24);
        let mut draw = Draw(1_000 + object);
        let mut text = String::new();
        let mut recent: Vec<(usize, usize)> = Vec::new();
        for row in 0..rows / objects {
            if !recent.is_empty() && draw.unit() < 0.05 {
                let (from, to) = recent[draw.below(recent.len() as u64) as usize];
                text.extend_from_within(from..to);
                continue;
            }
            let (id, from) = (draw.next(), text.len());
            writeln!(
                text,
                "{{\"id\":\"{id:016x}\",\"ts\":\"2025-01-{day:02}T{hour:02}:{:02}:{:02}.{:03}Z\",\"type\":\"event-{}\",\"user\":{{\
                 \"id\":{},\"name\":\"user-{}\",\"admin\":{}}},\"tags\":[\"t{}\",\"t{}\"],\"ok\":{},\"status\":{},\
                 \"latency_ms\":{:.3},\"bytes_in\":{},\"bytes_out\":{},\"host\":\"host-{:02}\",\"path\":\"/api/v1/items/{}\",\
                 \"lat\":{:.6},\"lon\":{:.6},\"note\":\"a \\\"quoted\\\" note {}\",\"seq\":{}}}",
                draw.below(60),
                draw.below(60),
                draw.below(1_000),
                draw.below(12),
                draw.below(100_000),
                draw.below(100_000),
                draw.below(100) == 0,
                draw.below(30),
                draw.below(30),
                draw.below(20) != 0,
                [200, 200, 200, 404, 500][draw.below(5) as usize],
                draw.unit() * 250.0,
                draw.below(10_000),
                draw.below(100_000),
                draw.below(40),
                draw.below(50_000),
                draw.unit() * 180.0 - 90.0,
                draw.unit() * 360.0 - 180.0,
                draw.below(1_000),
                object * (rows / objects) + row,
            )
            .expect("memory");
            recent.push((from, text.len()));
        }
        let name = format!("nested-1-2025-01-{day:02}-{hour:02}-{:02}-00-{:016x}.gz", object / hours, draw.next());
        lake.put(&format!("2025/01/{day:02}/{hour:02}/{name}"), &text);
    }
    lake.about = format!(
        "{rows} events of 16 fields, an object and a list among them, in {objects} objects, 5 % twice, {hours} partitions"
    );
}

/// What every scenario has to have; nothing of it but the table is used.
const HEAD: &str = r#"
name = "bench"
[source]
kind = "sensors"
[load]
arrival = "constant"
stages = [{ rate = 1, for = "1s" }]
[keys]
kind = "uniform"
distinct = 4
[stream]
name = "bench"
shards = 1
[delivery]
prefix = "raw/"
"#;

const SENSORS: &str = r#"
[table]
partition_by = ["event_hour"]
[[table.derive]]
name = "event_hour"
from = "timestamp"
part = "hour"
[table.dedup]
key = ["sensor_id", "timestamp"]
keep = "first"
order_by = "seq"
[[table.dedup.aggregate]]
name = "n"
function = "count"
[table.columns]
sensor_id = "string"
timestamp = "timestamp"
temperature = "number"
humidity = "number"
pressure = "number"
seq = "integer"
"#;

const WEATHER: &str = r#"
[table]
partition_by = ["city"]
[table.dedup]
key = ["city", "temperature", "measurement_time", "source"]
keep = "first"
order_by = "collection_time"
[[table.dedup.aggregate]]
name = "first_collection_time"
function = "min"
of = "collection_time"
[[table.dedup.aggregate]]
name = "last_collection_time"
function = "max"
of = "collection_time"
[[table.dedup.aggregate]]
name = "collection_count"
function = "count"
[table.columns]
city = "string"
temperature = "number"
measurement_time = "timestamp"
collection_time = "timestamp"
source = "string"
"#;

const NESTED: &str = r#"
[table]
partition_by = ["event_hour"]
[[table.derive]]
name = "event_hour"
from = "ts"
part = "hour"
[table.dedup]
key = ["id", "ts"]
keep = "first"
order_by = "seq"
"#;

const EVENTS: &str = r#"
[table]
partition_by = ["event_hour"]
[[table.derive]]
name = "event_hour"
from = "created_at"
part = "hour"
[table.dedup]
key = ["id", "created_at"]
keep = "first"
order_by = "created_at"
"#;
