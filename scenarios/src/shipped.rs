//! The scenarios that come with Millrace, inside the binary so that an installed one works anywhere.

use crate::{overrides::Overrides, read::parse};

const SHIPPED: [(&str, &str); 3] = [
    ("us-accidents.toml", include_str!("../us-accidents.toml")),
    ("sensors.toml", include_str!("../sensors.toml")),
    ("weather.toml", include_str!("../weather.toml")),
];

/// File name and text of every shipped scenario.
#[must_use]
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    &SHIPPED
}

/// A shipped scenario as `scenario list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// File name; without `.toml` it is what `run` takes.
    pub file: &'static str,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
}

/// Name and description of every shipped scenario.
#[must_use]
pub fn list() -> Vec<Listed> {
    let listed = |(file, text): &(&'static str, &str)| {
        let scenario = parse(file, text, &Overrides::default()).ok()?;
        Some(Listed { file, name: scenario.name, description: scenario.description })
    };
    shipped().iter().filter_map(listed).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{model::*, stamp};

    fn all() -> Vec<Scenario> {
        shipped().iter().map(|(file, text)| parse(file, text, &Overrides::default()).unwrap()).collect()
    }

    #[test]
    fn every_scenario_file_of_the_folder_is_shipped_and_listed_under_its_own_name() {
        let mut files: Vec<String> = fs::read_dir(env!("CARGO_MANIFEST_DIR"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| file.ends_with(".toml") && file != "Cargo.toml")
            .collect();
        files.sort();
        let mut listed: Vec<_> = list().into_iter().map(|listed| (listed.file.to_owned(), listed.name)).collect();
        listed.sort();
        assert_eq!(listed.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>(), files);
        for (file, name) in listed {
            assert_eq!(file, format!("{name}.toml"));
        }
        assert!(list().iter().all(|listed| listed.description.len() > 20));
    }

    #[test]
    fn every_shipped_scenario_declares_the_stamp_and_a_dedup_key_and_asks_questions() {
        for scenario in all() {
            let columns = &scenario.table.columns;
            assert_eq!(columns.get(stamp::RUN_FIELD), Some(&ColumnType::String));
            assert_eq!(columns.get(stamp::SEQUENCE_FIELD), Some(&ColumnType::Integer));
            assert_eq!(columns.get(stamp::DUE_FIELD), Some(&ColumnType::Integer));
            assert!(scenario.table.dedup.is_some());
            assert!(scenario.query.len() >= 3 && scenario.slo.len() >= 4, "{}", scenario.name);
        }
    }

    #[test]
    fn every_shipped_scenario_stays_below_the_limits_of_its_shards() {
        for scenario in all() {
            let seconds: f64 = scenario.load.stages.iter().map(|stage| stage.length_us() as f64 / 1e6).sum();
            let highest = scenario.load.stages.iter().map(|stage| stage.highest_rate()).fold(0.0, f64::max);
            assert!((20.0..=30.0).contains(&seconds), "{}: {seconds}", scenario.name);
            // Even if every key landed on one shard: 1000 records/s; an accident is 1.3 KB.
            assert!(highest <= 800.0, "{}: {highest}", scenario.name);
        }
    }

    #[test]
    fn the_accident_table_has_every_column_of_the_real_files() {
        let [accidents, ..] = &all()[..] else { panic!() };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/us-accidents");
        let Ok(files) = fs::read_dir(folder) else {
            println!("skipped: no real accident files beside the checkout");
            return;
        };
        for file in files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "csv"))
        {
            let text = fs::read(&file).unwrap();
            let header = text.split(|byte| *byte == b'\n').next().unwrap();
            let header = String::from_utf8(header.to_vec()).unwrap();
            for column in header.trim_end().trim_start_matches('\u{feff}').split(',') {
                assert!(accidents.table.columns.contains_key(column), "{}: {column}", file.display());
            }
        }
        // 49 in the widest schema (with Source and TMC, without End_Lat and End_Lng, plus those two), the transaction
        // time and the stamp.
        assert_eq!(accidents.table.columns.len(), 49 + 1 + 3);
    }
}
