//! `nodebake completions`: what a shell completes the command line with.

use clap::CommandFactory as _;
use clap_complete::generate;

use crate::cli::{Cli, Completions, Shell};
use crate::ui::Ui;

pub(super) fn run(args: Completions, ui: &Ui) {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "nodebake", &mut script);
    ui.raw(&script);
}
