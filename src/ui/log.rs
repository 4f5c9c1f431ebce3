//! What goes on inside (`-v`, `NODEBAKE_LOG`), said where all else is said and in the same form.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io::{self, Write};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Ui;
use super::message::record;
use crate::cli::LogFormat;

/// Says from here on what goes on inside, as far as it is asked for.
pub(super) fn begin(ui: &Ui) {
    // Whoever looks for a fault of another crate names it: NODEBAKE_LOG=kube=debug.
    let filter = EnvFilter::try_from_env("NODEBAKE_LOG").ok().or_else(|| match ui.talk.verbose {
        0 => None,
        1 => Some(EnvFilter::new("nodebake=info")),
        _ => Some(EnvFilter::new("nodebake=debug")),
    });
    let Some(filter) = filter else { return };
    let ui = ui.clone();
    let format = ui.talk.log_format;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || Stderr(ui.clone()));
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.event_format(Records).init(),
    }
}

/// Writes while the live lines are out of the way.
struct Stderr(Ui);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.calmly(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as one JSON object on its line.
struct Records;

#[derive(Serialize)]
struct Told {
    level: String,
    message: String,
    /// The node that it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// The part of the program that tells it.
    target: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'static str, String>,
}

impl<S, N> FormatEvent<S, N> for Records
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        let metadata = event.metadata();
        let told = Told {
            level: metadata.level().to_string().to_lowercase(),
            message: fields.remove("message").unwrap_or_default(),
            node: fields.remove("node"),
            target: metadata.target().to_owned(),
            fields,
        };
        writeln!(writer, "{}", record(&told))
    }
}

/// The fields of an event as texts.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
