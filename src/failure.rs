//! Why a command could not do its work, as a report for a person and an exit code for a script.

use std::error::Error;

use miette::{Diagnostic, Report, miette};

/// Exit code: the configuration or the command line is wrong.
pub(crate) const CONFIGURATION: u8 = 2;
/// Exit code: the environment failed.
pub(crate) const ENVIRONMENT: u8 = 3;

/// A command that stopped before it had anything to judge.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked cannot be done as written.
    Configuration(Report),
    /// What was asked is fine, the world is not.
    Environment(Report),
}

impl Failure {
    /// A wrong configuration that knows its place in the source.
    pub(crate) fn diagnostic(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self::Configuration(Report::new(error))
    }

    /// A wrong configuration in one sentence, with what to do instead.
    pub(crate) fn configuration(message: impl Into<String>, help: &str) -> Self {
        Self::Configuration(miette!(help = help.to_owned(), "{}", message.into()))
    }

    /// A failing environment in one sentence.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::Environment(miette!("{}", message.into()))
    }

    /// An error of one of the rooms, which knows whether the configuration is to blame.
    pub(crate) fn of(error: &(impl Error + 'static), configuration: bool) -> Self {
        let report = miette!("{}", chain(error));
        if configuration { Self::Configuration(report) } else { Self::Environment(report) }
    }

    /// The process's exit code.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => CONFIGURATION,
            Self::Environment(_) => ENVIRONMENT,
        }
    }

    /// Prints the report to stderr.
    pub(crate) fn print(&self) {
        match self {
            Self::Configuration(report) | Self::Environment(report) => eprintln!("{report:?}"),
        }
    }
}

/// An error with its sources, without saying anything twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_the_message_already_quotes_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("lake: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error), "lake: disk full");
    }
}
