//! Secrets that the cluster file does not hold, but says where to find.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::config::SecretSource;
use crate::secret::Secret;

/// More than any key or passphrase has, in bytes.
const MOST: u64 = 1 << 20;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or a file descriptor cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// A program cannot be started.
    #[error("{} cannot be started", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A program did not do what it was asked for.
    #[error("{} failed ({status})", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// A variable is not set.
    #[error("it is not set")]
    Unset,
    /// Somebody's disk, or an endless stream.
    #[error("it is larger than 1 MiB")]
    TooLarge,
}

/// Fetches a secret: what a file holds, a program prints, or a variable says.
pub(super) fn read(source: &SecretSource) -> Result<Secret, SourceError> {
    match source {
        SecretSource::Path(path) => read_file(path),
        // A pipe that was opened by whoever started us; procfs opens it again for reading.
        SecretSource::Descriptor(number) => read_file(&Path::new("/dev/fd").join(number.to_string())),
        SecretSource::Environment(name) => {
            let value = std::env::var_os(name).ok_or(SourceError::Unset)?;
            Ok(Secret::new(value.into_vec()))
        }
        SecretSource::Command { program, arguments, folder } => run(program, arguments, folder),
    }
}

/// The first line of a secret, which is what a passphrase is.
pub(super) fn first_line(secret: &Secret) -> Secret {
    let line = secret.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
    Secret::new(line.strip_suffix(b"\r").unwrap_or(line))
}

fn read_file(path: &Path) -> Result<Secret, SourceError> {
    read_all(File::open(path).map_err(SourceError::Unreadable)?)
}

fn read_all(reader: impl Read) -> Result<Secret, SourceError> {
    let mut bytes = Vec::new();
    reader.take(MOST + 1).read_to_end(&mut bytes).map_err(SourceError::Unreadable)?;
    if bytes.len() as u64 > MOST { Err(SourceError::TooLarge) } else { Ok(Secret::new(bytes)) }
}

/// Its input and its errors are ours: it may ask somebody.
fn run(program: &Path, arguments: &[String], folder: &Path) -> Result<Secret, SourceError> {
    let start = |source| SourceError::Start { program: program.to_owned(), source };
    let mut child =
        Command::new(program).args(arguments).current_dir(folder).stdout(Stdio::piped()).spawn().map_err(start)?;
    let printed = match child.stdout.take() {
        Some(stdout) => read_all(stdout),
        None => Ok(Secret::new("")),
    };
    if printed.is_err() {
        // It would wait for ever for somebody to read the rest; one that has ended already needs no end.
        let _ = child.kill();
    }
    let status = child.wait().map_err(SourceError::Unreadable)?;
    let secret = printed?;
    if status.success() { Ok(secret) } else { Err(SourceError::Failed { program: program.to_owned(), status }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str) -> SecretSource {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        SecretSource::Command { program: "sh".into(), arguments, folder: "/usr".into() }
    }

    #[test]
    fn secrets_are_fetched_or_it_is_said_why_not() {
        let told = |source: &SecretSource| {
            read(source).map(|secret| String::from_utf8_lossy(secret.expose()).into_owned()).map_err(|error| {
                let why = std::error::Error::source(&error).map(|why| format!(": {why}"));
                format!("{error}{}", why.unwrap_or_default())
            })
        };
        let missing = "No such file or directory (os error 2)";
        let program = |program: &str| SecretSource::Command {
            program: program.into(),
            arguments: Vec::new(),
            folder: "/usr".into(),
        };
        for (source, wanted) in [
            (command("printf 'a\\nb'; pwd"), Ok("a\nb/usr\n".to_owned())),
            (command("printf secret; exit 3"), Err("sh failed (exit status: 3)".to_owned())),
            (command("kill -9 $$"), Err("sh failed (signal: 9 (SIGKILL))".to_owned())),
            (command("cat /dev/zero"), Err("it is larger than 1 MiB".to_owned())),
            (command("head -c 1048577 /dev/zero"), Err("it is larger than 1 MiB".to_owned())),
            (program("/nonexistent/key"), Err(format!("/nonexistent/key cannot be started: {missing}"))),
            (SecretSource::Path("/nonexistent".into()), Err(format!("it cannot be read: {missing}"))),
            (SecretSource::Path("/dev/zero".into()), Err("it is larger than 1 MiB".to_owned())),
            (SecretSource::Descriptor(1023), Err(format!("it cannot be read: {missing}"))),
            (SecretSource::Environment("NODEBAKE_NOT_SET".to_owned()), Err("it is not set".to_owned())),
            (SecretSource::Environment("CARGO_PKG_NAME".to_owned()), Ok("nodebake".to_owned())),
        ] {
            assert_eq!(told(&source), wanted, "{source:?}");
        }
    }

    #[test]
    fn a_passphrase_is_one_line() {
        for (text, wanted) in [("a b\n", "a b"), ("a\r\nb", "a"), ("a", "a"), ("", ""), ("\na", ""), ("a\rb", "a\rb")] {
            assert_eq!(first_line(&Secret::new(text)), Secret::new(wanted), "{text:?}");
        }
    }
}
