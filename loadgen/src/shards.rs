//! The stream's shards: which there are, who their parents are, and which one a partition key lands on.

use std::sync::Arc;

use futures::future::BoxFuture;
use md5::{Digest, Md5};

use crate::{
    client::{Failure, StreamClient},
    error::LoadError,
};

/// A shard as ListShards describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: Arc<str>,
    /// The shards it was split or merged from.
    pub parents: Vec<Arc<str>>,
    /// The first hash key it takes.
    pub first_hash: u128,
    /// The last hash key it takes.
    pub last_hash: u128,
    /// Whether it takes no more records.
    pub closed: bool,
}

/// Every shard of a stream, closed ones too, page by page.
///
/// # Errors
/// As [`StreamClient::describe`].
pub fn list(stream: &StreamClient) -> BoxFuture<'_, Result<Vec<Shard>, LoadError>> {
    Box::pin(async move {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = stream
                .persist("ListShards", || async {
                    let call = stream.client.list_shards();
                    // AWS refuses a call that names both the stream and a page.
                    let call = match &token {
                        Some(token) => call.next_token(token),
                        None => call.stream_name(&*stream.stream),
                    };
                    call.send().await.map_err(Failure::of)
                })
                .await?;
            shards.extend(page.shards().iter().map(|shard| {
                let range = shard.hash_key_range();
                let hash = |text: Option<&str>, absent| text.and_then(|t| t.parse().ok()).unwrap_or(absent);
                Shard {
                    id: shard.shard_id().into(),
                    parents: [shard.parent_shard_id(), shard.adjacent_parent_shard_id()]
                        .into_iter()
                        .flatten()
                        .map(Arc::from)
                        .collect(),
                    first_hash: hash(range.map(|r| r.starting_hash_key()), 0),
                    last_hash: hash(range.map(|r| r.ending_hash_key()), u128::MAX),
                    closed: shard.sequence_number_range().is_some_and(|r| r.ending_sequence_number().is_some()),
                }
            }));
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(shards);
            }
        }
    })
}

/// Which open shard takes which keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardMap {
    /// Open shards by first hash key.
    open: Vec<Shard>,
}

impl ShardMap {
    /// The map of these shards.
    #[must_use]
    pub fn new(shards: Vec<Shard>) -> Self {
        let mut open: Vec<Shard> = shards.into_iter().filter(|shard| !shard.closed).collect();
        open.sort_by_key(|shard| shard.first_hash);
        Self { open }
    }

    /// The open shards, by first hash key.
    #[must_use]
    pub fn open(&self) -> &[Shard] {
        &self.open
    }

    /// The open shard that a record lands on: the one whose range holds its explicit hash key, or else its partition
    /// key's hash.
    #[must_use]
    pub fn shard_for(&self, partition_key: &str, hash_key: Option<u128>) -> Option<&Shard> {
        self.open.get(self.index_for(partition_key, hash_key)?)
    }

    /// As [`ShardMap::shard_for`], as a place in [`ShardMap::open`].
    #[must_use]
    pub fn index_for(&self, partition_key: &str, hash_key: Option<u128>) -> Option<usize> {
        let hash = hash_key.unwrap_or_else(|| hash_of(partition_key));
        let index = self.open.partition_point(|shard| shard.first_hash <= hash).checked_sub(1)?;
        self.open.get(index).filter(|shard| hash <= shard.last_hash).map(|_| index)
    }
}

/// The hash key that a partition key stands for: its MD5, read as a big-endian number.
#[must_use]
pub fn hash_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeKinesis;

    fn shard(id: &str, first_hash: u128, last_hash: u128) -> Shard {
        Shard { id: id.into(), parents: Vec::new(), first_hash, last_hash, closed: false }
    }

    #[test]
    fn keys_land_where_their_md5_says() {
        let half = u128::MAX / 2;
        let mut closed = shard("old", 0, u128::MAX);
        closed.closed = true;
        let map = ShardMap::new(vec![shard("high", half + 1, u128::MAX), closed, shard("low", 0, half)]);
        // md5("a") = 0cc175b9..., md5("b") = 92eb5ffe..., md5("") = d41d8cd9...
        let home = |key, hash| map.shard_for(key, hash).unwrap().id.to_string();
        assert_eq!([home("a", None), home("b", None), home("", None)], ["low", "high", "high"]);
        assert_eq!(home("a", Some(half + 1)), "high", "an explicit hash key goes before the key's own");
        assert_eq!(ShardMap::default().shard_for("a", None), None);
        assert_eq!(ShardMap::new(vec![shard("tiny", 5, 6)]).shard_for("a", None), None);
    }

    #[tokio::test]
    async fn a_listing_is_read_to_its_last_page() {
        let fake = FakeKinesis::start(3).await;
        fake.page_shards();
        let shards = list(&fake.stream().await).await.unwrap();
        assert_eq!(shards.len(), 3);
        assert_eq!((shards[0].first_hash, shards[2].last_hash), (0, u128::MAX));
        assert!(shards.windows(2).all(|w| w[0].last_hash + 1 == w[1].first_hash));
    }
}
