//! The table's columns: what is decoded, what is derived, what is aggregated, and how each is called in Arrow and Delta.
//!
//! Once the table exists its own Delta schema decides; the scenario only declares (or leaves to inference) the first one.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake::kernel::{
    DataType as DeltaType, MetadataValue, PrimitiveType, StructField, StructType,
    engine::arrow_conversion::{TryIntoArrow, TryIntoKernel},
};
use millrace_scenarios::{AggregateFunction, ByteSize, ColumnType, Dedup, Derive, NewColumns, Reading, Table};

use crate::{dedupe::origin, error::CompactError};

mod extend;

/// Delta metadata key of a text column that takes any JSON value, because the objects it was inferred from mixed types.
pub(crate) const ANY_KEY: &str = "millrace.any";

/// A column that is read from the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The field's name.
    pub name: String,
    /// Its type in the table.
    pub kind: ColumnType,
    /// Text columns only: a value that is no string is kept as its JSON text instead of being refused.
    pub any: bool,
    /// Set when it is a struct or a list, of which `kind` says nothing then.
    pub nested: Option<DataType>,
}

impl Column {
    /// A column of plain values.
    #[must_use]
    pub const fn plain(name: String, kind: ColumnType) -> Self {
        Self { name, kind, any: false, nested: None }
    }

    /// Its Arrow type.
    #[must_use]
    pub fn arrow_type(&self) -> DataType {
        self.nested.clone().unwrap_or_else(|| arrow_type(self.kind))
    }
}

/// Everything the compactor needs to know about the table's shape.
#[derive(Debug, Clone)]
pub struct TableSchema {
    columns: Vec<Column>,
    derive: Vec<Derive>,
    partition_by: Vec<String>,
    /// The rule as it is written, ...
    rule: Option<Dedup>,
    /// ... and with all columns as its key where it names none.
    dedup: Option<Dedup>,
    bloom_filter: Vec<String>,
    sort_by: Vec<String>,
    file_size: Option<ByteSize>,
    read: Reading,
    decoded: SchemaRef,
    table: SchemaRef,
}

/// The Arrow type of a column. Timestamps are always microseconds in UTC: anything else would raise the table's protocol.
#[must_use]
pub fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::String => DataType::Utf8,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

const fn delta_type(kind: ColumnType) -> PrimitiveType {
    match kind {
        ColumnType::String => PrimitiveType::String,
        ColumnType::Integer => PrimitiveType::Long,
        ColumnType::Number => PrimitiveType::Double,
        ColumnType::Boolean => PrimitiveType::Boolean,
        ColumnType::Timestamp => PrimitiveType::Timestamp,
    }
}

const fn kind_of(kind: &PrimitiveType) -> Option<ColumnType> {
    match kind {
        PrimitiveType::String => Some(ColumnType::String),
        PrimitiveType::Long => Some(ColumnType::Integer),
        PrimitiveType::Double => Some(ColumnType::Number),
        PrimitiveType::Boolean => Some(ColumnType::Boolean),
        PrimitiveType::Timestamp => Some(ColumnType::Timestamp),
        _ => None,
    }
}

/// The rule with all columns as its key where it names none: in what order such rows are makes no difference.
fn resolved(rule: Dedup, columns: &[Column]) -> Dedup {
    if !rule.key.is_empty() {
        return rule;
    }
    let key: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    Dedup { order_by: key.first().cloned().unwrap_or_default(), key, ..rule }
}

impl TableSchema {
    /// The schema that the scenario declares; `None` when it leaves the columns to inference.
    ///
    /// # Errors
    /// [`CompactError::Schema`] when the section names columns that do not exist or fit.
    pub fn declared(table: &Table) -> Result<Option<Self>, CompactError> {
        if table.columns.is_empty() {
            return Ok(None);
        }
        let columns = table.columns.iter().map(|(name, kind)| Column::plain(name.clone(), *kind));
        Self::new(columns.collect(), table).map(Some)
    }

    /// A schema of the given record columns with what the scenario derives, partitions, deduplicates and aggregates.
    ///
    /// # Errors
    /// [`CompactError::Schema`] when the section names columns that do not exist or fit.
    pub fn new(mut columns: Vec<Column>, table: &Table) -> Result<Self, CompactError> {
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let field = |name: &str, kind| Field::new(name, arrow_type(kind), true);
        let mut fields: Vec<Field> = columns.iter().map(|c| Field::new(&c.name, c.arrow_type(), true)).collect();
        let decoded = Arc::new(Schema::new(fields.clone()));
        let plain = |name: &str| columns.iter().find(|c| c.name == name && c.nested.is_none());
        let kind = |name: &str| plain(name).map(|c| c.kind);

        for derive in &table.derive {
            if kind(&derive.from) != Some(ColumnType::Timestamp) {
                return Err(refuse(format!("derive {:?}: {:?} is no timestamp column", derive.name, derive.from)));
            }
            fields.push(field(&derive.name, ColumnType::String));
        }
        for name in &table.read.path_columns {
            if kind(name).is_none() {
                return Err(refuse(format!("read.path_columns: {name:?} is no column of plain values")));
            }
        }
        let stored: BTreeSet<&str> =
            fields.iter().filter(|f| !f.data_type().is_nested()).map(|f| f.name().as_str()).collect();
        for name in &table.partition_by {
            if !stored.contains(name.as_str()) {
                return Err(refuse(format!("partition_by: {name:?} is no column")));
            }
        }
        if table.partition_by.len() >= fields.len() {
            return Err(refuse("partition_by: at least one column must stay in the files".to_owned()));
        }
        if let Some(dedup) = &table.dedup {
            let named = dedup.key.iter().chain([&dedup.order_by]).filter(|_| !dedup.key.is_empty());
            for name in named {
                if kind(name).is_none() {
                    return Err(refuse(format!("dedup: {name:?} is no column of the records")));
                }
            }
            for aggregate in &dedup.aggregate {
                let of = aggregate.of.as_deref().unwrap_or_default();
                let kind = match aggregate.function {
                    AggregateFunction::Count => ColumnType::Integer,
                    _ => kind(of).ok_or_else(|| {
                        refuse(format!("aggregate {:?}: {of:?} is no column of the records", aggregate.name))
                    })?,
                };
                if aggregate.function == AggregateFunction::Sum
                    && !matches!(kind, ColumnType::Integer | ColumnType::Number)
                {
                    return Err(refuse(format!("aggregate {:?}: {of:?} is no number", aggregate.name)));
                }
                fields.push(field(&aggregate.name, kind));
            }
        }
        for (key, name) in table
            .bloom_filter
            .iter()
            .map(|name| ("bloom_filter", name))
            .chain(table.sort_by.iter().map(|name| ("sort_by", name)))
        {
            let is_in_files = |field: &Field| field.name() == name && !field.data_type().is_nested();
            if !fields.iter().any(is_in_files) || table.partition_by.contains(name) {
                return Err(refuse(format!("{key}: {name:?} is no column of plain values in the files")));
            }
        }
        if let Some(ours) = fields.iter().find(|field| origin::is_reserved(field.name())) {
            return Err(refuse(format!("the column {:?} has a name that begins as the compactor's own", ours.name())));
        }
        // Delta tells names apart without regard to case.
        let mut seen = BTreeSet::new();
        if let Some(twice) = fields.iter().find(|f| !seen.insert(f.name().to_lowercase())) {
            return Err(refuse(format!(
                "the column {:?} is there twice (names differ by more than case)",
                twice.name()
            )));
        }
        Ok(Self {
            derive: table.derive.clone(),
            partition_by: table.partition_by.clone(),
            rule: table.dedup.clone(),
            dedup: table.dedup.clone().map(|rule| resolved(rule, &columns)),
            bloom_filter: table.bloom_filter.clone(),
            sort_by: table.sort_by.clone(),
            file_size: table.file_size,
            read: table.read.clone(),
            decoded,
            table: Arc::new(Schema::new(fields)),
            columns,
        })
    }

    /// The schema of a table that exists. Record columns are what is neither derived nor aggregated.
    ///
    /// # Errors
    /// [`CompactError::OtherSchema`] when the scenario asks for something else, or the table has types or partitions
    /// that this compactor does not write.
    pub fn of_table(
        url: &str,
        fields: &StructType,
        partitions: &[String],
        table: &Table,
    ) -> Result<Self, CompactError> {
        let other = |difference: String| CompactError::OtherSchema { table: url.to_owned(), difference };
        let computed: BTreeSet<&str> = table
            .derive
            .iter()
            .map(|d| d.name.as_str())
            .chain(table.dedup.iter().flat_map(|d| &d.aggregate).map(|a| a.name.as_str()))
            .collect();
        let mut columns = Vec::new();
        for field in fields.fields() {
            let any = matches!(field.metadata().get(ANY_KEY), Some(MetadataValue::String(v)) if v == "true");
            let name = field.name().clone();
            let column = match (field.data_type().as_primitive_opt().and_then(kind_of), nested_of(field.data_type())) {
                (Some(kind), _) => Column { name, kind, any, nested: None },
                (None, Some(nested)) => Column { name, kind: ColumnType::String, any, nested: Some(nested) },
                (None, None) => return Err(other(format!("column {name:?} is a {}", field.data_type()))),
            };
            if !computed.contains(field.name().as_str()) {
                columns.push(column);
            }
        }
        if let Some(declared) = Self::declared(table)? {
            let there: Vec<_> = columns.iter().map(|c| (&c.name, c.kind)).collect();
            let wanted: Vec<_> = declared.columns.iter().map(|c| (&c.name, c.kind)).collect();
            if let Some((name, kind)) = wanted.iter().find(|w| !there.contains(w)) {
                return Err(other(format!("it has no {kind:?} column {name:?}")));
            }
            if let Some((name, _)) = there.iter().find(|c| !wanted.contains(c))
                && table.read.new_columns != NewColumns::Add
            {
                return Err(other(format!("it has a column {name:?} that [table.columns] does not name")));
            }
        }
        if partitions != table.partition_by {
            return Err(other(format!("it is partitioned by {partitions:?}, not {:?}", table.partition_by)));
        }
        let schema = Self::new(columns, table)?;
        for field in schema.table.fields() {
            let there = fields.field(field.name()).and_then(|f| {
                f.data_type().as_primitive_opt().and_then(kind_of).map(arrow_type).or_else(|| nested_of(f.data_type()))
            });
            if there.as_ref() != Some(field.data_type()) {
                return Err(other(format!("column {:?} is missing or is no {}", field.name(), field.data_type())));
            }
        }
        Ok(schema)
    }

    /// The columns read from the records, in order of name.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns computed from timestamps.
    #[must_use]
    pub fn derive(&self) -> &[Derive] {
        &self.derive
    }

    /// The Hive-style partition columns, outermost first.
    #[must_use]
    pub fn partition_by(&self) -> &[String] {
        &self.partition_by
    }

    /// The rule by which two rows are the same, as the scenario has it.
    #[must_use]
    pub const fn rule(&self) -> Option<&Dedup> {
        self.rule.as_ref()
    }

    /// When two rows are the same; `None` keeps every row. The key names at least one column.
    #[must_use]
    pub const fn dedup(&self) -> Option<&Dedup> {
        self.dedup.as_ref()
    }

    /// Columns whose data files get a bloom filter.
    #[must_use]
    pub fn bloom_filter(&self) -> &[String] {
        &self.bloom_filter
    }

    /// Columns that the rows of each data file lie in order of.
    #[must_use]
    pub fn sort_by(&self) -> &[String] {
        &self.sort_by
    }

    /// The size at which a data file ends; `None` where the table's own is to be used.
    #[must_use]
    pub const fn file_size(&self) -> Option<ByteSize> {
        self.file_size
    }

    /// How objects are read.
    #[must_use]
    pub const fn read(&self) -> &Reading {
        &self.read
    }

    /// The same, for pieces of objects: a header is not to be expected in each of them.
    #[must_use]
    pub fn for_pieces(&self) -> Self {
        Self { read: Reading { header: false, ..self.read.clone() }, ..self.clone() }
    }

    /// What decoding yields: the record columns, all nullable, timestamps as `Timestamp(us, "UTC")`.
    #[must_use]
    pub fn arrow_decoded(&self) -> SchemaRef {
        Arc::clone(&self.decoded)
    }

    /// What the table holds: the record columns, then the derived ones, then the aggregates.
    #[must_use]
    pub fn arrow_table(&self) -> SchemaRef {
        Arc::clone(&self.table)
    }

    /// The table's columns for the Delta log.
    ///
    /// # Errors
    /// [`CompactError::Arrow`] when a nested column has a type that Delta has not.
    pub fn delta_fields(&self) -> Result<Vec<StructField>, CompactError> {
        let any = |name: &str| self.columns.iter().any(|c| c.any && c.name == name);
        let kinds =
            [ColumnType::String, ColumnType::Integer, ColumnType::Number, ColumnType::Boolean, ColumnType::Timestamp];
        self.table
            .fields()
            .iter()
            .map(|field| {
                if field.data_type().is_nested() {
                    return Ok(field.as_ref().try_into_kernel()?);
                }
                let kind = kinds.into_iter().find(|k| arrow_type(*k) == *field.data_type());
                let made = StructField::nullable(field.name(), delta_type(kind.unwrap_or(ColumnType::String)));
                Ok(if any(field.name()) { made.with_metadata([(ANY_KEY, "true")]) } else { made })
            })
            .collect()
    }

    /// Record columns for the Delta log.
    pub(crate) fn delta_fields_of(columns: &[Column]) -> Result<Vec<StructField>, CompactError> {
        Self::new(columns.to_vec(), &Table::default())?.delta_fields()
    }

    /// The table's columns and rules as text, for the fingerprint in a manifest.
    pub(crate) fn describe(&self) -> String {
        format!("{:?} {:?} {:?}", self.table.fields(), self.partition_by, self.dedup)
    }
}

/// The Arrow type of a struct or list whose values are all of types that are written here.
fn nested_of(kind: &DeltaType) -> Option<DataType> {
    fn is_known(kind: &DataType) -> bool {
        match kind {
            DataType::Struct(fields) => fields.iter().all(|field| is_known(field.data_type())),
            DataType::List(item) => is_known(item.data_type()),
            DataType::Utf8 | DataType::Int64 | DataType::Float64 | DataType::Boolean => true,
            DataType::Timestamp(TimeUnit::Microsecond, zone) => zone.as_deref() == Some("UTC"),
            _ => false,
        }
    }
    let arrow: DataType = kind.try_into_arrow().ok()?;
    (arrow.is_nested() && is_known(&arrow)).then_some(arrow)
}

fn refuse(reason: String) -> CompactError {
    CompactError::Schema(reason)
}

#[cfg(test)]
mod tests {
    use millrace_scenarios::{Aggregate, Keep, TimePart};

    use super::*;

    fn weather() -> Table {
        Table {
            columns: [
                ("city", ColumnType::String),
                ("measured", ColumnType::Timestamp),
                ("seq", ColumnType::Integer),
                ("temperature", ColumnType::Number),
            ]
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect(),
            derive: vec![Derive { name: "date".to_owned(), from: "measured".to_owned(), part: TimePart::Date }],
            partition_by: vec!["city".to_owned(), "date".to_owned()],
            dedup: Some(Dedup {
                key: vec!["city".to_owned()],
                keep: Keep::First,
                order_by: "seq".to_owned(),
                aggregate: vec![
                    Aggregate {
                        name: "first".to_owned(),
                        function: AggregateFunction::Min,
                        of: Some("measured".to_owned()),
                    },
                    Aggregate { name: "n".to_owned(), function: AggregateFunction::Count, of: None },
                ],
            }),
            ..Table::default()
        }
    }

    #[test]
    fn the_table_has_record_columns_then_derived_then_aggregates() {
        let schema = TableSchema::declared(&weather()).unwrap().unwrap();
        let names = |s: SchemaRef| s.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(schema.arrow_decoded()), ["city", "measured", "seq", "temperature"]);
        assert_eq!(names(schema.arrow_table()), ["city", "measured", "seq", "temperature", "date", "first", "n"]);
        assert_eq!(schema.arrow_table().field(5).data_type(), &arrow_type(ColumnType::Timestamp));
    }

    #[test]
    fn a_schema_read_back_from_delta_is_the_same() {
        let mut spec = weather();
        let schema = TableSchema::declared(&spec).unwrap().unwrap();
        let fields = StructType::try_new(schema.delta_fields().unwrap()).unwrap();
        let again = TableSchema::of_table("t", &fields, &spec.partition_by, &spec).unwrap();
        assert_eq!(again.describe(), schema.describe());
        spec.columns.insert("more".to_owned(), ColumnType::String);
        let error = TableSchema::of_table("t", &fields, &spec.partition_by, &spec).unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains("\"more\""), "{error}");
    }

    #[test]
    fn an_inferred_any_column_keeps_its_mark() {
        let spec = Table::default();
        let column = Column { name: "payload".to_owned(), kind: ColumnType::String, any: true, nested: None };
        let schema = TableSchema::new(vec![column.clone()], &spec).unwrap();
        let fields = StructType::try_new(schema.delta_fields().unwrap()).unwrap();
        assert_eq!(TableSchema::of_table("t", &fields, &[], &spec).unwrap().columns(), [column]);
    }

    #[test]
    fn a_nested_column_read_back_from_delta_is_the_same() {
        let mixed = Field::new("mixed", DataType::Utf8, true)
            .with_metadata([(ANY_KEY.to_owned(), "true".to_owned())].into_iter().collect());
        let of = vec![Field::new("at", arrow_type(ColumnType::Timestamp), true), mixed];
        let list = DataType::List(Arc::new(Field::new("element", DataType::Struct(of.into()), true)));
        let column = Column { name: "x".to_owned(), kind: ColumnType::String, any: false, nested: Some(list) };
        let plain = Column::plain("y".to_owned(), ColumnType::Integer);
        let schema = TableSchema::new(vec![column.clone(), plain.clone()], &Table::default()).unwrap();
        let fields = StructType::try_new(schema.delta_fields().unwrap()).unwrap();
        let again = TableSchema::of_table("t", &fields, &[], &Table::default()).unwrap();
        assert_eq!(again.columns(), [column, plain]);
        let spec = Table { partition_by: vec!["x".to_owned()], ..Table::default() };
        assert!(TableSchema::new(again.columns().to_vec(), &spec).unwrap_err().to_string().contains("\"x\""));
    }

    #[test]
    fn columns_that_do_not_exist_are_named() {
        type Case = (fn(&mut Table), &'static str);
        let cases: [Case; 5] = [
            (|t| t.partition_by.push("nope".to_owned()), "\"nope\""),
            (|t| t.derive[0].from = "city".to_owned(), "\"city\""),
            (
                |t| {
                    t.derive[0].name = "City".to_owned();
                    t.partition_by.clear();
                },
                "\"City\"",
            ),
            (|t| t.dedup.as_mut().unwrap().order_by = "millrace_seq".to_owned(), "\"millrace_seq\""),
            (|t| t.dedup.as_mut().unwrap().aggregate[0].of = None, "\"first\""),
        ];
        for (change, named) in cases {
            let mut spec = weather();
            change(&mut spec);
            let error = TableSchema::declared(&spec).unwrap_err();
            assert!(error.is_configuration() && error.to_string().contains(named), "{error}");
        }
    }
}
