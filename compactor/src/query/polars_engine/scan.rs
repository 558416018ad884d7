//! A Polars scan that loads only the columns a query needs, one object at a time.
//!
//! Polars' own cloud readers would read past the counting store, so objects are fetched through it, whole, and Polars
//! parses them from memory. What stays in memory is the needed columns of all rows: Polars' engine works on those.

use std::any::Any;

use polars::prelude::{
    AnonymousScan, AnonymousScanArgs, DataFrame, LazyFrame, PlSmallStr, PolarsResult, ScanArgsAnonymous, SchemaRef,
};

/// Something that can be loaded column-wise.
pub(super) trait Source: Send + Sync + 'static {
    /// Every row, with these columns in this order. The frame's height is the number of rows also without columns.
    fn load(&self, columns: &[PlSmallStr]) -> PolarsResult<DataFrame>;
}

struct Scan<S> {
    source: S,
    schema: SchemaRef,
}

impl<S: Source> AnonymousScan for Scan<S> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn scan(&self, options: AnonymousScanArgs) -> PolarsResult<DataFrame> {
        let all = || self.schema.iter_names_cloned().collect();
        let columns: Vec<_> = options.with_columns.map_or_else(all, |columns| columns.to_vec());
        let frame = self.source.load(&columns)?;
        Ok(match options.n_rows {
            Some(rows) => frame.head(Some(rows)),
            None => frame,
        })
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}

/// The source as a table of a query.
pub(super) fn lazy(source: impl Source, schema: SchemaRef) -> PolarsResult<LazyFrame> {
    let arguments = ScanArgsAnonymous { schema: Some(SchemaRef::clone(&schema)), ..ScanArgsAnonymous::default() };
    LazyFrame::anonymous_scan(std::sync::Arc::new(Scan { source, schema }), arguments)
}
