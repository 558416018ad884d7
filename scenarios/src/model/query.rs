//! `[[query]]`: a question asked of both the raw lake and the table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[query]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Short name, printed in the verdict.
    #[schemars(example = &"all-records")]
    pub name: String,
    /// One SELECT over the table `records`. It is asked of the raw lake, through a view that types and
    /// deduplicates as the table does, and of the table.
    #[schemars(example = &"SELECT COUNT(*) AS n FROM records")]
    pub sql: String,
}
