//! Shard iterators: a place in one shard of one stream, good for five minutes.

use chrono::DateTime;

use super::{
    error::{ApiError, ErrorKind},
    token::{Sealer, TokenKind},
};

/// How long an iterator or a page token may be used (AWS: 5 minutes).
pub(crate) const LIFETIME_US: u64 = 300_000_000;
/// The longest token a client may send (service model: ShardIterator has 1 to 512 characters).
pub(crate) const MAX_TOKEN_CHARS: usize = 512;

/// A place to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardIterator {
    /// The stream's name.
    pub(crate) stream: String,
    /// When that stream was made: a later stream of the same name is another one.
    pub(crate) stream_created_us: u64,
    /// The shard's number.
    pub(crate) shard: u32,
    /// The index of the next record to read; one below the trim horizon means the horizon.
    pub(crate) position: u64,
    /// When the iterator was given out.
    pub(crate) issued_us: u64,
}

impl ShardIterator {
    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        let mut body = Vec::with_capacity(28 + self.stream.len());
        body.extend_from_slice(&self.stream_created_us.to_be_bytes());
        body.extend_from_slice(&self.issued_us.to_be_bytes());
        body.extend_from_slice(&self.position.to_be_bytes());
        body.extend_from_slice(&self.shard.to_be_bytes());
        body.extend_from_slice(self.stream.as_bytes());
        sealer.seal(TokenKind::ShardIterator, &body)
    }

    /// Opens a token and checks its age.
    pub(crate) fn open(sealer: &Sealer, token: &str, now_us: u64) -> Result<Self, ApiError> {
        let body = sealer.open(TokenKind::ShardIterator, token);
        let iterator = body.and_then(|body| Self::decode(&body));
        let iterator = iterator.ok_or_else(|| ApiError::invalid_argument("Invalid ShardIterator."))?;
        if now_us.saturating_sub(iterator.issued_us) > LIFETIME_US {
            return Err(ApiError::new(
                ErrorKind::ExpiredIterator,
                format!(
                    "Iterator expired. The iterator was created at time {} while right now it is {} which is further in \
                     the future than the tolerated delay of {} milliseconds.",
                    java_date(iterator.issued_us),
                    java_date(now_us),
                    LIFETIME_US / 1_000
                ),
            ));
        }
        Ok(iterator)
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (created, rest) = body.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (shard, name) = rest.split_first_chunk()?;
        Some(Self {
            stream: String::from_utf8(name.to_vec()).ok()?,
            stream_created_us: u64::from_be_bytes(*created),
            shard: u32::from_be_bytes(*shard),
            position: u64::from_be_bytes(*position),
            issued_us: u64::from_be_bytes(*issued),
        })
    }
}

/// The way AWS's texts write a time: `Thu Jan 22 01:22:02 UTC 2015`.
fn java_date(time_us: u64) -> String {
    let time = DateTime::from_timestamp_micros(i64::try_from(time_us).unwrap_or(i64::MAX)).unwrap_or_default();
    time.format("%a %b %d %H:%M:%S UTC %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALER: Sealer = Sealer::new([1; 16]);

    fn iterator(issued_us: u64) -> ShardIterator {
        ShardIterator { stream: "s".repeat(128), stream_created_us: 5, shard: 7, position: u64::MAX, issued_us }
    }

    #[test]
    fn an_iterator_of_the_longest_name_survives_its_token_and_is_short_enough() {
        let token = iterator(1_000).seal(&SEALER);
        assert!(token.len() <= MAX_TOKEN_CHARS, "{}", token.len());
        assert_eq!(ShardIterator::open(&SEALER, &token, 2_000).unwrap(), iterator(1_000));
    }

    #[test]
    fn an_iterator_expires_after_five_minutes_in_the_words_of_aws() {
        let issued_us = 1_421_889_722_000_000;
        let token = iterator(issued_us).seal(&SEALER);
        assert!(ShardIterator::open(&SEALER, &token, issued_us + LIFETIME_US).is_ok());
        let error = ShardIterator::open(&SEALER, &token, issued_us + LIFETIME_US + 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ExpiredIterator);
        assert_eq!(
            error.message,
            "Iterator expired. The iterator was created at time Thu Jan 22 01:22:02 UTC 2015 while right now it is \
             Thu Jan 22 01:27:02 UTC 2015 which is further in the future than the tolerated delay of 300000 milliseconds."
        );
    }

    #[test]
    fn a_made_up_iterator_is_an_invalid_argument() {
        let error = ShardIterator::open(&SEALER, "AAAAAAAAAAE", 0).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::InvalidArgument, "Invalid ShardIterator."));
    }
}
