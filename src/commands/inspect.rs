//! `nodebake inspect`: what is in an image.

use serde::Serialize;

use super::table;
use crate::cli::{Format, Inspect};
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
    if entry.kind == Kind::File && !args.digest && args.report.output == Format::Table {
        return Ok(shown.print(entry)?);
    }
    let image = if args.path.is_none() { Some(shown.image()?) } else { None };
    let files = inspection.beneath(entry).map(|entry| shown.file(entry)).collect::<Result<_, _>>()?;
    let document = Document { image, files };
    ui.show(args.report.output, None, &document, || document.table(args.digest))
}

/// What is in an image, as programs read it.
#[derive(Serialize)]
struct Document {
    /// None where only a path in it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Head>,
    files: Vec<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    label: String,
    uuid: Option<String>,
    /// In bytes.
    size: u64,
    /// Where it is asked for.
    digest: Option<String>,
    /// Whose seed it is; none of what is no seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<Owner>,
    /// The architecture of a payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    node: Option<String>,
    instance_id: Option<String>,
}

#[derive(Serialize)]
struct File {
    path: String,
    mode: String,
    uid: u32,
    gid: u32,
    /// In bytes; none of what is no file.
    size: Option<u64>,
    modified: String,
    /// Where it is asked for; of a secret only "(secret)", since it could be guessed by its digest.
    digest: Option<String>,
    /// Where a link leads.
    target: Option<String>,
}

impl Document {
    fn table(&self, digests: bool) -> String {
        let head = self.image.as_ref().map(|image| table(&image.rows()) + "\n").unwrap_or_default();
        let mut heads = vec!["MODE", "OWNER", "SIZE", "TIME"];
        heads.extend(digests.then_some("DIGEST"));
        heads.push("PATH");
        let mut rows = vec![heads.into_iter().map(str::to_owned).collect()];
        rows.extend(self.files.iter().map(|file| file.row(digests)));
        head + &table(&rows)
    }
}

impl Head {
    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: &str| rows.push(vec![name.to_owned(), printable::line(value)]);
        let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        row("label", &self.label);
        row("uuid", &or_dash(&self.uuid));
        row("size", &self.size.to_string());
        if let Some(digest) = &self.digest {
            row("digest", digest);
        }
        if let Some(seed) = &self.seed {
            row("node", &or_dash(&seed.node));
            row("instance-id", &or_dash(&seed.instance_id));
        }
        if let Some(arch) = &self.payload {
            row("payload", arch);
        }
        rows
    }
}

impl File {
    fn row(&self, digests: bool) -> Vec<String> {
        let dash = || "-".to_owned();
        let size = self.size.map_or_else(dash, |size| size.to_string());
        let mut row = vec![self.mode.clone(), format!("{}:{}", self.uid, self.gid), size, self.modified.clone()];
        if digests {
            row.push(self.digest.clone().unwrap_or_else(dash));
        }
        row.push(match &self.target {
            Some(target) => format!("{} -> {}", printable::line(&self.path), printable::line(target)),
            None => printable::line(&self.path),
        });
        row
    }
}

struct Shown<'a> {
    inspection: &'a Inspection,
    args: &'a Inspect,
    ui: &'a Ui,
}

impl Shown<'_> {
    fn image(&self) -> Result<Head, InspectError> {
        let image = self.inspection.image();
        let digest = |size| {
            let task = self.task(&self.args.image.display().to_string(), size);
            Ok::<_, InspectError>(format!("sha256:{}", self.inspection.digest(|count| task.advance(count))?))
        };
        Ok(Head {
            label: image.label().to_owned(),
            uuid: image.uuid(),
            size: image.size(),
            digest: if self.args.digest { Some(digest(image.size())?) } else { None },
            seed: self
                .inspection
                .seed()
                .map(|seed| Owner { node: seed.local_hostname.clone(), instance_id: seed.instance_id.clone() }),
            payload: self.inspection.payload(),
        })
    }

    fn file(&self, entry: &Entry) -> Result<File, InspectError> {
        Ok(File {
            path: entry.path.clone(),
            mode: mode(entry),
            uid: entry.owner.uid,
            gid: entry.owner.gid,
            size: (entry.kind == Kind::File).then_some(entry.size),
            modified: entry.modified.to_string(),
            digest: if self.args.digest { self.digest(entry)? } else { None },
            target: if let Kind::Link(target) = &entry.kind { Some(target.clone()) } else { None },
        })
    }

    /// A secret could be guessed by its digest.
    fn digest(&self, entry: &Entry) -> Result<Option<String>, InspectError> {
        if entry.kind != Kind::File {
            return Ok(None);
        }
        if self.inspection.is_secret(entry) && !self.args.show_secrets {
            return Ok(Some(SECRET.to_owned()));
        }
        let task = self.task(&entry.path, entry.size);
        Ok(Some(format!("sha256:{}", self.inspection.file_digest(entry, |count| task.advance(count))?)))
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
