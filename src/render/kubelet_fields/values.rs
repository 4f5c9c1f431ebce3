//! Durations and quantities as Kubernetes writes them.

use std::time::Duration;

/// Go's `time.ParseDuration`, for what is not negative.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = None;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let span = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = Some(total.unwrap_or(Duration::ZERO).checked_add(span)?);
        rest = tail;
    }
    total
}

/// A quantity that is not negative: digits with a binary, decimal or exponent suffix (apimachinery's `resource.Quantity`).
pub(super) fn is_quantity(text: &str) -> bool {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    is_number(number) && is_suffix(suffix)
}

fn is_suffix(suffix: &str) -> bool {
    const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent =
        suffix.strip_prefix(['e', 'E']).map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    SUFFIXES.contains(&suffix) || exponent.is_some_and(|e| !e.is_empty() && e.bytes().all(|byte| byte.is_ascii_digit()))
}

/// From 0% to 100%.
pub(super) fn is_percentage(text: &str) -> bool {
    text.strip_suffix('%')
        .is_some_and(|number| is_number(number) && number.parse().is_ok_and(|number: f64| number <= 100.0))
}

fn is_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits > 0 && text.bytes().filter(|byte| *byte == b'.').count() <= 1 && text.len() <= digits + 1
}
