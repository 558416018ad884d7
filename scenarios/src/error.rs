//! What is wrong with a scenario, where it says so, and what to write instead.
//!
//! Every error here is a configuration error (exit code 2). Rendered by `miette` it shows the text at fault, which is
//! a line of the file or the flag on the command line that overrode it.

use std::{io, ops::Range, path::PathBuf};

use miette::{Diagnostic, NamedSource, SourceSpan};

/// Why there is no scenario.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum ScenarioError {
    /// There is no such file, nor a shipped scenario of that name.
    #[error("there is no scenario {}", path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
        /// What may have been meant.
        #[help]
        help: String,
    },
    /// The file is there but cannot be read.
    #[error("cannot read the scenario {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
        /// What to do about it.
        #[help]
        help: String,
    },
    /// The file or an override says something that makes no scenario.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Mistake(Box<Mistake>),
}

/// One mistake in the text of a scenario or of an override; further ones follow as related diagnostics.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Mistake {
    message: String,
    label: String,
    help: String,
    text: NamedSource<String>,
    span: SourceSpan,
    place: String,
    others: Vec<Mistake>,
}

impl Mistake {
    /// Where it is: `file:line:column`, or `command line:1:column` when an override is at fault.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What to write instead.
    #[must_use]
    pub fn fix(&self) -> &str {
        &self.help
    }

    /// The other mistakes found in the same reading.
    #[must_use]
    pub fn others(&self) -> &[Mistake] {
        &self.others
    }
}

impl Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(miette::LabeledSpan::new_with_span(Some(self.label.clone()), self.span))))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        (!self.others.is_empty())
            .then(|| Box::new(self.others.iter().map(|m| m as &dyn Diagnostic)) as Box<dyn Iterator<Item = _>>)
    }
}

/// A text that parts of a scenario were written in: the file, or one flag.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Where something was written: which text, and the bytes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) text: usize,
    start: usize,
    end: usize,
}

impl Origin {
    pub(crate) fn new(text: usize, span: Range<usize>) -> Self {
        Self { text, start: span.start, end: span.end }
    }
}

/// A mistake before it is shown: it knows its origin, not the text around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) origin: Origin,
    pub(crate) message: String,
    pub(crate) label: String,
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(origin: &Origin, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { origin: origin.clone(), message: message.into(), label: "here".to_owned(), help: help.into() }
    }

    /// Says more than "here" under the text.
    pub(crate) fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    fn shown(self, texts: &[Text]) -> Mistake {
        let Text { name, text } =
            texts.get(self.origin.text).cloned().unwrap_or(Text { name: String::new(), text: String::new() });
        let start = self.origin.start.min(text.len());
        let rest = &text.as_bytes()[start..self.origin.end.clamp(start, text.len())];
        // A label over many lines hides what it points at: the first line is enough.
        let length = rest.iter().position(|b| *b == b'\n' || *b == b'\r').unwrap_or(rest.len());
        let before = text.as_bytes()[..start].rsplit(|b| *b == b'\n').next().unwrap_or_default();
        let line = text.as_bytes()[..start].iter().filter(|b| **b == b'\n').count() + 1;
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        Mistake {
            message: self.message,
            label: self.label,
            help: self.help,
            place: format!("{name}:{line}:{column}"),
            span: (start, length).into(),
            text: NamedSource::new(name, text),
            others: Vec::new(),
        }
    }
}

/// The error for one fault.
pub(crate) fn mistake(fault: Fault, texts: &[Text]) -> ScenarioError {
    ScenarioError::Mistake(Box::new(fault.shown(texts)))
}

/// The error for any number of faults, in the order in which they were written; nothing when there is none.
pub(crate) fn mistakes(mut faults: Vec<Fault>, texts: &[Text]) -> Result<(), ScenarioError> {
    faults.sort_by(|a, b| a.origin.cmp(&b.origin));
    faults.dedup();
    let mut shown = faults.into_iter().map(|fault| fault.shown(texts));
    match shown.next() {
        None => Ok(()),
        Some(mut first) => {
            first.others = shown.collect();
            Err(ScenarioError::Mistake(Box::new(first)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<Text> {
        vec![Text { name: "a.toml".into(), text: "x = 1\nä = [\n 2]\n".into() }]
    }

    fn shown(span: Range<usize>) -> Mistake {
        match mistakes(vec![Fault::new(&Origin::new(0, span), "wrong", "do this")], &texts()) {
            Err(ScenarioError::Mistake(mistake)) => *mistake,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_place_is_counted_in_lines_and_characters_from_one() {
        assert_eq!(shown(0..1).place(), "a.toml:1:1");
        assert_eq!(shown(11..16).place(), "a.toml:2:5");
        assert_eq!(shown(99..120).place(), "a.toml:4:1");
    }

    #[test]
    fn a_label_stays_on_one_line() {
        assert_eq!(shown(11..16).span.len(), 1);
    }

    #[test]
    fn several_faults_come_in_the_order_of_the_text_and_once_each() {
        let fault = |at: usize| Fault::new(&Origin::new(0, at..at + 1), format!("at {at}"), "");
        let Err(ScenarioError::Mistake(mistake)) = mistakes(vec![fault(6), fault(0), fault(6)], &texts()) else {
            panic!("no mistake");
        };
        assert_eq!(mistake.to_string(), "at 0");
        assert_eq!(mistake.others().iter().map(ToString::to_string).collect::<Vec<_>>(), ["at 6"]);
        assert!(mistakes(Vec::new(), &texts()).is_ok());
    }
}
