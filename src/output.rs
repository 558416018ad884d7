//! What goes where: results to stdout, everything else to stderr, colour only for a terminal that wants it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Text output never exceeds this many columns.
pub(crate) const WIDTH: usize = 100;

/// Whether stdout takes colour: a terminal, and `NO_COLOR` unset or empty.
pub(crate) fn color() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Logs to stderr: warnings by default, more with `-v`; `RUST_LOG` overrides.
pub(crate) fn start_logging(verbose: u8) {
    // The AWS SDK warns about every place where it found no credentials; the error that matters comes back to us.
    let level = ["warn,aws_config=error", "warn,millrace=info", "info,millrace=debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color).init();
}
