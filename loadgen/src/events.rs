//! `[[event]]` while the load runs: changes the stream's shards through the same API as anyone, and writes down what
//! came of it. A new rate and new keys are in the schedule from the start; of these only the time is noted.
//!
//! An event that fails is reported and the load goes on: a stream that refuses to be split is a finding, not an error.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_sdk_kinesis::types::{ScalingType, StreamStatus};
use futures::future::BoxFuture;
use millrace_reports::record::{EventRecord, ShardTaken};
use millrace_scenarios::{ByLoad, Event, MergeChoice, ShardChoice};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    client::{Failure, StreamClient},
    clock::Clock,
    error::LoadError,
    live_shards::{LiveShards, Taken},
    producer::stopped,
    shards::{self, Shard, ShardMap},
};

/// Pause between two looks at a stream that changes.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The events of a load, under way. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Events {
    over: watch::Sender<bool>,
    task: JoinSet<Vec<EventRecord>>,
}

/// What one change came to.
#[derive(Debug, Default)]
struct Change {
    shards: Vec<String>,
    opened: Vec<String>,
    error: Option<String>,
}

struct Runner {
    stream: StreamClient,
    live: Arc<LiveShards>,
    clock: Clock,
    first_due_us: u64,
    over: watch::Receiver<bool>,
}

impl Events {
    /// Waits for each event's time and does what it says.
    pub(crate) fn start(
        events: &[Event],
        stream: StreamClient,
        live: Arc<LiveShards>,
        clock: Clock,
        first_due_us: u64,
    ) -> Self {
        let mut events = events.to_vec();
        events.sort_by_key(|event| event.at);
        let (over, over_receiver) = watch::channel(false);
        let runner = Runner { stream, live, clock, first_due_us, over: over_receiver };
        let mut task = JoinSet::new();
        task.spawn(runner.run(events));
        Self { over, task }
    }

    /// Ends the events with the load. One that is under way is not waited for.
    pub(crate) async fn finish(mut self) -> Result<Vec<EventRecord>, LoadError> {
        self.over.send_replace(true);
        let done = self.task.join_next().await;
        done.and_then(Result::ok).ok_or(LoadError::Stopped { part: "task of the events" })
    }
}

impl Runner {
    fn run(mut self, events: Vec<Event>) -> BoxFuture<'static, Vec<EventRecord>> {
        Box::pin(async move {
            let mut records: Vec<EventRecord> = Vec::with_capacity(events.len());
            let mut counted = HashMap::new();
            for event in &events {
                let at_us = event.at.as_us();
                let due = Instant::from_std(self.clock.instant(self.first_due_us.saturating_add(at_us)));
                let mut record = EventRecord { action: event.to_string(), at_us, ..EventRecord::default() };
                tokio::select! {
                    biased;
                    () = stopped(&mut self.over) => {
                        record.error = Some("the load ended before it".to_owned());
                        records.push(record);
                        continue;
                    }
                    () = sleep_until(due) => {}
                }
                record.before = taken_since(&mut counted, self.live.taken());
                if let Some(earlier) = records.last_mut() {
                    earlier.after.clone_from(&record.before);
                }
                let began_us = self.clock.now_us();
                let change = self.change(event).await;
                record.began_us = Some(began_us.saturating_sub(self.first_due_us));
                record.took_us = self.clock.now_us().saturating_sub(began_us);
                tracing::info!(event = record.action, opened = ?change.opened, error = change.error, "event");
                (record.shards, record.opened, record.error) = (change.shards, change.opened, change.error);
                records.push(record);
            }
            stopped(&mut self.over).await;
            if let Some(last) = records.iter_mut().rfind(|record| record.began_us.is_some()) {
                last.after = taken_since(&mut counted, self.live.taken());
            }
            records
        })
    }

    /// Does what an event says, or as much of it as can be done before the load is over.
    async fn change(&mut self, event: &Event) -> Change {
        let mut over = self.over.clone();
        let mut change = Change::default();
        let before = self.live.map();
        let done = tokio::select! {
            done = self.apply(event, &before, &mut change.shards) => done,
            () = stopped(&mut over) => Err("the load ended before it was complete".to_owned()),
        };
        change.error = done.err();
        let after = self.live.map();
        let is_new = |shard: &&Shard| before.open().iter().all(|known| known.id != shard.id);
        change.opened = after.open().iter().filter(is_new).map(|shard| shard.id.to_string()).collect();
        change
    }

    async fn apply(&self, event: &Event, map: &ShardMap, touched: &mut Vec<String>) -> Result<(), String> {
        let told = |error: LoadError| error.to_string();
        if let Some(choice) = event.split_shard {
            let shard = self.find(map, choice)?;
            touched.push(shard.id.to_string());
            let middle = shard.first_hash + (shard.last_hash - shard.first_hash) / 2 + 1;
            if middle > shard.last_hash {
                return Err(format!("{} has one hash key, and cannot be split", shard.id));
            }
            let call = || async {
                let call = self.stream.client.split_shard().stream_name(&*self.stream.stream);
                let call = call.shard_to_split(&*shard.id).new_starting_hash_key(middle.to_string());
                call.send().await.map_err(Failure::of)
            };
            self.stream.persist("SplitShard", call).await.map_err(told)?;
        } else if let Some(choice) = event.merge_shards {
            let [low, high] = self.find_pair(map, choice)?;
            touched.extend([low, high].map(|shard| shard.id.to_string()));
            let call = || async {
                let call = self.stream.client.merge_shards().stream_name(&*self.stream.stream);
                let call = call.shard_to_merge(&*low.id).adjacent_shard_to_merge(&*high.id);
                call.send().await.map_err(Failure::of)
            };
            self.stream.persist("MergeShards", call).await.map_err(told)?;
        } else if let Some(count) = event.update_shard_count {
            let call = || async {
                let call = self.stream.client.update_shard_count().stream_name(&*self.stream.stream);
                let call = call.target_shard_count(i32::try_from(count).unwrap_or(i32::MAX));
                call.scaling_type(ScalingType::UniformScaling).send().await.map_err(Failure::of)
            };
            self.stream.persist("UpdateShardCount", call).await.map_err(told)?;
        } else {
            // A new rate and new keys are part of the schedule.
            return Ok(());
        }
        self.follow().await.map_err(told)
    }

    /// Looks at the shards until the stream has settled.
    async fn follow(&self) -> Result<(), LoadError> {
        loop {
            let status = self.stream.describe().await?.status;
            self.live.replace(ShardMap::new(shards::list(&self.stream).await?));
            if status == StreamStatus::Active.as_str() {
                return Ok(());
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    fn find<'m>(&self, map: &'m ShardMap, choice: ShardChoice) -> Result<&'m Shard, String> {
        let taken = self.live.taken();
        let bytes = |shard: &&Shard| bytes_of(&taken, shard);
        let shard = match choice {
            ShardChoice::ByLoad(ByLoad::Hottest) => map.open().iter().max_by_key(bytes),
            ShardChoice::ByLoad(ByLoad::Coldest) => map.open().iter().min_by_key(bytes),
            ShardChoice::Number(number) => return open_shard(map, number),
        };
        shard.ok_or_else(|| "the stream has no open shard".to_owned())
    }

    fn find_pair<'m>(&self, map: &'m ShardMap, choice: MergeChoice) -> Result<[&'m Shard; 2], String> {
        let taken = self.live.taken();
        let bytes = |pair: &&[Shard]| pair.iter().map(|shard| bytes_of(&taken, shard)).sum::<u64>();
        let pair = match choice {
            MergeChoice::ByLoad(ByLoad::Hottest) => map.open().windows(2).max_by_key(bytes),
            MergeChoice::ByLoad(ByLoad::Coldest) => map.open().windows(2).min_by_key(bytes),
            MergeChoice::Numbers([a, b]) => return Ok([open_shard(map, a)?, open_shard(map, b)?]),
        };
        match pair {
            Some([low, high]) => Ok([low, high]),
            _ => Err("the stream has no two open shards".to_owned()),
        }
    }
}

fn bytes_of(taken: &HashMap<Arc<str>, Taken>, shard: &Shard) -> u64 {
    taken.get(&shard.id).map_or(0, |taken| taken.bytes)
}

/// The open shard with this number at the end of its name.
fn open_shard(map: &ShardMap, number: u32) -> Result<&Shard, String> {
    let is_it = |shard: &&Shard| shard.id.rsplit_once('-').and_then(|(_, n)| n.parse().ok()) == Some(number);
    map.open().iter().find(is_it).ok_or_else(|| format!("the stream has no open shard {number}"))
}

/// What each shard took since it was last asked, by name.
fn taken_since(counted: &mut HashMap<Arc<str>, Taken>, now: HashMap<Arc<str>, Taken>) -> Vec<ShardTaken> {
    let since = |(shard, taken): (&Arc<str>, &Taken)| {
        (shard.to_string(), taken.records - counted.get(shard).map_or(0, |earlier| earlier.records))
    };
    let mut rows: Vec<(String, u64)> = now.iter().map(since).filter(|(_, accepted)| *accepted > 0).collect();
    rows.sort();
    let total: u64 = rows.iter().map(|(_, accepted)| accepted).sum();
    *counted = now;
    let row = |(shard, accepted): (String, u64)| ShardTaken { shard, accepted, share: accepted as f64 / total as f64 };
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeKinesis;

    fn events(json: serde_json::Value) -> Vec<Event> {
        serde_json::from_value(json).unwrap()
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_and_what_was_not_reached_too() {
        let fake = FakeKinesis::start(1).await;
        let stream = fake.stream().await;
        let map = ShardMap::new(shards::list(&stream).await.unwrap());
        let live = Arc::new(LiveShards::new(map));
        live.counter(&live.map().open()[0].id).add(7, 70);
        let clock = Clock::start();
        let events = events(serde_json::json!([
            {"at": "1h", "rate": 2.0},
            {"at": "0s", "split_shard": 9},
            {"at": "1ms", "merge_shards": "coldest"},
            {"at": "2ms", "rate": 3.0},
        ]));
        let running = Events::start(&events, stream, Arc::clone(&live), clock, clock.now_us());
        tokio::time::sleep(Duration::from_millis(100)).await;
        live.counter(&live.map().open()[0].id).add(3, 30);
        let records = running.finish().await.unwrap();
        let told: Vec<_> = records.iter().map(|r| r.error.as_deref()).collect();
        let missing = [Some("the stream has no open shard 9"), Some("the stream has no two open shards"), None];
        assert_eq!(told[..3], missing);
        assert_eq!((told[3], records[3].began_us), (Some("the load ended before it"), None));
        assert_eq!(records[0].before.iter().map(|row| row.accepted).collect::<Vec<_>>(), [7]);
        assert_eq!((records[2].action.as_str(), records[2].after[0].accepted), ("multiply the rate by 3", 3));
        assert_eq!(records[2].after[0].share, 1.0);
    }
}
