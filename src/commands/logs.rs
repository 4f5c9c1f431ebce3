//! `nodebake logs`: what a guest told of its boots, and its console.

use super::Session;
use crate::boot::{BootEvent, Decoder, News};
use crate::cli::Logs;
use crate::error::Error;
use crate::machine::mark::LogKind;
use crate::machine::{self, Hypervisor, VolumeInfo, VolumeName};
use crate::plan::log_pool;

/// Most bytes of a log that are shown: its end.
const LIMIT: u64 = 256 * 1024;

pub(super) fn run(session: &Session, args: &Logs) -> Result<(), Error> {
    let config = &session.config;
    let hypervisor = machine::open(&config.libvirt.uri)?;
    let id = session.cluster_id()?;
    let pool = log_pool(&config.libvirt.pool);
    let there = hypervisor.pool(&pool)?.is_some_and(|pool| pool.active);
    if there {
        hypervisor.refresh_pool(&pool)?;
    }
    let volumes = if there { hypervisor.volumes(&pool)? } else { Vec::new() };
    let read = |kind| tail(&*hypervisor, &pool, &volumes, &VolumeName::log(&id, &args.node, kind));
    let (first_boot, console) = (read(LogKind::FirstBoot)?, read(LogKind::Console)?);
    if first_boot.is_none() && console.is_none() {
        session.nodes(std::slice::from_ref(&args.node))?;
        session.ui.say(&format!("{} has no log yet", args.node));
        return Ok(());
    }
    let events = Decoder::default().feed(&first_boot.unwrap_or_default());
    let mut text: String = events.iter().map(describe).collect();
    text.push_str("--- console ---\n");
    text.push_str(&crate::printable::text(&String::from_utf8_lossy(&console.unwrap_or_default())));
    session.ui.data(&text);
    Ok(())
}

/// The end of a log among the volumes of a pool; `None` where there is none.
pub(super) fn tail(
    hypervisor: &dyn Hypervisor,
    pool: &str,
    volumes: &[VolumeInfo],
    name: &VolumeName,
) -> Result<Option<Vec<u8>>, Error> {
    let Some(volume) = volumes.iter().find(|volume| volume.ours().as_ref() == Some(name)) else { return Ok(None) };
    let start = volume.capacity.saturating_sub(LIMIT);
    let limit = usize::try_from(LIMIT).unwrap_or(usize::MAX);
    Ok(Some(hypervisor.read_volume(pool, name, start, limit)?))
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
