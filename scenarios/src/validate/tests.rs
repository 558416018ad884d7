//! One case for each rule: a scenario that keeps them all, one change that breaks one, and the place it is shown at.

use crate::{Mistake, Overrides, ScenarioError, parse};

const GOOD: &str = r#"
name = "demo"
[source]
kind = "weather"
[load]
stages = [{ rate = 50, for = "2s" }]
[keys]
kind = "hot_set"
distinct = 10
hot = 2
hot_share = 0.9
[stream]
name = "demo"
[delivery]
prefix = "at=!{partitionKeyFromQuery:city}/!{timestamp:yyyy}/"
error_prefix = "errors/!{firehose:error-output-type}/"
[delivery.partition_keys]
city = ".place.city"
[table]
partition_by = ["city", "hour"]
[table.columns]
city = "string"
degrees = "number"
time = "timestamp"
[[table.derive]]
name = "hour"
from = "time"
part = "hour"
[table.dedup]
key = ["city", "time"]
[[table.dedup.aggregate]]
name = "first"
function = "min"
of = "time"
[[table.dedup.aggregate]]
name = "polls"
function = "count"
[[query]]
name = "all"
sql = "SELECT COUNT(*) AS n FROM records;"
[[slo]]
metric = "lost_records"
max = 0
"#;

fn mistakes(text: &str) -> Vec<(String, String, String)> {
    match parse("demo.toml", text, &Overrides::default()) {
        Ok(_) => Vec::new(),
        Err(ScenarioError::Mistake(first)) => {
            let shown = |m: &Mistake| (m.place().to_owned(), m.to_string(), m.fix().to_owned());
            std::iter::once(&*first).chain(first.others()).map(shown).collect()
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Exactly one mistake, on a line that holds `mark` in the changed text.
fn refused(good: &str, bad: &str, mark: &str, message: &str) {
    assert!(GOOD.contains(good), "{good}");
    let text = GOOD.replacen(good, bad, 1);
    let found = mistakes(&text);
    let [(place, said, _)] = &found[..] else { panic!("{bad}: {found:?}") };
    let line: usize = place.split(':').nth(1).unwrap().parse().unwrap();
    let shown = text.lines().nth(line - 1).unwrap();
    assert!(shown.contains(mark), "{bad}: shown at {place}, `{shown}`, which has no `{mark}`: {said}");
    assert!(said.contains(message), "{bad}: {said}");
}

#[test]
fn the_scenario_without_a_mistake_is_accepted() {
    assert_eq!(mistakes(GOOD), []);
}

#[test]
fn names_are_safe_in_paths() {
    refused("name = \"demo\"", "name = \"a/b\"", "a/b", "the name cannot be");
    refused("name = \"demo\"", "name = \"\"", "name = \"\"", "the name cannot be");
    refused("[stream]\nname = \"demo\"", "[stream]\nname = \"a b\"", "a b", "a stream's name");
    refused("name = \"all\"", "name = \"all of it\"", "all of it", "a query's name");
}

#[test]
fn loads_are_possible() {
    refused("[{ rate = 50, for = \"2s\" }]", "[]", "stages = []", "nothing to send");
    refused("rate = 50", "rate = 0", "rate = 0", "above zero");
    refused("rate = 50", "rate = -1.5", "rate = -1.5", "above zero");
    refused("rate = 50", "rate = 10000001", "10000001", "out of reach");
    refused("for = \"2s\"", "for = \"0s\"", "0s", "no length");
    for (bad, message) in [
        ("batch_records = 0", "1 to 500"),
        ("batch_records = 501", "1 to 500"),
        ("batch_bytes = \"0B\"", "10 MiB"),
        ("batch_bytes = \"11MiB\"", "10 MiB"),
        ("in_flight = 0", "nothing is sent"),
        ("warm_up = \"1h\"", "nothing to judge"),
        ("cool_down = \"2h\"", "nothing to judge"),
        ("retry_base = \"0s\"", "needs a pause"),
        ("retry_cap = \"1ms\"", "shorter than the first"),
        ("deadline = \"0s\"", "no time"),
    ] {
        refused("[load]", &format!("[load]\n{bad}"), bad, message);
    }
    for good in ["batch_records = 500", "batch_bytes = \"10MiB\"", "linger = \"0s\"", "warm_up = \"1ms\""] {
        assert_eq!(mistakes(&GOOD.replace("[load]", &format!("[load]\n{good}"))), []);
    }
}

#[test]
fn aggregates_keep_the_bounds_of_the_producer_library() {
    for (bad, message) in [
        ("aggregate = true\naggregate_bytes = \"63B\"", "64 bytes to 1 MiB"),
        ("aggregate = true\naggregate_bytes = \"2MiB\"", "64 bytes to 1 MiB"),
        ("aggregate = true\nbatch_bytes = \"100KiB\"\naggregate_bytes = \"101KiB\"", "larger than a PutRecords call"),
        ("aggregate_bytes = \"50KiB\"", "`load.aggregate_bytes` is used with aggregate = true only"),
        ("aggregate = false\naggregate_bytes = \"50KiB\"", "aggregate = true only"),
    ] {
        refused("[load]", &format!("[load]\n{bad}"), "aggregate_bytes", message);
    }
    for good in ["aggregate = false", "aggregate = true", "aggregate = true\naggregate_bytes = \"1MiB\""] {
        assert_eq!(mistakes(&GOOD.replace("[load]", &format!("[load]\n{good}"))), []);
    }
}

#[test]
fn every_shape_needs_its_own_keys_and_no_other() {
    for (stage, mark, message) in [
        (r#"{ rate = 5 }"#, "rate = 5", "a stage has no `for`"),
        (r#"{ rate = 5, count = 9, for = "2s" }"#, "count", "`for` and `count`"),
        (r#"{ rate = 5, count = 0 }"#, "count", "no length"),
        (r#"{ rate = 0, count = 9 }, { rate = 5, for = "1s" }"#, "count", "never comes to a count"),
        (r#"{ rate = 5, to = 9, for = "2s" }"#, "to = 9", "`load.stages.to` is used by shape = ramp or steps only"),
        (r#"{ shape = "ramp", rate = 5, for = "2s" }"#, "ramp", "shape = \"ramp\" has no `to`"),
        (r#"{ shape = "ramp", rate = 0, to = 0, for = "2s" }"#, "rate = 0", "above zero in one stage"),
        (r#"{ shape = "ramp", rate = 5, to = -1, for = "2s" }"#, "-1", "above zero"),
        (r#"{ shape = "steps", rate = 5, to = 9, for = "2s" }"#, "steps", "has no `steps`"),
        (r#"{ shape = "steps", rate = 5, to = 9, steps = 1, for = "2s" }"#, "steps = 1", "2 to 1000 steps"),
        (r#"{ shape = "spike", rate = 5, peak = 9, for = "2s" }"#, "spike", "has no `width`"),
        (r#"{ shape = "spike", rate = 5, width = "1s", for = "2s" }"#, "spike", "has no `peak`"),
        (r#"{ shape = "spike", rate = 5, peak = 9, width = "2s", for = "2s" }"#, "width", "does not fit"),
        (r#"{ shape = "spike", rate = 5, peak = 1e8, width = "1s", for = "2s" }"#, "1e8", "out of reach"),
        (
            r#"{ shape = "spike", rate = 5, peak = 9, width = "1s", count = 9 }"#,
            "count",
            "`load.stages.count` is used by",
        ),
        (r#"{ shape = "sine", rate = 5, period = "1s", for = "2s" }"#, "sine", "has no `amplitude`"),
        (r#"{ shape = "sine", rate = 5, amplitude = 1, for = "2s" }"#, "sine", "has no `period`"),
        (r#"{ shape = "sine", rate = 5, amplitude = 1.1, period = "1s", for = "2s" }"#, "1.1", "a share of the rate"),
        (r#"{ shape = "sine", rate = 5, amplitude = 1, period = "9us", for = "2s" }"#, "9us", "too short"),
        (
            r#"{ shape = "sine", rate = 5, amplitude = 1, period = "1s", phase = -0.5, for = "2s" }"#,
            "-0.5",
            "share of the period",
        ),
    ] {
        let text = GOOD.replacen("[{ rate = 50, for = \"2s\" }]", &format!("[{stage}]"), 1);
        let found = mistakes(&text);
        assert!(found.iter().any(|(_, said, _)| said.contains(message)), "{stage}: {found:?}");
        let line: usize = found[0].0.split(':').nth(1).unwrap().parse().unwrap();
        assert!(text.lines().nth(line - 1).unwrap().contains(mark), "{stage}: {found:?}");
    }
    for good in [
        r#"{ rate = 0, for = "1s" }, { rate = 5, count = 9 }"#,
        r#"{ shape = "ramp", rate = 0, to = 9, count = 40 }"#,
        r#"{ shape = "ramp", rate = 9, to = 0, for = "2s" }"#,
        r#"{ shape = "steps", rate = 0, to = 9, steps = 4, count = 40 }"#,
        r#"{ shape = "spike", rate = 0, peak = 9, width = "1s", for = "2s" }"#,
        r#"{ shape = "sine", rate = 5, amplitude = 1, period = "1s", phase = 0.75, for = "2s" }"#,
        r#"{ shape = "constant", rate = 5, for = "2s" }"#,
    ] {
        assert_eq!(mistakes(&GOOD.replace("[{ rate = 50, for = \"2s\" }]", &format!("[{good}]"))), [], "{good}");
    }
}

#[test]
fn a_rate_in_bytes_may_be_as_high_as_ten_thousand_shards_take() {
    let bytes =
        |rate: &str| GOOD.replace("rate = 50", &format!("rate = {rate}")).replace("[load]", "[load]\nunit = \"bytes\"");
    assert_eq!(mistakes(&bytes("10485760000")), []);
    assert!(mistakes(&bytes("10485760001"))[0].1.contains("out of reach"));
}

#[test]
fn a_trace_has_no_stages_one_pass_and_an_end() {
    let trace = GOOD.replace("stages = [{ rate = 50, for = \"2s\" }]", "arrival = \"trace\"\ntrace_for = \"30s\"");
    let accidents = trace.replace("kind = \"weather\"", "kind = \"accidents\"\nat_end = \"stop\"");
    let endless = |text: &str| text.replace("trace_for = \"30s\"\n", "");
    for good in [&trace, &accidents, &endless(&accidents), &trace.replace("[load]", "[load]\nstages = []")] {
        assert_eq!(mistakes(good), []);
    }
    for (text, message, fix) in [
        (endless(&trace), "never ends", "trace_for ="),
        (accidents.replace("at_end = \"stop\"\n", ""), "source loops", "at_end = \"stop\""),
        (accidents.replace("\"stop\"", "\"loop\""), "source loops", "at_end = \"stop\""),
        (trace.replace("30s", "0s"), "longer than nothing", "30s"),
        (trace.replace("[load]", "[load]\ntrace_speed = 0"), "moves on", "3600"),
        (
            trace.replace("[load]", "[load]\nunit = \"bytes\""),
            "`load.unit` is used by",
            "arrival = constant or poisson",
        ),
        (
            trace.replace("[load]", "[load]\nstages = [{ rate = 5, for = \"2s\" }]"),
            "`load.stages` is used by arrival = constant or poisson only",
            "remove the line",
        ),
        (format!("{trace}[[event]]\nat = \"1s\"\nrate = 2.0\n"), "no rate of its own", "trace_speed"),
        (
            GOOD.replace("[load]", "[load]\ntrace_speed = 2"),
            "`load.trace_speed` is used by arrival = trace only",
            "remove",
        ),
    ] {
        let found = mistakes(&text);
        let [(_, said, help)] = &found[..] else { panic!("{message}: {found:?}") };
        assert!(said.contains(message) && help.contains(fix), "{said}: {help}");
    }
}

#[test]
fn records_are_shed_before_their_deadline_or_not_at_all() {
    assert_eq!(mistakes(&GOOD.replace("[load]", "[load]\nshed_after = \"0s\"")), []);
    refused("[load]", "[load]\nshed_after = \"30s\"", "shed_after", "given up at its deadline already");
}

#[test]
fn streams_keep_the_limits_of_kinesis() {
    for (bad, message) in [
        ("shards = 0", "1 to 10000"),
        ("shards = 10001", "1 to 10000"),
        ("retention = \"23h\"", "24 to 8760"),
        ("retention = \"366d\"", "24 to 8760"),
        ("retention = \"1441m\"", "whole hours"),
        ("consumer_poll = \"0s\"", "without a pause"),
    ] {
        refused("[stream]", &format!("[stream]\n{bad}"), bad, message);
    }
    assert_eq!(mistakes(&GOOD.replace("[stream]", "[stream]\nshards = 10000\nretention = \"365d\"")), []);
}

#[test]
fn a_key_that_would_do_nothing_is_refused_only_when_written() {
    for (bad, message) in [
        ("path = \"x.csv\"", "`source.path` is used by kind = accidents only"),
        ("rows = 20000", "`source.rows` is used by kind = accidents only"),
        ("at_end = \"loop\"", "accidents only"),
        ("sensors = 10", "sensors only"),
    ] {
        refused("[source]", &format!("[source]\n{bad}"), bad, message);
    }
    for (bad, message) in [
        ("exponent = 1", "`keys.exponent` is used by kind = zipf or latest only"),
        ("path = \"k.csv\"", "kind = file only"),
        ("field = \"city\"", "kind = field only"),
    ] {
        refused("[keys]", &format!("[keys]\n{bad}"), bad, message);
    }
    refused("kind = \"weather\"", "kind = \"sensors\"\nlive = true", "live", "weather only");
    refused("kind = \"weather\"", "kind = \"accidents\"\nepoch = \"x\"", "epoch", "sensors or weather only");
}

#[test]
fn an_event_changes_one_thing_that_can_be_changed() {
    let slo = "[[slo]]";
    for (bad, mark, message) in [
        ("at = \"1s\"", "at =", "nothing happens"),
        ("at = \"1s\"\nrate = 2.0\nsplit_shard = 0", "at =", "one thing"),
        ("at = \"1s\"\nrate = 0.0", "rate", "above zero"),
        ("at = \"1s\"\nsplit_shard = \"warmest\"", "warmest", "not a choice"),
        ("at = \"1s\"\nsplit_shard = -1", "-1", "not a shard's number"),
        ("at = \"1s\"\nsplit_shard = 0.5", "0.5", "not a shard"),
        ("at = \"1s\"\nmerge_shards = [3, 3]", "[3, 3]", "with itself"),
        ("at = \"1s\"\nmerge_shards = [3]", "[3]", "not a pair of shards"),
        ("at = \"1s\"\nupdate_shard_count = 0", "update_shard_count", "1 to 10000"),
        ("at = \"1s\"\nkeys = { kind = \"zipf\", exponent = -1 }", "exponent", "below zero"),
        ("split_shard = 0", "[[event]]", "no `at`"),
    ] {
        refused(slo, &format!("[[event]]\n{bad}\n[[slo]]"), mark, message);
    }
}

#[test]
fn sources_and_keys_can_be_drawn_from() {
    refused("[source]", "[source]\nepoch = \"2025-01-01\"", "epoch", "RFC 3339");
    refused("[source]", "[source]\ninterval = \"0s\"", "interval", "move on");
    refused("[source]", "[source]\nurl = \"ftp://x\"", "url", "HTTP");
    refused("kind = \"weather\"", "kind = \"sensors\"\nsensors = 0", "sensors = 0", "no reading");
    refused("kind = \"weather\"", "kind = \"accidents\"\nrows = 0", "rows", "nothing to replay");
    refused("kind = \"weather\"", "kind = \"accidents\"\npath = \"\"", "path", "empty");
    refused("distinct = 10", "distinct = 2", "hot = 2", "not every key");
    refused("hot = 2", "hot = 0", "hot = 0", "uniform");
    refused("hot_share = 0.9", "hot_share = 1.1", "1.1", "between 0 and 1");
    let keys = "kind = \"hot_set\"\ndistinct = 10\nhot = 2\nhot_share = 0.9\n";
    refused(keys, "kind = \"field\"\n", "[keys]", "which field");
    refused(keys, "kind = \"field\"\nfield = \"\"\n", "field = \"\"", "no name");
    refused(keys, "kind = \"uniform\"\ndistinct = 0\n", "distinct", "a key to draw");
    refused(keys, "kind = \"zipf\"\nexponent = -1\n", "exponent", "below zero");
    refused(keys, "kind = \"latest\"\nexponent = -1\n", "exponent", "below zero");
    refused(keys, "kind = \"file\"\n", "[keys]", "which file");
    for (bad, message) in [
        ("shards = [0.7, 0.1, 0.1]", "these shares make 0.8"),
        ("shards = [1.5, -0.5]", "a share is from 0 to 1"),
        ("hot_shard = 1.2", "between 0 and 1"),
        ("hot_shard = 0.7\nshards = [0.7, 0.3]", "said twice"),
        ("hot_shard_index = 1", "no hot shard"),
        ("place = \"name\"", "no shard to bring records to"),
        ("place = \"spread\"\nhot_shard = 0.7", "no shard to go to"),
        ("salt = 0", "1 to 10000 names"),
    ] {
        let at = bad.lines().next().unwrap();
        refused(keys, &format!("kind = \"uniform\"\n{bad}\n"), at.split(" = ").next().unwrap(), message);
    }
}

#[test]
fn prefixes_follow_firehose() {
    let prefix = "!{timestamp:yyyy}/\"";
    for (bad, message) in [
        ("!{timestamp:yyyy/\"", "not complete"),
        ("!{yyyy}/\"", "not complete"),
        ("!{timestamp:}/\"", "not complete"),
        ("!{timestmp:yyyy}/\"", "no namespace `timestmp`"),
        ("!{firehose:random}/\"", "`firehose` has no `random`"),
        ("!{timestamp:'at'yyyy'}/\"", "not closed"),
        ("!{firehose:error-output-type}/\"", "no error type"),
        ("!{partitionKeyFromQuery:town}/\"", "no partition key `town`"),
        ("../\"", "leaves the lake"),
    ] {
        refused(prefix, bad, "prefix = ", message);
    }
    refused("at=!{partitionKeyFromQuery:city}/", "", "city = \".place.city\"", "does not use `city`");
    let errors = "errors/!{firehose:error-output-type}/";
    refused(
        errors,
        "errors/!{partitionKeyFromQuery:city}/!{firehose:error-output-type}/",
        "errors/",
        "cannot use partition",
    );
    refused(errors, "errors/!{timestamp:yyyy}/", "errors/", "must say the error type");
    refused(errors, "", "error_prefix", "must say the error type");
    assert_eq!(mistakes(&GOOD.replace(errors, "errors/")), []);
    for path in ["city", ".", ".a..b", ".a b", ".9"] {
        refused("\".place.city\"", &format!("\"{path}\""), &format!("\"{path}\""), "path of a field");
    }
}

#[test]
fn buffers_and_places_are_possible() {
    for (bad, message) in [
        ("buffer_size = \"1023B\"", "1 KiB to 128 MiB"),
        ("buffer_size = \"129MiB\"", "1 KiB to 128 MiB"),
        ("buffer_interval = \"0s\"", "15 minutes"),
        ("buffer_interval = \"901s\"", "15 minutes"),
        ("poll = \"0s\"", "without a pause"),
        ("lake = \"\"", "neither a folder"),
        ("lake = \"gs://b/x\"", "neither a folder"),
        ("lake = \"s3:///x\"", "neither a folder"),
    ] {
        refused("[delivery]", &format!("[delivery]\n{bad}"), bad, message);
    }
    refused("[table]", "[table]\nlocation = \"http://x\"", "location", "neither a folder");
    refused("[table]", "[table]\nevery = \"0s\"", "every", "needs a pause");
    assert_eq!(mistakes(&GOOD.replace("[delivery]", "[delivery]\nlake = \"s3://bucket/lake\"")), []);
}

#[test]
fn tables_fit_together() {
    refused("from = \"time\"", "from = \"tme\"", "tme", "no column `tme`");
    refused("from = \"time\"", "from = \"city\"", "from = \"city\"", "not a timestamp");
    refused("[\"city\", \"hour\"]", "[\"city\", \"day\"]", "day", "no column `day`");
    refused("[\"city\", \"hour\"]", "[\"city\", \"city\"]", "partition_by", "there twice");
    refused("[\"city\", \"hour\"]", "[\"city\", \"hour\", \"degrees\", \"time\"]", "partition_by", "no column is left");
    refused("key = [\"city\", \"time\"]", "order_by = \"time\"", "order_by", "in no order");
    refused("key = [\"city\", \"time\"]", "key = []\nkeep = \"last\"", "keep", "in no order");
    for whole in ["", "key = []"] {
        assert_eq!(mistakes(&GOOD.replace("key = [\"city\", \"time\"]", whole)), []);
    }
    refused("key = [\"city\", \"time\"]", "key = [\"cty\"]", "cty", "no column `cty`");
    refused("key = [\"city\", \"time\"]", "key = [\"city\", \"city\"]", "key = ", "there twice");
    refused("[table.dedup]", "[table.dedup]\norder_by = \"when\"", "order_by", "no column `when`");
    refused("of = \"time\"", "of = \"tim\"", "of = \"tim\"", "no column `tim`");
    refused("of = \"time\"\n", "", "[[table.dedup.aggregate]]", "need a column");
    refused("function = \"count\"", "function = \"count\"\nof = \"time\"", "of = \"time\"", "not a column");
    refused("function = \"count\"", "function = \"sum\"", "[[table.dedup.aggregate]]", "need a column");
    refused("function = \"count\"", "function = \"sum\"\nof = \"city\"", "of = \"city\"", "has no sum");
    for function in ["sum", "any"] {
        let good = format!("function = \"{function}\"\nof = \"degrees\"");
        assert_eq!(mistakes(&GOOD.replace("function = \"count\"", &good)), []);
    }
    refused("name = \"polls\"", "name = \"first\"", "name = \"first\"", "cannot be named");
}

#[test]
fn how_objects_are_read_fits_the_table() {
    let read = |keys: &str| format!("[table.read]\n{keys}\n[[query]]");
    let plain = |keys: &str| {
        let good = GOOD.replace("[[query]]\nname = \"all\"\nsql = \"SELECT COUNT(*) AS n FROM records;\"\n", "");
        mistakes(&good.replace("[[slo]]", &format!("[table.read]\n{keys}\n[[slo]]")))
    };
    refused("[[query]]", &read("header = true"), "header", "used by format = csv or text only");
    refused("[[query]]", &read("fields = [\"city\"]"), "fields", "used by format = csv or text only");
    assert_eq!(plain("format = \"csv\"\nfields = [\"city\", \"time\", \"other\"]\ndelimiter = \";\""), []);
    assert_eq!(plain("path_columns = [\"city\"]\nnested = \"struct\"\nnew_columns = \"add\""), []);
    let cases = [
        ("format = \"csv\"", "without their names"),
        ("format = \"csv\"\nfields = [\"city\"]\nnew_columns = \"add\"", "used by format = json only"),
        ("format = \"csv\"\nfields = [\"city\", \"city\"]", "there twice"),
        ("format = \"text\"\nfields = [\"city\"]\ndelimiter = \"é\"", "cannot stand between"),
        ("format = \"csv\"\nfields = [\"city\"]\ndelimiter = '\"'", "cannot stand between"),
        ("path_columns = [\"town\"]", "no column `town`"),
    ];
    for (keys, message) in cases {
        let found = plain(keys);
        assert!(found.len() == 1 && found[0].1.contains(message), "{keys}: {found:?}");
    }
    refused("[[query]]", &read("nested = \"struct\""), "[[query]]", "cannot be asked what the table is asked");
    for keys in
        ["path_columns = [\"city\"]", "new_columns = \"quarantine\"", "timestamps = { time = \"epoch_millis\" }"]
    {
        assert_eq!(mistakes(&GOOD.replace("[[query]]", &read(keys))), []);
    }
    for (keys, message) in [
        ("timestamps = { when = \"day_first\" }", "no column `when`"),
        ("timestamps = { city = \"day_first\" }", "`city` is not a timestamp"),
    ] {
        let found = plain(keys);
        assert!(found.len() == 1 && found[0].1.contains(message), "{keys}: {found:?}");
    }
}

#[test]
fn bloom_filters_are_of_columns_in_the_files() {
    let with = |names: &str| mistakes(&GOOD.replace("[table]", &format!("[table]\nbloom_filter = {names}")));
    assert_eq!(with("[\"time\", \"polls\"]"), []);
    for (names, message) in [
        ("[\"time\", \"time\"]", "there twice"),
        ("[\"town\"]", "no column `town`"),
        ("[\"city\"]", "is partitioned by"),
    ] {
        let found = with(names);
        assert!(found.len() == 1 && found[0].1.contains(message), "{names}: {found:?}");
    }
}

#[test]
fn rows_are_sorted_by_columns_in_the_files_and_files_have_a_size_that_makes_sense() {
    let with = |line: &str| mistakes(&GOOD.replace("[table]", &format!("[table]\n{line}")));
    for good in ["sort_by = [\"time\"]", "file_size = \"1MiB\"", "file_size = \"10GiB\""] {
        assert_eq!(with(good), []);
    }
    for (line, message) in [
        ("sort_by = [\"time\", \"time\"]", "there twice"),
        ("sort_by = [\"polls\"]", "no column `polls`"),
        ("sort_by = [\"city\"]", "is partitioned by"),
        ("file_size = \"1023KiB\"", "1 MiB to 10 GiB"),
        ("file_size = \"11GiB\"", "1 MiB to 10 GiB"),
    ] {
        let found = with(line);
        assert!(found.len() == 1 && found[0].1.contains(message), "{line}: {found:?}");
    }
}

#[test]
fn computed_columns_do_not_hide_others() {
    for taken in ["city", "hour", "millrace_seq", ""] {
        refused("name = \"polls\"", &format!("name=\"{taken}\""), &format!("name=\"{taken}\""), "cannot be named");
    }
    refused("city = \"string\"", "city = \"string\"\nCity = \"string\"", "city = \"string\"", "differ in case");
    refused("[table.columns]", "[table.columns]\nmillrace_seq = \"string\"", "millrace_seq", "part of the stamp");
}

#[test]
fn undeclared_columns_are_left_to_the_data() {
    let declared = "[table.columns]\ncity = \"string\"\ndegrees = \"number\"\ntime = \"timestamp\"\n";
    assert_eq!(mistakes(&GOOD.replace(declared, "")), []);
}

#[test]
fn the_stamp_can_always_order_and_deduplicate() {
    assert_eq!(mistakes(&GOOD.replace("key = [\"city\", \"time\"]", "key = [\"millrace_run\", \"millrace_seq\"]")), []);
}

#[test]
fn queries_are_one_select_over_records() {
    let sql = "SELECT COUNT(*) AS n FROM records;";
    refused(sql, "DROP TABLE records", "DROP", "only reads");
    refused(sql, "", "sql = ", "only reads");
    refused(sql, "SELECT 1 FROM records; SELECT 2", "sql = ", "more than one");
    refused(sql, "SELECT 1 FROM accidents", "sql = ", "does not read");
    refused(
        "[[slo]]",
        "[[query]]\nname=\"all\"\nsql = \"SELECT 1 FROM records\"\n[[slo]]",
        "name=\"all\"",
        "two queries",
    );
    for good in [
        "-- why; not\\nselect ';' as a, \\\"x;y\\\" from \\\"records\\\" ; ",
        "WITH r AS (SELECT * FROM records) SELECT COUNT(*) FROM r",
        "/* ; */ SELECT 'é;' FROM records",
    ] {
        assert_eq!(mistakes(&GOOD.replace(sql, good)), [], "{good}");
    }
    // An unclosed quote swallows the rest, as it does for the engines.
    refused(sql, "SELECT 'é FROM records", "sql = ", "does not read");
}

#[test]
fn objectives_are_bounds_and_stand_once() {
    refused("max = 0", "max = -1", "max = -1", "below zero");
    refused("[[slo]]", "[[slo]]\nmetric=\"lost_records\"\nmax = 1\n[[slo]]", "metric = ", "bounded twice");
}

#[test]
fn faults_say_what_their_kind_needs_and_nothing_else() {
    let with = |fault: &str| format!("[[fault]]\nat = \"1s\"\nfor = \"2s\"\n{fault}\n[[slo]]");
    for good in [
        "kind = \"stall\"",
        "kind = \"drop\"\nshare = 0.5\nwhen = \"after\"\noperations = [\"PutRecords\", \"GetRecords\"]",
        "kind = \"error\"\nstatus = 503",
        "kind = \"throttle\"\nshard = 3\nshare = 0.5\noperations = [\"PutRecords\"]",
        "kind = \"kill\"",
        "kind = \"kill\"\nstate = \"lost\"",
        "kind = \"latency\"\nlatency = \"20ms\"",
        "kind = \"latency\"\ndistribution = \"lognormal\"\np50 = \"5ms\"\np99 = \"50ms\"",
        "kind = \"latency\"\ndistribution = \"uniform\"\nmin = \"0s\"\nmax = \"50ms\"",
        "kind = \"latency\"\ndistribution = \"exponential\"\nmean = \"5ms\"",
    ] {
        assert_eq!(mistakes(&GOOD.replace("[[slo]]", &with(good))), [], "{good}");
    }
    let lognormal = "kind = \"latency\"\ndistribution = \"lognormal\"";
    for (bad, mark, message) in [
        ("kind = \"stal\"", "stal", "`fault.0.kind`"),
        ("kind = \"stall\"\nshard = 3", "shard", "throttle only"),
        ("kind = \"stall\"\nshare = 0.5", "share", "latency or drop or error or throttle only"),
        ("kind = \"error\"\nstate = \"lost\"", "state", "kill only"),
        ("kind = \"kill\"\noperations = [\"PutRecords\"]", "operations", "only"),
        ("kind = \"error\"\nwhen = \"after\"", "when", "drop only"),
        ("kind = \"error\"\nstatus = 404", "404", "500 or 503"),
        ("kind = \"error\"\nshare = 0", "share = 0", "above 0"),
        ("kind = \"error\"\nshare = 1.5", "share = 1.5", "at most 1"),
        ("kind = \"drop\"\noperations = [\"putrecords\"]", "putrecords", "not an operation"),
        ("kind = \"drop\"\noperations = [\"PutRecord\", \"PutRecord\"]", "operations", "there twice"),
        ("kind = \"latency\"", "[[fault]]", "not said"),
        ("kind = \"latency\"\nlatency = \"1s\"\ndistribution = \"uniform\"", "distribution", "said twice"),
        ("kind = \"latency\"\nlatency = \"0s\"", "latency = ", "cannot be added"),
        ("kind = \"latency\"\nlatency = \"16m\"", "latency = ", "cannot be added"),
        ("kind = \"latency\"\nlatency = \"1s\"\np50 = \"1s\"", "p50", "says nothing"),
        (&format!("{lognormal}\np50 = \"5ms\""), "distribution", "needs `p99`"),
        (&format!("{lognormal}\np50 = \"5ms\"\np99 = \"4ms\""), "p99", "less than `p50`"),
        (&format!("{lognormal}\np50 = \"5ms\"\np99 = \"9ms\"\nmean = \"6ms\""), "mean", "says nothing"),
    ] {
        refused("[[slo]]", &with(bad), mark, message);
    }
    refused("[[slo]]", &with("kind = \"stall\"").replace("2s", "0s"), "0s", "no length");
}

#[test]
fn a_delivery_stream_is_asked_for_nothing_that_needs_shards_or_reading_back() {
    let with = |load: &str, rest: &str| {
        let text = GOOD.replacen("[load]", &format!("[load]\ncall = \"put_record_batch\"\n{load}"), 1);
        text.replacen("[[slo]]", &format!("{rest}\n[[slo]]"), 1)
    };
    assert_eq!(mistakes(&with("", "[[event]]\nat = \"2s\"\nrate = 2.0\n")), []);
    for (load, rest, mark, message) in [
        ("aggregate = true", "", "aggregate", "takes aggregates apart"),
        ("order = \"key\"", "", "order", "read back"),
        ("body = \"cbor\"", "", "body", "JSON only"),
        ("", "[[event]]\nat = \"2s\"\nsplit_shard = \"hottest\"\n", "split_shard", "no shards"),
        ("", "[[event]]\nat = \"2s\"\nupdate_shard_count = 2\n", "update_shard_count", "no shards"),
    ] {
        let text = with(load, rest);
        let found = mistakes(&text);
        let [(place, said, help)] = &found[..] else { panic!("{load}{rest}: {found:?}") };
        let line: usize = place.split(':').nth(1).unwrap().parse().unwrap();
        assert!(text.lines().nth(line - 1).unwrap().contains(mark), "{place}: {said}");
        assert!(said.contains(message) && help.contains("put_records"), "{said} {help}");
    }
    let shares = GOOD.replacen("[load]", "[load]\ncall = \"put_record_batch\"", 1);
    let shares = shares.replacen("[keys]", "[keys]\nhot_shard = 0.5", 1);
    assert!(mistakes(&shares).iter().any(|(_, said, _)| said.contains("no shards")), "{:?}", mistakes(&shares));
}
