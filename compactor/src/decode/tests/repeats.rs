//! A value that is written as the one before it is taken from there: as if each record had been read for itself.

use arrow::util::display::array_value_to_string;

use super::*;

/// The rows of a text, written out, and how many pieces are bad.
fn rows(text: &str) -> (Vec<String>, usize) {
    let (mut rows, mut bad) = (Vec::new(), 0);
    let mut take = |chunk: DecodedChunk| {
        bad += chunk.bad.len();
        let value = |column, row| array_value_to_string(column, row).unwrap();
        let valid = |column: &arrow::array::ArrayRef, row| if column.is_null(row) { "null" } else { "" };
        for row in 0..chunk.batch.num_rows() {
            let values = chunk.batch.columns().iter().map(|c| value(c, row) + valid(c, row));
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
        Ok(())
    };
    Decoder::new(schema()).decode_object(Bytes::copy_from_slice(text.as_bytes()), "o", &mut take).unwrap();
    (rows, bad)
}

/// Fields and values that begin alike, come back, are missing, are there twice, or are of the wrong type.
fn record() -> impl Strategy<Value = String> {
    let values = [
        "\"a\"",
        "\"ab\"",
        "\"a\\n\"",
        "\"\"",
        "1",
        "12",
        "1.5",
        "-0",
        "1e0",
        "null",
        "true",
        "false",
        "\"2025-01-01T00:00:00Z\"",
        "\"2025-01-01T00:00:00.5Z\"",
        "{\"x\":\n1}",
    ];
    let field = (prop::sample::select(vec!["b", "i", "n", "s", "t"]), prop::sample::select(values.to_vec()));
    let field = (field, prop::sample::select(vec!["", " ", "\n"])).prop_map(|((k, v), s)| format!("\"{k}\":{v}{s}"));
    let record = prop::collection::vec(field, 0..5).prop_map(|fields| format!("{{{}}}", fields.join(",")));
    prop_oneof![20 => record, 1 => Just("oops".to_owned())]
}

#[test]
fn records_in_a_row_are_read_as_each_for_itself() {
    // Few records, each many times.
    let texts = prop::collection::vec(record(), 1..4)
        .prop_flat_map(|few| prop::collection::vec(prop::sample::select(few), 1..40));
    proptest!(|(records in texts)| {
        let together = rows(&records.join("\n"));
        let mut alone = (Vec::new(), 0);
        for record in &records {
            let (row, bad) = rows(record);
            alone.0.extend(row);
            alone.1 += bad;
        }
        prop_assert_eq!(together, alone);
    });
}

#[test]
fn a_value_that_only_begins_as_the_one_before_is_another_and_what_was_dropped_is_not_taken() {
    let text = "{\"i\":1,\"s\":\"a\"}\n{\"i\":12,\"s\":\"ab\"}\n{\"i\":12,\"s\":\"ab\",\"b\":0}\n{\"i\":12}\n{\"i\":12,\"s\":\"ab\"}\n";
    let (rows, bad) = rows(text);
    let want = ["|1||a|", "|12||ab|", "|12|||", "|12||ab|"];
    let got: Vec<_> = rows.iter().map(|row| row.replace("null", "")).collect();
    assert_eq!((got.iter().map(String::as_str).collect::<Vec<_>>(), bad), (want.to_vec(), 1));
}
