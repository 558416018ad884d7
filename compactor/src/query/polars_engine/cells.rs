//! Polars' answer as cells.

use std::borrow::Cow;

use polars::prelude::{AnyValue, DataFrame, PolarsResult, TimeUnit};

use crate::query::answer::{Answer, AnswerHasher, Cell};

const US_PER_DAY: i64 = 86_400_000_000;

/// The fingerprint of a whole frame.
pub(super) fn answer(frame: &DataFrame) -> PolarsResult<Answer> {
    let mut hasher = AnswerHasher::new(frame.width());
    let columns = frame.columns();
    for row in 0..frame.height() {
        let cells = columns.iter().map(|column| column.get(row).map(cell)).collect::<PolarsResult<Vec<_>>>()?;
        hasher.add(cells);
    }
    Ok(hasher.finish())
}

fn cell(value: AnyValue<'_>) -> Cell<'_> {
    match value {
        AnyValue::Null => Cell::Null,
        AnyValue::Boolean(value) => Cell::Boolean(value),
        AnyValue::String(value) => Cell::Text(Cow::Borrowed(value)),
        AnyValue::Date(days) => Cell::Timestamp(i64::from(days).saturating_mul(US_PER_DAY)),
        AnyValue::Datetime(value, unit, _) | AnyValue::DatetimeOwned(value, unit, _) => {
            Cell::Timestamp(microseconds(value, unit))
        }
        value if value.dtype().is_integer() => value.extract::<i128>().map_or(Cell::Null, Cell::Integer),
        value if value.dtype().is_float() => value.extract::<f64>().map_or(Cell::Null, Cell::Float),
        other => Cell::Text(Cow::Owned(other.get_str().map_or_else(|| other.to_string(), str::to_owned))),
    }
}

const fn microseconds(value: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Nanoseconds => value.div_euclid(1000),
        TimeUnit::Microseconds => value,
        TimeUnit::Milliseconds => value.saturating_mul(1000),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, DataType, IntoColumn, NamedFrom, Series};

    use super::*;

    fn cells(column: &Column) -> Vec<String> {
        (0..column.len()).map(|row| cell(column.get(row).unwrap()).display()).collect()
    }

    #[test]
    fn every_type_that_queries_return_has_a_kind() {
        let numbers = Series::new("n".into(), [Some(7_u32), None]).into_column();
        assert_eq!(cells(&numbers), ["7", "null"]);
        let time = Series::new("t".into(), [1_735_689_600_000_i64])
            .cast(&DataType::Datetime(TimeUnit::Milliseconds, None))
            .unwrap()
            .into_column();
        assert_eq!(cells(&time), ["2025-01-01T00:00:00Z"]);
        let date = Series::new("d".into(), [20_089_i32]).cast(&DataType::Date).unwrap().into_column();
        assert_eq!(cells(&date), ["2025-01-01T00:00:00Z"]);
        let text = Series::new("s".into(), ["a", "é"]).into_column();
        assert_eq!(cells(&text), ["a", "é"]);
        let float = Series::new("f".into(), [10.5]).into_column();
        assert_eq!(cells(&float), ["10.5"]);
    }
}
