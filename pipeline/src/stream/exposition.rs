//! `GET /metrics`: what the server counted, in the text format that Prometheus reads (version 0.0.4).

use std::fmt::Write as _;

use super::metrics::{ShardMetrics, StreamMetrics};

/// The media type of the format.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number per shard.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&ShardMetrics) -> u64,
}

const FAMILIES: [Family; 9] = [
    Family { name: "records_total", kind: "counter", help: "Records stored.", value: |shard| shard.records },
    Family {
        name: "bytes_total",
        kind: "counter",
        help: "Bytes of data and partition keys stored.",
        value: |shard| shard.bytes,
    },
    Family {
        name: "throttled_records_total",
        kind: "counter",
        help: "Records refused for the shard's write limits.",
        value: |shard| shard.throttled_records,
    },
    Family {
        name: "full_records_total",
        kind: "counter",
        help: "Records refused because the server's memory was full.",
        value: |shard| shard.full_records,
    },
    Family {
        name: "read_records_total",
        kind: "counter",
        help: "Records given to readers, polling and fan-out.",
        value: |shard| shard.read_records,
    },
    Family {
        name: "read_bytes_total",
        kind: "counter",
        help: "Bytes of data and partition keys given to readers.",
        value: |shard| shard.read_bytes,
    },
    Family {
        name: "throttled_reads_total",
        kind: "counter",
        help: "GetRecords and GetShardIterator calls refused for the shard's read limits.",
        value: |shard| shard.throttled_reads,
    },
    Family { name: "stored_records", kind: "gauge", help: "Records held now.", value: |shard| shard.stored_records },
    Family {
        name: "stored_bytes",
        kind: "gauge",
        help: "Bytes of data and partition keys held now.",
        value: |shard| shard.stored_bytes,
    },
];

/// The counts as text. Names of streams and shards need no escaping: they have neither quotes nor backslashes.
pub(crate) fn exposition(metrics: &StreamMetrics) -> String {
    let mut out = String::new();
    for (name, help, value) in [
        ("memory_used_bytes", "Memory held by stored records, with their bookkeeping.", metrics.used_bytes),
        ("memory_capacity_bytes", "Memory that stored records may hold.", metrics.capacity_bytes),
    ] {
        head(&mut out, name, "gauge", help);
        let _infallible = writeln!(out, "millrace_{name} {value}");
    }
    for Family { name, kind, help, value } in FAMILIES {
        head(&mut out, &format!("shard_{name}"), kind, help);
        for stream in &metrics.streams {
            for shard in &stream.shards {
                let labels = format!("stream=\"{}\",shard=\"{}\"", stream.stream, shard.shard);
                let _infallible = writeln!(out, "millrace_shard_{name}{{{labels}}} {}", value(shard));
            }
        }
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _infallible = writeln!(out, "# HELP millrace_{name} {help}\n# TYPE millrace_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::stream::metrics::StreamCounts;

    #[test]
    fn every_sample_has_a_type_before_it_and_the_value_that_was_counted() {
        let shard = ShardMetrics {
            shard: "shardId-000000000000".to_owned(),
            records: 1,
            bytes: 2,
            throttled_records: 3,
            full_records: 4,
            read_records: 5,
            read_bytes: 6,
            throttled_reads: 7,
            stored_records: 8,
            stored_bytes: 9,
        };
        let stream = StreamCounts { stream: "s".to_owned(), shards: vec![shard] };
        let text = exposition(&StreamMetrics { used_bytes: 10, capacity_bytes: 11, streams: vec![stream] });
        let (mut types, mut samples) = (HashMap::new(), Vec::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let kind = types.get(name).unwrap_or_else(|| panic!("{name} has no type before it"));
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                samples.push((series.to_owned(), value.parse::<u64>().unwrap()));
            }
        }
        let values: Vec<_> = samples.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [10, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(samples[2].0, "millrace_shard_records_total{stream=\"s\",shard=\"shardId-000000000000\"}");
    }
}
