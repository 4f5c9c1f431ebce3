//! Runs the program under ptrace(2) and sees every system call of all its threads that changes files, before the kernel
//! does; the program can be killed there.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A system call that changes a file or makes a change durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    /// The file that it changes by descriptor, in the test's folder; empty for one that changes a name.
    pub(crate) file: String,
}

/// What becomes of the program at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    Kill,
    /// It is told to end (SIGINT), and the call is made.
    Interrupt,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Killed,
    Interrupted,
}

/// Runs what `wrapped` makes of a shell's words before the program: the shell waits until it is traced, then becomes the
/// program. Every call that changes something in `folder` is shown to `judge` before it is done.
pub(crate) fn trace(
    wrapped: impl FnOnce(&[&str]) -> Command,
    folder: &Path,
    mut judge: impl FnMut(&Call) -> Verdict,
) -> End {
    let mut command = wrapped(&["/bin/sh", "-c", "read -r _; exec \"$@\" </dev/null", "sh"]);
    #[expect(clippy::zombie_processes, reason = "it is waited for below, thread by thread")]
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let main = Pid::from_raw(child.id().try_into().unwrap());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let go_on = |pid, signal| match ptrace::syscall(pid, signal) {
        // Killed meanwhile, as another thread's call was the one.
        Err(Errno::ESRCH) | Ok(()) => {}
        Err(error) => panic!("cannot go on: {error}"),
    };
    loop {
        // Only what this thread traces: other tests run in this process, and have children of their own.
        let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
        match status {
            WaitStatus::Exited(pid, code) if pid == main => return End::Exit(code),
            WaitStatus::Signaled(pid, Signal::SIGKILL, _) if pid == main => return End::Killed,
            WaitStatus::Signaled(pid, Signal::SIGINT, _) if pid == main => return End::Interrupted,
            WaitStatus::PtraceSyscall(pid) => match entered(pid, folder).map(|call| judge(&call)) {
                Some(Verdict::Kill) => kill(main, Signal::SIGKILL).unwrap(),
                Some(Verdict::Interrupt) => {
                    kill(main, Signal::SIGINT).unwrap();
                    go_on(pid, None);
                }
                Some(Verdict::Go) | None => go_on(pid, None),
            },
            WaitStatus::PtraceEvent(pid, ..) => go_on(pid, None),
            WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal)),
            // A thread's end, or another signal's.
            WaitStatus::Exited(..) => {}
            WaitStatus::Signaled(pid, ..) if pid != main => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The call that a thread is about to make, if it is one that counts.
fn entered(thread: Pid, folder: &Path) -> Option<Call> {
    let Ok(info) = ptrace::syscall_info(thread) else { return None };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says which member of the union is there.
    #[expect(unsafe_code, reason = "the kernel's answer is a union")]
    let entry = unsafe { info.u.entry };
    let (_, name, what) = CALLS.iter().find(|(number, ..)| u64::try_from(*number) == Ok(entry.nr))?;
    let file = match what {
        Changes::NameIfMade(flags) if entry.args[*flags] & u64::from(libc::O_CREAT.unsigned_abs()) == 0 => return None,
        Changes::Name | Changes::NameIfMade(_) => String::new(),
        Changes::File(descriptor) => {
            let link = format!("/proc/{thread}/fd/{}", entry.args[*descriptor]);
            let path = std::fs::read_link(link).ok()?;
            // Sockets, event counters and standard output are none of it.
            path.strip_prefix(folder).ok()?.to_str().unwrap().to_owned()
        }
    };
    Some(Call { name, file })
}

/// Where a call's subject stands.
enum Changes {
    Name,
    /// The argument with the flags of open(2), among them `O_CREAT`.
    NameIfMade(usize),
    /// The argument with the descriptor.
    File(usize),
}

/// Linux's calls that write; man 2 syscalls.
const CALLS: &[(libc::c_long, &str, Changes)] = &[
    (libc::SYS_openat, "openat", Changes::NameIfMade(2)),
    (libc::SYS_mkdirat, "mkdirat", Changes::Name),
    (libc::SYS_renameat, "renameat", Changes::Name),
    (libc::SYS_renameat2, "renameat2", Changes::Name),
    (libc::SYS_linkat, "linkat", Changes::Name),
    (libc::SYS_symlinkat, "symlinkat", Changes::Name),
    (libc::SYS_unlinkat, "unlinkat", Changes::Name),
    (libc::SYS_fchmodat, "fchmodat", Changes::Name),
    (libc::SYS_truncate, "truncate", Changes::Name),
    (libc::SYS_write, "write", Changes::File(0)),
    (libc::SYS_writev, "writev", Changes::File(0)),
    (libc::SYS_pwrite64, "pwrite64", Changes::File(0)),
    (libc::SYS_pwritev, "pwritev", Changes::File(0)),
    (libc::SYS_pwritev2, "pwritev2", Changes::File(0)),
    (libc::SYS_copy_file_range, "copy_file_range", Changes::File(2)),
    (libc::SYS_sendfile, "sendfile", Changes::File(0)),
    (libc::SYS_splice, "splice", Changes::File(2)),
    (libc::SYS_ftruncate, "ftruncate", Changes::File(0)),
    (libc::SYS_fallocate, "fallocate", Changes::File(0)),
    (libc::SYS_fchmod, "fchmod", Changes::File(0)),
    (libc::SYS_fsync, "fsync", Changes::File(0)),
    (libc::SYS_fdatasync, "fdatasync", Changes::File(0)),
    (libc::SYS_sync_file_range, "sync_file_range", Changes::File(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open", Changes::NameIfMade(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, "creat", Changes::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", Changes::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "rmdir", Changes::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename", Changes::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link", Changes::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, "symlink", Changes::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", Changes::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, "chmod", Changes::Name),
];
