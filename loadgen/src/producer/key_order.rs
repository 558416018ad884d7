//! Order by key: a record leaves only when every earlier one of its key is accepted or given up.
//!
//! PutRecords promises no order, and a record that is refused is overtaken by the next one of its key. So with
//! `order = "key"` one record of a key is on its way at a time, its retries included, and the others wait behind it. The
//! price is a key's rate: one record for each round trip.

use std::collections::{HashMap, VecDeque, hash_map::Entry as Slot};

use super::call::Parcel;

/// A key, by its hash: two keys that share one wait for each other without need, and nothing worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(u64);

impl KeyId {
    /// The id of a key.
    pub(crate) fn of(key: &str) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Which keys have a record on its way, and what waits behind it.
#[derive(Debug, Default)]
pub(crate) struct KeyOrder {
    waiting: HashMap<KeyId, VecDeque<Parcel>>,
}

impl KeyOrder {
    /// Whether the next record of this key may leave; then the key is taken.
    pub(crate) fn take(&mut self, key: KeyId) -> bool {
        match self.waiting.entry(key) {
            Slot::Vacant(free) => {
                free.insert(VecDeque::new());
                true
            }
            Slot::Occupied(_) => false,
        }
    }

    /// Puts a record behind the others of its key, which is taken.
    pub(crate) fn wait(&mut self, key: KeyId, parcel: Parcel) {
        self.waiting.entry(key).or_default().push_back(parcel);
    }

    /// The record on its way is accepted or given up: the next one, if there is one; otherwise the key is free.
    pub(crate) fn next(&mut self, key: KeyId) -> Option<Parcel> {
        let next = self.waiting.get_mut(&key)?.pop_front();
        if next.is_none() {
            self.waiting.remove(&key);
        }
        next
    }

    /// Takes everything that waits.
    pub(crate) fn drain(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            api::Api,
            call::{Call, NewEntry, RecordMeta},
        },
        *,
    };

    fn parcel(sequence: u64) -> Parcel {
        let api = Api::put_records("s");
        let mut call = Call::new();
        let records = [RecordMeta { sequence, due_us: 0 }];
        call.push(&api, NewEntry { data: b"d", key: "k", explicit_hash: None, records: &records });
        call.parcel(&call.entries()[0])
    }

    #[test]
    fn one_record_of_a_key_is_on_its_way_and_the_others_follow_in_order() {
        let (mut order, a, b) = (KeyOrder::default(), KeyId::of("a"), KeyId::of("b"));
        assert!(order.take(a) && !order.take(a) && order.take(b));
        order.wait(a, parcel(1));
        order.wait(a, parcel(2));
        assert_eq!(order.next(a).unwrap().records[0].sequence, 1);
        assert!(!order.take(a));
        assert_eq!(order.next(a).unwrap().records[0].sequence, 2);
        assert_eq!(order.next(a), None);
        assert!(order.take(a) && !order.take(b));
        order.wait(b, parcel(3));
        assert_eq!(order.drain().len(), 1);
    }
}
