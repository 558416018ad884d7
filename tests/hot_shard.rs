//! The experiment the local stream is made for: one shard gets seven tenths of a load, and its refusals are what the
//! arithmetic of its limits says.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use support::{at, millrace, number, record};

#[test]
fn the_shard_with_seven_tenths_of_a_load_refuses_what_its_limits_say_and_the_others_refuse_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["load", "sensors", "--rate", "3000", "--for", "5s", "--set", "slo=[]", "--set", "load.deadline=1s"]);
    // One key has 0.6 of the records, and the shard it is on a quarter of the rest too.
    let keys = r#"keys={kind = "hot_set", distinct = 10000, hot = 1, hot_share = 0.6}"#;
    command.args(["--set", keys, "--set", "delivery.buffer_interval=1s"]);
    let output = support::run(command.arg("--out").arg(&out));
    let record = record(&out);
    let shards = at(&record, "load.shards").as_array().unwrap();
    assert_eq!(shards.len(), 4);
    let hot = shards.iter().max_by_key(|shard| number(shard, "refusals")).unwrap();
    for shard in shards.iter().filter(|shard| *shard != hot) {
        assert_eq!(number(shard, "refusals"), 0, "{shard}");
        // A tenth of 15,000 each; a binomial's five standard deviations are 184.
        assert!(number(shard, "accepted").abs_diff(1_500) < 184, "{shard}");
    }
    let (due, refused) = (number(&record, "load.due"), number(&record, "load.refused"));
    let others: u64 = shards.iter().filter(|shard| *shard != hot).map(|shard| number(shard, "accepted")).sum();
    let accepted = number(hot, "accepted");
    assert_eq!(due, others + accepted + refused, "what the hot shard did not take was given up");
    // A full tank and what flowed in while there was something to send: no more, whatever the retries tried.
    let elapsed_s = number(&record, "load.elapsed_us") as f64 / 1e6;
    println!("hot shard: {accepted} of {} in {elapsed_s:.2} s", due - others);
    assert!(accepted as f64 <= 1_000.0 + 1_000.0 * elapsed_s, "{accepted} in {elapsed_s} s");
    // And no less, unless this machine was the limit: 2,100 a second keep the tank empty for all of the schedule.
    let limited = output.status.code() == Some(4);
    assert!(limited || accepted as f64 >= 0.9 * (1_000.0 + 5_000.0), "{accepted}");
    assert_eq!(number(&record, "ledger.lost"), 0);
}
