//! A call: its body as it goes over the wire, and what is needed to know what became of each record in it.
//!
//! A record is encoded once. What is refused is sent again by copying its bytes out of the old body, so nothing else of
//! a payload is kept. The body's hash grows with the body, while its bytes are still in the cache.

use sha2::{Digest, Sha256};

use super::{api::Api, key_order::KeyId};
use crate::wire::connection::Broken;

/// Records of an entry, as the ledger and the histograms know them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordMeta {
    /// Its place among the records of its worker's slice.
    pub(crate) sequence: u64,
    /// When it was due, microseconds since 1970.
    pub(crate) due_us: u64,
}

/// What the stream takes or refuses as one: a record, or an aggregate of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where its JSON is in the body.
    start: u32,
    end: u32,
    /// Bytes as the service counts them: data and partition key.
    pub(crate) bytes: u32,
    /// Its first record, and how many it has.
    first: u32,
    records: u32,
    /// How many calls have carried it, this one included.
    pub(crate) attempts: u32,
    /// Its key, where order by key matters.
    pub(crate) key: Option<KeyId>,
}

/// What goes into a call: one entry, not yet encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEntry<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) key: &'a str,
    pub(crate) explicit_hash: Option<u128>,
    pub(crate) records: &'a [RecordMeta],
}

impl NewEntry<'_> {
    /// Bytes as the service counts them.
    pub(crate) fn size(&self) -> usize {
        self.data.len() + self.key.len()
    }
}

/// What fits into one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Entries at most.
    pub(crate) entries: usize,
    /// Bytes of data and keys at most; a larger entry goes alone.
    pub(crate) bytes: usize,
}

/// One call, encoded or being encoded.
#[derive(Debug)]
pub(crate) struct Call {
    head: Vec<u8>,
    body: Vec<u8>,
    entries: Vec<Entry>,
    records: Vec<RecordMeta>,
    bytes: usize,
    /// How much of the body the hash has seen.
    hashed: usize,
    hash: Sha256,
    sealed: bool,
    /// Whether the hash grows with the body; otherwise it is made when it is asked for.
    pub(crate) hashes: bool,
    /// When it was ready to be sent, microseconds since 1970.
    pub(crate) ready_us: u64,
    /// The lane it is sent on again, when it is not new.
    pub(crate) lane: Option<usize>,
}

/// A call whose answer has come, or that has failed.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) call: Box<Call>,
    pub(crate) send_us: u64,
    pub(crate) ack_us: u64,
    /// Status and body; or why there are none, and whether that is because it took too long.
    pub(crate) result: Result<(u16, Vec<u8>), (Broken, bool)>,
}

/// An entry on its own, waiting to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    json: Box<[u8]>,
    pub(crate) bytes: u32,
    pub(crate) attempts: u32,
    pub(crate) key: Option<KeyId>,
    pub(crate) records: Box<[RecordMeta]>,
}

impl Call {
    /// A call without entries.
    pub(crate) fn new() -> Self {
        Self {
            head: Vec::new(),
            body: Vec::new(),
            entries: Vec::new(),
            records: Vec::new(),
            bytes: 0,
            hashed: 0,
            hash: Sha256::new(),
            sealed: false,
            hashes: true,
            ready_us: 0,
            lane: None,
        }
    }

    /// Empties it for another use; its memory stays.
    pub(crate) fn clear(&mut self) {
        self.head.clear();
        self.body.clear();
        self.entries.clear();
        self.records.clear();
        (self.bytes, self.hashed, self.sealed) = (0, 0, false);
        self.hash.reset();
        (self.ready_us, self.lane) = (0, None);
    }

    /// Whether an entry of so many bytes may join.
    pub(crate) fn fits(&self, bytes: usize, limits: Limits) -> bool {
        self.entries.is_empty()
            || self.entries.len() < limits.entries && self.bytes.saturating_add(bytes) <= limits.bytes
    }

    /// Whether no entry may join.
    pub(crate) fn is_full(&self, limits: Limits) -> bool {
        self.entries.len() >= limits.entries
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, api: &Api, entry: NewEntry<'_>) {
        self.push_ordered(api, entry, None);
    }

    /// Adds an entry whose key has nothing else on its way.
    pub(crate) fn push_ordered(&mut self, api: &Api, entry: NewEntry<'_>, key: Option<KeyId>) {
        let start = self.open_entry(api);
        api.encode(entry, &mut self.body);
        self.close_entry(start, entry.size() as u32, 0, key, entry.records);
    }

    /// Adds an entry that was sent before.
    pub(crate) fn push_again(&mut self, api: &Api, parcel: &Parcel) {
        let start = self.open_entry(api);
        self.body.extend_from_slice(&parcel.json);
        self.close_entry(start, parcel.bytes, parcel.attempts, parcel.key, &parcel.records);
    }

    fn open_entry(&mut self, api: &Api) -> usize {
        match self.entries.is_empty() {
            true => self.body.extend_from_slice(api.body_start()),
            false => self.body.extend_from_slice(api.separator()),
        }
        self.body.len()
    }

    fn close_entry(&mut self, start: usize, bytes: u32, attempts: u32, key: Option<KeyId>, records: &[RecordMeta]) {
        let first = self.records.len() as u32;
        self.records.extend_from_slice(records);
        self.entries.push(Entry {
            start: start as u32,
            end: self.body.len() as u32,
            bytes,
            first,
            records: records.len() as u32,
            attempts: attempts + 1,
            key,
        });
        self.bytes += bytes as usize;
        // In pieces of some entries: each is still in the cache, and a call of the hash costs more than a short one saves.
        if self.hashes && self.body.len() - self.hashed >= HASHED_AT_ONCE {
            self.hash.update(&self.body[self.hashed..]);
            self.hashed = self.body.len();
        }
    }

    /// Ends the body. Nothing can be added any more.
    pub(crate) fn seal(&mut self, api: &Api) {
        if !self.sealed {
            self.body.extend_from_slice(api.body_end());
            self.sealed = true;
        }
    }

    /// The SHA-256 of the whole body, lowercase hex. Call it once, on a sealed call.
    pub(crate) fn body_sha256(&mut self) -> String {
        self.hash.update(&self.body[self.hashed..]);
        self.hashed = self.body.len();
        hex(&self.hash.finalize_reset())
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The request's head; empty until it is made.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Where the request's head is made.
    pub(crate) fn head_mut(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every record in it.
    pub(crate) fn records(&self) -> &[RecordMeta] {
        &self.records
    }

    /// The records of an entry.
    pub(crate) fn records_of(&self, entry: &Entry) -> &[RecordMeta] {
        let first = entry.first as usize;
        &self.records[first..first + entry.records as usize]
    }

    /// The JSON of an entry.
    pub(crate) fn json_of(&self, entry: &Entry) -> &[u8] {
        &self.body[entry.start as usize..entry.end as usize]
    }

    /// An entry taken out, to be sent again.
    pub(crate) fn parcel(&self, entry: &Entry) -> Parcel {
        Parcel {
            json: self.json_of(entry).into(),
            bytes: entry.bytes,
            attempts: entry.attempts,
            key: entry.key,
            records: self.records_of(entry).into(),
        }
    }

    /// Bytes as the service counts them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes out the entries that do not hold; gives them to `out`. The body and its hash are made anew.
    pub(crate) fn retain(
        &mut self,
        api: &Api,
        keep: impl Fn(&[RecordMeta]) -> bool,
        mut out: impl FnMut(&[RecordMeta]),
    ) {
        if self.entries.iter().all(|entry| keep(self.records_of(entry))) {
            return;
        }
        let old = std::mem::replace(self, Self::new());
        (self.ready_us, self.lane) = (old.ready_us, old.lane);
        for entry in &old.entries {
            if keep(old.records_of(entry)) {
                self.push_again(api, &Parcel { attempts: entry.attempts - 1, ..old.parcel(entry) });
            } else {
                out(old.records_of(entry));
            }
        }
    }
}

const HASHED_AT_ONCE: usize = 4 << 10;

fn hex(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

impl Parcel {
    /// An entry that was never in a call.
    pub(crate) fn new(api: &Api, entry: NewEntry<'_>, key: KeyId) -> Self {
        let mut json = Vec::new();
        api.encode(entry, &mut json);
        let bytes = entry.size() as u32;
        Self { json: json.into(), bytes, attempts: 0, key: Some(key), records: entry.records.into() }
    }

    /// Memory that it holds on to.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.json.len() + self.records.len() * size_of::<RecordMeta>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(api: &Api, count: u64) -> Call {
        let mut call = Call::new();
        for k in 0..count {
            let data = vec![b'x'; 10 * k as usize];
            let records = [RecordMeta { sequence: k, due_us: 100 * k }];
            call.push(api, NewEntry { data: &data, key: "a\"é", explicit_hash: None, records: &records });
        }
        call
    }

    #[test]
    fn a_call_counts_and_hashes_what_it_sends() {
        let api = Api::put_records("demo");
        let mut call = call(&api, 40);
        assert_eq!(call.bytes(), (0..40).map(|k| 10 * k + 4).sum::<usize>());
        call.seal(&api);
        let body: serde_json::Value = serde_json::from_slice(call.body()).unwrap();
        assert_eq!(body["Records"].as_array().unwrap().len(), 40);
        assert_eq!(call.body_sha256(), hex(&Sha256::digest(call.body())));
        call.clear();
        assert!(call.is_empty() && call.body().is_empty());
    }

    #[test]
    fn what_is_sent_again_has_the_same_bytes() {
        let api = Api::put_records("demo");
        let old = call(&api, 3);
        let parcel = old.parcel(&old.entries()[2]);
        let mut new = Call::new();
        new.push_again(&api, &parcel);
        assert_eq!(new.json_of(&new.entries()[0]), old.json_of(&old.entries()[2]));
        assert_eq!((new.entries()[0].attempts, new.bytes()), (2, 24));
        assert_eq!(super::super::api::EntryKey::read(new.json_of(&new.entries()[0])).unwrap().key, "a\"é");
    }

    #[test]
    fn limits_are_entries_and_bytes_and_a_large_entry_goes_alone() {
        let api = Api::put_records("demo");
        let limits = Limits { entries: 3, bytes: 40 };
        assert!(Call::new().fits(1_000, limits));
        let two = call(&api, 2);
        assert!(two.fits(22, limits) && !two.fits(23, limits) && !two.is_full(limits));
        assert!(call(&api, 3).is_full(limits));
    }

    #[test]
    fn entries_that_do_not_hold_are_taken_out_and_told() {
        let api = Api::put_records("demo");
        let mut call = call(&api, 4);
        let mut out = Vec::new();
        call.retain(&api, |records| records[0].sequence % 2 == 0, |records| out.push(records[0].sequence));
        assert_eq!(out, [1, 3]);
        assert_eq!(call.records().iter().map(|r| r.sequence).collect::<Vec<_>>(), [0, 2]);
        assert!(call.entries().iter().all(|entry| entry.attempts == 1));
        call.seal(&api);
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(call.body()).unwrap()["Records"][1]["Data"],
            "eHh4eHh4eHh4eHh4eHh4eHh4eHg="
        );
        assert_eq!(call.body_sha256(), hex(&Sha256::digest(call.body())));
    }
}
