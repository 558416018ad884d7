//! From a decoded batch to the table's columns (all but the aggregates, which need the whole group).

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder},
    datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike, Timelike};
use millrace_scenarios::TimePart;

use super::TableSchema;
use crate::{dedupe::origin, error::CompactError};

impl TableSchema {
    /// What its data files hold: the table's columns, and where rows come from if that decides between them.
    #[must_use]
    pub fn arrow_files(&self) -> SchemaRef {
        if self.keeps_origins() { origin::with_columns(&self.table) } else { self.arrow_table() }
    }

    /// Whether its data files say where rows come from.
    pub(crate) const fn keeps_origins(&self) -> bool {
        match &self.rule {
            // Rows that are the same in all columns need not be told apart.
            Some(rule) => !rule.key.is_empty(),
            None => false,
        }
    }

    /// Adds the derived columns. An empty text in a partition column becomes null, because Delta's log writes both the
    /// same way and a reader gets null back: better said here, before deduplication, than found out later.
    ///
    /// # Errors
    /// [`CompactError::Arrow`] when the batch has not the decoded columns.
    pub fn extend(&self, decoded: &RecordBatch) -> Result<RecordBatch, CompactError> {
        let mut columns = Vec::with_capacity(decoded.num_columns() + self.derive.len());
        for (field, column) in self.decoded.fields().iter().zip(decoded.columns()) {
            let partition = *field.data_type() == DataType::Utf8 && self.partition_by.contains(field.name());
            columns.push(if partition { empty_as_null(column) } else { Arc::clone(column) });
        }
        for derive in &self.derive {
            let from = self.decoded.index_of(&derive.from)?;
            columns.push(part_of(decoded.column(from), derive.part));
        }
        let fields: Vec<_> = self.table.fields().iter().take(columns.len()).cloned().collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

fn empty_as_null(column: &ArrayRef) -> ArrayRef {
    let text = column.as_string::<i32>();
    if text.iter().all(|value| value != Some("")) {
        return Arc::clone(column);
    }
    Arc::new(text.iter().map(|value| value.filter(|v| !v.is_empty())).collect::<StringArray>())
}

/// Which part of each timestamp, as text that sorts; null where there is no time.
fn part_of(column: &ArrayRef, part: TimePart) -> ArrayRef {
    const HOUR_US: i64 = 3_600_000_000;
    let times = column.as_primitive::<TimestampMicrosecondType>();
    let mut texts = StringBuilder::with_capacity(times.len(), times.len() * 13);
    let (mut last_hour, mut text) = (None, String::new());
    for index in 0..times.len() {
        if times.is_null(index) {
            texts.append_null();
            continue;
        }
        // Neighbours mostly share their hour, so its text is made once.
        let hour = times.value(index).div_euclid(HOUR_US);
        if last_hour != Some(hour) {
            text = hour_text(hour * HOUR_US, part).unwrap_or_default();
            last_hour = Some(hour);
        }
        if text.is_empty() { texts.append_null() } else { texts.append_value(&text) }
    }
    Arc::new(texts.finish())
}

fn hour_text(us: i64, part: TimePart) -> Option<String> {
    let time = DateTime::from_timestamp_micros(us)?;
    let (year, month, day, hour) = (time.year(), time.month(), time.day(), time.hour());
    Some(match part {
        TimePart::Year => format!("{year:04}"),
        TimePart::Month => format!("{year:04}-{month:02}"),
        TimePart::Date => format!("{year:04}-{month:02}-{day:02}"),
        TimePart::Hour => format!("{year:04}-{month:02}-{day:02}-{hour:02}"),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;

    use super::*;

    fn texts(times: Vec<Option<i64>>, part: TimePart) -> Vec<Option<String>> {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
        part_of(&column, part).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
    }

    #[test]
    fn parts_are_in_utc_and_hold_before_1970() {
        let last_of_1969 = Some(-1);
        let leap = Some(1_709_164_800_000_000 + 23 * 3_600_000_000 + 3_599_999_999);
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(
            texts(vec![last_of_1969, None, leap], TimePart::Hour),
            [text("1969-12-31-23"), None, text("2024-02-29-23")]
        );
        assert_eq!(texts(vec![leap], TimePart::Date), [text("2024-02-29")]);
        assert_eq!(texts(vec![leap], TimePart::Month), [text("2024-02")]);
        assert_eq!(texts(vec![leap, last_of_1969], TimePart::Year), [text("2024"), text("1969")]);
    }

    #[test]
    fn empty_text_becomes_null_and_other_text_stays() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some(""), Some(" "), None, Some("a")]));
        let got: Vec<_> = empty_as_null(&column).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect();
        assert_eq!(got, [None, Some(" ".to_owned()), None, Some("a".to_owned())]);
    }
}
