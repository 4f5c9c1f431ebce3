//! What is said on stderr: as lines for people, or as one JSON object a line.

use serde::Serialize;

use crate::cli::LogFormat;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Info,
    Warn,
    Error,
}

/// One thing that is said; as JSON its fields are a promise (docs/output.md).
#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    pub(super) level: Level,
    #[serde(rename = "message")]
    pub(super) text: &'a str,
    /// The node that it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<&'a str>,
    /// The end of a log that tells more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<&'a str>,
}

impl<'a> Message<'a> {
    pub(super) fn new(level: Level, text: &'a str) -> Self {
        Self { level, text, node: None, hint: None, log: None }
    }

    /// As it is written, without the line feed at its end.
    pub(super) fn written(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.lines(),
            LogFormat::Json => {
                // Line feeds around it are for people's eyes.
                let message = Message { text: self.text.trim(), ..*self };
                record(&message)
            }
        }
    }

    fn lines(&self) -> String {
        let prefix = match self.level {
            Level::Info => "",
            Level::Warn => "warning: ",
            Level::Error => "error: ",
        };
        let mut lines = vec![format!("{prefix}{}", self.text)];
        lines.extend(self.log.into_iter().flat_map(str::lines).map(|line| format!("  | {line}")));
        if let Some(hint) = self.hint {
            lines.push(format!("\nhint: {hint}"));
        }
        lines.join("\n")
    }
}

/// A JSON object on one line, with the time.
pub(super) fn record(fields: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Record<'a, T> {
        time: String,
        #[serde(flatten)]
        fields: &'a T,
    }
    let time = format!("{:.3}", jiff::Timestamp::now());
    // Texts and numbers under fixed names: these always can be written.
    serde_json::to_string(&Record { time, fields }).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As JSON, without the time, which must be one.
    fn fields(message: &Message) -> Value {
        let written = message.written(LogFormat::Json);
        assert_eq!(written.lines().count(), 1, "{written}");
        let mut value: Value = serde_json::from_str(&written).unwrap();
        let time = value.as_object_mut().unwrap().remove("time").unwrap();
        let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
        assert!(jiff::Timestamp::now().duration_since(time).as_secs() < 60, "{time}");
        value
    }

    #[test]
    fn a_message_has_two_forms() {
        let plain = Message::new(Level::Info, "\nthe next step:\n  install it");
        let whole = Message {
            node: Some("worker-node-1"),
            hint: Some("look \"there\""),
            log: Some("one\ntwo"),
            ..Message::new(Level::Error, "worker-node-1: it stopped")
        };
        let warning = Message { node: Some("n"), ..Message::new(Level::Warn, "n: is old") };
        assert_eq!(plain.written(LogFormat::Text), "\nthe next step:\n  install it");
        assert_eq!(fields(&plain), json!({"level": "info", "message": "the next step:\n  install it"}));
        assert_eq!(warning.written(LogFormat::Text), "warning: n: is old");
        assert_eq!(fields(&warning), json!({"level": "warn", "message": "n: is old", "node": "n"}));
        let lines = "error: worker-node-1: it stopped\n  | one\n  | two\n\nhint: look \"there\"";
        assert_eq!(whole.written(LogFormat::Text), lines);
        let wanted = json!({
            "level": "error", "message": "worker-node-1: it stopped", "node": "worker-node-1",
            "hint": "look \"there\"", "log": "one\ntwo",
        });
        assert_eq!(fields(&whole), wanted);
    }
}
