//! Why an engine has no answer: text for the record, because a query that one engine cannot run is a finding and not the
//! end of the run.

use deltalake::DeltaTableError;

use crate::CompactError;

/// One engine could not answer one query.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// DataFusion refused the statement or failed on the way.
    #[error("DataFusion: {0}")]
    DataFusion(Box<datafusion::error::DataFusionError>),
    /// Polars refused the statement or failed on the way. Its SQL is a smaller language.
    #[error("Polars: {0}")]
    Polars(#[from] polars::error::PolarsError),
    /// Polars stopped in a way that it does not report.
    #[error("Polars panicked: {0}")]
    Panic(String),
    /// The table's log could not be read.
    #[error("table: {0}")]
    Delta(Box<DeltaTableError>),
    /// The lake could not be read.
    #[error("lake: {0}")]
    Lake(#[from] CompactError),
    /// A column of the answer has a type that has no canonical form.
    #[error("column {column} of the answer has the type {type_name}, which cannot be compared between engines")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        type_name: String,
    },
}

impl From<datafusion::error::DataFusionError> for Failure {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Self::DataFusion(Box::new(error))
    }
}

impl From<DeltaTableError> for Failure {
    fn from(error: DeltaTableError) -> Self {
        Self::Delta(Box::new(error))
    }
}
