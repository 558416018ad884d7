//! Lines of bounded width: wrapped sentences, cut names, aligned columns. Width is counted in characters.

/// What a piece of text says by its colour; the words say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// The terminal's own colour.
    Plain,
    /// A heading.
    Bold,
    /// Kept.
    Good,
    /// Broken.
    Bad,
    /// Not to be relied on.
    Warn,
}

impl Ink {
    /// The SGR parameters (ECMA-48): bold, and the three colours every palette has.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Good => Some("32"),
            Self::Bad => Some("1;31"),
            Self::Warn => Some("1;33"),
        }
    }
}

/// Which edge of its column a cell keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Text under construction, never wider than its width.
#[derive(Debug)]
pub(crate) struct Page {
    width: usize,
    color: bool,
    text: String,
}

impl Page {
    pub(crate) const fn new(width: usize, color: bool) -> Self {
        Self { width, color, text: String::new() }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// One line of coloured pieces, cut at the width.
    pub(crate) fn spans(&mut self, spans: &[(Ink, &str)]) {
        let mut left = self.width;
        for (ink, text) in spans {
            let text = fit(&clean(text), left);
            left -= text.chars().count();
            self.paint(*ink, &text);
        }
        self.text.push('\n');
    }

    /// An empty line and a heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.spans(&[(Ink::Bold, text)]);
    }

    /// `text` in as many lines as it takes, the first after `prefix` (which alone is coloured), the others below its end.
    pub(crate) fn wrapped(&mut self, ink: Ink, prefix: &str, text: &str) {
        let prefix = fit(&clean(prefix), self.width / 2);
        let indent = prefix.chars().count();
        for (n, line) in wrap(&clean(text), self.width - indent).into_iter().enumerate() {
            if n == 0 {
                self.paint(ink, &prefix);
            } else {
                self.text.push_str(&" ".repeat(indent));
            }
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    /// A table under its header line. When it is too wide the first column is cut, then the lines are.
    pub(crate) fn table(&mut self, header: Vec<String>, rows: Vec<Vec<String>>, aligns: &[Align]) {
        const GAP: usize = 2;
        let cells = |row: &Vec<String>| row.iter().map(|c| clean(c)).collect::<Vec<_>>();
        let lines: Vec<Vec<String>> = std::iter::once(&header).chain(&rows).map(cells).collect();
        let mut widths: Vec<usize> = (0..aligns.len())
            .map(|n| lines.iter().filter_map(|l| l.get(n)).map(|c| c.chars().count()).max().unwrap_or(0))
            .collect();
        let others: usize = widths.iter().skip(1).map(|w| w + GAP).sum::<usize>() + GAP;
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(self.width.saturating_sub(others).max(8));
        }
        self.text.push('\n');
        for (n, line) in lines.iter().enumerate() {
            let mut out = String::new();
            for ((cell, width), align) in line.iter().zip(&widths).zip(aligns) {
                let cell = fit(cell, *width);
                match (out.is_empty(), align) {
                    (true, _) if n == 0 => out.push_str(&format!("{cell:<w$}", w = width + GAP)),
                    (true, _) => out.push_str(&format!("  {cell:<width$}")),
                    (false, Align::Right) => out.push_str(&format!("  {cell:>width$}")),
                    (false, Align::Left) => out.push_str(&format!("  {cell:<width$}")),
                }
            }
            self.spans(&[(if n == 0 { Ink::Bold } else { Ink::Plain }, out.trim_end())]);
        }
    }

    fn paint(&mut self, ink: Ink, text: &str) {
        match ink.code().filter(|_| self.color && !text.is_empty()) {
            Some(code) => self.text.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
            None => self.text.push_str(text),
        }
    }
}

/// Text without control characters: a name from a file must not move the cursor.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `text` in at most `width` characters, its end replaced by an ellipsis when it does not fit.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// `text` broken between words into lines of at most `width` characters; a longer word is cut. At least one line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let word = fit(word, width);
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(&word);
            used += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_and_a_word_too_long_is_cut() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 5), ["abcd…", "k"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!((fit("abc", 3).as_str(), fit("abcd", 3).as_str(), fit("abc", 0).as_str()), ("abc", "ab…", ""));
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let mut page = Page::new(40, false);
        page.spans(&[(Ink::Plain, "a\u{1b}[2Jb\nc")]);
        page.wrapped(Ink::Plain, "", "d\u{7}e");
        assert_eq!(page.finish(), "a [2Jb c\nd e\n");
    }
}
