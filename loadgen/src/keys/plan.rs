//! The keys of a whole load: those of `[keys]`, and from the time of an event on those of the event.

use millrace_scenarios::{Event, Keys};

use super::{KeyChooser, KeyError};
use crate::shards::ShardMap;

/// Which chooser counts when. A record's due time decides, so the same record has the same key in every run.
#[derive(Debug, Clone)]
pub struct KeyPlan {
    first: KeyChooser,
    /// From which offset on, microseconds after the first due time, in order.
    later: Vec<(u64, KeyChooser)>,
}

impl KeyPlan {
    /// The plan of a scenario's `[keys]` and events, for a stream that has these shards when the load begins.
    ///
    /// # Errors
    /// [`KeyError`] when one of the sections asks for something that cannot be drawn.
    pub fn new(keys: &Keys, events: &[Event], seed: u64, shards: &ShardMap) -> Result<Self, KeyError> {
        let mut later = Vec::new();
        for event in events {
            if let Some(keys) = &event.keys {
                later.push((event.at.as_us(), KeyChooser::new(keys, seed, shards)?));
            }
        }
        later.sort_by_key(|(at_us, _)| *at_us);
        Ok(Self { first: KeyChooser::new(keys, seed, shards)?, later })
    }

    /// Writes the partition key of record `k`, due at this offset, into `key`; see [`KeyChooser::choose`].
    pub fn choose(&self, k: u64, offset_us: u64, payload: &[u8], key: &mut String) -> Option<u128> {
        let begun = self.later.partition_point(|(at_us, _)| *at_us <= offset_us);
        let chooser = begun.checked_sub(1).and_then(|last| self.later.get(last)).map_or(&self.first, |(_, c)| c);
        chooser.choose(k, payload, key)
    }

    /// The chooser of the whole load; absent when the keys change during it.
    #[must_use]
    pub fn only(&self) -> Option<&KeyChooser> {
        self.later.is_empty().then_some(&self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_due_time_decides_which_keys_count() {
        let keys = serde_json::from_str(r#"{"kind": "sequential", "distinct": 1}"#).unwrap();
        let event = |at: &str, salt: u32| {
            let keys = serde_json::json!({"kind": "sequential", "distinct": 1, "salt": salt});
            serde_json::from_value(serde_json::json!({"at": at, "keys": keys})).unwrap()
        };
        let events = [event("2s", 1), event("1s", 2)];
        let plan = KeyPlan::new(&keys, &events, 1, &ShardMap::default()).unwrap();
        let mut key = String::new();
        let mut salted = |offset_us| {
            plan.choose(0, offset_us, b"{}", &mut key);
            key.contains('#')
        };
        assert_eq!([0, 999_999, 1_000_000, 1_999_999, 2_000_000].map(&mut salted), [false, false, true, true, false]);
        assert!(plan.only().is_none());
        assert!(KeyPlan::new(&keys, &[], 1, &ShardMap::default()).unwrap().only().is_some());
    }
}
