//! Which of two rows with one key and an equal `order_by` stays, when a commit brings one and the table holds the other:
//! that of the lower object, then of the lower offset, or of the higher ones where the last row stays.
//!
//! Rows know their objects by number. The names are in the manifests, which never change; one is read when a row of its
//! commit ties, and kept for the next time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt};
use millrace_scenarios::Keep;

use super::{
    manifest::{self, Manifest},
    quarantine,
};
use crate::{
    dedupe::origin::{Origin, Tie},
    error::CompactError,
    store::Location,
};

/// Memory for names; what does not fit is read again each time it is asked. Those of the last commits stay longest: that is
/// where most late duplicates find their keys.
const HELD_BYTES: usize = 8 << 20;
/// Manifests read at a time.
const READ_AT_ONCE: usize = 4;

/// The objects of every commit.
pub(super) struct Origins {
    table: Location,
    /// The quarantine's name in manifests: its objects are pieces of others.
    quarantine: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    names: BTreeMap<u64, Arc<Names>>,
    bytes: usize,
}

/// What one commit took.
struct Names {
    lake: String,
    objects: Vec<String>,
}

impl Names {
    fn of(manifest: &Manifest, quarantine: &str) -> Self {
        let whole = |key: &str| match quarantine::place_of(key).filter(|_| manifest.lake == quarantine) {
            Some((object, _)) => object.to_owned(),
            None => key.to_owned(),
        };
        let objects = manifest.objects.iter().map(|object| whole(&object.key)).collect();
        Self { lake: manifest.lake.clone(), objects }
    }

    fn bytes(&self) -> usize {
        self.objects.iter().map(|name| name.len() + size_of::<String>()).sum()
    }

    /// What rows are compared by; lakes only where two of them have an object of one name.
    fn place(&self, origin: Origin) -> Option<(&str, i64, &str)> {
        Some((self.objects.get(origin.place())?.as_str(), origin.offset, self.lake.as_str()))
    }
}

impl Held {
    fn keep(&mut self, sequence: u64, names: &Arc<Names>) {
        if self.names.insert(sequence, Arc::clone(names)).is_none() {
            self.bytes += names.bytes();
        }
        while self.bytes > HELD_BYTES
            && let Some((_, oldest)) = self.names.pop_first()
        {
            self.bytes -= oldest.bytes();
        }
    }
}

impl Origins {
    pub(super) fn new(table: &Location, quarantine: String) -> Self {
        Self { table: table.clone(), quarantine, held: Mutex::default() }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a commit that is being made takes.
    pub(super) fn learn(&self, manifest: &Manifest) {
        let names = Arc::new(Names::of(manifest, &self.quarantine));
        self.held().keep(manifest.sequence, &names);
    }

    /// The groups in which the table's row has to go. It stays where nothing is known of it.
    pub(super) async fn lost(&self, ties: &[Tie], keep: Keep) -> Result<Vec<u32>, CompactError> {
        let wanted: BTreeSet<u64> = ties.iter().flat_map(|tie| [tie.new.manifest(), tie.held.manifest()]).collect();
        let read = wanted.into_iter().map(|sequence| async move {
            Ok::<_, CompactError>(self.names(sequence).await?.map(|names| (sequence, names)))
        });
        let read: Vec<_> = futures::stream::iter(read).buffered(READ_AT_ONCE).try_collect().await?;
        let names: BTreeMap<u64, Arc<Names>> = read.into_iter().flatten().collect();
        let place = |origin: Origin| names.get(&origin.manifest())?.place(origin);
        let is_lost = |tie: &&Tie| {
            let places = place(tie.new).zip(place(tie.held));
            places.is_some_and(|(new, held)| if keep == Keep::Last { new > held } else { new < held })
        };
        Ok(ties.iter().filter(is_lost).map(|tie| tie.group).collect())
    }

    async fn names(&self, sequence: u64) -> Result<Option<Arc<Names>>, CompactError> {
        if let Some(names) = self.held().names.get(&sequence) {
            return Ok(Some(Arc::clone(names)));
        }
        let Some(manifest) = manifest::read(&self.table, sequence).await? else { return Ok(None) };
        let names = Arc::new(Names::of(&manifest, &self.quarantine));
        self.held().keep(sequence, &names);
        Ok(Some(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_last_commits_stay() {
        let mut held = Held::default();
        let names = |count: usize| Arc::new(Names { lake: String::new(), objects: vec!["x".repeat(1_000); count] });
        (1..=20).for_each(|sequence| held.keep(sequence, &names(1_000)));
        held.keep(20, &names(1_000));
        assert!(held.bytes <= HELD_BYTES && held.bytes + 2 * names(1_000).bytes() > HELD_BYTES);
        assert_eq!(held.bytes, held.names.values().map(|names| names.bytes()).sum::<usize>());
        assert_eq!(held.names.keys().next_back(), Some(&20));
        held.keep(21, &names(100_000));
        assert_eq!((held.names.len(), held.bytes), (0, 0), "more than there is room for is read each time");
    }
}
