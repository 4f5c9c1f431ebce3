//! nodebake: parse, run, print the error chain and its hint, exit.

use std::process::ExitCode;

use clap::Parser as _;
use nodebake::cli::Cli;
use nodebake::ui::Ui;

fn main() -> ExitCode {
    // Before anything is written: what we make is for its owner alone unless said otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(Ui::refuse(&error)),
    };
    let ui = Ui::new(cli.talk);
    match nodebake::commands::run(&cli, &ui) {
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
