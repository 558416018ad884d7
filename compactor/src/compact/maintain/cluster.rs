//! Which files are written again so that the rows of a partition lie in order of some columns: a pure function of the
//! files there are, so that a dry run and the run agree.
//!
//! A file that was written so carries the columns' names as a tag; every other file is fresh. Files overlap when their
//! ranges of the first column do, by the statistics in the log. Two tagged files that only touch do not: they were cut
//! apart in order of all columns. Fresh files and what they overlap with, directly or through others, are sorted
//! together and cut into files of the target size, so the result overlaps with no file that stays. Without a fresh file
//! there is nothing to do, so a second run does nothing.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};
use serde_json::{Map, Value};

use super::plan::{Facts, Group, Plan};
use crate::decode::timestamp_us;

/// A value of the first column, as its order has it: nulls are first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edge {
    /// A null, or nothing is known.
    Least,
    /// A number, a moment or a truth, as an integer of the same order.
    Whole(i64),
    /// A text.
    Text(String),
    /// Nothing is known.
    Most,
}

/// The least and the greatest value of a column in a file, by its statistics.
pub(super) fn range(stats: &Map<String, Value>, column: &Field) -> (Edge, Edge) {
    let stat = |kind: &str| stats.get(kind).and_then(|stats| stats.get(column.name()));
    let nulls = stat("nullCount").and_then(Value::as_u64);
    let edge = |kind: &str| edge(stat(kind)?, column.data_type());
    let least = if nulls == Some(0) { edge("minValues") } else { None };
    let is_all_null = nulls.is_some() && nulls == stats.get("numRecords").and_then(Value::as_u64);
    let most = match edge("maxValues") {
        // Statistics may be cut to milliseconds.
        Some(Edge::Whole(us)) if matches!(column.data_type(), DataType::Timestamp(..)) => Edge::Whole(us + 999),
        Some(edge) => edge,
        None if is_all_null => Edge::Least,
        None => Edge::Most,
    };
    (least.unwrap_or(Edge::Least), most)
}

fn edge(value: &Value, kind: &DataType) -> Option<Edge> {
    Some(match kind {
        DataType::Utf8 => Edge::Text(value.as_str()?.to_owned()),
        DataType::Timestamp(..) => Edge::Whole(timestamp_us(value.as_str()?.as_bytes())?),
        DataType::Float64 => {
            // The integer of the same order: all bits of a negative number but the sign are turned over.
            let bits = value.as_f64()?.to_bits().cast_signed();
            Edge::Whole(bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed())
        }
        DataType::Boolean => Edge::Whole(i64::from(value.as_bool()?)),
        _ => Edge::Whole(value.as_i64()?),
    })
}

impl Plan {
    /// The plan for files of which `tagged` says that they lie in order.
    pub(super) fn clustered(files: &[Facts], target_bytes: u64) -> Self {
        let mut partitions: BTreeMap<&str, Vec<&Facts>> = BTreeMap::new();
        for file in files {
            partitions.entry(&file.partition).or_default().push(file);
        }
        let groups = partitions.into_iter().flat_map(|(partition, files)| {
            let groups = joined(overlapping(files), target_bytes).into_iter();
            groups.filter(|run| run.fresh_bytes > 0).map(move |run| Group {
                partition: partition.to_owned(),
                paths: run.files.iter().map(|file| file.path.clone()).collect(),
                bytes: run.bytes,
                rows: run.files.iter().map(|file| file.rows).sum(),
            })
        });
        Self { groups: groups.collect() }
    }
}

/// Files that overlap with each other and with no other.
struct Run<'a> {
    files: Vec<&'a Facts>,
    bytes: u64,
    fresh_bytes: u64,
    /// Where its fresh files end, ...
    fresh_most: Option<&'a Edge>,
    /// ... and its tagged ones.
    tagged_most: Option<&'a Edge>,
}

impl<'a> Run<'a> {
    fn of(file: &'a Facts) -> Self {
        let mut run = Self { files: Vec::new(), bytes: 0, fresh_bytes: 0, fresh_most: None, tagged_most: None };
        run.take(file);
        run
    }

    fn meets(&self, file: &Facts) -> bool {
        let least = &file.range.0;
        let tagged = self.tagged_most.is_some_and(|most| if file.tagged { least < most } else { least <= most });
        tagged || self.fresh_most.is_some_and(|most| least <= most)
    }

    fn take(&mut self, file: &'a Facts) {
        self.files.push(file);
        self.bytes += file.bytes;
        let most = if file.tagged { &mut self.tagged_most } else { &mut self.fresh_most };
        *most = (*most).max(Some(&file.range.1));
        // An empty file is fresh all the same.
        self.fresh_bytes += if file.tagged { 0 } else { file.bytes.max(1) };
    }
}

fn overlapping(mut files: Vec<&Facts>) -> Vec<Run<'_>> {
    // Of files that begin alike a fresh one comes first: it meets those before it and those after it.
    files.sort_by_key(|file| (&file.range.0, file.tagged, &file.range.1, &file.path));
    let mut runs: Vec<Run<'_>> = Vec::new();
    for file in files {
        match runs.last_mut().filter(|run| run.meets(file)) {
            Some(run) => run.take(file),
            None => runs.push(Run::of(file)),
        }
    }
    runs
}

/// Neighbours that fit into one file go together, so that files which come in order do not stay small. What is tagged is
/// written again only for fresh bytes that are at least half as many.
fn joined(runs: Vec<Run<'_>>, target_bytes: u64) -> Vec<Run<'_>> {
    let mut joined: Vec<Run<'_>> = Vec::new();
    for run in runs {
        let pays = |last: &&mut Run<'_>| {
            let fresh = last.fresh_bytes + run.fresh_bytes;
            let alone = [&**last, &run].into_iter().filter(|run| run.fresh_bytes == 0).map(|run| run.bytes);
            fresh > 0 && last.bytes + run.bytes <= target_bytes && alone.sum::<u64>() <= 2 * fresh
        };
        match joined.last_mut().filter(pays) {
            Some(last) => run.files.into_iter().for_each(|file| last.take(file)),
            None => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn file(path: &str, range: (i64, i64), tagged: bool, bytes: u64) -> Facts {
        Facts {
            path: path.to_owned(),
            partition: "p".to_owned(),
            bytes,
            rows: bytes,
            tagged,
            range: (Edge::Whole(range.0), Edge::Whole(range.1)),
        }
    }

    fn planned(files: &[Facts]) -> Vec<String> {
        Plan::clustered(files, 100).groups.iter().map(|group| group.paths.join("")).collect()
    }

    #[test]
    fn fresh_files_take_along_what_they_overlap_with_and_nothing_else() {
        let old = [file("a", (0, 9), true, 90), file("b", (9, 20), true, 90), file("c", (21, 30), true, 90)];
        assert_eq!(planned(&old), [""; 0], "files that only touch are in order");
        let with = |fresh: Facts| planned(&[&old[..], &[fresh]].concat());
        assert_eq!(with(file("x", (22, 25), false, 90)), ["cx"]);
        assert_eq!(with(file("x", (9, 9), false, 90)), ["axb"]);
        assert_eq!(with(file("x", (31, 40), false, 90)), ["x"], "it has to be sorted in itself");
        assert_eq!(with(file("x", (5, 25), false, 90)), ["axbc"]);
    }

    #[test]
    fn small_neighbours_go_together_as_long_as_it_pays() {
        let small = [file("a", (0, 1), false, 10), file("b", (2, 3), false, 10), file("c", (4, 5), true, 30)];
        assert_eq!(planned(&small), ["abc"]);
        let large = [file("a", (0, 1), false, 10), file("c", (4, 5), true, 30)];
        assert_eq!(planned(&large), ["a"]);
    }

    #[test]
    fn ranges_are_what_statistics_say_and_everything_where_they_say_nothing() {
        let stats = |text: Value| text.as_object().unwrap().clone();
        let of = |kind: DataType, low: Value, high: Value, nulls: u64| {
            let stats = stats(
                json!({"numRecords": 3, "minValues": {"x": low}, "maxValues": {"x": high}, "nullCount": {"x": nulls}}),
            );
            range(&stats, &Field::new("x", kind, true))
        };
        assert_eq!(of(DataType::Int64, json!(-3), json!(7), 0), (Edge::Whole(-3), Edge::Whole(7)));
        assert_eq!(of(DataType::Utf8, json!("a"), json!("b"), 1), (Edge::Least, Edge::Text("b".to_owned())));
        assert_eq!(of(DataType::Utf8, json!(null), json!(null), 3), (Edge::Least, Edge::Least));
        assert_eq!(range(&Map::new(), &Field::new("x", DataType::Utf8, true)), (Edge::Least, Edge::Most));
        let floats = [-2.5, -1.0, 0.0, 0.5, 3.0].map(|x| of(DataType::Float64, json!(x), json!(x), 0).0);
        assert!(floats.is_sorted() && floats[0] < floats[4], "{floats:?}");
    }

    proptest! {
        /// Files are lists of values here, so what a run makes of them can be worked out.
        #[test]
        fn a_second_run_does_nothing_results_do_not_overlap_and_no_value_is_lost(
            waves in prop::collection::vec(prop::collection::vec(prop::collection::vec(0_i64..50, 1..8), 0..6), 1..4),
        ) {
            let mut files: Vec<(bool, Vec<i64>)> = Vec::new();
            for wave in waves {
                files.extend(wave.into_iter().map(|values| (false, values)));
                let facts = |files: &[(bool, Vec<i64>)]| -> Vec<Facts> {
                    let of = |(number, (tagged, values)): (usize, &(bool, Vec<i64>))| {
                        let range = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
                        file(&number.to_string(), range, *tagged, values.len() as u64)
                    };
                    files.iter().enumerate().map(of).collect()
                };
                let mut before: Vec<i64> = files.iter().flat_map(|(_, values)| values.clone()).collect();
                let plan = Plan::clustered(&facts(&files), 5);
                let mut gone: Vec<usize> = Vec::new();
                let mut made = Vec::new();
                for group in &plan.groups {
                    let numbers: Vec<usize> = group.paths.iter().map(|path| path.parse().unwrap()).collect();
                    let mut values: Vec<i64> = numbers.iter().flat_map(|n| files[*n].1.clone()).collect();
                    values.sort_unstable();
                    made.extend(values.chunks(5).map(|values| (true, values.to_vec())));
                    gone.extend(numbers);
                }
                let stay = files.iter().enumerate().filter(|(number, _)| !gone.contains(number));
                files = stay.map(|(_, file)| file.clone()).chain(made).collect();
                let mut after: Vec<i64> = files.iter().flat_map(|(_, values)| values.clone()).collect();
                before.sort_unstable();
                after.sort_unstable();
                prop_assert_eq!(before, after);
                prop_assert_eq!(Plan::clustered(&facts(&files), 5), Plan::default());
                let mut ranges: Vec<_> = files.iter().map(|(_, v)| (v.iter().min().unwrap(), v.iter().max().unwrap())).collect();
                ranges.sort_unstable();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", ranges);
            }
        }
    }
}
