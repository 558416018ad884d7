//! Reads the answers of PutRecords, which come in one shape nearly always: what is not of it is left to the JSON parser.

use memchr::memchr;

use super::Outcome;

/// How wide the texts of an accepted entry are, `{"SequenceNumber":"...","ShardId":"..."}`.
#[derive(Debug, Clone, Copy, Default)]
struct Widths {
    sequence: usize,
    shard: usize,
}

impl Widths {
    const BEFORE: &[u8] = b"{\"SequenceNumber\":\"";
    const BETWEEN: &[u8] = b"\",\"ShardId\":\"";
    const AFTER: &[u8] = b"\"}";
    const FRAME: usize = Self::BEFORE.len() + Self::BETWEEN.len() + Self::AFTER.len();

    /// Those that this entry has if it is written so.
    fn of(json: &[u8], outcome: &Outcome<'_>) -> Self {
        let Outcome::Accepted { shard } = outcome else { return Self::default() };
        Self { sequence: json.len().saturating_sub(Self::FRAME + shard.len()), shard: shard.len() }
    }

    fn entry(self) -> usize {
        Self::FRAME + self.sequence + self.shard
    }
}

/// Reads an answer of PutRecords whose texts have no escapes. Every step gives `None` for what it does not know.
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// Reads a whole answer into `outcomes`, which is of no use when `None` comes back.
    pub(super) fn records(body: &'a [u8], outcomes: &mut Vec<Outcome<'a>>) -> Option<()> {
        let mut scanner = Self { rest: body };
        let mut found = false;
        scanner.byte(b'{')?;
        loop {
            let name = scanner.text()?;
            scanner.byte(b':')?;
            match name {
                b"Records" if !found => {
                    scanner.entries(outcomes)?;
                    found = true;
                }
                _ => scanner.scalar()?,
            }
            match scanner.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        (found && scanner.rest.trim_ascii().is_empty()).then_some(())
    }

    fn entries(&mut self, outcomes: &mut Vec<Outcome<'a>>) -> Option<()> {
        self.byte(b'[')?;
        if self.rest.first() == Some(&b']') {
            return self.byte(b']');
        }
        let mut widths = Widths::default();
        loop {
            let outcome = match self.taken(widths) {
                Some(outcome) => outcome,
                None => {
                    let before = self.rest;
                    let outcome = self.entry()?;
                    widths = Widths::of(&before[..before.len() - self.rest.len()], &outcome);
                    outcome
                }
            };
            outcomes.push(outcome);
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// An entry that was taken and is as wide as the last one, which nearly all are: it is compared, not searched.
    fn taken(&mut self, widths: Widths) -> Option<Outcome<'a>> {
        let (entry, rest) = self.rest.split_at_checked(widths.entry())?;
        let (sequence, entry) = entry.strip_prefix(Widths::BEFORE)?.split_at_checked(widths.sequence)?;
        let shard = entry.strip_prefix(Widths::BETWEEN)?.strip_suffix(Widths::AFTER)?;
        // Without an early end, both become a few vector instructions.
        let digits = sequence.iter().fold(true, |so_far, byte| so_far & byte.is_ascii_digit());
        let plain =
            shard.iter().fold(true, |so_far, byte| so_far & byte.is_ascii() & (*byte != b'"') & (*byte != b'\\'));
        if !digits || !plain {
            return None;
        }
        self.rest = rest;
        Some(Outcome::Accepted { shard: std::str::from_utf8(shard).ok()?.into() })
    }

    fn entry(&mut self) -> Option<Outcome<'a>> {
        self.byte(b'{')?;
        let (mut shard, mut code) = (None, None);
        loop {
            let name = self.text()?;
            self.byte(b':')?;
            match name {
                b"ShardId" => shard = Some(self.text()?),
                b"ErrorCode" if self.rest.first() == Some(&b'"') => code = Some(self.text()?),
                _ => self.scalar()?,
            }
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        Some(match (shard, code) {
            (Some(shard), None) => Outcome::Accepted { shard: std::str::from_utf8(shard).ok()?.into() },
            (_, Some(code)) => Outcome::Refused { code: std::str::from_utf8(code).ok()?.into() },
            (None, None) => Outcome::Refused { code: "unknown".into() },
        })
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A text without escapes.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.byte(b'"')?;
        let end = memchr(b'"', self.rest)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        (memchr(b'\\', text).is_none()).then_some(text)
    }

    /// A text, number or word that is not looked at.
    fn scalar(&mut self) -> Option<()> {
        if self.rest.first() == Some(&b'"') {
            return self.text().map(|_| ());
        }
        let end = self.rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']'))?;
        let word = &self.rest[..end];
        self.rest = &self.rest[end..];
        word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'+')).then_some(())
    }
}
