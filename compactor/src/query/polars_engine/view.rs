//! The table `records` over the raw lake, as Polars expressions: the same rule as DataFusion's statement, written a
//! second time for a second engine.

use arrow::datatypes::DataType as ArrowType;
use millrace_scenarios::{Aggregate, AggregateFunction, ColumnType, Dedup, Keep};
use polars::prelude::{
    DataType, Expr, LazyFrame, NULL, PlSmallStr, SortMultipleOptions, TimeUnit, TimeZone, col, len, lit, when,
};

use crate::{TableSchema, query::datafusion_engine::time_format};

/// Column of the raw scan: the object a row comes from.
pub(super) const OBJECT: &str = "__object";
/// Column of the raw scan: where in the object the row starts, bytes.
pub(super) const OFFSET: &str = "__offset";

/// How Polars holds a column that is in Arrow's type in the table. The table has five types.
pub(super) fn data_type(column: &ArrowType) -> DataType {
    match column {
        ArrowType::Int64 => DataType::Int64,
        ArrowType::Float64 => DataType::Float64,
        ArrowType::Boolean => DataType::Boolean,
        ArrowType::Timestamp(..) => timestamp_type(),
        _ => DataType::String,
    }
}

/// How Polars holds a timestamp.
pub(super) fn timestamp_type() -> DataType {
    DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC))
}

/// The rows of the table, from the rows of the lake.
pub(super) fn records(raw: LazyFrame, schema: &TableSchema) -> LazyFrame {
    let derived: Vec<_> = schema
        .derive()
        .iter()
        .map(|derive| name(&derive.from).dt().to_string(time_format(derive.part)).alias(derive.name.as_str()))
        .collect();
    // Delta reads an empty partition value back as null, so the table has none; neither may the view.
    let no_empty: Vec<_> = schema
        .columns()
        .iter()
        .filter(|column| column.kind == ColumnType::String && schema.partition_by().contains(&column.name))
        .map(|column| {
            let text = || name(&column.name);
            when(text().eq(lit(""))).then(lit(NULL)).otherwise(text()).alias(column.name.as_str())
        })
        .collect();
    let raw = if no_empty.is_empty() { raw } else { raw.with_columns(no_empty) };
    let typed = if derived.is_empty() { raw } else { raw.with_columns(derived) };
    let table = schema.arrow_table();
    let output: Vec<_> = table.fields().iter().map(|field| name(field.name())).collect();
    let Some(dedup) = schema.dedup() else { return typed.select(output) };
    let stored = schema.columns().iter().map(|column| &column.name).chain(schema.derive().iter().map(|d| &d.name));
    let first = stored.filter(|column| !dedup.key.contains(column)).map(|column| name(column).first());
    // Within a group, Polars keeps the order of the rows that come in.
    typed
        .sort_by_exprs([name(&dedup.order_by), col(OBJECT), col(OFFSET)], order(dedup))
        .group_by(dedup.key.iter().map(|key| name(key)).collect::<Vec<_>>())
        .agg(first.chain(dedup.aggregate.iter().map(aggregate)).collect::<Vec<_>>())
        .select(output)
}

/// A column by its exact name: `col` would read `^...$` and `*` as patterns.
fn name(column: &str) -> Expr {
    Expr::Column(PlSmallStr::from_str(column))
}

/// A row without a value to order by never wins over one that has it.
fn order(dedup: &Dedup) -> SortMultipleOptions {
    SortMultipleOptions::default()
        .with_order_descending_multi([dedup.keep == Keep::Last; 3])
        .with_nulls_last_multi([true; 3])
}

fn aggregate(aggregate: &Aggregate) -> Expr {
    let of = || aggregate.of.as_deref().map_or_else(len, name);
    let value = match aggregate.function {
        AggregateFunction::Min | AggregateFunction::Any => of().min(),
        AggregateFunction::Max => of().max(),
        // Of nothing, Polars says 0.
        AggregateFunction::Sum => when(of().count().gt(lit(0))).then(of().sum()).otherwise(lit(NULL)),
        AggregateFunction::Count => len().cast(DataType::Int64),
    };
    value.alias(aggregate.name.as_str())
}
