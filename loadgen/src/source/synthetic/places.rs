//! Invented counties, cities and streets in real states.

use crate::source::draw::Draw;

/// How many counties there are.
pub(super) const COUNTIES: usize = 100;

/// Code, rough centre in degrees, time zone, first zip code.
const STATES: [(&str, i64, i64, &str, u64); 20] = [
    ("CA", 37, -120, "US/Pacific", 93_000),
    ("FL", 28, -82, "US/Eastern", 33_000),
    ("TX", 31, -98, "US/Central", 77_000),
    ("SC", 34, -81, "US/Eastern", 29_000),
    ("NY", 42, -75, "US/Eastern", 12_000),
    ("NC", 35, -79, "US/Eastern", 27_000),
    ("VA", 37, -78, "US/Eastern", 23_000),
    ("PA", 40, -77, "US/Eastern", 17_000),
    ("MN", 45, -94, "US/Central", 55_000),
    ("OR", 44, -121, "US/Pacific", 97_000),
    ("AZ", 34, -112, "US/Mountain", 85_000),
    ("GA", 33, -84, "US/Eastern", 30_000),
    ("IL", 40, -89, "US/Central", 61_000),
    ("TN", 36, -86, "US/Central", 37_000),
    ("MI", 43, -84, "US/Eastern", 48_000),
    ("LA", 31, -92, "US/Central", 70_000),
    ("NJ", 40, -74, "US/Eastern", 7_000),
    ("OH", 40, -83, "US/Eastern", 44_000),
    ("WA", 47, -121, "US/Pacific", 98_000),
    ("CO", 39, -105, "US/Mountain", 80_000),
];

const STEMS: [&str; 25] = [
    "Alder", "Bram", "Cold", "Dun", "Elk", "Fern", "Gray", "Hollow", "Iron", "Juniper", "Kestrel", "Larch", "Mallow",
    "Nettle", "Otter", "Pine", "Quarry", "Raven", "Stone", "Thorn", "Umber", "Vale", "Willow", "Yarrow", "Zephyr",
];
const COUNTY_ENDS: [&str; 4] = ["mere", "wick", "hollow", "garth"];
const CITY_ENDS: [&str; 5] = [" Springs", " Heights", "ton", "dale", " Cañada"];
const STREET_ENDS: [&str; 5] = ["St", "Ave", "Blvd", "Rd", "Ln"];
const HEADINGS: [&str; 4] = ["N", "E", "S", "W"];

/// A county, its cities and its weather station.
pub(super) struct County {
    pub(super) name: String,
    pub(super) cities: [String; 3],
    pub(super) state: &'static str,
    pub(super) time_zone: &'static str,
    pub(super) latitude_micro: i64,
    pub(super) longitude_micro: i64,
    pub(super) zip_first: u64,
    pub(super) airport: String,
}

/// The counties, the busiest first. They are the same for every seed.
pub(super) fn counties() -> Vec<County> {
    (0..COUNTIES).map(county).collect()
}

fn county(rank: usize) -> County {
    let (state, latitude, longitude, time_zone, zip_first) = STATES[rank % STATES.len()];
    let nth_of_state = (rank / STATES.len()) as i64;
    let letter = |n: usize| char::from(b'A' + (n % 26) as u8);
    County {
        name: format!("{}{}", STEMS[rank % STEMS.len()], COUNTY_ENDS[rank / STEMS.len()]),
        cities: std::array::from_fn(|city| {
            let stem = STEMS[(rank * 7 + city * 11 + 3) % STEMS.len()];
            format!("{stem}{}", CITY_ENDS[(rank + city) % CITY_ENDS.len()])
        }),
        state,
        time_zone,
        latitude_micro: latitude * 1_000_000 + (nth_of_state - 2) * 400_000,
        longitude_micro: longitude * 1_000_000 + (nth_of_state * 3 % 5 - 2) * 400_000,
        zip_first,
        airport: format!("K{}{}{}", letter(rank / 26 + 3), letter(rank), letter(rank * 5 + 7)),
    }
}

/// A motorway or a street.
pub(super) fn street(draw: &mut Draw) -> String {
    if draw.per_mille(550) {
        format!("I-{} {}", draw.between(2, 98), draw.pick(&HEADINGS))
    } else {
        format!("{} {}", draw.pick(&STEMS), draw.pick(&STREET_ENDS))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_counties_share_a_name_or_an_airport() {
        let counties = counties();
        assert_eq!(counties.iter().map(|c| &c.name).collect::<BTreeSet<_>>().len(), COUNTIES);
        assert_eq!(counties.iter().map(|c| &c.airport).collect::<BTreeSet<_>>().len(), COUNTIES);
    }
}
