//! The kubelet stand-in's executable.

fn main() -> std::process::ExitCode {
    nodebake_lab_stand_ins::log::say(
        "this is a STAND-IN for kubelet, made for the nodebake lab; it is not written yet",
    );
    std::process::ExitCode::FAILURE
}
