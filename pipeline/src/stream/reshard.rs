//! Plans of new shards for old ones: pure, so that every plan can be checked without a stream.

use super::routing::{HashRange, even_ranges};

/// The shards a change closes, and what takes their place. A plan is a list of these in order; a step may name the
/// children of the steps before it, for children are numbered in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reshard {
    pub(crate) parent: u32,
    /// The second parent of a merge.
    pub(crate) adjacent_parent: Option<u32>,
    /// The ranges of the children.
    pub(crate) children: Vec<HashRange>,
}

/// An open shard: its number and the hash keys it takes.
pub(crate) type OpenShard = (u32, HashRange);

impl Reshard {
    /// A shard cut in two: `at` is the first hash key of the upper child.
    pub(crate) fn split((parent, range): OpenShard, at: u128) -> Self {
        let lower = HashRange { start: range.start, end: at - 1 };
        let upper = HashRange { start: at, end: range.end };
        Self { parent, adjacent_parent: None, children: vec![lower, upper] }
    }

    /// Two shards made one. `None`: their ranges do not touch.
    pub(crate) fn merge((parent, a): OpenShard, (adjacent, b): OpenShard) -> Option<Self> {
        let touch = a.end.checked_add(1) == Some(b.start) || b.end.checked_add(1) == Some(a.start);
        let union = HashRange { start: a.start.min(b.start), end: a.end.max(b.end) };
        touch.then(|| Self { parent, adjacent_parent: Some(adjacent), children: vec![union] })
    }

    /// How many more shards are open after the step.
    fn growth(&self) -> isize {
        self.children.len() as isize - 1 - isize::from(self.adjacent_parent.is_some())
    }
}

/// How many more shards are open after a plan.
pub(crate) fn growth(plan: &[Reshard]) -> isize {
    plan.iter().map(Reshard::growth).sum()
}

/// Splits and merges after which `target` shards of equal size are open.
///
/// Every shard is cut at the edges that the target has inside it, then the pieces of each target range are merged, lower
/// ones first. So twice as many shards are one split each, half as many one merge of neighbours each, and any other count
/// passes through short-lived shards, as AWS says that UpdateShardCount may
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>).
/// `open` covers every hash key in order, and the next shard to be made gets the number `next`.
pub(crate) fn uniform(open: &[OpenShard], mut next: u32, target: u32) -> Vec<Reshard> {
    let mut plan = Vec::new();
    let starts = target_starts(open, target);
    let mut pieces = Vec::with_capacity(open.len() + starts.len());
    for &(number, range) in open {
        let mut rest = (number, range);
        let first_inside = starts.partition_point(|start| *start <= range.start);
        for &at in starts[first_inside..].iter().take_while(|start| **start <= range.end) {
            let split = Reshard::split(rest, at);
            pieces.push((next, split.children[0]));
            rest = (next + 1, split.children[1]);
            next += 2;
            plan.push(split);
        }
        pieces.push(rest);
    }
    for run in pieces.chunk_by(|_, (_, upper)| starts.binary_search(&upper.start).is_err()) {
        let mut merged = run[0];
        for &piece in &run[1..] {
            let Some(merge) = Reshard::merge(merged, piece) else { continue };
            merged = (next, merge.children[0]);
            next += 1;
            plan.push(merge);
        }
    }
    plan
}

/// Where the target's ranges start, in order. A start that is an open shard's but for the rounding of [`even_ranges`] is
/// that shard's: three shards become six without slivers.
fn target_starts(open: &[OpenShard], target: u32) -> Vec<u128> {
    let rounding = open.len() as u128 + u128::from(target);
    let snapped = |start: u128| {
        let above = open.partition_point(|(_, range)| range.start < start);
        let near = open[above.saturating_sub(1)..].iter().take(2).map(|(_, range)| range.start);
        near.min_by_key(|edge| edge.abs_diff(start)).filter(|edge| edge.abs_diff(start) <= rounding).unwrap_or(start)
    };
    even_ranges(target).into_iter().map(|range| snapped(range.start)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn even(count: u32) -> Vec<OpenShard> {
        (0..).zip(even_ranges(count)).collect()
    }

    /// Carries a plan out and gives what is open then, in order of range.
    fn carried_out(open: &[OpenShard], mut next: u32, plan: &[Reshard]) -> Vec<OpenShard> {
        let mut shards: BTreeMap<u32, HashRange> = open.iter().copied().collect();
        for step in plan {
            let parents = [Some(step.parent), step.adjacent_parent];
            let closed: Vec<_> = parents.into_iter().flatten().map(|number| shards.remove(&number).unwrap()).collect();
            let keys = |ranges: &[HashRange]| {
                (ranges.iter().map(|r| r.start).min().unwrap(), ranges.iter().map(|r| r.end).max().unwrap())
            };
            assert_eq!(keys(&closed), keys(&step.children), "children take over what the parents took");
            for range in &step.children {
                shards.insert(next, *range);
                next += 1;
            }
        }
        let mut open: Vec<_> = shards.into_iter().collect();
        open.sort_by_key(|(_, range)| range.start);
        open
    }

    fn partitions_every_key(open: &[OpenShard]) -> bool {
        let meet = |pair: &[OpenShard]| pair[0].1.end.checked_add(1) == Some(pair[1].1.start);
        open[0].1.start == 0
            && open[open.len() - 1].1.end == u128::MAX
            && open.iter().all(|(_, range)| range.start <= range.end)
            && open.windows(2).all(meet)
    }

    #[test]
    fn twice_as_many_shards_are_one_split_each_and_half_as_many_one_merge_each() {
        for count in [1, 2, 3, 5, 7, 64, 1_000] {
            let plan = uniform(&even(count), count, count * 2);
            assert_eq!(plan.len(), count as usize);
            assert!(plan.iter().zip(0..).all(|(step, number)| (step.parent, step.adjacent_parent) == (number, None)));
            let halved = uniform(&even(count * 2), count * 2, count);
            assert_eq!(halved.len(), count as usize);
            let neighbours =
                |(step, i): (&Reshard, u32)| (step.parent, step.adjacent_parent) == (2 * i, Some(2 * i + 1));
            assert!(halved.iter().zip(0..).all(neighbours));
        }
    }

    #[test]
    fn four_shards_become_five_through_four_splits_and_three_merges() {
        let open = even(4);
        let plan = uniform(&open, 4, 5);
        let splits = plan.iter().filter(|step| step.adjacent_parent.is_none()).count();
        assert_eq!((splits, plan.len(), growth(&plan)), (4, 7, 1));
        let ranges: Vec<_> = carried_out(&open, 4, &plan).into_iter().map(|(_, range)| range).collect();
        assert_eq!(ranges, even_ranges(5));
    }

    #[test]
    fn as_many_shards_of_equal_size_as_there_are_need_no_step() {
        for count in [1, 3, 10] {
            assert_eq!(uniform(&even(count), count, count), []);
        }
    }

    #[test]
    fn only_ranges_that_touch_merge_in_either_order() {
        let shards = even(3);
        assert_eq!(Reshard::merge(shards[0], shards[2]), None);
        assert_eq!(Reshard::merge(shards[0], shards[0]), None);
        let merged = Reshard::merge(shards[2], shards[1]).unwrap();
        assert_eq!((merged.parent, merged.adjacent_parent), (2, Some(1)));
        assert_eq!(merged.children, [HashRange { start: shards[1].1.start, end: u128::MAX }]);
    }

    proptest! {
        #[test]
        fn a_plan_leaves_even_ranges_that_cover_every_key(from in 1_u32..60, targets in prop::collection::vec(1_u32..90, 1..4)) {
            let (mut open, mut next) = (even(from), from);
            for target in targets {
                let plan = uniform(&open, next, target);
                prop_assert_eq!(open.len() as isize + growth(&plan), target as isize);
                open = carried_out(&open, next, &plan);
                next += plan.iter().map(|step| step.children.len() as u32).sum::<u32>();
                prop_assert!(partitions_every_key(&open));
                prop_assert_eq!(open.len(), target as usize);
                for ((_, is), should) in open.iter().zip(even_ranges(target)) {
                    prop_assert!(is.start.abs_diff(should.start) <= 1_000, "{:?} {:?}", is, should);
                }
            }
        }

        #[test]
        fn uneven_shards_become_even_too(cuts in prop::collection::btree_set(1_u128.., 1..20), target in 1_u32..30) {
            let starts: Vec<u128> = [0].into_iter().chain(cuts).collect();
            let end = |i: usize| starts.get(i + 1).map_or(u128::MAX, |next| next - 1);
            let open: Vec<OpenShard> =
                (0..).zip(starts.iter().enumerate().map(|(i, &start)| HashRange { start, end: end(i) })).collect();
            let open = carried_out(&open, 100, &uniform(&open, 100, target));
            prop_assert!(partitions_every_key(&open));
            prop_assert_eq!(open.len(), target as usize);
        }
    }
}
