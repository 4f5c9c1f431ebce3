//! `nodebake logs`: what a guest told of its boots, and its console.

use std::time::Duration;

use super::Session;
use super::fleet::Fleet;
use crate::apply::LogReader;
use crate::boot::{BootEvent, Decoder, News};
use crate::cli::Logs;
use crate::config::ClusterId;
use crate::error::Error;
use crate::machine::mark::{LogKind, LogPart};
use crate::machine::{Hypervisor, VolumeInfo, VolumeName};
use crate::plan::log_pool;
use crate::printable;

/// Most bytes of a log that are shown: its end.
const LIMIT: u64 = 256 * 1024;

/// How often a log is looked at that is followed: a file on the hypervisor can only be polled.
const POLL: Duration = Duration::from_millis(500);

/// A line of the console that is longer is shown in pieces of so many bytes.
const LINE_LIMIT: usize = 4096;

pub(super) fn run(session: &Session, args: &Logs) -> Result<(), Error> {
    let fleet = Fleet::open(session)?;
    let member = fleet.of(session, &args.node)?;
    let id = session.cluster_id()?;
    let view =
        View { session, hypervisor: &*member.hypervisor, id: &id, pool: log_pool(&member.config.libvirt.pool), args };
    let volumes = view.volumes()?;
    let mut first_boot = FirstBoot::default();
    let mut console = Console::default();
    let (told, shown) = (view.end(&volumes, LogKind::FirstBoot)?, view.end(&volumes, LogKind::Console)?);
    if told.is_none() && shown.is_none() {
        session.nodes(std::slice::from_ref(&args.node))?;
        if !args.follow {
            let run = if args.previous { "of the run before" } else { "yet" };
            session.ui.say(&format!("{} has no log {run}", args.node));
            return Ok(());
        }
    }
    let mut text = String::new();
    if let Some(end) = &told {
        text.push_str(last_lines(&first_boot.take(&end.bytes), args.tail));
    }
    if view.wants(LogKind::Console) {
        if view.wants(LogKind::FirstBoot) {
            text.push_str("--- console ---\n");
        }
        let bytes = shown.as_ref().map(|end| end.bytes.as_slice()).unwrap_or_default();
        // What is followed goes on where this ends, which may be amidst a line.
        let console = if args.follow { console.take(bytes) } else { printable::text(&String::from_utf8_lossy(bytes)) };
        text.push_str(last_lines(&console, args.tail));
    }
    session.ui.data(&text);
    if args.follow {
        let reader = |end: Option<End>| end.map_or_else(LogReader::default, |end| LogReader::from(end.offset));
        view.follow((first_boot, reader(told)), (console, reader(shown)))?;
    }
    Ok(())
}

/// The logs of a node, and which of them are asked for.
struct View<'a> {
    session: &'a Session<'a>,
    hypervisor: &'a dyn Hypervisor,
    id: &'a ClusterId,
    pool: String,
    args: &'a Logs,
}

impl View<'_> {
    fn volumes(&self) -> Result<Vec<VolumeInfo>, Error> {
        if !self.hypervisor.pool(&self.pool)?.is_some_and(|pool| pool.active) {
            return Ok(Vec::new());
        }
        self.hypervisor.refresh_pool(&self.pool)?;
        Ok(self.hypervisor.volumes(&self.pool)?)
    }

    fn wants(&self, kind: LogKind) -> bool {
        match kind {
            LogKind::FirstBoot => !self.args.console,
            LogKind::Console => !self.args.first_boot,
        }
    }

    fn name(&self, kind: LogKind) -> VolumeName {
        let name = if self.args.previous { VolumeName::previous_log } else { VolumeName::log };
        name(self.id, &self.args.node, kind)
    }

    /// The end of a log that is asked for.
    fn end(&self, volumes: &[VolumeInfo], kind: LogKind) -> Result<Option<End>, Error> {
        if !self.wants(kind) {
            return Ok(None);
        }
        end(self.hypervisor, &self.pool, volumes, &self.name(kind))
    }

    /// Shows what is written from now on, until the machine is off.
    fn follow(
        &self,
        (mut first_boot, mut told): (FirstBoot, LogReader),
        (mut console, mut shown): (Console, LogReader),
    ) -> Result<(), Error> {
        let (node, uuid) = (&self.args.node, self.id.uuid(&self.args.node));
        let mut seen = false;
        loop {
            // The state first: what a guest wrote before it stopped is then still shown.
            let runs = self.hypervisor.domain(uuid)?.is_some_and(|domain| domain.state.is_active());
            seen = seen || self.is_there()?;
            if seen {
                let read = |kind, reader: &mut LogReader| {
                    if !self.wants(kind) {
                        return Ok(Vec::new());
                    }
                    reader.read(self.hypervisor, &self.pool, &self.name(kind))
                };
                let events = first_boot.take(&read(LogKind::FirstBoot, &mut told)?);
                let lines = console.take(&read(LogKind::Console, &mut shown)?);
                if !self.session.ui.stream(&(events + &lines)) {
                    return Ok(());
                }
            }
            if !runs {
                self.session.ui.data(&console.rest());
                self.session.ui.say_of(node, "its machine is off");
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether the logs that are asked for are there: libvirt sees a file that it did not make only when it looks again.
    fn is_there(&self) -> Result<bool, Error> {
        let volumes = self.volumes()?;
        let there = |kind| !self.wants(kind) || find(&volumes, &self.name(kind)).is_some();
        Ok(there(LogKind::FirstBoot) && there(LogKind::Console))
    }
}

/// The end of a log.
struct End {
    bytes: Vec<u8>,
    /// Where in the log's file that is.
    offset: u64,
}

fn find<'a>(volumes: &'a [VolumeInfo], name: &VolumeName) -> Option<&'a VolumeInfo> {
    volumes.iter().find(|volume| volume.ours().as_ref() == Some(name))
}

/// At most 256 KiB of a log, its end; `None` where there is no such log. What virtlogd has set aside of it counts too.
fn end(
    hypervisor: &dyn Hypervisor,
    pool: &str,
    volumes: &[VolumeInfo],
    name: &VolumeName,
) -> Result<Option<End>, Error> {
    let Some(volume) = find(volumes, name) else { return Ok(None) };
    let read = |volume: &VolumeInfo, name: &VolumeName, max: u64| {
        let start = volume.capacity.saturating_sub(max);
        let bytes = hypervisor.read_volume(pool, name, start, usize::try_from(max).unwrap_or(usize::MAX))?;
        Ok::<_, Error>((start, bytes))
    };
    let (start, mut bytes) = read(volume, name, LIMIT)?;
    let offset = start + bytes.len() as u64;
    let rest = LIMIT.saturating_sub(bytes.len() as u64);
    if let Some(older) = set_aside(name).filter(|_| rest > 0)
        && let Some(volume) = find(volumes, &older)
    {
        let (_, mut before) = read(volume, &older, rest)?;
        before.append(&mut bytes);
        bytes = before;
    }
    Ok(Some(End { bytes, offset }))
}

/// Where what stood in a log before its file was begun anew is.
fn set_aside(name: &VolumeName) -> Option<VolumeName> {
    match name {
        VolumeName::Log { cluster, node, kind, part: LogPart::Current } => Some(VolumeName::Log {
            cluster: cluster.clone(),
            node: node.clone(),
            kind: *kind,
            part: LogPart::Rotated(0),
        }),
        _ => None,
    }
}

/// The end of a log among the volumes of a pool; `None` where there is none.
pub(super) fn tail(
    hypervisor: &dyn Hypervisor,
    pool: &str,
    volumes: &[VolumeInfo],
    name: &VolumeName,
) -> Result<Option<Vec<u8>>, Error> {
    Ok(end(hypervisor, pool, volumes, name)?.map(|end| end.bytes))
}

/// The last lines of a text, where not all are asked for.
fn last_lines(text: &str, lines: Option<usize>) -> &str {
    let Some(lines) = lines else { return text };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let start = body.rmatch_indices('\n').nth(lines.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    if lines == 0 { "" } else { &text[start..] }
}

/// Reports as lines.
#[derive(Default)]
struct FirstBoot(Decoder);

impl FirstBoot {
    fn take(&mut self, bytes: &[u8]) -> String {
        self.0.feed(bytes).iter().map(describe).collect()
    }
}

/// The console, line by line: reports never come amidst one.
#[derive(Default)]
struct Console(Vec<u8>);

impl Console {
    /// The lines that `bytes` complete, printable.
    fn take(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let mut whole = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if self.0.len() - whole > LINE_LIMIT {
            whole = self.0.len();
        }
        let lines: Vec<u8> = self.0.drain(..whole).collect();
        printable::text(&String::from_utf8_lossy(&lines))
    }

    /// The line under way.
    fn rest(&mut self) -> String {
        let line = printable::text(&String::from_utf8_lossy(&std::mem::take(&mut self.0)));
        if line.is_empty() { line } else { line + "\n" }
    }
}

fn describe(event: &BootEvent) -> String {
    let mut text = format!("boot {} {:8.1} s  {event}\n", event.boot_id, event.uptime);
    if let News::Failed(log) = &event.news {
        let lines: Vec<_> = log.lines().map(|line| format!("  | {line}")).collect();
        text.push_str(&lines.join("\n"));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        let cases = [
            ("a\nb\nc\n", None, "a\nb\nc\n"),
            ("a\nb\nc\n", Some(0), ""),
            ("a\nb\nc\n", Some(1), "c\n"),
            ("a\nb\nc", Some(2), "b\nc"),
            ("a\nb\nc\n", Some(3), "a\nb\nc\n"),
            ("a\nb\nc\n", Some(9), "a\nb\nc\n"),
            ("", Some(1), ""),
            ("\n\n", Some(1), "\n"),
        ];
        for (text, lines, wanted) in cases {
            assert_eq!(last_lines(text, lines), wanted, "{text:?} {lines:?}");
        }
    }

    #[test]
    fn a_followed_console_comes_line_by_line() {
        let mut console = Console::default();
        for (bytes, wanted) in [("lo", ""), ("gin\nroot", "login\n"), ("", ""), ("\u{1b}[1m", "")] {
            assert_eq!(console.take(bytes.as_bytes()), wanted, "{bytes:?}");
        }
        assert_eq!(console.rest(), "root\\u{1b}[1m\n");
        assert_eq!(console.rest(), "");
        // No line is waited for for ever.
        assert_eq!(console.take(&[b'x'; LINE_LIMIT]), "");
        assert_eq!(console.take(b"y"), "x".repeat(LINE_LIMIT) + "y");
    }
}
