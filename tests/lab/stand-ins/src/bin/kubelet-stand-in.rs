//! The kubelet stand-in's executable, installed in the lab's mirror under the name kubelet.

use nodebake_lab_stand_ins::kubelet::flags::{self, Flags};
use nodebake_lab_stand_ins::kubelet::run;
use nodebake_lab_stand_ins::kubelet::version::version;
use nodebake_lab_stand_ins::log;
use std::process::ExitCode;

fn main() -> ExitCode {
    let flags = match Flags::parse(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(error) => {
            log::fail(&error);
            return ExitCode::FAILURE;
        }
    };
    if flags.version || flags.help {
        let text = if flags.help { flags::help() } else { format!("Kubernetes {} (stand-in)", version()) };
        return if log::tell(text.trim_end()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    log::say(format!("this is a STAND-IN for kubelet {}, made for the nodebake lab", version()));
    match run::run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::fail(&error);
            ExitCode::FAILURE
        }
    }
}
