//! Figures of several runs.

/// Median, least and most; none of no figures.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Option<[f64; 3]> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    Some([values[values.len().checked_sub(1)? / 2], *values.first()?, *values.last()?])
}

/// The same as words.
pub(crate) fn shown(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    spread(values).map_or_else(String::new, |[median, least, most]| {
        format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
    })
}
