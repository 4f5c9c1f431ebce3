//! Plain lines for people on standard error, and the few lines for programs on standard output.

use std::io::Write;

/// Writes one line to standard error, with a UTC time stamp; a closed standard error is no reason to stop.
pub fn say(message: impl std::fmt::Display) {
    let now = jiff::Timestamp::now();
    let _ = writeln!(std::io::stderr().lock(), "{now:.3} {message}");
}

/// Writes one line to standard output for a program that reads it.
///
/// # Errors
/// Standard output is closed.
pub fn tell(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// `error` and its sources, joined by ": ".
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        chain.push_str(": ");
        chain.push_str(&inner.to_string());
        source = inner.source();
    }
    chain
}

/// Writes `error`, its sources joined by ": ", to standard error.
pub fn fail(error: &dyn std::error::Error) {
    let _ = writeln!(std::io::stderr().lock(), "error: {}", chain(error));
}
