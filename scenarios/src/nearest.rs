//! "Did you mean": the known name that is closest to a mistyped one.

/// The candidate with the fewest edits to `word`, when it is near enough to be what was meant: up to a third of the
/// letters, at least one. Case does not count.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edits(&word, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_match_known_answers() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("rate", "raet", 1),
            ("ca", "abc", 3),
        ] {
            assert_eq!(edits(a, b), expected, "{a} -> {b}");
            assert_eq!(edits(b, a), expected, "{b} -> {a}");
        }
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = ["rate", "for", "linger", "batch_records"];
        assert_eq!(nearest("raet", names), Some("rate"));
        assert_eq!(nearest("Batch_Record", names), Some("batch_records"));
        assert_eq!(nearest("shards", names), None);
        assert_eq!(nearest("x", []), None);
    }
}
