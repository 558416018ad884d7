//! Readings of a set of sensors that take turns, as the sensor labs have them.
//!
//! Payload k is a pure function of seed and k: sensor k mod n in round k div n, each value uniform over its range.

use millrace_scenarios::Source;

use super::{
    Payload, PayloadSource, SourceError,
    draw::{Draw, Purpose},
    event_time::{Fraction, Moment, parse_epoch, round_us},
    json::Object,
};

/// Name and range of each value, in hundredths: degrees Celsius, per cent of relative humidity, hectopascal.
const VALUES: [(&str, i64, i64); 3] =
    [("temperature", 1_000, 4_000), ("humidity", 3_000, 9_000), ("pressure", 98_000, 103_000)];

/// The endless sequence of readings.
#[derive(Debug)]
pub(super) struct Sensors {
    seed: u64,
    sensors: u64,
    epoch_us: i64,
    interval_us: u64,
    next: u64,
}

impl Sensors {
    pub(super) fn open(spec: &Source, seed: u64) -> Result<Self, SourceError> {
        if spec.sensors == 0 {
            return Err(SourceError::NoSensors);
        }
        Ok(Self {
            seed,
            sensors: spec.sensors.into(),
            epoch_us: parse_epoch(&spec.epoch)?,
            interval_us: spec.interval.as_us(),
            next: 0,
        })
    }

    fn taken_us(&self, k: u64) -> Option<i64> {
        round_us(self.epoch_us, self.interval_us, k / self.sensors)
    }

    fn reading(&self, k: u64) -> Result<Vec<u8>, SourceError> {
        let taken = self.taken_us(k).and_then(Moment::from_us).ok_or(SourceError::EventTime { sequence: k })?;
        let mut draw = Draw::at(self.seed, Purpose::Sensor, k);
        let mut json = Object::new().string("sensor_id", &format!("sensor-{:03}", k % self.sensors + 1)).utc(
            "timestamp",
            &taken,
            Fraction::WhenPresent,
        );
        for (name, low, high) in VALUES {
            json = json.fixed(name, draw.between(low, high), 2);
        }
        Ok(json.finish())
    }
}

impl PayloadSource for Sensors {
    fn next(&mut self) -> Result<Option<Payload>, SourceError> {
        let (json, event_us) = (self.reading(self.next)?, self.taken_us(self.next));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::{field, spec};

    fn sensors(json: &str, seed: u64) -> Sensors {
        Sensors::open(&spec(json), seed).unwrap()
    }

    fn value(json: &[u8], name: &str) -> f64 {
        field(json, name).unwrap().parse().unwrap()
    }

    #[test]
    fn sensors_take_turns_and_a_round_shares_its_time() {
        let source =
            sensors(r#"{"kind":"sensors","sensors":2,"interval":"90s","epoch":"2025-01-01T01:00:00+01:00"}"#, 1);
        let found: Vec<(String, String)> = (0..4)
            .map(|k| source.reading(k).unwrap())
            .map(|json| (field(&json, "sensor_id").unwrap().into(), field(&json, "timestamp").unwrap().into()))
            .collect();
        let expected = [
            ("sensor-001", "2025-01-01T00:00:00Z"),
            ("sensor-002", "2025-01-01T00:00:00Z"),
            ("sensor-001", "2025-01-01T00:01:30Z"),
            ("sensor-002", "2025-01-01T00:01:30Z"),
        ];
        assert_eq!(found, expected.map(|(id, time)| (id.to_owned(), time.to_owned())));
    }

    #[test]
    fn means_and_variances_are_those_of_a_uniform_distribution() {
        const N: u64 = 20_000;
        let source = sensors(r#"{"kind":"sensors"}"#, 42);
        let readings: Vec<Vec<u8>> = (0..N).map(|k| source.reading(k).unwrap()).collect();
        for (name, low, high) in VALUES {
            let values: Vec<f64> = readings.iter().map(|json| value(json, name)).collect();
            let mean = values.iter().sum::<f64>() / N as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (N - 1) as f64;
            // Uniform over n equal steps of 0.01: variance (n^2 - 1) / 12 steps squared.
            let steps = (high - low + 1) as f64;
            let expected = (steps * steps - 1.0) / 12.0 * 1e-4;
            let standard_error = (expected / N as f64).sqrt();
            assert!((mean - (low + high) as f64 / 200.0).abs() < 4.0 * standard_error, "{name}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.03, "{name}: variance {variance}, expected {expected}");
        }
    }

    #[test]
    fn an_event_time_past_the_year_9999_is_an_error_with_the_record() {
        let mut source = sensors(r#"{"kind":"sensors","sensors":1,"interval":"1000d"}"#, 1);
        source.next = 3_000;
        let error = source.next().unwrap_err();
        assert!(matches!(error, SourceError::EventTime { sequence: 3_000 }) && error.is_configuration(), "{error}");
    }

    proptest! {
        #[test]
        fn every_reading_is_within_its_range_with_two_decimals(seed: u64, k in 0_u64..10_000_000) {
            let json = sensors(r#"{"kind":"sensors"}"#, seed).reading(k).unwrap();
            for (name, low, high) in VALUES {
                let text = field(&json, name).unwrap();
                prop_assert_eq!(text.split_once('.').unwrap().1.len(), 2);
                let value = value(&json, name);
                prop_assert!((low as f64 / 100.0..=high as f64 / 100.0).contains(&value), "{} {}", name, value);
            }
        }

        #[test]
        fn a_reading_does_not_depend_on_those_before_it(seed: u64, k in 0_u64..50) {
            let mut walked = sensors(r#"{"kind":"sensors"}"#, seed);
            let last = (0..=k).map(|_| walked.next().unwrap().unwrap().json).last();
            prop_assert_eq!(last, Some(sensors(r#"{"kind":"sensors"}"#, seed).reading(k).unwrap()));
        }
    }
}
