//! Mistakes as a new user makes them: each gets a clear message, the right exit code, and loses nothing.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command};

use support::{at, expect_exit, lake, measure, millrace, number, python, record, root};

/// A scenario file with one line of a shipped one replaced.
fn changed(folder: &Path, scenario: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(root().join("scenarios").join(scenario)).unwrap();
    assert!(text.contains(from), "{scenario} has no {from:?}");
    let path = folder.join("changed.toml");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn check(scenario: &str, more: &[&str]) -> String {
    let (_, stderr) = expect_exit(millrace().args(["scenario", "check", scenario]).args(more), 2);
    // A narrow terminal may break a message anywhere; compare it without the breaks.
    stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// A short run of the sensors scenario into a folder; the caller adds what is wrong.
fn short_run(out: &Path) -> Command {
    let mut command = millrace();
    command.args(["run", "sensors", "--rate", "100", "--for", "1s", "--set", "delivery.buffer_interval=1s", "--out"]);
    command.arg(out);
    command
}

#[test]
fn an_unknown_key_is_pointed_at_with_the_key_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let error = check(&changed(folder.path(), "sensors.toml", "[stream]\n", "[stream]\nshard = 4\n"), &[]);
    assert!(error.contains("changed.toml:"), "{error}");
    assert!(error.contains("shard"), "{error}");
    assert!(error.contains("shards"), "the fix is named: {error}");
}

#[test]
fn a_wrong_type_is_pointed_at_with_what_to_write() {
    let error = check("sensors", &["--set", "stream.shards=\"many\""]);
    assert!(error.contains("stream.shards") && error.contains("many"), "{error}");
    let error = check("sensors", &["--set", "load.linger=20"]);
    assert!(error.contains("write a span of time in quotes, such as \"20ms\""), "a unit is asked for: {error}");
}

#[test]
fn a_syntax_error_names_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let error = check(&changed(folder.path(), "sensors.toml", "[stream]", "[stream"), &[]);
    let place = error.split("changed.toml:").nth(1).expect("the file is named");
    let mut numbers = place.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
    assert!(numbers.next().is_some() && numbers.next().is_some(), "{error}");
}

#[test]
fn a_missing_scenario_says_which_ones_there_are() {
    let error = check("sensor", &[]);
    assert!(error.contains("sensors"), "{error}");
}

#[test]
fn a_command_line_that_cannot_be_read_exits_with_2() {
    expect_exit(millrace().args(["run", "sensors", "--frobnicate"]), 2);
    expect_exit(millrace().args(["run", "sensors", "--for", "ten"]), 2);
    expect_exit(millrace().args(["run", "sensors", "--target", "localhost:1"]), 2);
    expect_exit(millrace().args(["serve", "--stream", "clicks"]), 2);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (_, stderr) = expect_exit(millrace().args(["serve", "--port", &port.to_string()]), 3);
    assert!(stderr.contains(&format!("127.0.0.1:{port}")), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
}

#[test]
fn an_output_folder_that_cannot_be_written_is_an_environment_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let (_, stderr) = expect_exit(&mut short_run(&file.join("run")), 3);
    assert!(stderr.contains("file"), "{stderr}");
}

#[test]
fn a_lake_that_cannot_be_written_ends_the_run_with_3_and_the_ledger_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lake");
    fs::write(&file, "not a folder").unwrap();
    let mut command = short_run(&folder.path().join("run"));
    let (_, stderr) = expect_exit(command.arg("--set").arg(format!("delivery.lake={}", file.display())), 3);
    assert!(stderr.contains(file.to_str().unwrap()), "{stderr}");
}

#[test]
fn an_endpoint_that_nobody_listens_on_is_an_environment_error() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = short_run(&folder.path().join("run"));
    command.env("AWS_ACCESS_KEY_ID", "AKIASECRETSECRET").env("AWS_SECRET_ACCESS_KEY", "verysecret");
    let (stdout, stderr) = expect_exit(command.args(["--target", &format!("http://{free}")]), 3);
    assert!(stderr.contains(&free.to_string()), "{stderr}");
    assert!(!format!("{stdout}{stderr}").contains("SECRET"), "credentials are never printed");
    assert!(!format!("{stdout}{stderr}").contains("verysecret"));
}

#[test]
fn aws_is_never_touched_without_a_confirmed_cost() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = short_run(&folder.path().join("run"));
    let (_, stderr) = expect_exit(command.args(["--target", "aws"]).stdin(std::process::Stdio::null()), 2);
    assert!(stderr.contains("USD"), "the estimate is printed: {stderr}");
    assert!(stderr.contains("--max-cost"), "{stderr}");
    expect_exit(short_run(&folder.path().join("run")).args(["--target", "aws", "--max-cost", "0.0001"]), 2);
}

#[test]
fn an_empty_csv_says_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("empty.csv");
    fs::write(&csv, "").unwrap();
    let mut command = millrace();
    command.args(["load", "us-accidents", "--for", "1s", "--set"]).arg(format!("source.path={}", csv.display()));
    let (_, stderr) = expect_exit(command.arg("--out").arg(folder.path().join("run")), 2);
    assert!(stderr.contains("empty.csv") && stderr.contains("ID"), "{stderr}");
}

#[test]
fn a_missing_csv_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = millrace();
    command.args(["load", "us-accidents", "--set", "source.path=/no/such.csv", "--out"]);
    let (_, stderr) = expect_exit(command.arg(folder.path().join("run")), 2);
    assert!(stderr.contains("/no/such.csv"), "{stderr}");
}

#[test]
fn a_csv_cut_in_the_middle_of_a_record_loses_only_that_record_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("cut.csv");
    let row = |id: u32| {
        format!(
            "A-{id},Source1,3,2016-02-08 05:46:00,2016-02-08 11:00:00,39.8,-84.0,0.01,\"Slow, accident\",Dayton,Montgomery,OH\n"
        )
    };
    let header =
        "ID,Source,Severity,Start_Time,End_Time,Start_Lat,Start_Lng,Distance(mi),Description,City,County,State\n";
    let whole = format!("{header}{}{}{}", row(1), row(2), row(3));
    fs::write(&csv, &whole[..whole.len() - 40]).unwrap();
    let out = folder.path().join("run");
    let mut command = millrace();
    command.args(["run", "us-accidents", "--rate", "50", "--for", "2s", "--set", "source.at_end=stop"]);
    command.arg("--set").arg(format!("source.path={}", csv.display())).arg("--out").arg(&out);
    let (record, _) = measure(&mut command, &out);
    assert_eq!(number(&record, "load.accepted"), 2);
    assert_eq!(number(&record, "load.rejected_rows"), 1);
    assert_eq!(number(&record, "compaction.table_rows"), 2);
    let rejects = fs::read_to_string(out.join("rejects.ndjson")).unwrap();
    let reject: serde_json::Value = serde_json::from_str(rejects.lines().next().unwrap()).unwrap();
    assert_eq!(reject["line"], 4);
    assert!(reject["raw"].as_str().unwrap().starts_with("A-3,"), "{reject}");
}

#[test]
fn broken_objects_of_a_lake_are_quarantined_and_the_good_lines_beside_them_kept() {
    let folder = tempfile::tempdir().unwrap();
    let lake_folder = folder.path().join("lake");
    let lines = |range: std::ops::Range<u64>| {
        range.map(|k| lake::reading(1, u32::try_from(k).unwrap(), k) + "\n").collect::<String>()
    };
    lake::object(&lake_folder, "2025/good.gz", lines(0..10).as_bytes());
    let bad = lines(10..12) + "{\"sensor_id\": 5\n" + &lines(12..14);
    lake::object(&lake_folder, "2025/bad-line.gz", bad.as_bytes());
    fs::write(lake_folder.join("2025/not-gzip.gz"), "this is no gzip").unwrap();
    let cut = lake::gzip(lines(20..400).as_bytes());
    fs::write(lake_folder.join("2025/truncated.gz"), &cut[..cut.len() / 2]).unwrap();

    let (table, out) = (folder.path().join("table"), folder.path().join("out"));
    let mut command = millrace();
    command.args(["compact", "sensors", "--lake"]).arg(&lake_folder).arg("--table").arg(&table).arg("--out").arg(&out);
    let (stdout, _) = expect_exit(&mut command, 1);
    assert!(stdout.contains("quarantined_records: 3, at most 0"), "the scenario's SLO is missed: {stdout}");
    let record = record(&out);
    let compaction = at(&record, "compaction");
    assert_eq!(number(compaction, "objects"), 4);
    assert_eq!(
        number(compaction, "lines"),
        number(compaction, "rows") + number(compaction, "duplicates") + number(compaction, "quarantined")
    );
    assert!(number(compaction, "rows") > 14, "lines before the cut are salvaged");
    assert!(number(compaction, "rows") < 14 + 380);
    assert_eq!(number(compaction, "quarantined"), 3, "{compaction:#}");
    let reasons: Vec<_> =
        compaction["quarantine_reasons"].as_array().unwrap().iter().map(|r| r["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"not_gzip") && reasons.contains(&"truncated_gzip"), "{reasons:?}");

    // Another reader finds each bad piece with its place, reason and bytes.
    let quarantine = folder.path().join("table-quarantine");
    let found = python::ask("quarantine.py", &[quarantine.to_str().unwrap()]);
    let rows = found["rows"].as_array().unwrap();
    let row = |object: &str| rows.iter().find(|row| row["object"] == object).unwrap();
    let bad_line = row("2025/bad-line.gz");
    let before = lines(10..12).len() as u64;
    assert_eq!((number(bad_line, "line"), number(bad_line, "offset")), (3, before), "{found:#}");
    assert!(bad_line["raw"].as_str().unwrap().starts_with("{\"sensor_id\": 5"), "{found:#}");
    let not_gzip = row("2025/not-gzip.gz");
    assert_eq!((not_gzip["reason"].as_str(), not_gzip["raw"].as_str()), (Some("not_gzip"), Some("this is no gzip")));
    assert_eq!(row("2025/truncated.gz")["reason"], "truncated_gzip");
    assert_eq!(rows.len(), 3);

    expect_exit(&mut command_again(&lake_folder, &table, &folder.path().join("again")), 0);
    let again = support::record(&folder.path().join("again"));
    assert_eq!((number(&again, "compaction.objects"), number(&again, "compaction.quarantined")), (0, 0));
}

/// What every scenario needs and `compact` does not use.
const IDLE: &str = r#"
name = "idle"
[source]
kind = "sensors"
[load]
stages = [{ rate = 1, for = "1s" }]
[keys]
kind = "uniform"
[stream]
name = "idle"
"#;

#[test]
fn what_is_in_quarantine_is_listed_and_taken_in_once_when_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, table) = (folder.path().join("lake"), folder.path().join("table"));
    let scenario = |choice: &str| {
        let text = format!("{IDLE}[table.columns]\nid = \"integer\"\n[table.read]\nnew_columns = \"{choice}\"\n");
        let path = folder.path().join(format!("{choice}.toml"));
        fs::write(&path, text).unwrap();
        path
    };
    lake::object(&lake, "2025/a.gz", b"{\"id\":1}{\"id\":2,\"x\":\"new\"}{\"id\":?}{\"id\":3}");
    let command = |words: &[&str], choice: &str| {
        let mut command = millrace();
        command.args(words).arg(scenario(choice)).arg("--lake").arg(&lake).arg("--table").arg(&table);
        command
    };
    let out = folder.path().join("out");
    expect_exit(command(&["compact"], "quarantine").arg("--out").arg(&out), 0);
    assert_eq!(number(&record(&out), "compaction.rows"), 2);
    let (list, _) = expect_exit(&mut command(&["quarantine", "list"], "quarantine"), 0);
    let want = "2025/a.gz member 1 line 1 offset 8: new_column (x), 18 bytes, waiting\n\
                2025/a.gz member 1 line 1 offset 26: not_json, 8 bytes, waiting\n\
                2 pieces, 2 of them waiting\n";
    assert_eq!(list, want);
    let (replay, _) = expect_exit(&mut command(&["quarantine", "replay"], "add"), 0);
    assert!(replay.starts_with("1 pieces replayed: 1 rows, 0 duplicates; 1 still bad"), "{replay}");
    let (again, _) = expect_exit(&mut command(&["quarantine", "replay"], "add"), 0);
    assert!(again.starts_with("0 pieces replayed: 0 rows") && again.contains("1 replayed before"), "{again}");
    let (list, _) = expect_exit(&mut command(&["quarantine", "list"], "add"), 0);
    assert!(list.contains("18 bytes, replayed\n") && list.ends_with("2 pieces, 1 of them waiting\n"), "{list}");
}

#[test]
fn a_lake_without_the_key_column_and_one_without_objects_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, table) = (folder.path().join("lake"), folder.path().join("table"));
    let scenario = folder.path().join("keyed.toml");
    let text = format!("{IDLE}[table.dedup]\nkey = [\"ID\"]\norder_by = \"ID\"\n");
    fs::write(&scenario, text).unwrap();
    let compact = |out: &str| {
        let mut command = millrace();
        command.arg("compact").arg(&scenario).arg("--lake").arg(&lake).arg("--table").arg(&table);
        command.arg("--out").arg(folder.path().join(out));
        command
    };
    fs::create_dir(&lake).unwrap();
    expect_exit(&mut compact("empty"), 0);
    assert_eq!(number(&record(&folder.path().join("empty")), "compaction.rows"), 0);
    lake::object(&lake, "a.gz", b"{\"name\":1}");
    let (_, stderr) = expect_exit(&mut compact("keyless"), 2);
    assert!(stderr.contains("\"ID\" is no column of the records"), "{stderr}");
}

fn command_again(lake: &Path, table: &Path, out: &Path) -> Command {
    let mut command = millrace();
    command.args(["compact", "sensors", "--lake"]).arg(lake).arg("--table").arg(table).arg("--out").arg(out);
    command
}

#[test]
fn a_lake_that_is_not_there_is_a_mistake_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    for leg in ["compact", "query"] {
        let mut command = millrace();
        command.args([leg, "sensors", "--lake", "/no/such/lake", "--table"]).arg(folder.path().join("table"));
        let (_, stderr) = expect_exit(&mut command, 2);
        assert!(stderr.contains("/no/such/lake"), "{stderr}");
    }
}

#[test]
fn a_leg_without_a_lake_asks_for_one() {
    for leg in ["compact", "query"] {
        let (_, stderr) = expect_exit(millrace().args([leg, "sensors"]), 2);
        assert!(stderr.contains("--lake"), "{stderr}");
    }
}

#[test]
fn a_query_that_is_no_sql_is_a_configuration_error() {
    let folder = tempfile::tempdir().unwrap();
    let lake_folder = folder.path().join("lake");
    lake::object(&lake_folder, "a.gz", (lake::reading(1, 1, 1) + "\n").as_bytes());
    let table = folder.path().join("table");
    expect_exit(&mut command_again(&lake_folder, &table, &folder.path().join("out")), 0);
    let sql = folder.path().join("question.sql");
    let questions = [
        ("selekt 1", 2),
        ("select from from records", 2),
        ("select no_such_column from records", 2),
        ("select count(*) as n from records;\n", 0),
    ];
    for (text, code) in questions {
        fs::write(&sql, text).unwrap();
        let mut command = millrace();
        command.args(["query", "sensors", "--lake"]).arg(&lake_folder).arg("--table").arg(&table);
        expect_exit(command.arg("--sql").arg(&sql), code);
    }
}

#[test]
fn report_and_compare_say_what_is_wrong_with_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (_, stderr) = expect_exit(millrace().arg("report").arg(folder.path()), 2);
    assert!(stderr.contains("run.json"), "{stderr}");
    fs::write(folder.path().join("run.json"), "{\"schema_version\": \"99.0\"}").unwrap();
    let (_, stderr) = expect_exit(millrace().arg("report").arg(folder.path()), 2);
    assert!(stderr.contains("99.0"), "{stderr}");
    fs::set_permissions(folder.path().join("run.json"), fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_server_without_the_credentials_or_the_certificate_it_is_to_have_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |arguments: &[&str]| {
        // The report is wrapped to the terminal's width.
        let said = expect_exit(millrace().args(["serve", "--port", "0"]).args(arguments), 2).1;
        said.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let said = serve(&["--require-credentials"]);
    assert!(said.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{said}");
    let absent = folder.path().join("absent.pem");
    let said = serve(&["--tls-cert", absent.to_str().unwrap(), "--tls-key", absent.to_str().unwrap()]);
    assert!(said.contains("absent.pem") && said.contains("the key that belongs to it"), "{said}");
    let said = serve(&["--tls-cert", absent.to_str().unwrap()]);
    assert!(said.contains("--tls-key"), "{said}");
}

#[test]
fn quotas_that_mean_nothing_are_said_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quotas.toml");
    let serve = |path: &Path| {
        let mut command = millrace();
        command.args(["serve", "--port", "0", "--quota"]).arg(path);
        expect_exit(&mut command, 2).1
    };
    assert!(serve(&path).contains("No such file"));
    std::fs::write(&path, "[write]\nrecords_per_second = 5\n").unwrap();
    let said = serve(&path);
    assert!(said.contains("line 2") && said.contains("records_per_s"), "{said}");
}
