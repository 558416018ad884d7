//! How the table lies: how many files, how small, how uneven; and what to do about it.

use std::{collections::BTreeMap, fmt};

use super::{
    Size,
    plan::{Facts, is_small},
};

/// Small files that are few enough to leave alone, for each partition.
const FEW_FILES: u64 = 4;
/// A partition this many times the middle one is called large.
const SKEW: u64 = 10;
/// Partitions whose data is smaller than this are called small, ...
const SMALL_PARTITION_BYTES: u64 = 1 << 20;
/// ... where there are more than this many.
const MANY_PARTITIONS: u64 = 100;

/// Sizes of the files and partitions of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows, by their own statistics.
    pub rows: u64,
    /// Files under three quarters of the target.
    pub small_files: u64,
    /// The size of the middle file.
    pub median_file_bytes: u64,
    /// Partitions that hold a file.
    pub partitions: u64,
    /// The size of the middle partition.
    pub median_partition_bytes: u64,
    /// The largest partition, and its bytes.
    pub largest_partition: (String, u64),
}

impl Layout {
    pub(super) fn of(files: &[Facts], target_bytes: u64) -> Self {
        let mut partitions: BTreeMap<&str, u64> = BTreeMap::new();
        for file in files {
            *partitions.entry(&file.partition).or_default() += file.bytes;
        }
        let largest =
            partitions.iter().max_by_key(|(_, bytes)| **bytes).map(|(name, bytes)| ((*name).to_owned(), *bytes));
        Self {
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            rows: files.iter().map(|file| file.rows).sum(),
            small_files: files.iter().filter(|file| is_small(file.bytes, target_bytes)).count() as u64,
            median_file_bytes: median(files.iter().map(|file| file.bytes)),
            partitions: partitions.len() as u64,
            median_partition_bytes: median(partitions.values().copied()),
            largest_partition: largest.unwrap_or_default(),
        }
    }

    /// What could be better, in sentences.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if self.small_files > FEW_FILES * self.partitions.max(1) {
            advice.push(format!(
                "{} of {} files are small, {} for each partition: optimize, or compact less often",
                self.small_files,
                self.files,
                self.small_files / self.partitions.max(1)
            ));
        }
        let (name, largest) = &self.largest_partition;
        if self.partitions > 2 && *largest > SKEW * self.median_partition_bytes.max(1) {
            let times = largest / self.median_partition_bytes.max(1);
            advice.push(format!(
                "the partition {name} is {times} times the middle one: partition by something more even"
            ));
        }
        if self.partitions > MANY_PARTITIONS && self.median_partition_bytes < SMALL_PARTITION_BYTES {
            advice.push(format!(
                "{} partitions of {} each cannot have large files: partition by fewer columns or longer spans of time",
                self.partitions,
                Size(self.median_partition_bytes)
            ));
        }
        advice
    }
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rows in {} files of {} in {} partitions; the middle file has {}, {} files are small",
            self.rows,
            self.files,
            Size(self.bytes),
            self.partitions,
            Size(self.median_file_bytes),
            self.small_files
        )?;
        self.advice().iter().try_for_each(|advice| writeln!(f, "advice: {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::maintain::cluster::Edge;

    fn facts(partition: &str, bytes: u64) -> Facts {
        Facts {
            path: String::new(),
            partition: partition.to_owned(),
            bytes,
            rows: 1,
            tagged: false,
            range: (Edge::Least, Edge::Most),
        }
    }

    #[test]
    fn an_even_table_of_large_files_gets_no_advice_and_an_uneven_one_of_small_files_does() {
        let even: Vec<Facts> = (0..6).map(|p| facts(&format!("p={p}"), 100 << 20)).collect();
        let layout = Layout::of(&even, 128 << 20);
        assert_eq!((layout.advice(), layout.small_files, layout.median_file_bytes), (vec![], 0, 100 << 20));
        let mut uneven: Vec<Facts> = (0..200).map(|p| facts(&format!("p={p}"), 1 << 10)).collect();
        uneven.extend((0..900).map(|_| facts("p=7", 1 << 20)));
        let advice = Layout::of(&uneven, 128 << 20).advice();
        assert_eq!(advice.len(), 3, "{advice:#?}");
        assert!(advice[0].starts_with("1100 of 1100 files are small, 5 for each partition"), "{advice:#?}");
        assert!(advice[1].starts_with("the partition p=7 is 921601 times"), "{advice:#?}");
        assert!(advice[2].starts_with("200 partitions of 1.0 KiB each"), "{advice:#?}");
    }
}
