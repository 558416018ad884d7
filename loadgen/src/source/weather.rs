//! A weather feed: one reading per city and poll, from a model or from the live Open-Meteo API.
//!
//! The feed is polled more often than the station measures, so most polls repeat the last measurement: the case a
//! deduplicating table is for. `measurement_time` stands on the quarter hour, `collection_time` is when it was asked.

mod model;
mod open_meteo;

pub(super) use model::Model;
pub(super) use open_meteo::Live;

/// A city and where it is, in degrees as they are written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct City {
    pub(super) name: &'static str,
    pub(super) latitude: &'static str,
    pub(super) longitude: &'static str,
}

/// The cities of the feed, in the order they are polled.
pub(super) const CITIES: [City; 3] = [
    City { name: "London", latitude: "51.5074", longitude: "-0.1278" },
    City { name: "Manchester", latitude: "53.4808", longitude: "-2.2426" },
    City { name: "Edinburgh", latitude: "55.9533", longitude: "-3.1883" },
];
