//! `nodebake lock`: pins every input.

use super::Session;
use crate::artifacts::{Lock, wanted, warnings};
use crate::error::Error;

pub(super) fn run(session: &Session) -> Result<(), Error> {
    let wanted = wanted(&session.config)?;
    for warning in warnings(&session.config) {
        session.ui.say(&format!("warning: {warning}"));
    }
    if session.cli.offline {
        // Nothing can be asked for: what is locked must do.
        Lock::load(&session.lock_path())?.fits(&wanted)?;
        session.ui.say("offline: the lock fits the cluster file and was left as it is");
        return Ok(());
    }
    let lock = Lock::make(&wanted, &session.source()?, session.ui)?;
    let path = session.lock_path();
    let verb = if lock.save(&path)? { "wrote" } else { "nothing changed in" };
    let rows = lock.entries().iter().map(|entry| {
        let size = indicatif::HumanBytes(entry.size).to_string();
        vec![entry.to_string(), size, format!("{:.20}…", entry.checksum.to_string())]
    });
    session.ui.data(&super::table(&rows.collect::<Vec<_>>()));
    session.ui.say(&format!("{verb} {}", path.display()));
    Ok(())
}
