//! The few pieces of HTML every section is made of. What comes from a record is escaped here, once.

/// Text for an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A key number: people read `text`, tests read the raw value of the record.
pub(super) fn field(name: &str, raw: impl std::fmt::Display, text: &str) -> String {
    format!("<span data-field=\"{name}\" data-value=\"{raw}\">{}</span>", escape(text))
}

/// A state by shape, word and colour.
pub(super) fn state(good: bool, word: &str) -> String {
    let (class, mark) = if good { ("good", "✓") } else { ("bad", "✗") };
    format!("<span class=\"state {class}\"><span aria-hidden=\"true\">{mark}</span> {}</span>", escape(word))
}

/// A column of a table: its heading and whether it holds numbers, which align right.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A table whose cells are HTML already. The first cell of a row heads it. Scrolls by itself when it is too wide.
pub(super) fn table(caption: &str, columns: &[Column], rows: &[Vec<String>]) -> String {
    let mut out = format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{label}\"><table><caption>{label}</caption><thead><tr>",
        label = escape(caption)
    );
    for column in columns {
        match column {
            Column::Text(name) => out.push_str(&format!("<th scope=\"col\">{}</th>", escape(name))),
            Column::Number(name) => out.push_str(&format!("<th scope=\"col\" class=\"n\">{}</th>", escape(name))),
        }
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (n, (cell, column)) in row.iter().zip(columns).enumerate() {
            let class = if matches!(column, Column::Number(_)) { " class=\"n\"" } else { "" };
            match n {
                0 => out.push_str(&format!("<th scope=\"row\"{class}>{cell}</th>")),
                _ => out.push_str(&format!("<td{class}>{cell}</td>")),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// Names with their values; values are HTML already.
pub(super) fn facts(pairs: &[(&str, String)]) -> String {
    let mut out = String::from("<dl class=\"facts\">");
    for (name, value) in pairs {
        out.push_str(&format!("<div><dt>{}</dt><dd>{value}</dd></div>", escape(name)));
    }
    out.push_str("</dl>\n");
    out
}

/// What is folded away until asked for.
pub(super) fn details(summary: &str, body: &str) -> String {
    format!("<details><summary>{}</summary>\n{body}</details>\n", escape(summary))
}

/// A plot with its finding above it and its numbers folded below.
pub(super) fn figure(heading: &str, finding: &str, svg: &str, notes: &str, numbers: &str) -> String {
    let notes = if notes.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>\n", escape(notes)) };
    format!(
        "<figure><h3>{}</h3><figcaption>{}</figcaption>\n{svg}{notes}{}</figure>\n",
        escape(heading),
        escape(finding),
        details("Numbers", numbers)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_record_cannot_leave_its_element_or_attribute() {
        assert_eq!(escape("</script>\"'&"), "&lt;/script&gt;&quot;&#39;&amp;");
        assert!(!table("<b>", &[Column::Text("<i>")], &[]).contains("<b>"));
        assert!(!facts(&[("<b>", String::new())]).contains("<b>"));
    }
}
