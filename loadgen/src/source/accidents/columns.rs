//! What the columns of the accident file hold, and how a cell becomes a JSON value.

use super::rejects::Reason;
use crate::source::{
    event_time::{Fraction, Moment},
    json::push_string,
};

/// Columns that hold a whole number.
const INTEGERS: [&str; 1] = ["Severity"];

/// Columns that hold a number, in any schema of the data set.
const NUMBERS: [&str; 14] = [
    "TMC",
    "Start_Lat",
    "Start_Lng",
    "End_Lat",
    "End_Lng",
    "Distance(mi)",
    "Number",
    "Temperature(F)",
    "Wind_Chill(F)",
    "Humidity(%)",
    "Pressure(in)",
    "Visibility(mi)",
    "Wind_Speed(mph)",
    "Precipitation(in)",
];

/// The points of interest: true when there is one nearby.
const BOOLEANS: [&str; 13] = [
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
];

/// Local times without an offset.
const TIMESTAMPS: [&str; 3] = ["Start_Time", "End_Time", "Weather_Timestamp"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Id,
    Integer,
    Number,
    Boolean,
    Timestamp,
    Text,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "ID" => Self::Id,
            _ if INTEGERS.contains(&name) => Self::Integer,
            _ if NUMBERS.contains(&name) => Self::Number,
            _ if BOOLEANS.contains(&name) => Self::Boolean,
            _ if TIMESTAMPS.contains(&name) => Self::Timestamp,
            _ => Self::Text,
        }
    }
}

/// One column of the file at hand.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    kind: Kind,
    /// What stands before the value in the JSON object: brace or comma, name, colon.
    lead: Vec<u8>,
}

impl Column {
    pub(super) fn new(name: &str, first: bool) -> Self {
        let mut lead = vec![if first { b'{' } else { b',' }];
        push_string(&mut lead, name);
        lead.push(b':');
        Self { name: name.to_owned(), kind: Kind::of(name), lead }
    }

    /// Appends the column's name and `cell` as a value of its type; an empty cell is null.
    pub(super) fn push(&self, cell: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
        out.extend_from_slice(&self.lead);
        // Text keeps its spaces; around anything else they say nothing, the no-break space included.
        let trimmed = cell.trim();
        match self.kind {
            Kind::Id if trimmed.is_empty() => return Err(Reason::EmptyId),
            Kind::Id => push_string(out, trimmed),
            Kind::Text if cell.is_empty() => out.extend_from_slice(b"null"),
            Kind::Text => push_string(out, cell),
            _ if trimmed.is_empty() => out.extend_from_slice(b"null"),
            Kind::Integer => push_integer(trimmed, out)?,
            Kind::Number => push_number(trimmed, out)?,
            Kind::Boolean => push_boolean(trimmed, out)?,
            Kind::Timestamp => push_timestamp(trimmed, out)?,
        }
        Ok(())
    }
}

/// `3`, or `3.0` as a tool that only knows floating point writes it.
fn push_integer(cell: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    let whole = cell.split_once('.').map_or(cell, |(whole, zeros)| {
        if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') { whole } else { cell }
    });
    let value: i64 = whole.parse().map_err(|_| Reason::BadInteger)?;
    out.extend_from_slice(value.to_string().as_bytes());
    Ok(())
}

/// As written when it is a JSON number already, so that no digit changes; otherwise the same value in JSON's form.
fn push_number(cell: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    if is_plain_decimal(cell.as_bytes()) {
        out.extend_from_slice(cell.as_bytes());
        return Ok(());
    }
    let value: f64 = cell.parse().ok().filter(|value: &f64| value.is_finite()).ok_or(Reason::BadNumber)?;
    out.extend_from_slice(value.to_string().as_bytes());
    Ok(())
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?`, short enough to be finite in 64-bit floating point.
fn is_plain_decimal(cell: &[u8]) -> bool {
    let unsigned = cell.strip_prefix(b"-").unwrap_or(cell);
    let point = unsigned.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = unsigned.split_at(point.unwrap_or(unsigned.len()));
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    cell.len() < 300
        && digits(whole)
        && (whole.len() == 1 || whole[0] != b'0')
        && (fraction.is_empty() || digits(&fraction[1..]))
}

fn push_boolean(cell: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    let value = match cell {
        "1" => true,
        "0" => false,
        _ if cell.eq_ignore_ascii_case("true") => true,
        _ if cell.eq_ignore_ascii_case("false") => false,
        _ => return Err(Reason::BadBoolean),
    };
    out.extend_from_slice(if value { b"true" } else { b"false" });
    Ok(())
}

fn push_timestamp(cell: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    let moment = Moment::parse(cell).ok_or(Reason::BadTimestamp)?;
    out.push(b'"');
    moment.push_iso(out, Fraction::WhenPresent);
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(column: &str, cell: &str) -> Result<String, Reason> {
        let mut out = Vec::new();
        Column::new(column, true).push(cell, &mut out)?;
        let json = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&format!("{json}}}")).unwrap();
        Ok(json.split_once(':').unwrap().1.to_owned())
    }

    #[test]
    fn cells_become_values_of_their_column() {
        for (column, cell, expected) in [
            ("ID", "A-1", "\"A-1\""),
            ("Severity", "3", "3"),
            ("Severity", " 2.0", "2"),
            ("Severity", "", "null"),
            ("Start_Lat", "38.21920700000002", "38.21920700000002"),
            ("Number", "5.0", "5.0"),
            ("TMC", "201", "201"),
            ("Temperature(F)", "-13", "-13"),
            ("Temperature(F)", "\u{a0}", "null"),
            ("Precipitation(in)", ".02", "0.02"),
            ("Precipitation(in)", "1e-2", "0.01"),
            ("Humidity(%)", "007", "7"),
            ("Bump", "TRUE", "true"),
            ("Bump", "False", "false"),
            ("Stop", "1", "true"),
            ("Stop", "0", "false"),
            ("Start_Time", "2/8/2016 5:46", "\"2016-02-08T05:46:00\""),
            ("Weather_Timestamp", "", "null"),
            ("Street", " I-90", "\" I-90\""),
            ("Street", " ", "\" \""),
            ("Street", "", "null"),
            ("Zipcode", "02865", "\"02865\""),
            ("Some_New_Column", "7", "\"7\""),
        ] {
            assert_eq!(value(column, cell).as_deref(), Ok(expected), "{column} {cell:?}");
        }
    }

    #[test]
    fn cells_that_are_not_of_their_column_are_refused_with_the_reason() {
        for (column, cell, reason) in [
            ("ID", " ", Reason::EmptyId),
            ("Severity", "high", Reason::BadInteger),
            ("Severity", "2.5", Reason::BadInteger),
            ("Severity", "2.", Reason::BadInteger),
            ("Start_Lat", "39,86", Reason::BadNumber),
            ("Start_Lat", "NaN", Reason::BadNumber),
            ("Start_Lat", "1e999", Reason::BadNumber),
            ("Bump", "yes", Reason::BadBoolean),
            ("End_Time", "tomorrow", Reason::BadTimestamp),
        ] {
            assert_eq!(value(column, cell), Err(reason), "{column} {cell:?}");
        }
    }

    proptest! {
        #[test]
        fn a_number_keeps_its_value(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            for text in [format!("{number}"), format!("{number:e}")] {
                prop_assert_eq!(value("Start_Lat", &text).unwrap().parse::<f64>().unwrap(), number);
            }
        }

        #[test]
        fn any_text_is_kept_as_it_is(text in ".+") {
            prop_assert_eq!(serde_json::from_str::<String>(&value("City", &text).unwrap()).unwrap(), text);
        }
    }
}
