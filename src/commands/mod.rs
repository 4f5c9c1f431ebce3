//! One file per verb: load, call the library, report.

mod build;
mod bundle;
mod capacity;
mod completions;
mod console;
mod doctor;
mod down;
mod explain;
mod fetch;
mod fleet;
mod gc;
mod holder;
mod hosts;
mod identity;
mod image;
mod init;
mod inspect;
mod kubeconfig;
mod lock;
mod logs;
mod plan;
mod power;
mod render;
mod status;
mod taken_over;
mod target;
mod up;
mod verify;
mod wait;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::artifacts::{Limits, Lock, Source, Store, wanted};
use crate::build::Build;
use crate::cli::{Bundle, BundleVerb, Cli, Consent, Format, Verb, Which};
use crate::cluster::Cluster;
use crate::config::{ClusterId, Config, Download, Node, NodeName, SCHEMA};
use crate::error::{Error, ExitCode};
use crate::identity::{Ca, Identities, IdentityError};
use crate::image::iso9660::Time;
use crate::ui::Ui;

pub use gc::GcError;
pub use image::ImageError;

/// Does what the command line asks for; gives the exit code where it ends well and yet has something to tell by it.
pub fn run(cli: &Cli, ui: &Ui) -> Result<Option<ExitCode>, Error> {
    let done = match &cli.verb {
        Verb::Completions(args) => {
            completions::run(*args, ui);
            Ok(())
        }
        Verb::Schema => {
            ui.data(SCHEMA);
            Ok(())
        }
        Verb::Init(args) => init::run(&cli.config, ui, *args),
        Verb::Gc(args) => gc::run(cli, ui, args),
        Verb::Inspect(args) => inspect::run(args, ui),
        Verb::Bundle(Bundle { verb: BundleVerb::Import(args) }) => bundle::import(cli, ui, args),
        verb => {
            let config = Config::load(&cli.config)?;
            tracing::info!(file = %config.file.display(), nodes = config.nodes.len(), "read the cluster file");
            let file = cli.config.display();
            config.warnings.iter().for_each(|warning| ui.warn(&format!("{file}:{warning}")));
            return on_cluster_file(&Session { cli, ui, config, now: Timestamp::now() }, verb);
        }
    };
    done.map(|()| None)
}

/// What to do next where a verb was ended by a signal; none of a verb that sees to signals itself, or that a signal ends as any
/// other end does.
pub fn after_interrupt(verb: &Verb) -> Option<&'static str> {
    Some(match verb {
        Verb::Console(_)
        | Verb::Status(_)
        | Verb::Wait(_)
        | Verb::Logs(_)
        | Verb::Inspect(_)
        | Verb::Explain(_)
        | Verb::Hosts(_)
        | Verb::Schema
        | Verb::Completions(_) => return None,
        Verb::Lock(_) => "the lock is whole, as it was or as it is to be: run `nodebake lock` again",
        Verb::Fetch(_) => "what has come is in the cache, also parts of files: `nodebake fetch` goes on there",
        Verb::Build(_) => {
            "what is whole stays, and nothing half written is left: `nodebake build` goes on where this ended"
        }
        Verb::Up(_) => "machines stay as they are: `nodebake up` goes on where this ended",
        Verb::Rebuild(_) | Verb::Evacuate(_) => {
            "each node has its old machine or its new one: run the command again, or `nodebake up`, which finishes what was begun"
        }
        Verb::Start(_) | Verb::Stop(_) | Verb::Restart(_) => "machines stay as they are: run the command again",
        Verb::Down(_) | Verb::Remove(_) => "run the command again: it removes what is left",
        Verb::Image(_) => "run the command again: it removes what is left of this one, and begins anew",
        Verb::Gc(_) => "what was removed was of no use: run the command again for the rest",
        Verb::Bundle(_) | Verb::Identity(_) | Verb::Kubeconfig(_) | Verb::Init(_) => {
            "nothing half written is left: run the command again"
        }
        Verb::Doctor(args) if args.fix => "what was mended stays: run the command again for the rest",
        Verb::Render(_) | Verb::Verify(_) | Verb::Plan(_) | Verb::Doctor(_) => "nothing was changed",
    })
}

fn on_cluster_file(session: &Session, verb: &Verb) -> Result<Option<ExitCode>, Error> {
    let done = match verb {
        Verb::Init(_)
        | Verb::Schema
        | Verb::Completions(_)
        | Verb::Gc(_)
        | Verb::Inspect(_)
        | Verb::Bundle(Bundle { verb: BundleVerb::Import(_) }) => Ok(()),
        Verb::Doctor(args) => return Ok(doctor::run(session, args)?.then_some(ExitCode::Configuration)),
        Verb::Plan(args) => return Ok(plan::run(session, args)?.then_some(ExitCode::Pending)),
        Verb::Status(args) => return Ok(status::run(session, args)?.then_some(ExitCode::Expiring)),
        Verb::Identity(args) => return Ok(identity::run(session, args)?.then_some(ExitCode::Expiring)),
        Verb::Lock(args) => lock::run(session, *args),
        Verb::Fetch(args) => fetch::run(session, args),
        Verb::Bundle(Bundle { verb: BundleVerb::Export(args) }) => bundle::export(session, args),
        Verb::Build(args) => build::run(session, args),
        Verb::Render(args) => render::run(session, args),
        Verb::Verify(args) => verify::run(session, args),
        Verb::Up(args) => up::up(session, args),
        Verb::Rebuild(args) => up::rebuild(session, args),
        Verb::Evacuate(args) => up::evacuate(session, args),
        Verb::Start(args) => power::start(session, args),
        Verb::Stop(args) => power::stop(session, args),
        Verb::Restart(args) => power::restart(session, args),
        Verb::Wait(args) => wait::run(session, args),
        Verb::Down(args) => down::run(session, args),
        Verb::Remove(args) if args.taken_over => taken_over::remove(session, args),
        Verb::Remove(args) => down::remove(session, args),
        Verb::Image(args) => image::run(session, args),
        Verb::Explain(args) => explain::run(session, args),
        Verb::Console(args) => console::run(session, args),
        Verb::Logs(args) => logs::run(session, args),
        Verb::Hosts(args) => hosts::run(session, args),
        Verb::Kubeconfig(args) => kubeconfig::run(session, args),
    };
    done.map(|()| None)
}

/// What every verb on a cluster file begins with.
struct Session<'a> {
    cli: &'a Cli,
    ui: &'a Ui,
    config: Config,
    now: Timestamp,
}

/// What building needs beyond the session.
struct Inputs {
    lock: Lock,
    ca: Ca,
    store: Store,
    source: Source,
    time: Time,
}

impl Session<'_> {
    fn lock_path(&self) -> PathBuf {
        self.config.folder().join("nodebake.lock")
    }

    /// Where what was issued is kept.
    fn state(&self) -> PathBuf {
        self.config.folder().join(".nodebake")
    }

    /// The cluster, for what is only looked at or removed.
    fn cluster_id(&self) -> Result<ClusterId, Error> {
        let cluster = &self.config.cluster;
        Ok(ClusterId { name: cluster.name.clone(), ca: Ca::digest_of(&cluster.pki)? })
    }

    /// The CA, whose key is asked for on the terminal where it needs a passphrase that comes from nowhere else.
    fn load_ca(&self) -> Result<Ca, IdentityError> {
        let (cluster, ui) = (&self.config.cluster, self.ui.clone());
        Ca::load(&cluster.pki, &cluster.ca_key, Box::new(move |question| ui.ask_secret(question)), self.now)
    }

    /// The same, with what is to be said of it.
    fn ca(&self) -> Result<Ca, Error> {
        let ca = self.load_ca()?;
        ca.warnings().iter().for_each(|warning| self.ui.warn(&warning.to_string()));
        Ok(ca)
    }

    /// The identities of the cluster's nodes.
    fn identities<'a>(&'a self, ca: &'a Ca) -> Identities<'a> {
        let cluster = &self.config.cluster;
        let (lifetime, now) = (cluster.certificate_lifetime, self.now);
        Identities { ca, pki: &cluster.pki, state: self.state(), lifetime, now }
    }

    /// Where the administrator's kubeconfig is, or would be written.
    fn kubeconfig(&self) -> PathBuf {
        let beside = || self.config.folder().join("admin.kubeconfig");
        self.config.cluster.kubeconfig.clone().unwrap_or_else(beside)
    }

    /// The mirrors of the flag or the environment, else of the cluster file, else upstream.
    fn source(&self) -> Result<Source, Error> {
        if self.cli.offline {
            // Nothing is asked of a mirror, so none must be there: an air-gapped copy of the cluster file has its own.
            return Ok(Source::new(&[], false, None)?);
        }
        let Download { mirrors, fallback, ca_file } = &self.config.download;
        let mirrors = if self.cli.mirror.is_empty() { mirrors } else { &self.cli.mirror };
        let source = Source::new(mirrors, *fallback, ca_file.as_deref())?;
        let stall = Duration::from_secs(self.cli.download_stall);
        Ok(source.with_limits(Limits { stall, ..Limits::default() }))
    }

    fn store(&self) -> Result<Store, Error> {
        store(self.cli)
    }

    /// The lock, which must hold what the cluster file asks for.
    fn lock(&self) -> Result<Lock, Error> {
        let wanted = wanted(&self.config)?;
        let lock = Lock::load(&self.lock_path())?;
        tracing::info!(file = %self.lock_path().display(), entries = lock.entries().len(), "read the lock");
        lock.fits(&wanted)?;
        Ok(lock)
    }

    fn inputs(&self) -> Result<Inputs, Error> {
        Ok(Inputs { lock: self.lock()?, ca: self.ca()?, store: self.store()?, source: self.source()?, time: time()? })
    }

    fn build<'a>(&'a self, inputs: &'a Inputs, out: &'a Path) -> Build<'a> {
        Build {
            config: &self.config,
            lock: &inputs.lock,
            ca: &inputs.ca,
            store: &inputs.store,
            source: &inputs.source,
            offline: self.cli.offline,
            out,
            progress: self.ui,
            now: self.now,
            time: inputs.time,
        }
    }

    /// The nodes of these names, in the cluster file's order; all of them where none is named.
    fn nodes(&self, names: &[NodeName]) -> Result<Vec<&Node>, Error> {
        let nodes = &self.config.nodes;
        if let Some(name) = names.iter().find(|name| !nodes.iter().any(|node| node.name == **name)) {
            return Err(self.unknown(name));
        }
        Ok(nodes.iter().filter(|node| names.is_empty() || names.contains(&node.name)).collect())
    }

    /// The nodes that are named by themselves or by their groups, in the cluster file's order; all of them where none is.
    fn select(&self, which: &Which) -> Result<Vec<&Node>, Error> {
        if which.groups.is_empty() {
            return self.nodes(&which.nodes);
        }
        let named = if which.nodes.is_empty() { Vec::new() } else { self.nodes(&which.nodes)? };
        let mut names: Vec<_> = named.into_iter().map(|node| &node.name).collect();
        let nodes = &self.config.nodes;
        for group in &which.groups {
            let of_group = |node: &&Node| node.group.as_ref() == Some(group);
            if !nodes.iter().any(|node| of_group(&node)) {
                return Err(self.unknown_group(group));
            }
            names.extend(nodes.iter().filter(of_group).map(|node| &node.name));
        }
        Ok(nodes.iter().filter(|node| names.contains(&&node.name)).collect())
    }

    fn unknown_group(&self, name: &str) -> Error {
        let groups: BTreeSet<_> = self.config.nodes.iter().filter_map(|node| node.group.as_deref()).collect();
        let groups = groups.into_iter().map(ToOwned::to_owned).collect();
        Error::UnknownGroup { group: name.to_owned(), groups }
    }

    fn unknown(&self, name: &NodeName) -> Error {
        let name = name.to_string();
        let all = self.config.nodes.iter().map(|node| node.name.to_string());
        let closest = all.map(|known| (strsim::damerau_levenshtein(&known, &name), known)).min();
        let suggestion = closest.filter(|(distance, _)| *distance <= 2).map(|(_, known)| known);
        Error::UnknownNode { node: name, suggestion }
    }

    /// The cluster's API, where the cluster file names a kubeconfig.
    fn cluster(&self) -> Result<Option<Cluster>, Error> {
        Ok(self.config.cluster.kubeconfig.as_deref().map(Cluster::open).transpose()?)
    }

    /// Keeps other runs on this cluster file from changing machines meanwhile, until it is dropped. The folder itself is
    /// locked: nothing is written, and nothing stays behind.
    fn hold(&self) -> Result<File, Error> {
        let path = self.config.folder();
        let failed = |source| Error::File { action: "opening", path: path.clone(), source };
        let folder = File::open(&path).map_err(failed)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Running { by: holder::of(&folder) }),
            // Any other error is a file system without such locks; there is then nothing to wait for.
            _ => Ok(folder),
        }
    }

    /// Prints what a verb found, in the form that was asked for.
    fn show(&self, format: Format, fields: &impl Serialize, table: impl FnOnce() -> String) -> Result<(), Error> {
        self.ui.show(format, Some(&self.config.cluster.name.to_string()), fields, table)
    }

    /// Whether somebody can be asked, or need not be; found out before the work whose end would be a question.
    fn can_consent(&self, consent: Consent) -> Result<(), Error> {
        if consent.yes || self.ui.can_ask() { Ok(()) } else { Err(Error::NoConsent) }
    }

    /// Says what a question will be about.
    fn lay_out(&self, consent: Consent, text: &str) {
        if consent.yes { self.ui.say(text) } else { self.ui.lay_out(text) }
    }

    /// Asks before something is lost.
    fn consent(&self, consent: Consent, question: &str) -> Result<(), Error> {
        if consent.yes {
            return Ok(());
        }
        match self.ui.ask(question) {
            Some(true) => Ok(()),
            Some(false) => Err(Error::Declined),
            None => Err(Error::NoConsent),
        }
    }
}

/// The time of everything in images: `SOURCE_DATE_EPOCH`, as <https://reproducible-builds.org/specs/source-date-epoch/> has
/// it, else the one that all our images have.
fn time() -> Result<Time, Error> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(Time::FIXED) };
    let digits = text.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = digits.and_then(|digits| digits.parse().ok());
    let time = seconds.and_then(|seconds| Time::from_unix(seconds).ok());
    time.ok_or_else(|| Error::SourceDate { text: text.to_string_lossy().into_owned() })
}

/// The cache, in use by the cluster file at hand.
fn store(cli: &Cli) -> Result<Store, Error> {
    let file = std::path::absolute(&cli.config).map_err(|source| Error::File {
        action: "looking for",
        path: cli.config.clone(),
        source,
    })?;
    Ok(Store::new(cache_folder(cli)?).used_by(&file))
}

/// Where downloads are kept.
fn cache_folder(cli: &Cli) -> Result<PathBuf, Error> {
    Ok(cli.cache_dir.clone().map_or_else(Store::default_folder, Ok)?)
}

/// Lines of columns as wide as their widest cell, three spaces apart, as kubectl prints them.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_cut_off_doctor_says_whether_it_has_changed_anything() {
        for (words, hint) in [
            (&["nodebake", "doctor"][..], "nothing was changed"),
            (&["nodebake", "doctor", "--fix"], "what was mended stays: run the command again for the rest"),
        ] {
            let cli = Cli::try_parse_from(words).ok();
            assert_eq!(cli.and_then(|cli| after_interrupt(&cli.verb)), Some(hint), "{words:?}");
        }
    }

    #[test]
    fn tables_are_as_wide_as_their_cells() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [row(&["NAME", "STATUS"]), row(&["worker-node-1", "Ready"]), row(&["é", ""])];
        assert_eq!(table(&rows), "NAME            STATUS\nworker-node-1   Ready\né\n");
    }
}
