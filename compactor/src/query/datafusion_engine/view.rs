//! The table `records` over the raw lake, as SQL: the rows that the compactor would put into the table, derived columns,
//! deduplication and aggregates included.
//!
//! It is written out as a statement, and not computed with the compactor's own code, so that an answer from the lake is
//! evidence about the table.

use millrace_scenarios::{Aggregate, AggregateFunction, ColumnType, Dedup, Keep, TimePart};

use crate::TableSchema;

/// Column of the raw provider: the object a row comes from.
pub(super) const OBJECT: &str = "__object";
/// Column of the raw provider: where in the object the row starts, bytes.
pub(super) const OFFSET: &str = "__offset";
/// The provider of decoded rows, duplicates included.
pub(super) const RAW: &str = "__raw";

/// The statement.
pub(super) fn records_sql(schema: &TableSchema) -> String {
    // Delta reads an empty partition value back as null, so the table has none; neither may the view.
    let declared = schema.columns().iter().map(|column| match quoted(&column.name) {
        name if column.kind == ColumnType::String && schema.partition_by().contains(&column.name) => {
            format!("NULLIF({name}, '') AS {name}")
        }
        name => name,
    });
    let derived = schema.derive().iter().map(|derive| {
        format!("to_char({}, '{}') AS {}", quoted(&derive.from), time_format(derive.part), quoted(&derive.name))
    });
    let typed = declared.chain(derived).collect::<Vec<_>>().join(", ");
    let Some(dedup) = schema.dedup() else {
        return format!("SELECT {typed} FROM {RAW}");
    };
    let key = dedup.key.iter().map(|name| comparable(name, schema)).collect::<Vec<_>>().join(", ");
    let aggregates: String = dedup.aggregate.iter().map(|aggregate| window(aggregate, &key)).collect();
    let ranked = format!(
        "SELECT *, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {order}) AS __rank{aggregates} \
         FROM (SELECT {typed}, {OBJECT}, {OFFSET} FROM {RAW})",
        order = order(dedup, schema),
    );
    let columns = schema.arrow_table().fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ");
    format!("SELECT {columns} FROM ({ranked}) WHERE __rank = 1")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The strftime pattern of a part; both engines read the same patterns.
pub(in crate::query) const fn time_format(part: TimePart) -> &'static str {
    match part {
        TimePart::Year => "%Y",
        TimePart::Month => "%Y-%m",
        TimePart::Date => "%Y-%m-%d",
        TimePart::Hour => "%Y-%m-%d-%H",
    }
}

/// The column as it is compared: `-0.0` is `0.0`, which DataFusion tells apart.
fn comparable(name: &str, schema: &TableSchema) -> String {
    let number = schema.columns().iter().any(|column| column.name == name && column.kind == ColumnType::Number);
    if number { format!("({} + 0.0)", quoted(name)) } else { quoted(name) }
}

/// The order in which the first row of a key is the one that stays. A row without a value to order by never wins over
/// one that has it.
fn order(dedup: &Dedup, schema: &TableSchema) -> String {
    let direction = match dedup.keep {
        Keep::First => "ASC",
        Keep::Last => "DESC",
    };
    let order_by = comparable(&dedup.order_by, schema);
    format!("{order_by} {direction} NULLS LAST, {OBJECT} {direction}, {OFFSET} {direction}")
}

fn window(aggregate: &Aggregate, key: &str) -> String {
    let of = aggregate.of.as_deref().map_or_else(|| "*".to_owned(), quoted);
    let call = match aggregate.function {
        AggregateFunction::Min | AggregateFunction::Any => format!("MIN({of})"),
        AggregateFunction::Max => format!("MAX({of})"),
        AggregateFunction::Sum => format!("SUM({of})"),
        AggregateFunction::Count => "COUNT(*)".to_owned(),
    };
    format!(", {call} OVER (PARTITION BY {key}) AS {}", quoted(&aggregate.name))
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::{Derive, Table};

    use super::*;

    fn schema(dedup: Option<Dedup>) -> TableSchema {
        let table = Table {
            columns: [
                ("At".to_owned(), ColumnType::Timestamp),
                ("a\"b".to_owned(), ColumnType::String),
                ("x".to_owned(), ColumnType::Number),
            ]
            .into(),
            derive: vec![Derive { name: "month".to_owned(), from: "At".to_owned(), part: TimePart::Month }],
            dedup,
            ..Table::default()
        };
        TableSchema::declared(&table).unwrap().unwrap()
    }

    #[test]
    fn without_deduplication_every_row_is_there() {
        assert_eq!(
            records_sql(&schema(None)),
            r#"SELECT "At", "a""b", "x", to_char("At", '%Y-%m') AS "month" FROM __raw"#
        );
    }

    #[test]
    fn with_a_key_the_first_row_of_each_stays_and_aggregates_see_all() {
        let sql = records_sql(&schema(Some(Dedup {
            key: vec!["a\"b".to_owned(), "x".to_owned()],
            keep: Keep::Last,
            order_by: "At".to_owned(),
            aggregate: vec![
                Aggregate { name: "first_at".to_owned(), function: AggregateFunction::Min, of: Some("At".to_owned()) },
                Aggregate { name: "n".to_owned(), function: AggregateFunction::Count, of: None },
            ],
        })));
        assert!(sql.starts_with(r#"SELECT "At", "a""b", "x", "month", "first_at", "n" FROM (SELECT *, "#), "{sql}");
        assert!(
            sql.contains(
                r#"PARTITION BY "a""b", ("x" + 0.0) ORDER BY "At" DESC NULLS LAST, __object DESC, __offset DESC) AS __rank"#
            ),
            "{sql}"
        );
        assert!(sql.contains(r#"MIN("At") OVER (PARTITION BY "a""b", ("x" + 0.0)) AS "first_at""#), "{sql}");
        assert!(sql.contains(r#"COUNT(*) OVER (PARTITION BY "a""b", ("x" + 0.0)) AS "n""#), "{sql}");
        assert!(sql.ends_with("WHERE __rank = 1"), "{sql}");
    }
}
