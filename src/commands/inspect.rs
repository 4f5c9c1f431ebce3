//! `nodebake inspect`: what is in an image.

use super::table;
use crate::cli::Inspect;
use crate::error::Error;
use crate::image::inspect::{InspectError, Inspection};
use crate::image::iso9660::{Entry, Kind};
use crate::printable;
use crate::progress::{Progress as _, Task};
use crate::ui::Ui;

/// Shown in place of what is secret.
const SECRET: &str = "(secret)";

pub(super) fn run(args: &Inspect, ui: &Ui) -> Result<(), Error> {
    let inspection = Inspection::open(&args.image)?;
    let shown = Shown { inspection: &inspection, args, ui };
    let entry = inspection.entry(args.path.as_deref().unwrap_or("/"))?;
    if entry.kind == Kind::File && !args.digest {
        return Ok(shown.print(entry)?);
    }
    let mut text = String::new();
    if args.path.is_none() {
        text.push_str(&table(&shown.head()?));
        text.push('\n');
    }
    text.push_str(&table(&shown.list(entry)?));
    ui.data(&text);
    Ok(())
}

struct Shown<'a> {
    inspection: &'a Inspection,
    args: &'a Inspect,
    ui: &'a Ui,
}

impl Shown<'_> {
    /// What the image is.
    fn head(&self) -> Result<Vec<Vec<String>>, InspectError> {
        let image = self.inspection.image();
        let mut rows = Vec::new();
        let mut row = |name: &str, value: &str| rows.push(vec![name.to_owned(), printable::line(value)]);
        row("label", image.label());
        row("uuid", image.uuid().as_deref().unwrap_or("-"));
        row("size", &image.size().to_string());
        if self.args.digest {
            let task = self.task(&self.args.image.display().to_string(), image.size());
            row("digest", &format!("sha256:{}", self.inspection.digest(|count| task.advance(count))?));
        }
        if let Some(seed) = self.inspection.seed() {
            row("node", seed.local_hostname.as_deref().unwrap_or("-"));
            row("instance-id", seed.instance_id.as_deref().unwrap_or("-"));
        }
        if let Some(arch) = self.inspection.payload() {
            row("payload", &arch);
        }
        Ok(rows)
    }

    /// An entry and what is beneath it, one a line.
    fn list(&self, entry: &Entry) -> Result<Vec<Vec<String>>, InspectError> {
        let mut head = vec!["MODE", "OWNER", "SIZE", "TIME"];
        head.extend(self.args.digest.then_some("DIGEST"));
        head.push("PATH");
        let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
        for entry in self.inspection.beneath(entry) {
            let mut row = vec![
                mode(entry),
                format!("{}:{}", entry.owner.uid, entry.owner.gid),
                if entry.kind == Kind::File { entry.size.to_string() } else { "-".to_owned() },
                entry.modified.to_string(),
            ];
            if self.args.digest {
                row.push(self.digest(entry)?);
            }
            row.push(match &entry.kind {
                Kind::Link(target) => format!("{} -> {}", printable::line(&entry.path), printable::line(target)),
                _ => printable::line(&entry.path),
            });
            rows.push(row);
        }
        Ok(rows)
    }

    /// A secret could be guessed by its digest.
    fn digest(&self, entry: &Entry) -> Result<String, InspectError> {
        if entry.kind != Kind::File {
            return Ok("-".to_owned());
        }
        if self.inspection.is_secret(entry) && !self.args.show_secrets {
            return Ok(SECRET.to_owned());
        }
        let task = self.task(&entry.path, entry.size);
        Ok(format!("sha256:{}", self.inspection.file_digest(entry, |count| task.advance(count))?))
    }

    /// A file's bytes, as they are; a terminal gets nothing but text.
    fn print(&self, entry: &Entry) -> Result<(), InspectError> {
        if !self.args.show_secrets {
            self.inspection.check_open(entry)?;
        }
        match self.ui.bytes().map_err(|source| InspectError::Output { source })? {
            Some(mut stdout) => self.inspection.copy(entry, &mut stdout),
            None => self.inspection.text(entry).map(|text| self.ui.data(&text)),
        }
    }

    /// Work whose end nobody needs to be told of.
    fn task(&self, name: &str, size: u64) -> Box<dyn Task> {
        self.ui.task(&format!("hash {}", printable::line(name)), Some(size))
    }
}

/// As `ls -l` shows it.
fn mode(entry: &Entry) -> String {
    let kind = match &entry.kind {
        Kind::Directory => 'd',
        Kind::File => '-',
        Kind::Link(_) => 'l',
        Kind::Special(letter) => *letter,
    };
    let bit = |index: u32| entry.mode & (0o400 >> index) != 0;
    let mut text = String::from(kind);
    for index in 0..9 {
        text.push(if bit(index) { ['r', 'w', 'x'][index as usize % 3] } else { '-' });
    }
    // Set-id and sticky bits stand where execution does: in small letters if that is allowed too.
    for (special, at, letter) in [(0o4000, 3, 's'), (0o2000, 6, 's'), (0o1000, 9, 't')] {
        if entry.mode & special != 0 {
            let shown = if text.as_bytes()[at] == b'x' { letter } else { letter.to_ascii_uppercase() };
            text.replace_range(at..=at, &shown.to_string());
        }
    }
    text
}
