//! The command line itself: help, version, what it refuses, `init`, and the promise of the exit codes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::Parser as _;
use nodebake::cli::Cli;
use nodebake::error::ExitCode;

use crate::world::{Ran, World};

const VERBS: [&str; 30] = [
    "init",
    "lock",
    "fetch",
    "bundle",
    "build",
    "render",
    "verify",
    "inspect",
    "plan",
    "doctor",
    "up",
    "start",
    "stop",
    "restart",
    "wait",
    "status",
    "rebuild",
    "evacuate",
    "down",
    "remove",
    "explain",
    "console",
    "logs",
    "image",
    "gc",
    "identity",
    "kubeconfig",
    "hosts",
    "schema",
    "completions",
];

#[test]
fn help_fits_100_columns_and_names_every_verb() {
    let world = World::empty();
    let mut pages: Vec<Vec<&str>> = VERBS.iter().map(|verb| vec![*verb, "--help"]).collect();
    pages.push(vec!["--help"]);
    pages.extend(["list", "csr", "import", "renew"].map(|verb| vec!["identity", verb, "--help"]));
    pages.extend(["export", "import"].map(|verb| vec!["bundle", verb, "--help"]));
    for page in &pages {
        let ran = world.run(page);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{page:?}");
        for line in ran.stdout.lines() {
            assert!(line.chars().count() <= 100, "{page:?}: {line:?}");
        }
    }
    let all = world.run(&["--help"]).stdout;
    let listed = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let entries = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> = entries.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, [&VERBS[..], &["help"]].concat());
}

/// Who has a choice finds what to type; and what stands there is taken.
#[test]
fn verbs_with_several_ways_to_call_them_have_examples() {
    let mut with_examples = 0;
    for (name, verb) in crate::output::verbs() {
        let own = verb.get_arguments().filter(|argument| {
            let is_shared = ["output", "out", "help"].contains(&argument.get_id().as_str());
            !argument.is_global_set() && !is_shared
        });
        let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(own.count() < 2 || examples.starts_with("Examples:\n"), "{name} has no examples");
        for line in examples.lines().skip(1) {
            let words = line.split(" | ").next().unwrap().split_whitespace();
            let parsed = Cli::try_parse_from(words);
            assert!(line.starts_with(&format!("  nodebake {name}")) && parsed.is_ok(), "{line}: {:?}", parsed.err());
            with_examples += 1;
        }
    }
    assert!(with_examples > 60, "{with_examples}");
}

/// What belongs to a verb stands before what every verb takes, each under its own heading.
#[test]
fn options_stand_under_their_headings() {
    let help = World::empty().run(&["rebuild", "--help"]).stdout;
    let of = |heading: &str| {
        let part = help.split(&format!("\n{heading}:\n")).nth(1).unwrap_or_else(|| panic!("{heading}: {help}"));
        let lines = part.split("\n\n").flat_map(str::lines).take_while(|line| line.starts_with(' '));
        lines.filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next()).collect::<Vec<_>>()
    };
    let pods = ["no-drain", "drain-timeout", "grace-period", "allow-unmanaged", "allow-emptydir", "allow-local-pvs"];
    assert_eq!(of("Pods of nodes in the cluster"), pods);
    assert_eq!(of("Everywhere"), ["config", "mirror", "download-stall", "cache-dir", "offline", "log-format"]);
    assert!(of("Options").contains(&"stall") && of("Options").contains(&"yes"), "{help}");
    assert!(help.find("\nOptions:") < help.find("\nPods of") && help.find("\nPods of") < help.find("\nEverywhere:"));
}

#[test]
fn help_has_its_own_column_of_words_at_any_width() {
    let world = World::empty();
    for columns in ["60", "300"] {
        let ran = world.run_command(world.command(&[]).env("COLUMNS", columns).args(["build", "--help"]));
        let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
        assert!(ran.code == 0 && widest <= Some(columns.parse::<usize>().unwrap().min(100)), "{ran:?}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let ran = World::empty().run(&["--version"]);
    assert_eq!(ran, Ran::ok(format!("nodebake {}\n", env!("CARGO_PKG_VERSION")), ""));
}

#[test]
fn what_is_no_command_line_is_refused() {
    let world = World::empty();
    // What the environment gives would stand in the usage as well.
    let bare = |arguments: &[&str]| {
        let mut command = world.command(&[]);
        world.run_command(command.env_remove("NODEBAKE_MIRROR").env_remove("NODEBAKE_CACHE_DIR").args(arguments))
    };
    let usage = |text: &str, usage: &str| Ran {
        code: 2,
        stdout: String::new(),
        stderr: format!("error: {text}\n\nUsage: nodebake {usage}\n\nFor more information, try '--help'.\n"),
    };
    for (arguments, wanted) in [
        (&["frobnicate"][..], usage("unrecognized subcommand 'frobnicate'", "[OPTIONS] <COMMAND>")),
        (&["lock", "--force"], usage("unexpected argument '--force' found", "lock [OPTIONS]")),
        (
            &["build"],
            usage("the following required arguments were not provided:\n  <NODE|--all>", "build <NODE|--all>"),
        ),
        (
            &["build", "--all", "worker-node-1"],
            usage("the argument '--all' cannot be used with '[NODE]...'", "build <NODE|--all>"),
        ),
        (
            &["rebuild"],
            usage(
                "the following required arguments were not provided:\n  <NODE|--group <GROUP>|--all>",
                "rebuild <NODE|--group <GROUP>|--all>",
            ),
        ),
    ] {
        assert_eq!(bare(arguments), wanted, "{arguments:?}");
    }
    assert_eq!(
        bare(&["build", "Worker_1"]),
        Ran {
            code: 2,
            stdout: String::new(),
            stderr:
                "error: invalid value 'Worker_1' for '[NODE]...': \"Worker_1\" is not a node name: 1 to 63 of a-z, \
                     0-9 and \"-\", not at the ends\n\nFor more information, try '--help'.\n"
                    .to_owned(),
        }
    );
    // Without a word at all, the help is the answer.
    assert_eq!(bare(&[]), Ran { code: 2, stdout: String::new(), stderr: bare(&["-h"]).stdout });
}

#[test]
fn a_slip_is_met_with_what_was_meant() {
    let world = crate::hypervisors::cluster("  host-one: {uri: 'test:///default', bridge: br0}", &[("worker-a", 41)]);
    world.edit("address: 10.0.0.41}", "address: 10.0.0.41, group: large}");
    world.edit("\nnodes:\n", "\ngroups:\n  large: {memory: 1GiB}\n\nnodes:\n");
    for (arguments, error) in [
        (&["render", "worker-b"][..], "the cluster file has no node worker-b; did you mean worker-a?"),
        (&["down", "worker-aa"], "the cluster file has no node worker-aa; did you mean worker-a?"),
        (&["hosts", "-g", "larg"], "no node is of group \"larg\"; did you mean large?"),
        (&["image", "lagre"], "the cluster file has no node of group lagre; did you mean large?"),
        (&["evacuate", "hostone"], "the cluster file has no hypervisor hostone; did you mean host-one?"),
        (
            &["rebuild", "worker-a", "--to", "host-on"],
            "the cluster file has no hypervisor host-on; did you mean host-one?",
        ),
        (&["explain", "worker-a", "memroy"], "nodes have no field \"memroy\"; did you mean memory?"),
        (&["render", "worker-a", "userdata"], "the seed of worker-a has no userdata; did you mean user-data?"),
        // Of these the command line itself knows all that there are.
        (&["verfy"], "unrecognized subcommand 'verfy'\n\n  tip: a similar subcommand exists: 'verify'"),
        (&["identity", "renw"], "unrecognized subcommand 'renw'\n\n  tip: a similar subcommand exists: 'renew'"),
        (
            &["plan", "--ouput", "json"],
            "unexpected argument '--ouput' found\n\n  tip: a similar argument exists: '--output'",
        ),
        (
            &["plan", "-o", "jsn"],
            "invalid value 'jsn' for '--output <OUTPUT>'\n  [possible values: table, json, yaml]\n\n  tip: a similar value \
             exists: 'json'",
        ),
    ] {
        let ran = world.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(&format!("error: {error}\n")), "{arguments:?}: {ran:?}");
    }
    // What is like nothing is met with no guess.
    let ran = world.run(&["hosts", "-g", "small"]);
    assert_eq!(ran, Ran::failed(2, "no node is of group \"small\"", "there are nodes of large"));
    world.edit("group: large}", "gruop: large}");
    let ran = world.run(&["hosts"]);
    assert!(ran.stderr.contains("nodes[0].gruop: unknown key, did you mean \"group\"?"), "{ran:?}");
}

#[test]
fn init_writes_the_example_once() {
    let world = World::empty();
    let said = "wrote nodebake.yaml; adapt it, then run `nodebake lock`\n";
    assert_eq!(world.run(&["init"]), Ran::ok("", said));
    assert_eq!(world.read("nodebake.yaml"), nodebake::config::INIT);
    assert_eq!(world.tree("").keys().collect::<Vec<_>>(), ["", "nodebake.yaml"]);

    let before = world.tree("");
    fs::write(world.path("mine.yaml"), "mine").unwrap();
    for (arguments, path) in [(&["init"][..], "nodebake.yaml"), (&["--config", "mine.yaml", "init"], "mine.yaml")] {
        let refused = Ran::failed(
            2,
            &format!("{path} is there already"),
            "nothing of yours is overwritten: remove it, or name another file (init: --config FILE, kubeconfig: --out FILE)",
        );
        assert_eq!(world.run(arguments), refused);
    }
    assert_eq!(world.tree("nodebake.yaml")["nodebake.yaml"], before["nodebake.yaml"]);
    assert_eq!(world.read("mine.yaml"), "mine");

    let refused = world.run(&["--config", "no/folder/nodebake.yaml", "init"]);
    let error = "creating no/folder/nodebake.yaml: No such file or directory (os error 2)";
    assert_eq!(refused, Ran::failed(1, error, "make the folder first: mkdir -p no/folder"));
}

#[test]
fn the_example_itself_is_valid() {
    // What it lacks is a CA and a mirror.
    let world = World::empty();
    world.must(&["init"]);
    fs::create_dir(world.path("mirror")).unwrap();
    let ran = world.run(&["build", "--all"]);
    assert_eq!(ran, Ran::failed(3, "there is no FOLDER/nodebake.lock", "run `nodebake lock`"));
}

#[test]
fn the_schema_is_printed_without_a_cluster_file() {
    assert_eq!(World::empty().run(&["schema"]), Ran::ok(nodebake::config::SCHEMA, ""));
}

#[test]
fn a_cluster_file_that_is_not_there_is_told() {
    let world = World::empty();
    let hint = "run `nodebake init` to write one, or name yours with --config FILE";
    let error = |path| format!("cannot read the cluster file {path}: No such file or directory (os error 2)");
    for verb in [&["lock"][..], &["build", "--all"], &["status"], &["down"], &["kubeconfig"], &["fetch"], &["up"]] {
        assert_eq!(world.run(verb), Ran::failed(2, &error("nodebake.yaml"), hint), "{verb:?}");
    }
    assert_eq!(world.run(&["lock", "--config", "other.yaml"]), Ran::failed(2, &error("other.yaml"), hint));
}

#[test]
fn all_problems_of_a_cluster_file_are_told_at_once() {
    let world = World::new();
    for (from, to) in [
        ("  name: seed\n", "  name: Seed\n"),
        ("apiServer: https", "apiServer: http"),
        ("  nameservers: [10.0.0.1]\n", ""),
        ("  memory: 4GiB", "  memory: 4GB"),
        (
            "  - name: worker-node-2\n    address: 10.0.0.37",
            "  - name: worker-node-1\n    address: 10.1.0.37\n    colour: red",
        ),
    ] {
        world.edit(from, to);
    }
    let text = world.read("nodebake.yaml");
    let line = |wanted: &str| text.lines().position(|line| line.contains(wanted)).unwrap() + 1;
    let (name, server, memory) = (line("name: Seed"), line("apiServer"), line("4GB"));
    let (network, cidr, first, second) = (line("name: nodebake"), line("cidr:"), line("10.0.0.36"), line("10.1.0.37"));
    let listing = format!(
        "7 problems in nodebake.yaml\n\
         nodebake.yaml:{name}:9: cluster.name: \"Seed\" is not a cluster name: 1 to 32 of a-z, 0-9 and \"-\", not at the \
         ends\n\
         nodebake.yaml:{server}:14: cluster.apiServer: \"http://10.0.0.4:6443\" does not start with https://, meant is \
         https://HOST:PORT such as https://10.0.0.4:6443\n\
         nodebake.yaml:{network}:3: network.nameservers: missing key: a list of addresses such as 10.0.0.1\n\
         nodebake.yaml:{memory}:11: defaults.memory: \"4GB\" is not a size, did you mean \"4GiB\"?\n\
         nodebake.yaml:{}:11: nodes[1].name: worker-node-1 is taken by nodes[0].name in line {}\n\
         nodebake.yaml:{second}:14: nodes[1].address: 10.1.0.37 is outside the network 10.0.0.0/24 of line {cidr}\n\
         nodebake.yaml:{}:5: nodes[1].colour: unknown key; known here: name, address, address6, mac, group, hypervisor, arch, cpus, \
         memory, disk, firmware, secureBoot, diskDriver, dataDisks, nics, domainXml, ntp, proxy, ssh, consoleLogin, kubelet, containerd, files, units, cloudConfig, modules, sysctls, \
         labels, taints, swap, templates, keepSeed, hypervisors, antiAffinity",
        second - 1,
        first - 1,
        second + 1
    );
    let hint = "`nodebake init`, run in an empty folder, writes a complete example with comments";
    for verb in [&["lock"][..], &["build", "--all"], &["up"]] {
        assert_eq!(world.run(verb), Ran::failed(2, &listing, hint));
    }
    assert!(!world.path("nodebake.lock").exists() && !world.path("build").exists() && !world.path("cache").exists());
}

#[test]
fn the_readme_promises_the_exit_codes_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let table = readme.split("| Exit code | Meaning |\n").nth(1).expect("README.md has a table of the exit codes");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let promised: BTreeMap<u8, String> =
        rows.map(cells).map(|row| (row[0].trim_matches('`').parse().unwrap(), row[1].clone())).collect();
    let codes: Vec<u8> = [0].into_iter().chain(all().map(|code| code as u8)).collect();
    assert_eq!(promised.keys().copied().collect::<Vec<_>>(), codes);
    assert!(promised.values().all(|meaning| !meaning.is_empty()), "{promised:?}");
}

/// Every code of a failure, in order; one that is added stops this from compiling.
fn all() -> impl Iterator<Item = ExitCode> {
    let next = |code: &ExitCode| match code {
        ExitCode::Unexpected => Some(ExitCode::Configuration),
        ExitCode::Configuration => Some(ExitCode::Lock),
        ExitCode::Lock => Some(ExitCode::Digest),
        ExitCode::Digest => Some(ExitCode::NodeDown),
        ExitCode::NodeDown => Some(ExitCode::Pending),
        ExitCode::Pending => Some(ExitCode::Expiring),
        ExitCode::Expiring => None,
    };
    std::iter::successors(Some(ExitCode::Unexpected), next)
}
