//! The offline weather: a pure function of seed, city and quarter hour.
//!
//! Temperature = yearly mean + season + time of day + the weather of the day + a little noise per quarter hour. Only
//! additions, multiplications and divisions are used, which IEEE 754 defines to the bit, so every machine agrees; the
//! library's `cos` would not promise that.

use millrace_scenarios::Source;

use super::{CITIES, City};
use crate::source::{
    Payload, PayloadSource, SourceError,
    draw::{Draw, Purpose},
    event_time::{Fraction, Moment, parse_epoch, round_us},
    json::Object,
};

const QUARTER_HOUR_US: i64 = 900_000_000;
const DAY_US: i64 = 86_400_000_000;
const YEAR_DAYS: f64 = 365.2425;

/// Days from 1970-01-01 to the warmest day of a year, mid-July.
const WARMEST_DAY: f64 = 196.0;
/// The warmest time of day, 15:00, in days.
const WARMEST_TIME: f64 = 15.0 / 24.0;

/// Tenths of a degree: yearly mean, half the yearly range, half the daily range; rounded from published climate normals.
const CLIMATE: [(f64, f64, f64); CITIES.len()] = [(115.0, 68.0, 35.0), (102.0, 62.0, 30.0), (94.0, 58.0, 28.0)];

/// Tenths of a degree that the weather of a day may be off the season, and a quarter hour off the day.
const DAY_RANGE: i64 = 60;
const QUARTER_RANGE: i64 = 3;

/// The endless sequence of modelled readings.
#[derive(Debug)]
pub(in crate::source) struct Model {
    seed: u64,
    epoch_us: i64,
    interval_us: u64,
    next: u64,
}

impl Model {
    pub(in crate::source) fn open(spec: &Source, seed: u64) -> Result<Self, SourceError> {
        Ok(Self { seed, epoch_us: parse_epoch(&spec.epoch)?, interval_us: spec.interval.as_us(), next: 0 })
    }

    /// When reading `k` is collected.
    fn collected_us(&self, k: u64) -> Option<i64> {
        let jitter_us = Draw::at(self.seed, Purpose::WeatherJitter, k).below(self.interval_us);
        let polled_us = round_us(self.epoch_us, self.interval_us, k / CITIES.len() as u64)?;
        polled_us.checked_add_unsigned(jitter_us)
    }

    fn reading(&self, k: u64) -> Result<Vec<u8>, SourceError> {
        let index = (k % CITIES.len() as u64) as usize;
        let late = || SourceError::EventTime { sequence: k };
        let collected_us = self.collected_us(k).ok_or_else(late)?;
        let quarter = collected_us.div_euclid(QUARTER_HOUR_US);
        let collected = Moment::from_us(collected_us).ok_or_else(late)?;
        let measured = Moment::from_us(quarter * QUARTER_HOUR_US).ok_or_else(late)?;
        let City { name, latitude, longitude } = CITIES[index];
        Ok(Object::new()
            .string("city", name)
            .verbatim("latitude", latitude)
            .verbatim("longitude", longitude)
            .fixed("temperature", temperature_tenths(self.seed, index, quarter), 1)
            .minute("measurement_time", &measured)
            .utc("collection_time", &collected, Fraction::Always)
            .string("source", "open-meteo-model")
            .finish())
    }
}

impl PayloadSource for Model {
    fn next(&mut self) -> Result<Option<Payload>, SourceError> {
        let (json, event_us) = (self.reading(self.next)?, self.collected_us(self.next));
        self.next += 1;
        Ok(Some(Payload { json, txn_timestamp: false, event_us }))
    }

    fn skip(&mut self, count: u64) -> Result<(), SourceError> {
        self.next = self.next.saturating_add(count);
        Ok(())
    }

    fn rejected_rows(&self) -> u64 {
        0
    }

    fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// The temperature of a city in a quarter hour since 1970, in tenths of a degree Celsius.
fn temperature_tenths(seed: u64, city: usize, quarter: i64) -> i64 {
    let (mean, season, time_of_day) = CLIMATE[city];
    let days = quarter as f64 / (DAY_US / QUARTER_HOUR_US) as f64;
    let today = days.floor();
    let (morning, evening) = (day_weather(seed, city, today as i64), day_weather(seed, city, today as i64 + 1));
    let weather = morning + (evening - morning) * (days - today);
    let noise = place(seed, Purpose::WeatherQuarter, city, quarter).between(-QUARTER_RANGE, QUARTER_RANGE) as f64;
    let level = mean + season * cosine((days - WARMEST_DAY) / YEAR_DAYS) + time_of_day * cosine(days - WARMEST_TIME);
    (level + weather + noise).round() as i64
}

/// How far a day begins off the season: the mean of three uniform draws, so that great deviations are rare.
fn day_weather(seed: u64, city: usize, day: i64) -> f64 {
    let mut draw = place(seed, Purpose::WeatherDay, city, day);
    (0..3).map(|_| draw.between(-DAY_RANGE, DAY_RANGE) as f64).sum::<f64>() / 3.0
}

fn place(seed: u64, purpose: Purpose, city: usize, time: i64) -> Draw {
    Draw::at(seed, purpose, (time as u64).wrapping_mul(CITIES.len() as u64).wrapping_add(city as u64))
}

/// cos(2 pi turns) to within 0.002, by Bhaskara I's rational approximation of the sine (Mahabhaskariya, 629).
fn cosine(turns: f64) -> f64 {
    let halves = (turns + 0.25).rem_euclid(1.0) * 2.0;
    let (sign, part) = if halves < 1.0 { (1.0, halves) } else { (-1.0, halves - 1.0) };
    let product = part * (1.0 - part);
    sign * 16.0 * product / (5.0 - 4.0 * product)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::source::{field, spec};

    fn model(json: &str, seed: u64) -> Model {
        Model::open(&spec(json), seed).unwrap()
    }

    fn text(json: &[u8], name: &str) -> String {
        field(json, name).unwrap().into_owned()
    }

    /// Quarter hours since 1970 of a time.
    fn quarter(time: &str) -> i64 {
        parse_epoch(time).unwrap() / QUARTER_HOUR_US
    }

    #[test]
    fn the_approximated_cosine_is_within_two_thousandths() {
        for step in -4_000..4_000 {
            let turns = f64::from(step) / 1_000.0;
            let error = (cosine(turns) - (turns * std::f64::consts::TAU).cos()).abs();
            assert!(error < 0.002, "{turns}: {error}");
        }
    }

    #[test]
    fn a_reading_has_its_fields_in_order() {
        let json = model(r#"{"kind":"weather"}"#, 42).reading(2).unwrap();
        let text = String::from_utf8(json.clone()).unwrap();
        let order = ["city", "latitude", "longitude", "temperature", "measurement_time", "collection_time", "source"];
        let places: Vec<usize> = order.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
        assert!(
            text.starts_with(r#"{"city":"Edinburgh","latitude":55.9533,"longitude":-3.1883,"temperature":"#),
            "{text}"
        );
        assert!(text.ends_with(r#","source":"open-meteo-model"}"#), "{text}");
        assert_eq!(field(&json, "measurement_time").as_deref(), Some("2025-01-01T00:00"));
        assert_eq!(field(&json, "collection_time").unwrap().len(), "2025-01-01T00:00:00.000000Z".len());
    }

    #[test]
    fn polls_of_one_quarter_hour_repeat_one_measurement() {
        let source = model(r#"{"kind":"weather","interval":"10s"}"#, 42);
        let mut measured: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for k in 0..3 * 360 {
            let json = source.reading(k).unwrap();
            let key = (text(&json, "city"), text(&json, "measurement_time"));
            measured.entry(key).or_default().push(text(&json, "temperature"));
        }
        assert_eq!(measured.len(), 3 * 4);
        assert!(measured.values().all(|found| found.len() == 90 && found.iter().all(|t| *t == found[0])));
    }

    #[test]
    fn summers_are_warmer_than_winters_afternoons_than_nights_and_london_than_edinburgh() {
        let mean = |city, from: &str, quarters: i64, every: usize| {
            let start = quarter(from);
            let found: Vec<i64> =
                (start..start + quarters).step_by(every).map(|at| temperature_tenths(42, city, at)).collect();
            found.iter().sum::<i64>() as f64 / found.len() as f64
        };
        let month = 30 * 96;
        let (july, january) = (mean(0, "2025-07-01T00:00:00Z", month, 1), mean(0, "2025-01-01T00:00:00Z", month, 1));
        // Twice the seasonal amplitude, less the flat top of the wave, give or take the weather of thirty days.
        assert!((115.0..145.0).contains(&(july - january)), "{july} {january}");
        let (noon, night) =
            (mean(0, "2025-01-01T15:00:00Z", 365 * 96, 96), mean(0, "2025-01-01T03:00:00Z", 365 * 96, 96));
        assert!((60.0..80.0).contains(&(noon - night)), "{noon} {night}");
        let year = 365 * 96;
        let (london, edinburgh) = (mean(0, "2025-01-01T00:00:00Z", year, 1), mean(2, "2025-01-01T00:00:00Z", year, 1));
        assert!((london - 115.0).abs() < 5.0, "{london}");
        assert!((10.0..32.0).contains(&(london - edinburgh)), "{london} {edinburgh}");
    }

    #[test]
    fn an_interval_of_nothing_and_a_time_past_the_calendar_are_met_without_a_panic() {
        let json = model(r#"{"kind":"weather","interval":"0s"}"#, 1).reading(9).unwrap();
        assert_eq!(field(&json, "collection_time").as_deref(), Some("2025-01-01T00:00:00.000000Z"));
        let late = model(r#"{"kind":"weather","interval":"1000d"}"#, 1);
        assert!(matches!(late.reading(u64::MAX), Err(SourceError::EventTime { sequence: u64::MAX })));
    }

    proptest! {
        #[test]
        fn collection_follows_its_poll_within_the_interval(seed: u64, k in 0_u64..1_000_000, interval in 1_u64..100_000) {
            let source = model(&format!(r#"{{"kind":"weather","interval":"{interval}ms"}}"#), seed);
            let json = source.reading(k).unwrap();
            let polled = source.epoch_us + (k / 3 * interval * 1_000) as i64;
            let collected = parse_epoch(&text(&json, "collection_time")).unwrap();
            prop_assert!((polled..polled + (interval * 1_000) as i64).contains(&collected));
            let measured = parse_epoch(&format!("{}:00Z", text(&json, "measurement_time"))).unwrap();
            prop_assert_eq!(measured, collected.div_euclid(QUARTER_HOUR_US) * QUARTER_HOUR_US);
        }

        #[test]
        fn temperatures_stay_on_earth(seed: u64, city in 0_usize..3, at in -1_000_000_i64..10_000_000) {
            prop_assert!((-120..=310).contains(&temperature_tenths(seed, city, at)));
        }
    }
}
