//! The records of one call on one shard, as they are kept: one allocation, whatever their number.
//!
//! ```text
//!   6 bytes a record: where its payload ends (u32), bytes of its partition key (u16)  |  payloads: key, data, key, data
//! ```
//! Records that arrive together are forgotten together, so the call is the unit of the log, and a record in it costs
//! six bytes beside its payload.

/// Bytes of a record's entry in the table at the front.
const ENTRY_BYTES: usize = 6;

/// Memory a batch holds beside its block: itself behind an `Arc`, the headers of two allocations, its place in the log's
/// ring, which may be half empty.
const BATCH_OVERHEAD_BYTES: u64 = size_of::<Batch>() as u64 + 16 + 2 * 16 + 2 * size_of::<usize>() as u64;

/// Payloads behind a table of where they end.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Block {
    bytes: Box<[u8]>,
    records: u32,
}

/// A record in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordRef<'a> {
    pub(crate) key: &'a str,
    pub(crate) data: &'a [u8],
}

/// A block on its way to being full.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    records: usize,
    written: usize,
}

/// Records that a shard took at one moment, under numbers that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The index of the first record.
    pub(crate) first_index: u64,
    /// When all of them arrived.
    pub(crate) arrival_us: u64,
    pub(crate) block: Block,
}

/// Memory that a batch of so many records will hold.
pub(crate) fn memory_cost(records: usize, payload_bytes: usize) -> u64 {
    (records * ENTRY_BYTES + payload_bytes) as u64 + BATCH_OVERHEAD_BYTES
}

impl Block {
    /// The block these bytes are, if they can be one: what [`Self::as_bytes`] gave, read back from elsewhere.
    pub(crate) fn from_bytes(bytes: Box<[u8]>, records: u32) -> Option<Self> {
        let table_bytes = (records as usize).checked_mul(ENTRY_BYTES)?;
        let payload_bytes = bytes.len().checked_sub(table_bytes)?;
        let block = Self { bytes, records };
        let mut start = 0;
        for place in 0..block.len() {
            let (end, key_bytes) = block.entry(place);
            let payload = block.payloads().get(start..end)?;
            std::str::from_utf8(payload.get(..key_bytes)?).ok()?;
            start = end;
        }
        (start == payload_bytes).then_some(block)
    }

    /// Table and payloads. With the number of records this is the whole block.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of records.
    pub(crate) const fn len(&self) -> usize {
        self.records as usize
    }

    /// Bytes of data and partition keys.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payloads().len()
    }

    /// Bytes of data and partition keys of the records before this place.
    pub(crate) fn bytes_before(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |last| self.entry(last).0)
    }

    /// How many of the first records hold at most so many bytes of data and partition keys.
    pub(crate) fn records_within(&self, payload_bytes: usize) -> usize {
        let table = self.table();
        table.partition_point(|entry| read_entry(entry).0 <= payload_bytes)
    }

    /// Data and partition key of each record, bytes.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> {
        let mut start = 0;
        self.table().iter().map(move |entry| {
            let end = read_entry(entry).0;
            end - std::mem::replace(&mut start, end)
        })
    }

    /// The records of a range of places.
    pub(crate) fn records(&self, places: std::ops::Range<usize>) -> impl Iterator<Item = RecordRef<'_>> {
        let mut start = self.bytes_before(places.start);
        let payloads = self.payloads();
        self.table()[places].iter().map(move |entry| {
            let (end, key_bytes) = read_entry(entry);
            let (key, data) = payloads[start..end].split_at(key_bytes);
            start = end;
            // Keys came in as text, or were checked when the block was read back.
            RecordRef { key: std::str::from_utf8(key).unwrap_or_default(), data }
        })
    }

    /// A block of the records whose place is to be kept.
    pub(crate) fn filtered(&self, keep: impl Fn(usize) -> bool) -> Self {
        let kept = |(place, _): &(usize, usize)| keep(*place);
        let (records, payload_bytes) = self
            .sizes()
            .enumerate()
            .filter(kept)
            .fold((0, 0), |(records, bytes), (_, size)| (records + 1, bytes + size));
        let mut builder = BlockBuilder::new(records, payload_bytes);
        for (_, record) in self.records(0..self.len()).enumerate().filter(|(place, _)| keep(*place)) {
            builder.push(record.key, |out| out.extend_from_slice(record.data));
        }
        builder.finish()
    }

    fn entry(&self, place: usize) -> (usize, usize) {
        read_entry(&self.table()[place])
    }

    fn table(&self) -> &[[u8; ENTRY_BYTES]] {
        self.bytes[..self.len() * ENTRY_BYTES].as_chunks().0
    }

    fn payloads(&self) -> &[u8] {
        &self.bytes[self.len() * ENTRY_BYTES..]
    }
}

/// Payloads may be large, and are not ours to show.
impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("records", &self.records).field("bytes", &self.bytes.len()).finish()
    }
}

fn read_entry([a, b, c, d, key_low, key_high]: &[u8; ENTRY_BYTES]) -> (usize, usize) {
    (u32::from_le_bytes([*a, *b, *c, *d]) as usize, usize::from(u16::from_le_bytes([*key_low, *key_high])))
}

impl BlockBuilder {
    /// A block for exactly so many records and bytes. Both are bounded by what one call may hold.
    pub(crate) fn new(records: usize, payload_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(records * ENTRY_BYTES + payload_bytes);
        bytes.resize(records * ENTRY_BYTES, 0);
        Self { bytes, records, written: 0 }
    }

    /// Adds a record; `write_data` appends its data to what is there.
    pub(crate) fn push<T>(&mut self, key: &str, write_data: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.bytes.extend_from_slice(key.as_bytes());
        let written = write_data(&mut self.bytes);
        let end = u32::try_from(self.bytes.len() - self.records * ENTRY_BYTES).unwrap_or(u32::MAX);
        let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
        let [a, b, c, d] = end.to_le_bytes();
        let [key_low, key_high] = key_bytes.to_le_bytes();
        let at = self.written * ENTRY_BYTES;
        self.bytes[at..at + ENTRY_BYTES].copy_from_slice(&[a, b, c, d, key_low, key_high]);
        self.written += 1;
        written
    }

    pub(crate) fn finish(self) -> Block {
        debug_assert_eq!(
            (self.written, self.bytes.len()),
            (self.records, self.bytes.capacity()),
            "announced and given"
        );
        Block { bytes: self.bytes.into_boxed_slice(), records: u32::try_from(self.records).unwrap_or(u32::MAX) }
    }
}

impl Batch {
    /// The index after the last record's.
    pub(crate) const fn end_index(&self) -> u64 {
        self.first_index + self.block.len() as u64
    }

    /// Bytes of memory held for it.
    pub(crate) fn cost(&self) -> u64 {
        self.block.bytes.len() as u64 + BATCH_OVERHEAD_BYTES
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block of keys and data.
    pub(crate) fn block_of(records: &[(&str, &[u8])]) -> Block {
        let bytes = records.iter().map(|(key, data)| key.len() + data.len()).sum();
        let mut builder = BlockBuilder::new(records.len(), bytes);
        records.iter().for_each(|(key, data)| builder.push(key, |out| out.extend_from_slice(data)));
        builder.finish()
    }

    fn read(block: &Block) -> Vec<(&str, &[u8])> {
        block.records(0..block.len()).map(|record| (record.key, record.data)).collect()
    }

    fn any_records() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        prop::collection::vec((".{0,8}", prop::collection::vec(any::<u8>(), 0..20)), 0..20)
    }

    fn refs(records: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
        records.iter().map(|(key, data)| (key.as_str(), data.as_slice())).collect()
    }

    proptest! {
        #[test]
        fn a_block_gives_back_its_records_and_reads_back_from_its_bytes(records in any_records()) {
            let block = block_of(&refs(&records));
            prop_assert_eq!(read(&block), refs(&records));
            let sizes: Vec<_> = records.iter().map(|(key, data)| key.len() + data.len()).collect();
            prop_assert_eq!(block.sizes().collect::<Vec<_>>(), sizes.clone());
            prop_assert_eq!(block.payload_bytes(), sizes.iter().sum::<usize>());
            let cost = Batch { first_index: 1, arrival_us: 1, block: block.clone() }.cost();
            prop_assert_eq!(cost, memory_cost(block.len(), block.payload_bytes()));
            let again = Block::from_bytes(block.as_bytes().into(), u32::try_from(records.len()).unwrap());
            prop_assert_eq!(again, Some(block));
        }

        #[test]
        fn a_part_of_a_block_is_the_part_of_its_records(
            records in any_records(), from: prop::sample::Index, to: prop::sample::Index, limit in 0_usize..400,
        ) {
            let block = block_of(&refs(&records));
            let (from, to) = (from.index(records.len() + 1), to.index(records.len() + 1));
            let places = from.min(to)..from.max(to);
            let part: Vec<_> = block.records(places.clone()).map(|record| (record.key, record.data)).collect();
            prop_assert_eq!(part, refs(&records[places]));
            let within = block.records_within(limit);
            prop_assert!(block.bytes_before(within) <= limit);
            prop_assert!(within == records.len() || block.bytes_before(within + 1) > limit);
            let odd: Vec<_> = refs(&records).into_iter().skip(1).step_by(2).collect();
            prop_assert_eq!(block.filtered(|place| place % 2 == 1), block_of(&odd));
        }

        #[test]
        fn bytes_that_are_no_block_are_refused_and_never_panic(bytes: Vec<u8>, records in 0_u32..40) {
            if let Some(block) = Block::from_bytes(bytes.into(), records) {
                prop_assert_eq!(block_of(&read(&block)), block);
            }
        }
    }

    #[test]
    fn a_key_that_is_not_text_is_refused() {
        let mut bytes = block_of(&[("k", b"data")]).as_bytes().to_vec();
        bytes[ENTRY_BYTES] = 0xFF;
        assert_eq!(Block::from_bytes(bytes.into(), 1), None);
    }
}
