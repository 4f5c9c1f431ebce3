//! What is said on stderr: how much of it, in which form, and to whom.

use std::os::fd::AsFd as _;
use std::process::Stdio;

use serde_json::Value;

use crate::sitting::Sitting;
use crate::world::{Ran, World};

/// Each line of stderr as the JSON object that it must be.
fn records(ran: &Ran) -> Vec<Value> {
    let record = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
        text("time").parse::<jiff::Timestamp>().unwrap();
        assert!(["debug", "info", "warn", "error"].contains(&text("level").as_str()), "{line}");
        assert!(!text("message").is_empty(), "{line}");
        value
    };
    ran.stderr.lines().map(record).collect()
}

/// The same without time, log of the inside left out.
fn messages(ran: &Ran) -> Vec<Value> {
    let mut all = records(ran);
    all.retain(|record| record.get("target").is_none());
    for record in &mut all {
        record.as_object_mut().unwrap().remove("time");
    }
    all
}

#[test]
fn quiet_leaves_data_warnings_and_errors() {
    let world = World::locked();
    let said = world.must(&["build", "--all"]);
    assert!(said.stderr.contains("worker-node-1: issued a certificate\n"), "{said:?}");
    std::fs::remove_dir_all(world.path("build")).unwrap();
    assert_eq!(world.run(&["-q", "build", "--all"]), Ran::ok(said.stdout, ""));
    assert_eq!(world.run(&["fetch", "--quiet"]), Ran::ok("", ""));

    world.chmod("pki/ca-key.pem", 0o644);
    let warned = world.run(&["-q", "identity", "list", "worker-node-1"]);
    let warning = "warning: FOLDER/pki/ca-key.pem can be read by others (mode 0644); chmod 600 it\n";
    assert_eq!((warned.code, warned.stderr.as_str()), (0, warning));

    let failed = world.run(&["-q", "render", "worker-node-3"]);
    let error = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    assert_eq!(failed, Ran::failed(2, error, "`nodebake hosts` lists the nodes"));
}

#[test]
fn verbose_tells_what_goes_on_inside() {
    let world = World::locked();
    let plain = world.must(&["fetch"]);
    let levels = |arguments: &[&str]| {
        let ran = world.must(arguments);
        assert_eq!(ran.stdout, plain.stdout);
        let has = |level: &str| ran.stderr.lines().any(|line| line.contains(&format!(" {level} nodebake::")));
        (has("INFO"), has("DEBUG"))
    };
    assert_eq!(levels(&["fetch"]), (false, false));
    assert_eq!(levels(&["-v", "fetch"]), (true, false));
    let server = crate::http::with_ranges(world.path("mirror"));
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    assert_eq!(levels(&["fetch", "-vv", "--mirror", &server.base()]), (true, true));
    // Whoever looks for one thing names it.
    let ran =
        world.run_command(world.command(&[]).env("NODEBAKE_LOG", "nodebake::commands=info").args(["-vv", "fetch"]));
    assert!(ran.stderr.contains("INFO nodebake::commands: ") && !ran.stderr.contains("DEBUG"), "{ran:?}");
}

#[test]
fn both_quiet_and_verbose_is_refused() {
    let ran = World::empty().run(&["-q", "-v", "schema"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("error: the argument '--quiet' cannot be used with '--verbose...'\n"), "{ran:?}");
}

#[test]
fn as_json_every_line_is_an_object() {
    let world = World::locked();
    let json = |arguments: &[&str]| world.run(&[&["--log-format", "json"], arguments].concat());
    let built = json(&["build", "worker-node-1"]);
    assert_eq!(built.code, 0, "{built:?}");
    let issued = serde_json::json!({
        "level": "info", "message": "worker-node-1: issued a certificate", "node": "worker-node-1",
    });
    assert!(messages(&built).contains(&issued), "{built:?}");
    // Work that has a size tells it at its end.
    assert!(messages(&built).iter().any(|it| it["message"].as_str().unwrap().contains(": done (")), "{built:?}");

    let failed = json(&["explain", "worker-node-1", "memry"]);
    let [error] = messages(&failed).try_into().unwrap();
    assert_eq!((failed.code, &error["level"]), (2, &"error".into()));
    assert_eq!(error["message"], "nodes have no field \"memry\"; did you mean memory?");
    assert!(error["hint"].as_str().unwrap().starts_with("`nodebake explain NODE` lists all"), "{error}");

    // What goes on inside says which part of the program tells it, and of which node.
    let inside = json(&["-v", "build", "worker-node-1"]);
    let baked = records(&inside).into_iter().find(|it| it["message"] == "rendered and baked").unwrap();
    assert_eq!((&baked["target"], &baked["node"]), (&"nodebake::build".into(), &"worker-node-1".into()));
    assert_eq!(baked["fields"]["changed"], "false");
}

#[test]
fn as_json_each_difference_has_its_own_hint() {
    let world = World::built();
    std::fs::remove_file(world.path("build/worker-node-1/seed.iso")).unwrap();
    std::fs::remove_file(world.path("build/worker-node-2/seed.iso")).unwrap();
    let ran = world.run(&["--log-format=json", "verify", "--images"]);
    let errors: Vec<_> = messages(&ran).into_iter().filter(|it| it["level"] == "error").collect();
    assert_eq!((ran.code, errors.len()), (4, 2), "{ran:?}");
    assert!(errors.iter().all(|error| error["hint"].as_str().unwrap().contains("nodebake build")), "{errors:?}");
}

#[test]
fn a_command_line_that_is_none_is_told_as_json_too() {
    let world = World::empty();
    for (arguments, message, hint) in [
        (
            &["--log-format", "json", "verfy"][..],
            "unrecognized subcommand 'verfy'",
            "a similar subcommand exists: 'verify'",
        ),
        (&["lock", "--force", "--log-format=json"], "unexpected argument '--force' found", "try '--help'"),
        (&["--log-format", "json"], "no verb is given", "`nodebake --help` shows what there is"),
    ] {
        let ran = world.run(arguments);
        let wanted = serde_json::json!({"level": "error", "message": message, "hint": hint});
        assert_eq!((ran.code, messages(&ran)), (2, vec![wanted]), "{arguments:?}");
    }
    // Help is data, in whatever form messages are.
    assert_eq!(world.run(&["--log-format", "json", "--help"]), world.run(&["--help"]));
}

#[test]
fn nothing_is_asked_as_json() {
    let world = World::built();
    let mut sitting = Sitting::start(&world, &["--log-format", "json", "down"]);
    sitting.until("\r\n");
    assert_eq!(sitting.end().0, 0, "nothing is there, so nothing is to be asked");
    let mut sitting = Sitting::start(&world, &["--log-format", "json", "rebuild", "worker-node-1"]);
    let shown = sitting.until("\r\n");
    assert!(shown.contains("\"hint\":\"add --yes\""), "{shown}");
    assert_eq!(sitting.end().0, 2);
}

/// The colours of a terminal (ECMA-48: SGR).
fn is_coloured(shown: &str) -> bool {
    let mut sequences = shown.split("\u{1b}[").skip(1);
    sequences.any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

#[test]
fn no_color_means_none() {
    let world = World::locked();
    let help = |variable: Option<(&str, &str)>| {
        let mut command = world.command(&[]);
        command.env("TERM", "xterm-256color").envs(variable);
        let mut sitting = Sitting::of(command, &["--help"]);
        let shown = sitting.until("Print version");
        sitting.end();
        shown
    };
    assert!(is_coloured(&help(None)));
    assert!(!is_coloured(&help(Some(("NO_COLOR", "1")))));
    let mut command = world.command(&[]);
    command.env("TERM", "xterm-256color").env("NO_COLOR", "1");
    let mut sitting = Sitting::of(command, &["build", "--all"]);
    assert!(!is_coloured(&sitting.until("worker-node-2")));
    sitting.end();
}

#[test]
fn who_cannot_draw_gets_plain_lines() {
    let world = World::locked();
    // A terminal that can do nothing but write.
    let mut command = world.command(&[]);
    command.env("TERM", "dumb");
    let mut sitting = Sitting::of(command, &["fetch"]);
    let shown = sitting.until("files are in the cache");
    assert!(!shown.contains('\u{1b}') && shown.contains("fetch containerd 2.2.5: done ("), "{shown:?}");
    sitting.end();
    // No terminal at all, as in a log of CI.
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    let ran = world.must(&["fetch"]);
    assert!(!ran.stderr.contains(['\u{1b}', '\r']) && ran.stderr.contains("fetch containerd 2.2.5: done ("), "{ran:?}");
}

#[test]
fn the_work_is_done_though_nobody_hears_of_it() {
    let world = World::locked();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = || Stdio::from(writer.as_fd().try_clone_to_owned().unwrap());
    let ran = world.run_command(world.command(&[]).args(["build", "--all"]).stderr(closed()).stdout(closed()));
    assert_eq!(ran.code, 0, "{ran:?}");
    world.payload("build");
}
