//! The kube-apiserver stand-in's executable.

use clap::Parser as _;
use nodebake_lab_stand_ins::apiserver::{flags::Flags, server};
use nodebake_lab_stand_ins::log;

fn main() -> std::process::ExitCode {
    let flags = Flags::parse();
    log::say("this is a STAND-IN for kube-apiserver, made for the nodebake lab: state is kept in memory only");
    match server::run(&flags) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            log::fail(&error);
            std::process::ExitCode::FAILURE
        }
    }
}
