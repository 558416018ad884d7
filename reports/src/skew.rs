//! Skew and events in sentences, as the verdict in the terminal and the page both say them.

use crate::{
    humanize::{counted, duration_us, percent, times},
    record::{EventRecord, SkewRecord},
};

/// One line about shards and one about keys; none where there is nothing to say.
pub(crate) fn skew_lines(skew: &SkewRecord) -> Vec<String> {
    [shard_line(skew), key_line(skew)].into_iter().flatten().collect()
}

fn shard_line(skew: &SkewRecord) -> Option<String> {
    let hottest = skew.shards.iter().max_by(|a, b| a.got.total_cmp(&b.got)).filter(|row| row.got > 0.0)?;
    let shards = counted(skew.shards.len() as u64, "shard", "shards");
    let mut line = format!(
        "hottest of {shards}: {} with {} of the records, {} the mean",
        hottest.shard,
        percent(hottest.got),
        times(skew.shard_index)
    );
    match (skew.asked_distance, hottest.asked, skew.expected_shard_index) {
        (Some(distance), Some(asked), _) => {
            line += &format!(" · asked for {}; all shares together {} off", percent(asked), percent(distance));
        }
        (None, None, Some(expected)) => line += &format!(" · {} expected of these keys", times(expected)),
        // The shards of the start, which the shares were asked for, were not those of the whole load.
        _ => {}
    }
    Some(line)
}

fn key_line(skew: &SkewRecord) -> Option<String> {
    let hottest = skew.keys.first()?;
    let least = hottest.got - hottest.error;
    // A key that may have been seen once in the counter's whole memory is not known to be hot.
    if hottest.error > 0.0 && least < hottest.error {
        return Some(format!("hottest key: none had more than {} of the records", percent(hottest.got)));
    }
    let share = if hottest.error > 0.0 {
        format!("{} to {}", percent(least), percent(hottest.got))
    } else {
        percent(hottest.got)
    };
    let asked = hottest.asked.map(|asked| format!(" · {} by its law", percent(asked))).unwrap_or_default();
    Some(format!("hottest key: {} with {share} of the records{asked}", hottest.key))
}

/// What an event did and when.
pub(crate) fn event_line(event: &EventRecord) -> String {
    let mut line = format!("event at {}: {}", duration_us(event.at_us), event.action);
    if !event.shards.is_empty() {
        line += &format!(" ({}", event.shards.join(", "));
        if !event.opened.is_empty() {
            line += &format!(" → {}", event.opened.join(", "));
        }
        line += ")";
    } else if !event.opened.is_empty() {
        line += &format!(" (new: {})", event.opened.join(", "));
    }
    match (&event.error, event.took_us) {
        (Some(error), _) => line += &format!(" · failed: {error}"),
        (None, took_us) if took_us >= 1_000 => line += &format!(" · in {}", duration_us(took_us)),
        (None, _) => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::KeyShare, sample};

    #[test]
    fn shards_keys_and_events_are_each_said_in_a_line() {
        let load = sample::full().load.unwrap();
        let lines = skew_lines(load.skew.as_ref().unwrap());
        assert_eq!(lines.len(), 2);
        for (line, parts) in [
            (&lines[0], ["hottest of 4 shards: shardId-000000000002", "× the mean · asked for"]),
            (&lines[1], ["hottest key: Los Angeles with 6.3", "6.2"]),
            (&event_line(&load.events[0]), ["split the hottest shard (shardId-000000000002 → ", "in 210"]),
        ] {
            for part in parts {
                assert!(line.contains(part), "{part:?} is not in {line:?}");
            }
        }
    }

    #[test]
    fn a_key_that_may_not_be_hot_is_not_called_so() {
        let key = |got, error| KeyShare { key: "k".to_owned(), asked: None, got, error };
        let line = |key| skew_lines(&SkewRecord { keys: vec![key], ..SkewRecord::default() })[0].clone();
        assert!(line(key(0.001, 0.000_9)).contains("none had more than 0.1"), "{}", line(key(0.001, 0.000_9)));
        assert!(line(key(0.5, 0.1)).contains("40"), "{}", line(key(0.5, 0.1)));
        assert!(skew_lines(&SkewRecord::default()).is_empty());
    }
}
