//! The memory all streams may hold together, as a budget that is taken before records are stored.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that may be stored, and bytes that are.
#[derive(Debug)]
pub(crate) struct Capacity {
    limit: u64,
    used: AtomicU64,
}

/// Bytes taken from the budget; what is not kept goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    capacity: Arc<Capacity>,
    bytes: u64,
}

impl Capacity {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes the bytes, or nothing when they do not fit.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Reservation { capacity: Arc::clone(self), bytes })
    }

    /// Gives back bytes that were kept from a reservation.
    pub(crate) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Reservation {
    /// Keeps some of the reserved bytes: whoever keeps them releases them to the budget later.
    pub(crate) fn keep(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.bytes, "more kept than reserved");
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.capacity.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_goes_back() {
        let capacity = Capacity::new(100);
        let mut reservation = capacity.reserve(80).unwrap();
        assert!(capacity.reserve(21).is_none());
        reservation.keep(30);
        drop(reservation);
        assert_eq!(capacity.used(), 30);
        assert!(capacity.reserve(u64::MAX).is_none());
        capacity.release(30);
        assert_eq!(capacity.used(), 0);
    }
}
