//! Many processes at once: nothing is fetched twice, nothing is torn, nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};

use crate::http;
use crate::mirror::Item;
use crate::server::Server;
use crate::world::World;

const PROCESSES: usize = 8;

/// What a build asks a mirror for.
const ASKED: [Item; 4] = [Item::CniPlugins, Item::Containerd, Item::Kubelet, Item::Runc];

/// Lets a mirror answer nobody until all processes are on their way.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap() = true;
        changed.notify_all();
    }

    fn pass(&self) {
        let (open, changed) = &*self.0;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn before(&self, mirror: PathBuf) -> Server {
        let gate = self.clone();
        Server::start(move |request| {
            gate.pass();
            http::part_of(&mirror, request)
        })
    }
}

/// Builds into each of these folders at once, on an empty store; all must end well. Returns what they print.
fn build(world: &World, outs: &[String]) -> Vec<String> {
    let gate = Gate::default();
    let server = gate.before(world.path("mirror"));
    let start = |(number, out): (usize, &String)| {
        let mut command = world.command(&[]);
        command.args(["build", "--all", "--mirror", &server.base(), "--out", out]);
        let file = |stream| File::create(world.path(&format!("{stream}-{number}"))).unwrap();
        command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap()
    };
    let children: Vec<Child> = outs.iter().enumerate().map(start).collect();
    gate.open();
    let end = |(number, mut child): (usize, Child)| {
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(0), "{}", world.read(&format!("stderr-{number}")));
        world.read(&format!("stdout-{number}"))
    };
    let printed = children.into_iter().enumerate().map(end).collect();

    let mut asked = server.log();
    asked.sort();
    let wanted: BTreeSet<_> = ASKED.map(|item| format!("GET /mirror/{}", item.place(item.version()))).into();
    assert_eq!(asked, Vec::from_iter(wanted), "each file once");
    printed
}

/// Names and digests of what a build prints.
fn digests(stdout: &str) -> Vec<(&str, &str)> {
    let cells = stdout.lines().map(|line| line.split("   ").filter(|cell| !cell.is_empty()).collect::<Vec<_>>());
    cells.map(|cells| (cells[0], cells[2].trim())).collect()
}

/// Mode and bytes of everything in a folder, by the name in it.
fn content(world: &World, folder: &str) -> BTreeMap<String, (u32, Vec<u8>)> {
    let named = |name: String| name.strip_prefix(folder).unwrap().to_owned();
    world.tree(folder).into_iter().map(|(name, file)| (named(name), (file.mode, file.content))).collect()
}

#[test]
fn builds_into_folders_of_their_own() {
    let world = World::locked();
    let outs: Vec<_> = (0..PROCESSES).map(|number| format!("out-{number}")).collect();
    let printed = build(&world, &outs);
    // Identities are one for all, so the seeds are the same, too.
    let first = content(&world, &outs[0]);
    for (out, printed_of) in outs.iter().zip(&printed) {
        assert!(content(&world, out) == first, "{out} differs");
        assert_eq!(digests(printed_of), digests(&printed[0]));
    }
    settled(&world, &outs[0], &digests(&printed[0]));
}

#[test]
fn builds_into_one_folder() {
    let world = World::locked();
    let printed = build(&world, &vec!["build".to_owned(); PROCESSES]);
    for printed_of in &printed {
        assert_eq!(digests(printed_of), digests(&printed[0]));
    }
    // One of them baked the payload, and the others waited for it.
    let made = |printed: &&String| printed.lines().next().is_some_and(|line| line.ends_with("   made"));
    assert_eq!(printed.iter().filter(made).count(), 1, "{printed:?}");
    settled(&world, "build", &digests(&printed[0]));
}

/// The files are those that one build makes in peace, and one more has nothing to do.
fn settled(world: &World, out: &str, printed: &[(&str, &str)]) {
    let alone = World::built();
    let names = |world: &World, folder: &str| content(world, folder).into_keys().collect::<Vec<_>>();
    for (folder, here) in [("build", out), ("cache/blobs", "cache/blobs"), (".nodebake", ".nodebake")] {
        assert_eq!(names(world, here), names(&alone, folder));
    }
    let before = world.tree("");
    let again = world.run(&["build", "--all", "--out", out]);
    assert_eq!((again.code, digests(&again.stdout), again.stderr.as_str()), (0, printed.to_vec(), ""));
    assert!(world.tree("") == before, "something was written");
}
