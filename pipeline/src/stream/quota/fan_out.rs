//! What a consumer with fan-out is sent of a shard: it is paced, where readers that poll are refused.

/// Bytes per second of a consumer on a shard: 2 MB/s, binary as a shard's other limits
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>).
const BYTES_PER_S: u64 = 2 << 20;
/// How much time's worth of bytes may be owed when an event goes out: a shard's records come in bursts. Ours; AWS does
/// not say.
const CREDIT_US: u64 = 500_000;

/// The bytes a consumer may be sent now, as a debt that is paid off by time: an event goes out while no more is owed than
/// the credit.
#[derive(Debug, Default)]
pub(crate) struct FanOutQuota {
    /// When everything that was sent is paid for, microseconds.
    paid_us: u64,
}

impl FanOutQuota {
    /// When the next event may go out.
    pub(crate) const fn free_us(&self) -> u64 {
        self.paid_us.saturating_sub(CREDIT_US)
    }

    /// Charges an event that goes out now.
    pub(crate) fn charge(&mut self, now_us: u64, bytes: usize) {
        self.paid_us = self.paid_us.max(now_us) + (bytes as u64 * 1_000_000).div_ceil(BYTES_PER_S);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START_US: u64 = 1_700_000_000_000_000;
    const EVENT_BYTES: usize = 1 << 20;

    #[test]
    fn events_of_a_mebibyte_go_out_twice_a_second_after_the_credit() {
        let mut quota = FanOutQuota::default();
        let mut sent_us = Vec::new();
        for now_us in (START_US..=START_US + 3_000_000).step_by(1_000) {
            while now_us >= quota.free_us() {
                quota.charge(now_us, EVENT_BYTES);
                sent_us.push((now_us - START_US) / 1_000);
            }
        }
        // Two at once, half a second's worth of credit; from then on every half second.
        assert_eq!(sent_us, [0, 0, 500, 1_000, 1_500, 2_000, 2_500, 3_000]);
    }

    proptest! {
        /// The same rule told differently: what is owed falls by a microsecond in each microsecond.
        #[test]
        fn every_event_goes_out_when_a_walk_through_each_microsecond_says(
            events in prop::collection::vec((0_u64..40_000, 0_usize..60_000), 1..100),
        ) {
            let mut quota = FanOutQuota::default();
            let (mut owed_us, mut now_us) = (0_u64, START_US);
            for (gap_us, bytes) in events {
                for _ in 0..gap_us {
                    owed_us = owed_us.saturating_sub(1);
                }
                now_us += gap_us;
                prop_assert_eq!(now_us >= quota.free_us(), owed_us <= CREDIT_US);
                if owed_us <= CREDIT_US {
                    quota.charge(now_us, bytes);
                    owed_us += (bytes as u64 * 1_000_000).div_ceil(BYTES_PER_S);
                }
            }
        }

        /// Whoever asks whenever: between any two events no more is sent than the rate, the credit and one event.
        #[test]
        fn no_window_holds_more_than_the_rate_the_credit_and_an_event(
            events in prop::collection::vec((0_u64..300_000, 1_usize..=EVENT_BYTES), 1..150),
        ) {
            let mut quota = FanOutQuota::default();
            let mut sent: Vec<(u64, u64)> = Vec::new();
            let mut now_us = START_US;
            for (gap_us, bytes) in events {
                now_us += gap_us;
                if now_us >= quota.free_us() {
                    quota.charge(now_us, bytes);
                    sent.push((now_us, bytes as u64));
                }
            }
            for from in 0..sent.len() {
                let mut in_window = 0;
                for (at_us, bytes) in &sent[from..] {
                    in_window += bytes;
                    let allowed = (at_us - sent[from].0 + CREDIT_US) * BYTES_PER_S / 1_000_000 + EVENT_BYTES as u64;
                    prop_assert!(in_window <= allowed, "{in_window} of {allowed}");
                }
            }
        }
    }
}
