//! Did the records of a key arrive in the order they were due?
//!
//! Asked only of a load that promises it: it holds one number for each key.

use std::collections::HashMap;

use millrace_reports::record::OrderRecord;

use crate::producer::key_order::KeyId;

/// The last number read of each key.
#[derive(Debug, Default)]
pub(crate) struct OrderCheck {
    last: HashMap<KeyId, u64>,
    checked: u64,
    out_of_order: u64,
}

impl OrderCheck {
    /// Enters a record that is read for the first time.
    pub(crate) fn enter(&mut self, key: &str, sequence: u64) {
        self.checked += 1;
        let last = self.last.entry(KeyId::of(key)).or_insert(sequence);
        if sequence < *last {
            self.out_of_order += 1;
        } else {
            *last = sequence;
        }
    }

    /// What was found.
    pub(crate) fn record(&self) -> OrderRecord {
        OrderRecord { keys: self.last.len() as u64, checked: self.checked, out_of_order: self.out_of_order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_that_comes_after_a_later_one_of_its_key_is_out_of_order() {
        let mut check = OrderCheck::default();
        for (key, sequence) in [("a", 3), ("b", 1), ("a", 5), ("b", 2), ("a", 4), ("a", 6)] {
            check.enter(key, sequence);
        }
        assert_eq!(check.record(), OrderRecord { keys: 2, checked: 6, out_of_order: 1 });
    }
}
