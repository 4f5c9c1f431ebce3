//! nodebake: parse, run, print the error chain and its hint, exit.

use std::process::ExitCode;

use clap::Parser as _;
use nodebake::cli::Cli;
use nodebake::ui::Ui;
use nodebake::{commands, interrupt};

fn main() -> ExitCode {
    // Before anything is written: what we make is for its owner alone unless said otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(Ui::refuse(&error)),
    };
    let ui = Ui::new(cli.talk);
    let hint = commands::after_interrupt(&cli.verb);
    if let Some(hint) = hint {
        watch(&ui, hint);
    }
    let result = commands::run(&cli, &ui);
    if let (Some(signal), Some(hint)) = (interrupt::signal(), hint) {
        if let Err(error) = &result {
            ui.error(error);
        }
        let left = ui.clone();
        interrupt::end(signal, move || left.interrupted(hint));
    }
    match result {
        Ok(code) => {
            ui.finish();
            code.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code as u8))
        }
        Err(error) => {
            ui.error(&error);
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

/// Has the run end in order when it is told to. Without a thread for that, signals end it as they end any program.
fn watch(ui: &Ui, hint: &'static str) {
    let (asked, left) = (ui.clone(), ui.clone());
    if let Err(error) = interrupt::watch(move || asked.ending(), move || left.interrupted(hint)) {
        tracing::debug!(%error, "signals are not watched for");
    }
}
