//! What a query would cost on AWS: Athena for the bytes, S3 for the requests, from a dated price sheet.

use std::path::{Path, PathBuf};

use millrace_reports::record::PriceSheet;

use crate::store::counting::Counts;

/// Athena's megabyte: billed bytes are a multiple of it.
const MEGABYTE: u64 = 1 << 20;
/// Athena's terabyte, on the same scale as its megabyte.
const BYTES_PER_TB: f64 = (1_u64 << 40) as f64;

const EMBEDDED: &str = include_str!("../../prices/us-east-1.toml");

/// A price sheet could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a price sheet.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with its line.
        source: Box<toml::de::Error>,
    },
    /// A price is negative or not a number.
    #[error("{}: {name} is {value}; a price is zero or more", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which price.
        name: &'static str,
        /// What it is.
        value: f64,
    },
}

/// The sheet that comes with Millrace: us-east-1 list prices, with their date and source.
///
/// # Errors
/// None with the sheet in the repository, which a test reads; [`PriceError`] if it is spoilt.
pub fn prices() -> Result<PriceSheet, PriceError> {
    parse(EMBEDDED, Path::new("prices/us-east-1.toml"))
}

/// Reads a sheet of the same form from a file.
///
/// # Errors
/// [`PriceError`] with the path when the file is missing, is no price sheet, or has a negative price.
pub fn prices_from(path: &Path) -> Result<PriceSheet, PriceError> {
    let text = std::fs::read_to_string(path).map_err(|source| PriceError::Io { path: path.to_owned(), source })?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<PriceSheet, PriceError> {
    let sheet: PriceSheet = toml::from_str(text)
        .map_err(|source| PriceError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    let values = [
        ("athena_usd_per_tb", sheet.athena_usd_per_tb),
        ("s3_get_usd_per_1000", sheet.s3_get_usd_per_1000),
        ("s3_put_usd_per_1000", sheet.s3_put_usd_per_1000),
    ];
    match values.into_iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
        Some((name, value)) => Err(PriceError::Value { path: path.to_owned(), name, value }),
        None => Ok(sheet),
    }
}

/// Bytes that Athena bills for a query that scanned `bytes`: rounded up to the megabyte, with the sheet's minimum.
#[must_use]
pub fn billed_bytes(bytes: u64, sheet: &PriceSheet) -> u64 {
    bytes.checked_next_multiple_of(MEGABYTE).unwrap_or(u64::MAX).max(sheet.athena_min_bytes)
}

/// What Athena and S3 charge for one query, US dollars: the billed bytes, and the requests with HEAD at the price of GET.
#[must_use]
pub fn cost_usd(counts: &Counts, sheet: &PriceSheet) -> f64 {
    let scanned = billed_bytes(counts.bytes, sheet) as f64 / BYTES_PER_TB * sheet.athena_usd_per_tb;
    let reads = (counts.gets + counts.heads) as f64 / 1000.0 * sheet.s3_get_usd_per_1000;
    let lists = (counts.lists + counts.puts) as f64 / 1000.0 * sheet.s3_put_usd_per_1000;
    scanned + reads + lists
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(bytes: u64) -> Counts {
        Counts { bytes, ..Counts::default() }
    }

    #[test]
    fn the_embedded_sheet_is_valid_and_dated() {
        let sheet = prices().unwrap();
        assert_eq!((sheet.region.as_str(), sheet.athena_min_bytes), ("us-east-1", 10 << 20));
        assert_eq!(sheet.date.split('-').map(str::len).collect::<Vec<_>>(), [4, 2, 2]);
        assert!(sheet.source.contains("https://"));
    }

    #[test]
    fn bytes_are_rounded_up_to_the_megabyte_with_a_minimum_of_ten() {
        let sheet = prices().unwrap();
        let megabytes = |bytes| billed_bytes(bytes, &sheet) as f64 / MEGABYTE as f64;
        assert_eq!(megabytes(0), 10.0);
        assert_eq!(megabytes(1), 10.0);
        assert_eq!(megabytes(10 << 20), 10.0);
        assert_eq!(megabytes((10 << 20) + 1), 11.0);
        assert_eq!(megabytes(135_900_000), 130.0);
        assert_eq!(billed_bytes(u64::MAX, &sheet), u64::MAX);
    }

    #[test]
    fn costs_match_figures_worked_out_by_hand() {
        let sheet = prices().unwrap();
        let cases = [
            // The minimum: 10 of 1,048,576 MB a TB at 5 dollars.
            (scanned(820_000), 0.000_047_683_715_8),
            // 130 MB.
            (scanned(135_900_000), 0.000_619_888_305_7),
            (scanned(1 << 40), 5.0),
            // 2,500 requests at the price of GET, one LIST, and the minimum.
            (Counts { gets: 2000, heads: 500, lists: 1, puts: 0, bytes: 1 }, 0.001 + 0.000_005 + 0.000_047_683_715_8),
        ];
        for (counts, dollars) in cases {
            let cost = cost_usd(&counts, &sheet);
            assert!((cost - dollars).abs() < 1e-12, "{counts:?}: {cost} is not {dollars}");
        }
    }

    #[test]
    fn another_sheet_can_be_given_and_its_mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.toml");
        let error = prices_from(&path).unwrap_err().to_string();
        assert!(error.contains("prices.toml"), "{error}");

        std::fs::write(&path, EMBEDDED.replace("athena_usd_per_tb = 5.0", "athena_usd_per_tb = 6.5")).unwrap();
        let sheet = prices_from(&path).unwrap();
        assert_eq!(cost_usd(&scanned(1 << 40), &sheet), 6.5);

        std::fs::write(&path, EMBEDDED.replace("athena_usd_per_tb = 5.0", "athena_usd_per_tb = -5.0")).unwrap();
        let error = prices_from(&path).unwrap_err().to_string();
        assert!(error.contains("athena_usd_per_tb is -5"), "{error}");

        std::fs::write(&path, EMBEDDED.replace("region = \"us-east-1\"\n", "")).unwrap();
        let error = prices_from(&path).unwrap_err().to_string();
        assert!(error.contains("prices.toml") && error.contains("region"), "{error}");
    }
}
