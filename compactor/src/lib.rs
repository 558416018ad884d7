//! From lake to table: discover objects, decode them, deduplicate, commit each exactly once; and ask what queries cost.
//!
//! The way in is [`compact::Compactor`]. It reads the gzip JSON objects under a lake ([`store`]), types their records by
//! a schema that the scenario declares or the first objects imply ([`schema`], [`infer`]), decodes them straight into
//! Arrow ([`decode`]), lets one row per key through ([`dedupe`]) and commits rows, quarantine and the manifest of the
//! objects taken so that a crash anywhere leaves either the old table or the new one ([`compact`]).

pub mod clock;
pub mod compact;
pub mod cpu;
pub mod decode;
pub mod dedupe;
pub mod error;
pub mod infer;
pub mod query;
pub mod schema;
pub mod store;

pub use clock::Clock;
pub use compact::{Compactor, CompactorConfig, PassReport, ReplayReport, quarantine::Piece};
pub use error::{CompactError, StoreError};
pub use schema::TableSchema;
pub use store::Location;
