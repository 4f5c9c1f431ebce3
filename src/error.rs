//! Every failure of the program with its exit code and hint.

use std::error::Error as StdError;

/// `error` and its sources, joined by ": "; no source repeats in the text of what it caused.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
