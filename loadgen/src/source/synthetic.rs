//! A synthetic accident file with the schema of the real one, so that the first run needs no download.
//!
//! Counties, cities, streets and descriptions are invented; state codes, time zones and rough positions are not. The
//! file has what makes the real one a good test: skewed counties, three shapes of timestamp, empty cells, quoted commas
//! and quotes, leading spaces. Same rows and seed, same bytes.

mod places;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Writer};

use self::places::{County, counties, street};
use super::{
    SourceError,
    draw::{Draw, Purpose},
    event_time::{Fraction, Moment},
    json::{push_digits, push_fixed},
};

/// The file's name in the run's folder.
pub const FILE_NAME: &str = "synthetic-accidents.csv";

/// The columns of the newest published schema (March 2023), in its order.
pub const COLUMNS: [&str; 46] = [
    "ID",
    "Source",
    "Severity",
    "Start_Time",
    "End_Time",
    "Start_Lat",
    "Start_Lng",
    "End_Lat",
    "End_Lng",
    "Distance(mi)",
    "Description",
    "Street",
    "City",
    "County",
    "State",
    "Zipcode",
    "Country",
    "Timezone",
    "Airport_Code",
    "Weather_Timestamp",
    "Temperature(F)",
    "Wind_Chill(F)",
    "Humidity(%)",
    "Pressure(in)",
    "Visibility(mi)",
    "Wind_Direction",
    "Wind_Speed(mph)",
    "Precipitation(in)",
    "Weather_Condition",
    "Amenity",
    "Bump",
    "Crossing",
    "Give_Way",
    "Junction",
    "No_Exit",
    "Railway",
    "Roundabout",
    "Station",
    "Stop",
    "Traffic_Calming",
    "Traffic_Signal",
    "Turning_Loop",
    "Sunrise_Sunset",
    "Civil_Twilight",
    "Nautical_Twilight",
    "Astronomical_Twilight",
];

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// 2016-01-01 and the days from there to the end of 2023.
const FIRST_DAY_US: i64 = 16_801 * DAY_US;
const DAYS: u64 = 2_922;

/// Per mille of severity 1 to 4 in the published data set, rounded.
const SEVERITY: [u64; 4] = [9, 797, 168, 26];

/// Relative number of accidents in each hour of the day: two rush hours.
const HOURS: [u64; 24] = [10, 8, 8, 8, 14, 24, 44, 62, 60, 42, 38, 40, 42, 46, 54, 64, 72, 74, 52, 34, 26, 22, 18, 14];

/// Per mille of rows with each point of interest nearby, in column order.
const NEARBY: [u64; 13] = [12, 1, 112, 5, 72, 3, 9, 1, 26, 28, 1, 148, 0];

const CONDITIONS: [&str; 9] =
    ["Fair", "Mostly Cloudy", "Cloudy", "Clear", "Partly Cloudy", "Light Rain", "Rain", "Fog", "Light Snow"];
const CONDITION_WEIGHTS: [u64; 9] = [340, 180, 150, 130, 90, 60, 20, 20, 10];
const WINDS: [&str; 12] = ["Calm", "N", "NNE", "E", "ESE", "S", "SSW", "WSW", "W", "WNW", "NW", "VAR"];

/// Writes `rows` rows to [`FILE_NAME`] in `run_dir`, replacing what was there only once the new file is whole.
///
/// # Errors
/// [`SourceError::Io`] with the path when the folder cannot be written or the disk is full.
pub fn generate(rows: u64, seed: u64, run_dir: &Path) -> Result<PathBuf, SourceError> {
    let path = run_dir.join(FILE_NAME);
    let write = || -> io::Result<()> {
        let mut temporary = tempfile::NamedTempFile::new_in(run_dir)?;
        write_rows(rows, seed, BufWriter::with_capacity(1 << 16, temporary.as_file_mut()))?;
        temporary.as_file().sync_all()?;
        // A temporary file is private; a run's files are for whoever may read its folder.
        #[cfg(unix)]
        temporary.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        temporary.persist(&path).map_err(|error| error.error)?;
        File::open(fs::canonicalize(run_dir)?)?.sync_all()
    };
    match write() {
        Ok(()) => Ok(path),
        Err(source) => Err(SourceError::Io { path, source }),
    }
}

fn write_rows(rows: u64, seed: u64, out: impl Write) -> io::Result<()> {
    let mut writer = Writer::from_writer(out);
    writer.write_record(COLUMNS)?;
    let counties = counties();
    // The r-th county has weight 1 / r: a few are hot, most are cold.
    let weights: Vec<u64> = (1..=counties.len() as u64).map(|rank| 1_000_000 / rank).collect();
    let mut row = Row::default();
    for k in 0..rows {
        let mut draw = Draw::at(seed, Purpose::Accident, k);
        let county = &counties[draw.weighted(&weights)];
        row.cells.clear();
        row.fill(k, county, &mut draw);
        writer.write_byte_record(&row.cells)?;
    }
    writer.flush()
}

/// One row under construction.
#[derive(Default)]
struct Row {
    cells: ByteRecord,
    scratch: Vec<u8>,
}

impl Row {
    fn fill(&mut self, k: u64, county: &County, draw: &mut Draw) {
        self.text(&format!("A-{}", k + 1));
        self.text(["Source1", "Source2", "Source3"][draw.weighted(&[550, 430, 20])]);
        self.text(["1", "2", "3", "4"][draw.weighted(&SEVERITY)]);
        let (start_us, shape) = self.times(draw);
        self.place(county, draw);
        self.weather(start_us, county, shape, draw);
        for per_mille in NEARBY {
            self.text(if draw.per_mille(per_mille) { "True" } else { "False" });
        }
        self.daylight(start_us, draw);
    }

    /// `Start_Time` and `End_Time`; a row keeps one shape for both. Gives the start.
    fn times(&mut self, draw: &mut Draw) -> (i64, Shape) {
        // The later of two draws: the data set grew over the years.
        let day = draw.below(DAYS).max(draw.below(DAYS)) as i64;
        let second_of_day = draw.weighted(&HOURS) as i64 * 3_600 + draw.below(3_600) as i64;
        let minutes = (0..3).map(|_| draw.below(346)).min().unwrap_or_default() as i64 + 15;
        let shape = [Shape::Plain, Shape::Nine, Shape::Six][draw.weighted(&[700, 200, 100])];
        let fraction_us = if shape == Shape::Six { draw.below(SECOND_US as u64) as i64 } else { 0 };
        let start_us = FIRST_DAY_US + day * DAY_US + second_of_day * SECOND_US + fraction_us;
        self.time(start_us, shape);
        self.time(start_us + minutes * 60 * SECOND_US, shape);
        (start_us, shape)
    }

    /// From `Start_Lat` to `Airport_Code`.
    fn place(&mut self, county: &County, draw: &mut Draw) {
        let lat = county.latitude_micro + draw.between(-150_000, 150_000);
        let lng = county.longitude_micro + draw.between(-150_000, 150_000);
        self.fixed(lat, 6);
        self.fixed(lng, 6);
        let has_end = draw.per_mille(560);
        let (north, east) = (draw.between(-20_000, 20_000), draw.between(-20_000, 20_000));
        self.fixed_unless(!has_end, lat + north, 6);
        self.fixed_unless(!has_end, lng + east, 6);
        // Roughly 69 miles a degree, so 69 thousandths of a mile in a thousandth of a degree.
        let thousandths = (north.abs() + east.abs()) * 69 / 1_000;
        self.fixed(if has_end { thousandths } else { 0 }, 3);
        let road = street(draw);
        let city = draw.pick(&county.cities.each_ref().map(String::as_str));
        self.text(&describe(&road, city, draw));
        self.text(&if draw.per_mille(200) { format!(" {road}") } else { road });
        self.text(city);
        self.text(&county.name);
        self.text(county.state);
        let zip = county.zip_first + draw.below(900);
        self.text(&match draw.weighted(&[690, 300, 10]) {
            0 => format!("{zip:05}"),
            1 => format!("{zip:05}-{:04}", draw.below(10_000)),
            _ => String::new(),
        });
        self.text("US");
        self.text(county.time_zone);
        self.text(&county.airport);
    }

    /// From `Weather_Timestamp` to `Weather_Condition`; one row in fifty has no weather at all.
    fn weather(&mut self, start_us: i64, county: &County, shape: Shape, draw: &mut Draw) {
        if draw.per_mille(20) {
            for _ in 0..10 {
                self.text("");
            }
            return;
        }
        // A station reports at 53 minutes past the hour; without a fraction, whatever the accident's times have.
        let hour_us = 3_600 * SECOND_US;
        let report_us = start_us - start_us.rem_euclid(hour_us) + 53 * 60 * SECOND_US;
        self.time(report_us, if shape == Shape::Six { Shape::Plain } else { shape });
        let month = Moment::from_us(start_us).map_or(1, |moment| moment.month) as usize;
        // Tenths of a degree Fahrenheit over a year at 40 degrees north, cooler to the north.
        let season = [330, 350, 430, 530, 630, 720, 770, 760, 690, 570, 460, 370][month - 1];
        let temperature = season + (40_000_000 - county.latitude_micro) / 70_000 + draw.between(-150, 150);
        let windless = draw.per_mille(120);
        let wind = if windless { 0 } else { draw.between(3, 25) * 10 };
        self.fixed(temperature, 1);
        self.fixed_unless(draw.per_mille(250), temperature - wind / 4, 1);
        self.fixed_unless(draw.per_mille(10), draw.between(15, 100) * 10, 1);
        self.fixed_unless(draw.per_mille(10), draw.between(2_880, 3_050), 2);
        let condition = draw.weighted(&CONDITION_WEIGHTS);
        let (clear, wet) = (condition < 5, (5..7).contains(&condition));
        self.fixed_unless(draw.per_mille(10), if clear { 100 } else { draw.between(5, 95) }, 1);
        self.text(if windless { WINDS[0] } else { draw.pick(&WINDS[1..]) });
        self.fixed_unless(draw.per_mille(60), wind, 1);
        self.fixed_unless(draw.per_mille(280), if wet { draw.between(1, 60) } else { 0 }, 2);
        self.text(if draw.per_mille(15) { "" } else { CONDITIONS[condition] });
    }

    /// The four columns from `Sunrise_Sunset` on: the sky stays light longer from one to the next.
    fn daylight(&mut self, start_us: i64, draw: &mut Draw) {
        let unknown = draw.per_mille(4);
        let minute = start_us.rem_euclid(DAY_US) / (60 * SECOND_US);
        let month = Moment::from_us(start_us).map_or(1, |moment| i64::from(moment.month));
        // Sunrise wanders between 5:30 in June and 7:30 in December, sunset the other way.
        let sunrise = 330 + 20 * (month - 6).abs();
        for earlier in [0, 30, 62, 96] {
            let day = (sunrise - earlier..1_500 - sunrise + earlier).contains(&minute);
            self.text(match (unknown, day) {
                (true, _) => "",
                (false, true) => "Day",
                (false, false) => "Night",
            });
        }
    }

    fn text(&mut self, cell: &str) {
        self.cells.push_field(cell.as_bytes());
    }

    fn fixed(&mut self, value: i64, decimals: u32) {
        self.scratch.clear();
        push_fixed(&mut self.scratch, value, decimals);
        self.cells.push_field(&self.scratch);
    }

    fn fixed_unless(&mut self, empty: bool, value: i64, decimals: u32) {
        if empty { self.text("") } else { self.fixed(value, decimals) }
    }

    fn time(&mut self, us: i64, shape: Shape) {
        self.scratch.clear();
        if let Some(moment) = Moment::from_us(us) {
            let micros = moment.micros;
            Moment { micros: 0, ..moment }.push_parts(&mut self.scratch, b' ', Fraction::WhenPresent);
            if shape != Shape::Plain {
                self.scratch.push(b'.');
                push_digits(&mut self.scratch, micros.into(), 6);
            }
            if shape == Shape::Nine {
                self.scratch.extend_from_slice(b"000");
            }
        }
        self.cells.push_field(&self.scratch);
    }
}

/// The decimals of a timestamp's seconds: none, six or nine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Six,
    Nine,
}

fn describe(road: &str, city: &str, draw: &mut Draw) -> String {
    let exit = draw.between(1, 120);
    match draw.weighted(&[300, 250, 200, 150, 80, 20]) {
        0 => format!("Accident on {road} at Exit {exit}."),
        1 => format!("Slow traffic on {road} near {city} due to accident."),
        2 => format!("Incident on {road} near Exit {exit}. Drive with caution."),
        3 => format!("Right lane blocked, expect delays on {road} at Exit {exit}."),
        4 => format!("Two lanes closed, shoulder open, due to accident on {road}, {city}."),
        _ => format!("Road closed at the sign \"{city}, next exit\" due to accident on {road}."),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rows(count: u64, seed: u64) -> Vec<csv::StringRecord> {
        let folder = tempfile::tempdir().unwrap();
        let path = generate(count, seed, folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        let mut reader = csv::Reader::from_path(path).unwrap();
        assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
        reader.records().map(Result::unwrap).collect()
    }

    fn column<'a>(rows: &'a [csv::StringRecord], name: &str) -> Vec<&'a str> {
        let at = COLUMNS.iter().position(|column| *column == name).unwrap();
        rows.iter().map(|row| &row[at]).collect()
    }

    fn share(cells: &[&str], test: impl Fn(&str) -> bool) -> f64 {
        cells.iter().filter(|cell| test(cell)).count() as f64 / cells.len() as f64
    }

    #[test]
    fn the_columns_are_those_of_the_newest_real_file() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/us-accidents/march23-10k.csv"));
        if !path.exists() {
            println!("skipped: {} is not on this machine", path.display());
            return;
        }
        assert_eq!(csv::Reader::from_path(path).unwrap().headers().unwrap(), &COLUMNS[..]);
    }

    #[test]
    fn ids_are_unique_and_numbered_from_one() {
        let rows = rows(300, 1);
        let expected: Vec<String> = (1..=300).map(|id| format!("A-{id}")).collect();
        assert_eq!(column(&rows, "ID"), expected);
    }

    #[test]
    fn severities_are_weighted_and_counties_are_skewed_as_one_over_rank() {
        let rows = rows(20_000, 42);
        let severity = column(&rows, "Severity");
        for (level, per_mille) in ["1", "2", "3", "4"].into_iter().zip(SEVERITY) {
            let found = share(&severity, |cell| cell == level);
            let expected = per_mille as f64 / 1_000.0;
            let standard_error = (expected * (1.0 - expected) / 20_000.0).sqrt();
            assert!((found - expected).abs() < 5.0 * standard_error, "{level}: {found} against {expected}");
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for county in column(&rows, "County") {
            *counts.entry(county).or_default() += 1;
        }
        let harmonic: f64 = (1..=places::COUNTIES).map(|rank| 1.0 / rank as f64).sum();
        let top = *counts.values().max().unwrap() as f64 / 20_000.0;
        assert!((top * harmonic - 1.0).abs() < 0.1, "{top} against {}", 1.0 / harmonic);
        assert_eq!(counts.len(), places::COUNTIES);
    }

    #[test]
    fn the_quirks_of_the_real_file_are_there() {
        let rows = rows(5_000, 42);
        let start = column(&rows, "Start_Time");
        for length in
            ["2016-01-01 00:00:00", "2016-01-01 00:00:00.000000", "2016-01-01 00:00:00.000000000"].map(str::len)
        {
            assert!(share(&start, |cell| cell.len() == length) > 0.05);
        }
        assert!(start.iter().all(|cell| ("2016".."2024").contains(&&cell[..4])));
        assert!(share(&column(&rows, "End_Lat"), str::is_empty) > 0.3);
        assert!(share(&column(&rows, "Description"), |cell| cell.contains(',')) > 0.1);
        assert!(share(&column(&rows, "Description"), |cell| cell.contains('"')) > 0.005);
        assert!(share(&column(&rows, "Street"), |cell| cell.starts_with(' ')) > 0.1);
        assert!(share(&column(&rows, "City"), |cell| !cell.is_ascii()) > 0.001);
    }

    #[test]
    fn an_accident_ends_after_it_starts() {
        let rows = rows(2_000, 3);
        for (start, end) in column(&rows, "Start_Time").iter().zip(column(&rows, "End_Time")) {
            assert!(*start < end, "{start} {end}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_environment_error_with_the_path() {
        let error = generate(1, 1, Path::new("/nonexistent/run")).unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/run/synthetic-accidents.csv: "), "{error}");
        assert!(!error.is_configuration());
    }
}
