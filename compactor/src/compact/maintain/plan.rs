//! Which files are put together: a pure function of the files there are, so that a dry run and the run agree.
//!
//! A file is small when it is under three quarters of the target. The small ones of a partition are packed, largest
//! first, each into the first group that has room; a group of two or more becomes one file. What was written so carries
//! a tag. A partition is touched again only when it has small files without the tag, and then a tagged one joins in only
//! if it is at most twice as large as they are together: a byte is written again about as often as its partition doubles.
//!
//! So a second run finds nothing to do. In a partition that was rewritten every small file has the tag, also one that
//! found no other to go with; in the others nothing changed, and the plan for them is as empty as it was.

use std::collections::BTreeMap;

use super::cluster::Edge;

/// What the plan looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) path: String,
    /// Its partition, as text.
    pub(super) partition: String,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// It was written by an earlier run of the same kind.
    pub(super) tagged: bool,
    /// Where its rows lie in the order that is wanted, if one is.
    pub(super) range: (Edge, Edge),
}

/// Files that become one, or as many as their rows fill where these are put in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their partition, `column=value/...`; empty in a table without.
    pub partition: String,
    /// Their paths under the table.
    pub paths: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
}

/// What a run does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each becomes one file. Ordered by partition.
    pub groups: Vec<Group>,
}

impl Plan {
    /// Files that are read and taken out.
    #[must_use]
    pub fn files(&self) -> usize {
        self.groups.iter().map(|group| group.paths.len()).sum()
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.bytes).sum()
    }

    pub(super) fn of(files: &[Facts], target_bytes: u64) -> Self {
        let small = |file: &&Facts| is_small(file.bytes, target_bytes);
        let mut partitions: BTreeMap<&str, Vec<&Facts>> = BTreeMap::new();
        for file in files.iter().filter(small) {
            partitions.entry(&file.partition).or_default().push(file);
        }
        let groups = partitions.into_iter().flat_map(|(name, files)| packed(name, files, target_bytes));
        Self { groups: groups.collect() }
    }
}

pub(super) const fn is_small(bytes: u64, target_bytes: u64) -> bool {
    bytes < target_bytes / 4 * 3
}

fn packed(partition: &str, mut files: Vec<&Facts>, target_bytes: u64) -> Vec<Group> {
    let fresh: u64 = files.iter().filter(|file| !file.tagged).map(|file| file.bytes).sum();
    files.retain(|file| !file.tagged || file.bytes <= 2 * fresh);
    files.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    let mut groups: Vec<(Group, bool)> = Vec::new();
    for file in files {
        let room = groups.iter_mut().find(|(group, _)| group.bytes + file.bytes <= target_bytes);
        let (paths, tagged) = (vec![file.path.clone()], file.tagged);
        match room {
            Some((group, _)) => {
                group.paths.extend(paths);
                group.bytes += file.bytes;
                group.rows += file.rows;
            }
            None => {
                let group = Group { partition: partition.to_owned(), paths, bytes: file.bytes, rows: file.rows };
                groups.push((group, tagged));
            }
        }
    }
    let gains = groups.iter().any(|(group, _)| group.paths.len() > 1);
    groups.retain(|(group, tagged)| gains && (group.paths.len() > 1 || !tagged));
    groups.into_iter().map(|(group, _)| group).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, bytes: u64, tagged: bool) -> Facts {
        Facts {
            path: path.to_owned(),
            partition: "p".to_owned(),
            bytes,
            rows: bytes,
            tagged,
            range: (Edge::Least, Edge::Most),
        }
    }

    /// The files after a run, each new one `shrink` per cent of what went into it.
    fn run(files: &[Facts], plan: &Plan, shrink: u64) -> Vec<Facts> {
        let gone: Vec<&String> = plan.groups.iter().flat_map(|group| &group.paths).collect();
        let mut after: Vec<Facts> = files.iter().filter(|file| !gone.contains(&&file.path)).cloned().collect();
        after.extend(plan.groups.iter().map(|group| Facts {
            path: format!("new-{}", group.paths[0]),
            partition: group.partition.clone(),
            bytes: (group.bytes * shrink / 100).max(1),
            rows: group.rows,
            tagged: true,
            range: (Edge::Least, Edge::Most),
        }));
        after
    }

    #[test]
    fn small_files_of_a_partition_go_together_and_large_ones_stay() {
        let files = [file("a", 80, false), file("b", 60, false), file("c", 50, false), file("d", 40, false)];
        let plan = Plan::of(&files, 100);
        let paths: Vec<_> = plan.groups.iter().map(|group| group.paths.join("")).collect();
        assert_eq!(paths, ["bd", "c"]);
        assert_eq!((plan.files(), plan.bytes()), (3, 150));
        assert!(Plan::of(&files[..2], 100).groups.is_empty(), "one small file has no one to go with");
    }

    #[test]
    fn a_large_tagged_file_is_not_written_again_for_a_few_new_bytes() {
        let files = [file("old", 70, true), file("new1", 1, false), file("new2", 2, false)];
        assert_eq!(Plan::of(&files, 100).groups[0].paths, ["new2", "new1"]);
        let files = [file("old", 70, true), file("new1", 20, false), file("new2", 15, false)];
        assert_eq!(Plan::of(&files, 100).groups.iter().map(|g| g.paths.len()).collect::<Vec<_>>(), [2, 1]);
    }

    proptest! {
        #[test]
        fn a_second_run_finds_nothing_and_rows_and_groups_are_kept(
            sizes in prop::collection::vec((1_u64..150, any::<bool>(), 0_u8..3), 0..40),
            shrink in 30_u64..100,
        ) {
            let mut files = Vec::new();
            for (number, (bytes, tagged, partition)) in sizes.into_iter().enumerate() {
                let partition = partition.to_string();
                let path = number.to_string();
                files.push(Facts { partition, ..file(&path, bytes, tagged) });
            }
            let plan = Plan::of(&files, 100);
            prop_assert!(plan.groups.iter().all(|group| group.bytes <= 100));
            let after = run(&files, &plan, shrink);
            let rows = |files: &[Facts]| files.iter().map(|file| file.rows).sum::<u64>();
            prop_assert_eq!(rows(&after), rows(&files));
            prop_assert!(after.len() <= files.len());
            prop_assert_eq!(Plan::of(&after, 100), Plan::default());
        }
    }
}
