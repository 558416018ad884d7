//! What a user sees: mistakes made on purpose, and where and how they are answered.

use miette::{GraphicalReportHandler, GraphicalTheme};

use super::*;
use crate::{
    error::Mistake,
    model::{KeyKind, SourceKind},
    units::{ByteSize, Span},
};

const GOOD: &str = r#"name = "demo"

[source]
kind = "sensors"

[load]
linger = "20ms"
[[load.stages]]
rate = 50
for = "2s"
[[load.stages]]
rate = 100.5
for = "4s"

[keys]
kind = "uniform"

[stream]
name = "demo"

[[query]]
name = "all"
sql = "SELECT COUNT(*) AS n FROM records"

[[slo]]
metric = "response_p99_ms"
max = 100
"#;

fn mistake(text: &str, overrides: &Overrides) -> Box<Mistake> {
    match parse("demo.toml", text, overrides) {
        Err(ScenarioError::Mistake(mistake)) => mistake,
        other => panic!("no mistake in\n{text}\n{other:?}"),
    }
}

fn set(setting: &str) -> Overrides {
    Overrides { set: vec![setting.to_owned()], ..Default::default() }
}

#[test]
fn a_good_scenario_has_what_it_says_and_the_defaults() {
    let scenario = parse("demo.toml", GOOD, &Overrides::default()).unwrap();
    assert_eq!(scenario.source.kind, SourceKind::Sensors);
    assert_eq!(scenario.keys.kind, KeyKind::Uniform);
    assert_eq!(scenario.load.stages[1].rate, 100.5);
    assert_eq!(scenario.load.stages[1].duration, Some(Span::from_secs(4)));
    assert_eq!((scenario.seed, scenario.stream.shards), (42, 4));
    assert_eq!(scenario.delivery.buffer_size, ByteSize::from_bytes(5 << 20));
}

#[test]
fn every_slip_is_shown_where_it_was_made_with_the_fix() {
    // What is written, what is written instead, where it is found, what is said, what helps.
    let cases = [
        ("rate = 50\n", "raet = 50\n", "9:1", "no key `raet`", "did you mean `rate`?"),
        ("linger = ", "rate = ", "7:1", "no key `rate`", "`rate` belongs in [load.stages]"),
        ("[keys]", "[keyz]", "15:2", "no key `keyz`", "did you mean `keys`?"),
        ("rate = 50\n", "rate = \"fast\"\n", "9:8", "`load.stages.0.rate` is text, not a number", "such as 500"),
        ("rate = 50\n", "rate = inf\n", "9:8", "not a number that can be reached", "finite"),
        ("rate = 50\n", "", "8:1", "`load.stages.0` has no `rate`", "rate = 500"),
        ("linger = \"20ms\"", "linger = 20", "7:10", "`load.linger` is a whole number, not a span", "\"20ms\""),
        ("linger = \"20ms\"", "linger = \"20\"", "7:10", "not a span of time", "\"250ms\""),
        ("linger = \"20ms\"", "linger = ", "7:10", "not TOML", "key = value"),
        ("\"sensors\"", "\"sensor\"", "4:8", "not a choice for `source.kind`", "did you mean \"sensors\"?"),
        ("\"uniform\"", "\"gauss\"", "16:8", "not a choice for `keys.kind`", "field, uniform, zipf, hot_set"),
        ("\"uniform\"", "3", "16:8", "`keys.kind` is a whole number, not text", "\"uniform\""),
        ("[stream]\nname = \"demo\"\n", "", "1:1", "no section [stream]", "[stream]\nname = \"my-stream\""),
        ("[stream]\nname", "[stream]\nshards = 2\n#", "18:1", "`stream` has no `name`", "name = \"my-stream\""),
        ("[stream]\n", "[stream]\nshards = -1\n", "19:10", "out of range", "0 or more"),
        ("[stream]\n", "[stream]\nshards = 5000000000\n", "19:10", "out of range", "4294967295"),
        ("[stream]\n", "[stream]\nshards = 2.5\n", "19:10", "is a number, not a whole number", "such as 4"),
        ("[[slo]]\n", "[slo]\n", "25:1", "`slo` is a section, not a list", "metric = "),
        ("response_p99_ms", "response_p99", "26:10", "no metric \"response_p99\"", "did you mean \"response_p99_ms\"?"),
        ("response_p99_ms", "speed", "26:10", "no metric \"speed\"", "<hop>_p<percent>_ms"),
        ("\"demo\"\n\n[source]", "2024-01-01\n\n[source]", "1:8", "is a date without quotes", "text in quotes"),
        ("[source]\n", "[source]\nlive = \"yes\"\n", "4:8", "`source.live` is text, not true or false", "false"),
    ];
    for (good, bad, place, message, fix) in cases {
        assert!(GOOD.contains(good), "{good}");
        let mistake = mistake(&GOOD.replacen(good, bad, 1), &Overrides::default());
        let shown = format!("{} | {mistake} | {}", mistake.place(), mistake.fix());
        assert_eq!(mistake.place(), format!("demo.toml:{place}"), "{shown}");
        assert!(mistake.to_string().contains(message), "{shown}");
        assert!(mistake.fix().contains(fix), "{shown}");
    }
}

#[test]
fn an_empty_file_is_told_what_a_scenario_needs() {
    let mistake = mistake("", &Overrides::default());
    let all: Vec<String> = std::iter::once(&*mistake).chain(mistake.others()).map(ToString::to_string).collect();
    for section in ["`name`", "[source]", "[load]", "[keys]", "[stream]"] {
        assert!(all.iter().any(|message| message.contains(section)), "{section}: {all:?}");
    }
    let load = mistake.others().iter().find(|m| m.to_string().contains("[load]")).unwrap();
    let proposal = load.fix().split_once("[load]\nstages = [{ ").expect("a proposal").1;
    assert!(proposal.contains("for = \"30s\"") && proposal.contains("rate = 500"), "{proposal}");
}

#[test]
fn the_sections_that_errors_propose_make_a_scenario() {
    let mistake = mistake("", &Overrides::default());
    let proposals = std::iter::once(&*mistake).chain(mistake.others());
    let mut lines: Vec<&str> = proposals.map(|m| m.fix().split_once(":\n\n").unwrap().1).collect();
    lines.sort_by_key(|lines| lines.starts_with('['));
    parse("proposed.toml", &lines.join("\n"), &Overrides::default()).unwrap();
}

#[test]
fn all_mistakes_of_a_file_are_shown_at_once() {
    let text = GOOD.replace("rate = 50\n", "rate = true\n").replace("max = 100", "maximum = 100");
    let mistake = mistake(&text, &Overrides::default());
    assert_eq!(mistake.place(), "demo.toml:9:8");
    assert_eq!(mistake.others().iter().map(Mistake::place).collect::<Vec<_>>(), ["demo.toml:25:1", "demo.toml:27:1"]);
}

#[test]
fn a_mistake_in_an_override_shows_the_flag_and_not_the_file() {
    let rate = |rate| Overrides { rate: Some(rate), ..Default::default() };
    let cases = [
        (set("stream.shards=many"), "--set stream.shards=many", "`stream.shards` is text"),
        (set("stream.shrads=2"), "--set stream.shrads=2", "no key `shrads`"),
        (set("stream.shards=0"), "--set stream.shards=0", "1 to 10000"),
        (set("load.stages.7.rate=2"), "--set load.stages.7.rate=2", "no entry `7`"),
        (set("table.dedup.keep=last"), "--set table.dedup.keep=last", "in no order"),
        (rate(0.0), "--rate 0", "above zero"),
        (rate(f64::NAN), "--rate NaN", "above zero"),
        (rate(1e9), "--rate 1000000000", "out of reach"),
        (Overrides { duration: Some(Span::from_secs(0)), ..Default::default() }, "--for 0s", "longer than nothing"),
        (Overrides { duration: Some("1us".parse().unwrap()), ..Default::default() }, "--for 1us", "no length"),
        (Overrides { seed: Some(u64::MAX), ..Default::default() }, "--seed 18446744073709551615", "too large"),
    ];
    for (overrides, flag, message) in cases {
        let mistake = mistake(GOOD, &overrides);
        assert!(mistake.place().starts_with("command line:1:"), "{}", mistake.place());
        assert!(mistake.to_string().contains(message), "{flag}: {mistake}");
        assert!(rendered(&mistake).contains(flag), "{}", rendered(&mistake));
        assert!(!rendered(&mistake).contains("demo.toml"), "{}", rendered(&mistake));
    }
}

#[test]
fn overrides_change_the_scenario() {
    let overrides = Overrides {
        set: vec!["source.epoch=2020-02-02T00:00:00Z".into(), "load.stages.0.rate=201".into()],
        seed: Some(7),
        rate: Some(20.0),
        duration: Some(Span::from_secs(3)),
    };
    let scenario = parse("demo.toml", GOOD, &overrides).unwrap();
    assert_eq!((scenario.seed, scenario.source.epoch.as_str()), (7, "2020-02-02T00:00:00Z"));
    let stages: Vec<_> = scenario.load.stages.iter().map(|stage| (stage.rate, stage.duration)).collect();
    assert_eq!(stages, [(20.0, Some(Span::from_secs(1))), (10.0, Some(Span::from_secs(2)))]);
}

fn rendered(mistake: &Mistake) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    handler.render_report(&mut text, mistake).unwrap();
    text
}

#[test]
fn a_mistake_is_drawn_with_file_line_label_and_help() {
    let shown = rendered(&mistake(&GOOD.replace("rate = 50\n", "raet = 50\n"), &Overrides::default()));
    for part in ["demo.toml:9:1", "raet = 50", "unknown key", "help: did you mean `rate`?"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn a_shipped_scenario_is_found_by_name_where_there_is_no_file() {
    for path in ["sensors", "sensors.toml", "scenarios/sensors.toml", "./scenarios/sensors.toml"] {
        // The tests run in this crate's folder, which has sensors.toml itself.
        let scenario = read(Path::new(path), &Overrides::default()).unwrap();
        assert_eq!(scenario.name, "sensors", "{path}");
    }
    for path in ["/scenarios/sensors.toml", "elsewhere/sensors.toml", "scenarios/deep/sensors.toml", ".."] {
        assert_eq!(shipped_text(Path::new(path)), None, "{path}");
    }
}

#[test]
fn a_missing_file_is_answered_with_the_one_that_may_be_meant() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("checkout.toml"), GOOD).unwrap();
    fs::write(folder.path().join("package.toml"), "[package]\n").unwrap();
    let missing = |file: &str| match read(&folder.path().join(file), &Overrides::default()) {
        Err(ScenarioError::Missing { help, .. }) => help,
        other => panic!("{other:?}"),
    };
    assert!(missing("chekout.toml").contains("did you mean") && missing("chekout.toml").contains("checkout.toml"));
    assert!(missing("us-acidents.toml").contains("did you mean scenarios/us-accidents.toml?"));
    assert!(missing("packages.toml").starts_with("scenarios here: "), "{}", missing("packages.toml"));
}

#[test]
fn what_cannot_be_a_scenario_file_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.csv");
    fs::write(&large, vec![b'x'; MAX_FILE_BYTES as usize + 1]).unwrap();
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    for (path, kind) in [
        (folder.path(), io::ErrorKind::IsADirectory),
        (&large, io::ErrorKind::FileTooLarge),
        (&binary, io::ErrorKind::InvalidData),
    ] {
        match read(path, &Overrides::default()) {
            Err(error @ ScenarioError::Unreadable { .. }) => {
                assert!(error.to_string().contains(&path.display().to_string()));
                let ScenarioError::Unreadable { cause, .. } = error else { unreachable!() };
                assert_eq!(cause.kind(), kind);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windows.toml");
    fs::write(&path, format!("\u{feff}{}", GOOD.replace('\n', "\r\n"))).unwrap();
    assert_eq!(read(&path, &Overrides::default()).unwrap().name, "demo");
}
