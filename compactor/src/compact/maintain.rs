//! Care for a table between passes: small files put together ([`optimize`]), files that no one reads deleted ([`vacuum`]).
//!
//! `deltalake`'s own conflict check lets two rewrites of one file both commit, which doubles its rows. So nothing here
//! leans on it: one process at a time holds a lease, a commit is made only on top of a state in which every file it
//! takes out is still in the table, and afterwards the table is read again to see that it came out so. A compactor, or
//! any other writer that commits by version, may work at the same time: whoever comes second prepares anew.

mod cluster;
mod layout;
mod lease;
mod optimize;
mod plan;
mod rows;
mod staged;
mod vacuum;

pub use layout::Layout;
pub use lease::Held;
pub use optimize::{OptimizeReport, Optimized, cluster, optimize};
pub use plan::{Group, Plan};
pub use vacuum::{VacuumReport, vacuum};

use std::fmt;

use super::table::Table;
use crate::{error::CompactError, store::Location};

/// The table, which has to be there.
async fn existing(place: &Location) -> Result<Table, CompactError> {
    Table::open(place).await?.ok_or_else(|| CompactError::NoTable { place: place.url.to_string() })
}

/// Bytes for a person.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 30_u32), ("MiB", 20), ("KiB", 10)];
        match units.into_iter().find(|(_, shift)| self.0 >> shift > 0) {
            Some((unit, shift)) => write!(f, "{:.1} {unit}", self.0 as f64 / (1_u64 << shift) as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}
