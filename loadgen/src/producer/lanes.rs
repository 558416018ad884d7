//! Lanes: what was refused waits here, shard by shard, so that a hot shard's retries hold up nobody else's.
//!
//! Each shard has its own queue, its own share of the memory, and may have only so many calls under way at once. New
//! records never wait behind a retry of another shard.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    api::Api,
    call::{Call, Limits, Parcel},
};

/// A lane's share of the memory is never smaller than this, however many lanes there are.
const LEAST_SHARE_BYTES: usize = 64 << 10;
/// What a parcel costs beside its JSON.
const PARCEL_BYTES: usize = 96;

/// The queue of one shard.
#[derive(Debug, Default)]
struct Lane {
    /// Parcels that pause, by the time they are tried again.
    pausing: BTreeMap<u64, Vec<Parcel>>,
    /// Calls that wait for a connection.
    ready: VecDeque<Box<Call>>,
    under_way: usize,
    bytes: usize,
}

/// Every lane of a load. The lane without a shard holds what failed before its shard was known.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    by_shard: HashMap<Option<Arc<str>>, usize>,
    most_calls: usize,
    most_bytes: usize,
    bytes: usize,
    parcels: usize,
}

impl Lanes {
    /// Lanes that have at most this many calls of one shard under way, and hold at most about this many bytes together.
    pub(crate) fn new(most_calls: usize, most_bytes: usize) -> Self {
        let most_calls = most_calls.max(1);
        Self { lanes: Vec::new(), by_shard: HashMap::new(), most_calls, most_bytes, bytes: 0, parcels: 0 }
    }

    /// Takes a parcel that is tried again at `ready_us`; gives it back when its lane has used up its share.
    pub(crate) fn push(&mut self, shard: Option<&Arc<str>>, ready_us: u64, parcel: Parcel) -> Result<(), Parcel> {
        let at = self.lane_of(shard);
        let bytes = parcel.memory_bytes() + PARCEL_BYTES;
        if self.bytes + bytes > self.most_bytes {
            let holding = self.lanes.iter().filter(|lane| lane.bytes > 0).count().max(1);
            if self.lanes[at].bytes + bytes > (self.most_bytes / holding).max(LEAST_SHARE_BYTES) {
                return Err(parcel);
            }
        }
        let lane = &mut self.lanes[at];
        lane.pausing.entry(ready_us).or_default().push(parcel);
        lane.bytes += bytes;
        self.bytes += bytes;
        self.parcels += 1;
        Ok(())
    }

    fn lane_of(&mut self, shard: Option<&Arc<str>>) -> usize {
        let next = self.lanes.len();
        let at = *self.by_shard.entry(shard.cloned()).or_insert(next);
        if at == next {
            self.lanes.push(Lane::default());
        }
        at
    }

    /// When the next parcel is to be tried again.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.pausing.first_key_value()).map(|(us, _)| *us).min()
    }

    /// Makes calls of the parcels that are due.
    pub(crate) fn wake(&mut self, now_us: u64, api: &Api, limits: Limits, mut empty: impl FnMut() -> Box<Call>) {
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let later = now_us.checked_add(1).map_or_else(BTreeMap::new, |after| lane.pausing.split_off(&after));
            let due = std::mem::replace(&mut lane.pausing, later);
            let mut open: Option<Box<Call>> = None;
            for parcel in due.into_values().flatten() {
                let bytes = parcel.memory_bytes() + PARCEL_BYTES;
                lane.bytes -= bytes;
                self.bytes -= bytes;
                self.parcels -= 1;
                if open.as_ref().is_some_and(|call| !call.fits(parcel.bytes as usize, limits)) {
                    lane.ready.extend(open.take());
                }
                let call = open.get_or_insert_with(|| {
                    let mut call = empty();
                    (call.ready_us, call.lane) = (now_us, Some(at));
                    call
                });
                call.push_again(api, &parcel);
            }
            lane.ready.extend(open);
        }
    }

    /// Puts a call behind the others of its lane, or of the lane without a shard.
    pub(crate) fn push_call(&mut self, mut call: Box<Call>) {
        let at = call.lane.unwrap_or_else(|| self.lane_of(None));
        call.lane = Some(at);
        self.lanes[at].ready.push_back(call);
    }

    /// Since when the oldest call waits that may be sent now.
    pub(crate) fn oldest_us(&self) -> Option<u64> {
        self.sendable().map(|(us, _)| us).min()
    }

    /// Takes that call, to be sent.
    pub(crate) fn take_oldest(&mut self) -> Option<Box<Call>> {
        let (_, at) = self.sendable().min()?;
        let lane = &mut self.lanes[at];
        lane.under_way += 1;
        lane.ready.pop_front()
    }

    fn sendable(&self) -> impl Iterator<Item = (u64, usize)> {
        let lanes = self.lanes.iter().enumerate().filter(|(_, lane)| lane.under_way < self.most_calls);
        lanes.filter_map(|(at, lane)| Some((lane.ready.front()?.ready_us, at)))
    }

    /// Notes that a call of this lane is over.
    pub(crate) fn call_ended(&mut self, lane: Option<usize>) {
        if let Some(lane) = lane.and_then(|at| self.lanes.get_mut(at)) {
            lane.under_way = lane.under_way.saturating_sub(1);
        }
    }

    /// Takes every call that waits and for which `over` holds.
    #[expect(clippy::vec_box, reason = "calls go back to the desk as boxes")]
    pub(crate) fn take_calls(&mut self, over: impl Fn(&Call) -> bool) -> Vec<Box<Call>> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            while lane.ready.front().is_some_and(|call| over(call)) {
                taken.extend(lane.ready.pop_front());
            }
        }
        taken
    }

    /// Whether nothing waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.parcels == 0 && self.lanes.iter().all(|lane| lane.ready.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::call::{NewEntry, RecordMeta},
        *,
    };

    const LIMITS: Limits = Limits { entries: 2, bytes: 1 << 20 };

    fn parcel(api: &Api, sequence: u64) -> Parcel {
        let mut call = Call::new();
        let records = [RecordMeta { sequence, due_us: 0 }];
        call.push(api, NewEntry { data: b"data", key: "k", explicit_hash: None, records: &records });
        call.parcel(&call.entries()[0])
    }

    fn sequences(call: &Call) -> Vec<u64> {
        call.records().iter().map(|record| record.sequence).collect()
    }

    #[test]
    fn what_is_due_comes_out_by_shard_and_the_rest_stays() {
        let api = Api::put_records("s");
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut lanes = Lanes::new(1, 1 << 20);
        for (shard, ready_us, sequence) in [(&a, 30, 3), (&a, 10, 1), (&b, 20, 2), (&a, 10, 4), (&a, 15, 5)] {
            lanes.push(Some(shard), ready_us, parcel(&api, sequence)).unwrap();
        }
        assert_eq!(lanes.next_us(), Some(10));
        lanes.wake(20, &api, LIMITS, || Box::new(Call::new()));
        assert_eq!(lanes.next_us(), Some(30));
        let first = lanes.take_oldest().unwrap();
        assert_eq!(sequences(&first), [1, 4]);
        // Another call of that shard waits until this one is over; the other shard's goes.
        assert_eq!(sequences(&lanes.take_oldest().unwrap()), [2]);
        assert!(lanes.take_oldest().is_none() && lanes.oldest_us().is_none());
        lanes.call_ended(first.lane);
        assert_eq!(sequences(&lanes.take_oldest().unwrap()), [5]);
        lanes.wake(u64::MAX, &api, LIMITS, || Box::new(Call::new()));
        assert!(!lanes.is_empty());
        assert_eq!(lanes.take_calls(|_| true).len(), 1);
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_hot_shard_takes_the_memory_that_is_free_and_no_more() {
        let api = Api::put_records("s");
        let (hot, cold): (Arc<str>, Arc<str>) = ("hot".into(), "cold".into());
        let mut lanes = Lanes::new(1, 1 << 20);
        let taken = (0..100_000).take_while(|k| lanes.push(Some(&hot), 1, parcel(&api, *k)).is_ok()).count();
        assert!((3_000..10_000).contains(&taken), "{taken}");
        // The cold shard still has its share.
        let taken = (0..100_000).take_while(|k| lanes.push(Some(&cold), 1, parcel(&api, *k)).is_ok()).count();
        assert!(taken > 1_000, "{taken}");
        assert!(lanes.push(Some(&hot), 1, parcel(&api, 0)).is_err());
        assert!(lanes.bytes <= (3 << 20) / 2, "{}", lanes.bytes);
    }
}
