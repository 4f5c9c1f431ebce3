//! Where the CA's key comes from when something must be signed, and for how long that is signed.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use super::problem::quoted;
use super::scalar;
use super::tree::Kind;
use super::value::{Fields, Value};

/// How long an issued certificate lasts where the cluster file says nothing, in days: kubeadm's year.
pub(super) const DEFAULT_LIFETIME: i64 = 365;
/// The shortest and the longest lifetime, in days.
const LIFETIME: std::ops::RangeInclusive<i64> = 1..=3650;

/// The CA's key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaKey {
    /// Where it comes from; without it from ca-key.pem in the pki folder, which may be missing.
    pub from: Option<SecretSource>,
    /// Where the passphrase of an encrypted key comes from; without it the terminal is asked.
    pub passphrase: Option<SecretSource>,
}

/// Where a secret is fetched when it is needed. It stands in no cluster file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    Path(PathBuf),
    /// What a program prints.
    Command {
        /// The program.
        program: PathBuf,
        /// What it is given.
        arguments: Vec<String>,
        /// The folder that it runs in, which is the cluster file's.
        folder: PathBuf,
    },
    /// A variable of nodebake's environment.
    Environment(String),
    /// A file descriptor that nodebake was started with.
    Descriptor(u16),
}

/// As errors name it: of a command only the program, since its arguments may say too much.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Command { program, .. } => write!(f, "the output of {}", program.display()),
            Self::Environment(name) => write!(f, "the variable {name}"),
            Self::Descriptor(number) => write!(f, "file descriptor {number}"),
        }
    }
}

/// Reads `caKey`: a path, or a map.
pub(super) fn ca_key(value: &Value<'_>, folder: &Path) -> Option<CaKey> {
    if matches!(value.tree().kind, Kind::Text { .. }) {
        let path = value.read("the path of the CA's key", scalar::path(folder))?.value;
        return Some(CaKey { from: Some(SecretSource::Path(path)), passphrase: None });
    }
    let fields = value.fields(&["path", "command", "env", "fd", "passphrase"])?;
    let given = ["path", "command", "env", "fd"].iter().any(|key| fields.get(key).is_some());
    let passphrase = fields.get("passphrase");
    // A passphrase alone is that of ca-key.pem.
    let from = if given || passphrase.is_none() { Some(source(value, &fields, folder)?) } else { None };
    let passphrase = match passphrase {
        Some(value) => Some(source(&value, &value.fields(&["path", "command", "env", "fd"])?, folder)?),
        None => None,
    };
    Some(CaKey { from, passphrase })
}

/// The one place that a map names.
fn source(value: &Value<'_>, fields: &Fields<'_>, folder: &Path) -> Option<SecretSource> {
    const ONE: &str = "one of path, command, env and fd says where it comes from";
    let found = [
        fields.get("path").map(|_| {
            let path = fields.optional("path", "the path of a file", scalar::path(folder))?;
            Some(SecretSource::Path(path.value))
        }),
        fields.get("command").map(|_| command(fields, folder)),
        fields.get("env").map(|_| {
            let name = fields.optional("env", "the name of a variable such as CA_KEY", variable)?;
            Some(SecretSource::Environment(name.value))
        }),
        fields.get("fd").map(|_| {
            let number = fields.optional("fd", "the number of a file descriptor such as 3", descriptor)?;
            Some(SecretSource::Descriptor(number.value))
        }),
    ];
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    match found.len() {
        0 => value.report(format!("missing key: {ONE}")),
        1 => return found.pop().flatten(),
        _ => value.report(format!("there are several: {ONE}")),
    }
    None
}

fn command(fields: &Fields<'_>, folder: &Path) -> Option<SecretSource> {
    let words =
        fields.list("command", "words of a command such as [pass, show, ca-key]", |word| Ok(word.to_owned()))?;
    let mut words = words.into_iter().map(|word| word.value);
    let program = words.next()?;
    // What is no path is looked for in $PATH.
    let program = if program.contains('/') { folder.join(program) } else { program.into() };
    Some(SecretSource::Command { program, arguments: words.collect(), folder: folder.to_owned() })
}

/// The name of a variable as a shell can set it (POSIX.1-2024, XBD 8.1).
fn variable(text: &str) -> Result<String, String> {
    let valid = |(at, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    if text.char_indices().all(valid) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not the name of a variable: letters, digits and _", quoted(text)))
}

/// Linux gives a process 1024 of them unless asked for more.
fn descriptor(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number < 1024);
    number.ok_or_else(|| format!("{} is not the number of a file descriptor, from 0 to 1023", quoted(text)))
}

/// How long certificates last: whole days or hours, `365d`, `72h`.
pub(super) fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let parts = text.split_at_checked(text.len().saturating_sub(1));
    let hours = parts.and_then(|(number, unit)| {
        let digits = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse::<i64>().ok().filter(|_| digits)?;
        number.checked_mul(match unit {
            "d" => 24,
            "h" => 1,
            _ => return None,
        })
    });
    match hours {
        None => Err(format!("{} is not a time such as 365d or 72h", quoted(text))),
        Some(hours) if (LIFETIME.start() * 24..=LIFETIME.end() * 24).contains(&hours) => {
            Ok(SignedDuration::from_hours(hours))
        }
        Some(_) => Err(format!("{text} is not from {}d to {}d", LIFETIME.start(), LIFETIME.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        let hours = |hours| Ok(SignedDuration::from_hours(hours));
        let no = |text: &str| Err(format!("{text:?} is not a time such as 365d or 72h"));
        let far = |text: &str| Err(format!("{text} is not from 1d to 3650d"));
        for (text, wanted) in [
            ("1d", hours(24)),
            ("24h", hours(24)),
            ("90d", hours(2160)),
            ("3650d", hours(87600)),
            ("23h", far("23h")),
            ("3651d", far("3651d")),
            ("9999999999999999d", far("9999999999999999d")),
            ("999999999999999999d", no("999999999999999999d")),
            ("365", no("365")),
            ("d", no("d")),
            ("0d", no("0d")),
            ("1y", no("1y")),
            ("1.5d", no("1.5d")),
            ("+1d", no("+1d")),
            ("1 d", no("1 d")),
            ("1ä", no("1ä")),
            ("1D", no("1D")),
        ] {
            assert_eq!(lifetime(text), wanted, "{text}");
        }
    }
}
