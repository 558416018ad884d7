//! The equations of the whole way: what went into each hop is what came out of it.

use millrace_reports::record::{CompactionRecord, DeliveryRecord, LedgerHop, LoadRecord, STREAM_HOP};

/// What the legs counted. A leg that did not run is absent, and so is its equation.
#[derive(Debug, Default)]
pub(crate) struct Counted<'a> {
    pub(crate) load: Option<&'a LoadRecord>,
    /// Different records of this run that were read, acknowledged or not; absent when nobody could read.
    pub(crate) read: Option<u64>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) delivery: Option<&'a DeliveryRecord>,
    /// Records on the stream that another producer put there; delivery lands them too.
    pub(crate) foreign: u64,
    pub(crate) compaction: Option<&'a CompactionRecord>,
}

/// One equation per hop that ran, and the whole way when the table holds this run's records only.
pub(crate) fn equations(counted: &Counted<'_>) -> Vec<LedgerHop> {
    let mut hops = Vec::new();
    if let Some(load) = counted.load {
        let mut parts = vec![("accepted", load.accepted), ("refused", load.refused)];
        // What an early end left unsent is counted where it was left, so that any other gap is a broken equation.
        if load.not_sent > 0 {
            parts.push(("not sent", load.not_sent));
        }
        hops.push(LedgerHop::new("producer", ("due", load.due), &parts));
        hops.extend(counted.read.map(|read| stream(counted, load, read)));
    }
    if let (Some(load), Some(delivery)) = (counted.load, counted.delivery) {
        let stored = load.accepted + counted.duplicated + counted.unacknowledged + counted.foreign;
        let mut parts = vec![("delivered", delivery.records_delivered)];
        if delivery.records_errored > 0 {
            parts.push(("to error prefix", delivery.records_errored));
        }
        hops.push(LedgerHop::new("delivery", ("on the stream", stored), &parts));
    }
    if let Some(compaction) = counted.compaction {
        hops.push(LedgerHop::new("table", ("lines in the lake", compaction.lines), &outcome_of_lines(compaction)));
        if let (Some(load), Some(delivery)) = (counted.load, counted.delivery)
            && compaction.objects == delivery.objects
        {
            hops.push(whole_way(counted, load, delivery, compaction));
        }
    }
    hops
}

/// What the producer was told is stored against what the consumer saw; a record that is in neither count, or in both,
/// breaks it. Records stored although the acknowledgement was lost stand on the left, because the stream did take them.
fn stream(counted: &Counted<'_>, load: &LoadRecord, read: u64) -> LedgerHop {
    let taken = match counted.unacknowledged {
        0 => ("accepted", load.accepted),
        more => ("accepted and unacknowledged", load.accepted + more),
    };
    LedgerHop::new(STREAM_HOP, taken, &[("read", read), ("lost", counted.lost)])
}

fn outcome_of_lines(compaction: &CompactionRecord) -> [(&'static str, u64); 3] {
    [("rows", compaction.rows), ("duplicates", compaction.duplicates), ("quarantined", compaction.quarantined)]
}

fn whole_way(
    counted: &Counted<'_>,
    load: &LoadRecord,
    delivery: &DeliveryRecord,
    compaction: &CompactionRecord,
) -> LedgerHop {
    let extra = counted.duplicated + counted.unacknowledged + counted.foreign;
    let mut parts = outcome_of_lines(compaction).to_vec();
    parts.push(("refused", load.refused));
    for (name, records) in [("to error prefix", delivery.records_errored), ("not sent", load.not_sent)] {
        if records > 0 {
            parts.push((name, records));
        }
    }
    let taken = if extra > 0 { ("due and stored again", load.due + extra) } else { ("due", load.due) };
    LedgerHop::new("whole way", taken, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(due: u64, sent: u64, accepted: u64, refused: u64) -> LoadRecord {
        LoadRecord { due, sent, accepted, refused, ..LoadRecord::default() }
    }

    fn landed(delivered: u64, objects: u64) -> DeliveryRecord {
        DeliveryRecord { records_delivered: delivered, objects, ..DeliveryRecord::default() }
    }

    fn compacted(objects: u64, lines: u64, rows: u64, duplicates: u64) -> CompactionRecord {
        CompactionRecord { objects, lines, rows, duplicates, ..CompactionRecord::default() }
    }

    #[test]
    fn every_hop_of_a_sound_run_closes() {
        let (load, delivery, compaction) = (load(100, 100, 98, 2), landed(98, 3), compacted(3, 98, 90, 8));
        let counted = Counted {
            load: Some(&load),
            read: Some(98),
            delivery: Some(&delivery),
            compaction: Some(&compaction),
            ..Counted::default()
        };
        let hops = equations(&counted);
        assert_eq!(hops.len(), 5);
        assert!(hops.iter().all(LedgerHop::closes), "{hops:?}");
        assert_eq!(hops[4].equation(), "due 100 = rows 90 + duplicates 8 + quarantined 0 + refused 2");
    }

    #[test]
    fn one_record_that_delivery_did_not_land_breaks_its_hop_and_the_whole_way() {
        let (load, delivery, compaction) = (load(100, 100, 100, 0), landed(99, 3), compacted(3, 99, 99, 0));
        let counted = Counted {
            load: Some(&load),
            read: Some(100),
            delivery: Some(&delivery),
            compaction: Some(&compaction),
            ..Counted::default()
        };
        let broken: Vec<_> = equations(&counted).into_iter().filter(|h| !h.closes()).collect();
        let names: Vec<_> = broken.iter().map(|h| (h.hop.as_str(), h.difference)).collect();
        assert_eq!(names, [("delivery", 1), ("whole way", 1)]);
    }

    #[test]
    fn a_record_sent_but_neither_accepted_nor_refused_is_never_explained_away() {
        let load = load(100, 100, 99, 0);
        let hops = equations(&Counted { load: Some(&load), ..Counted::default() });
        assert_eq!((hops[0].hop.as_str(), hops[0].difference), ("producer", 1));
    }

    #[test]
    fn a_record_neither_read_nor_lost_breaks_the_streams_hop() {
        let load = load(100, 100, 100, 0);
        let hop = |read, lost, unacknowledged| {
            let counted = Counted { load: Some(&load), read: Some(read), lost, unacknowledged, ..Counted::default() };
            equations(&counted)[1].difference
        };
        assert_eq!((hop(100, 0, 0), hop(97, 3, 0), hop(102, 0, 2)), (0, 0, 0));
        assert_eq!((hop(99, 0, 0), hop(101, 0, 0), hop(100, 0, 1)), (1, -1, 1));
    }

    #[test]
    fn where_nobody_could_read_nothing_is_said_about_it() {
        let load = load(100, 100, 99, 1);
        let names: Vec<_> = equations(&Counted { load: Some(&load), ..Counted::default() });
        assert_eq!(names.iter().map(|hop| hop.hop.as_str()).collect::<Vec<_>>(), ["producer"]);
    }

    #[test]
    fn an_interrupted_load_names_what_was_not_sent() {
        let load = LoadRecord { not_sent: 60, ..load(100, 40, 40, 0) };
        let hops = equations(&Counted { load: Some(&load), ..Counted::default() });
        assert_eq!(hops[0].equation(), "due 100 = accepted 40 + refused 0 + not sent 60");
        assert!(hops[0].closes());
    }
}
