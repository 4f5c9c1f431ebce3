//! Downloads from servers as they should not be: each run ends with the right file and nothing else in the cache, or
//! with an error that names the server.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::mirror::{self, Item};
use crate::server::{Answer, Request, Server};
use crate::world::{Ran, World, kib, sha256};

const KUBECTL: &str = "kubectl 1.35.1 (amd64)";
const OTHER: &str = "if upstream has replaced the file, take its entry out of nodebake.lock and run `nodebake lock`; else somebody \
                has tampered with it";
const LATER: &str = "try again later, or give another mirror";

fn file() -> Vec<u8> {
    mirror::content(Item::Kubectl)
}

/// The same length, other bytes.
fn other() -> Vec<u8> {
    file().iter().map(|byte| !byte).collect()
}

/// A world whose cache is empty, the place of kubectl on a server, and what a run against that server says.
struct Case {
    world: World,
    server: Server,
}

impl Case {
    fn new(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self { world: World::locked(), server: Server::start(answer) }
    }

    fn fetch(&self) -> Ran {
        self.fetch_from(&[&self.server])
    }

    fn fetch_from(&self, servers: &[&Server]) -> Ran {
        let bases: Vec<_> = servers.iter().map(|server| server.base()).collect();
        let mut command = self.world.command(&[]);
        command.env_remove("NODEBAKE_MIRROR").args(["fetch", "kubectl", "--mirror", &bases.join(",")]);
        let ran = self.world.run_command(command.args(["--download-stall", "1"]));
        let named = |text: String| {
            let named = |text: String, (n, base): (usize, &String)| text.replace(base, &format!("MIRROR{}", n + 1));
            bases.iter().enumerate().fold(text, named)
        };
        Ran { stderr: named(ran.stderr), ..ran }
    }

    /// Method and Range of each request.
    fn asked(&self) -> Vec<String> {
        let place = format!(" /mirror/{}", Item::Kubectl.place("1.35.1"));
        self.server.log().into_iter().map(|line| line.replace(&place, "")).collect()
    }

    /// Names in the folder of the blobs, with BLOB for the digest of kubectl.
    fn left(&self) -> Vec<String> {
        let digest = sha256(&self.world.path("mirror").join(Item::Kubectl.place("1.35.1")));
        let names = self.world.tree("cache/blobs/sha256").into_keys();
        let names = names.filter_map(|name| Some(name.strip_prefix("cache/blobs/sha256/")?.replace(&digest, "BLOB")));
        names.collect()
    }

    fn is_right(&self) {
        assert_eq!(self.fetch(), done());
        self.is_there();
    }

    fn is_there(&self) {
        assert_eq!(self.left(), ["BLOB", "BLOB.verified"]);
        assert!(fs::read(self.world.path(&self.world.cached(Item::Kubectl))).unwrap() == file());
    }

    fn fails(&self, code: i32, error: &str, hint: &str) {
        let error = error.replace("PLACE", &place(1));
        assert_eq!(self.fetch(), Ran::failed(code, &error, hint));
        assert_eq!(self.left(), [""; 0]);
    }
}

fn place(mirror: usize) -> String {
    format!("MIRROR{mirror}/{}", Item::Kubectl.place("1.35.1"))
}

fn done() -> Ran {
    Ran::ok("build/kubectl\n", format!("fetch kubectl 1.35.1: done ({})\n", kib(file().len() as u64)))
}

/// The head of the whole file, and then less of it.
fn cut(file: &[u8], headers: &[&str]) -> Answer {
    let length = format!("Content-Length: {}", file.len());
    Answer::raw("200 OK", &[headers, &[&length]].concat(), &file[..file.len() / 3])
}

/// What is left of the file after a cut, as it was asked for.
fn rest(request: &Request, file: &[u8], tag: &str) -> Answer {
    assert_eq!(request.headers["if-range"], tag);
    let from: usize = request.headers["range"].strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
    let range = format!("Content-Range: bytes {from}-{}/{}", file.len() - 1, file.len());
    let length = format!("Content-Length: {}", file.len() - from);
    Answer::raw("206 Partial Content", &[&range, &length, &format!("ETag: {tag}")], &file[from..])
}

fn chunked(body: &[u8]) -> Answer {
    let body = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    Answer::raw("200 OK", &["Transfer-Encoding: chunked"], &body)
}

#[test]
fn a_transfer_that_is_cut_goes_on() {
    let case = Case::new(|request| match request.headers.get("range") {
        None => cut(&file(), &["ETag: \"one\""]),
        Some(_) => rest(request, &file(), "\"one\""),
    });
    case.is_right();
    assert_eq!(case.asked(), ["GET".to_owned(), format!("GET bytes={}-", file().len() / 3)]);
}

#[test]
fn a_file_that_changes_before_it_is_gone_on_with_starts_anew() {
    // The server says so by the whole file, or by another validator on the part of it.
    for whole in [true, false] {
        let case = Case::new(move |request| match request.before {
            0 => cut(&other(), &["ETag: \"old\""]),
            1 if !whole => {
                let Answer(steps) = rest(request, &file(), "\"old\"");
                let text = |step| if let crate::server::Step::Send(bytes) = step { bytes } else { Vec::new() };
                let bytes = steps.into_iter().flat_map(text).collect::<Vec<_>>();
                let at = bytes.windows(5).position(|window| window == b"\"old\"").unwrap();
                Answer(vec![crate::server::Step::Send([&bytes[..at], b"\"new\"", &bytes[at + 5..]].concat())])
            }
            _ => Answer::file(&file()),
        });
        case.is_right();
        assert_eq!(case.asked().len(), if whole { 2 } else { 3 });
    }
}

#[test]
fn a_server_that_goes_silent_is_asked_again() {
    let silence = Duration::from_secs(20);
    let case = Case::new(move |request| match request.before {
        0 => Answer(vec![]).then(silence, b""),
        1 => cut(&file(), &["ETag: \"one\""]).then(silence, b""),
        _ => rest(request, &file(), "\"one\""),
    });
    case.is_right();
    assert_eq!(case.asked(), ["GET".to_owned(), "GET".to_owned(), format!("GET bytes={}-", file().len() / 3)]);
}

#[test]
fn refusals_that_may_pass_are_waited_for() {
    for (status, headers, least) in [
        ("429 Too Many Requests", &["Content-Length: 0", "Retry-After: 2"][..], 2000),
        ("503 Service Unavailable", &["Content-Length: 0", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"], 500),
        ("500 Internal Server Error", &["Content-Length: 0"], 500),
    ] {
        let case = Case::new(move |request| match request.before {
            0 => Answer::raw(status, headers, b""),
            _ => Answer::file(&file()),
        });
        let begin = std::time::Instant::now();
        case.is_right();
        assert!(begin.elapsed() >= Duration::from_millis(least), "{status}");
        assert_eq!(case.asked(), ["GET", "GET"]);
    }
    let case = Case::new(|_| Answer::status("500 Internal Server Error"));
    case.fails(1, &format!("cannot fetch {KUBECTL}: PLACE answered with status 500"), LATER);
    assert_eq!(case.asked().len(), 4);
}

#[test]
fn refusals_that_do_not_pass_are_told_at_once() {
    let place = Item::Kubectl.place("1.35.1");
    for (status, error, hint) in [
        (
            "404 Not Found",
            format!("the mirror lacks https://{place}: there is no PLACE"),
            format!(
                "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://{place}` in its \
                 folder"
            ),
        ),
        (
            "403 Forbidden",
            format!("cannot fetch {KUBECTL}: PLACE answered with status 403"),
            "access was refused: check the proxy settings and the mirror".to_owned(),
        ),
    ] {
        let case = Case::new(move |_| Answer::status(status));
        case.fails(1, &error, &hint);
        assert_eq!(case.asked(), ["GET"]);
    }
}

#[test]
fn other_bytes_are_refused() {
    let (digest, length) = (sha256_of(&file()), file().len());
    let wrong =
        format!("{KUBECTL} from PLACE has digest sha256:{}, and sha256:{digest} is locked", sha256_of(&other()));
    let case = Case::new(|_| Answer::file(&other()));
    case.fails(4, &wrong, OTHER);
    assert_eq!(case.asked(), ["GET"]);

    let sizes = format!("{KUBECTL} from PLACE has");
    for (answer, has) in [
        (Answer::file(&file()[1..]), format!("{} bytes", length - 1)),
        // More is announced than comes, and less than comes.
        (
            Answer::raw("200 OK", &[&format!("Content-Length: {}", length + 1)], &file()),
            format!("{} bytes", length + 1),
        ),
        (Answer::raw("200 OK", &["Content-Length: 10"], &file()), "10 bytes".to_owned()),
        (chunked(&[file(), b"!".to_vec()].concat()), format!("{} bytes or more", length + 1)),
    ] {
        let case = Case::new(move |_| answer.clone());
        let ran = case.fetch();
        // Blocks may end anywhere: what matters is that more came than there should be.
        let error = format!("{sizes} {has}, and {length} are locked").replace("PLACE", &place(1));
        assert_eq!(ran, Ran::failed(4, &error, OTHER));
        assert_eq!(case.left(), [""; 0]);
    }
    let case = Case::new(move |_| chunked(&file()[..10]));
    case.fails(1, &format!("cannot fetch {KUBECTL}: PLACE ended after 10 of {length} bytes"), LATER);
}

fn sha256_of(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), bytes).unwrap();
    sha256(&folder.path().join("file"))
}

#[test]
fn a_packed_answer_is_named() {
    let packed = || {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&file()).unwrap();
        encoder.finish().unwrap()
    };
    let hint = "the server, or a proxy before it, must hand the file on as it is published: switch its compression off";
    let error = format!(
        "cannot fetch {KUBECTL}: PLACE was sent with content-encoding \"gzip\", which was not asked for, and is not the \
         locked file"
    );
    for known in [true, false] {
        let case = Case::new(move |request| {
            assert_eq!(request.headers["accept-encoding"], "identity");
            let length = format!("Content-Length: {}", packed().len());
            let headers: &[&str] =
                if known { &["Content-Encoding: gzip", &length] } else { &["Content-Encoding: gzip"] };
            Answer::raw("200 OK", headers, &packed())
        });
        if known {
            case.fails(1, &error, hint);
            assert_eq!(case.asked(), ["GET"]);
        } else {
            // It ends before its time, like one that was cut.
            let short =
                format!("cannot fetch {KUBECTL}: PLACE ended after {} of {} bytes", packed().len(), file().len());
            case.fails(1, &short, LATER);
        }
    }
    // A server that calls a file packed which is published like that.
    Case::new(|_| {
        let length = format!("Content-Length: {}", file().len());
        Answer::raw("200 OK", &["Content-Encoding: gzip", &length], &file())
    })
    .is_right();
}

#[test]
fn redirects_lead_to_http_only_and_end() {
    let there = Server::start(|_| Answer::file(&file()));
    let found = |location: String| {
        Case::new(move |_| Answer::raw("302 Found", &[&format!("Location: {location}"), "Content-Length: 0"], b""))
    };
    found(format!("{}/there", there.base())).is_right();
    let follow = "error following redirect: ";
    for (location, why) in [
        (format!("/mirror/{}", Item::Kubectl.place("1.35.1")), format!("{follow}more than 10 redirects")),
        ("file:///etc/hostname".to_owned(), "\"file:///etc/hostname\" is no address".to_owned()),
        (
            "file://h.org/etc/hostname".to_owned(),
            format!("{follow}file://h.org/etc/hostname is neither http nor https"),
        ),
        ("ftp://127.0.0.1/kubectl".to_owned(), format!("{follow}ftp://127.0.0.1/kubectl is neither http nor https")),
    ] {
        found(location).fails(1, &format!("cannot fetch {KUBECTL}: PLACE redirects to where it must not: {why}"), "");
    }
}

/// The bytes that are in the cache of what is on its way.
fn part(case: &Case) -> Option<u64> {
    let path = case.world.path(&format!("{}.part", case.world.cached(Item::Kubectl)));
    fs::metadata(path).ok().map(|part| part.len())
}

#[test]
fn the_next_run_goes_on_after_a_failure() {
    let case = Case::new(|request| match request.before {
        0 => cut(&file(), &["ETag: \"one\""]),
        1 => Answer::status("403 Forbidden"),
        _ => rest(request, &file(), "\"one\""),
    });
    assert_eq!(case.fetch().code, 1);
    assert_eq!(case.left(), ["BLOB.part", "BLOB.part.from"]);
    let note = case.world.read(&format!("{}.part.from", case.world.cached(Item::Kubectl)));
    assert_eq!(note.replace(&case.server.base(), "MIRROR1"), format!("{}\n\"one\"\n", place(1)));
    case.is_right();
    let range = format!("GET bytes={}-", file().len() / 3);
    assert_eq!(case.asked(), ["GET".to_owned(), range.clone(), range]);
}

#[test]
fn the_next_run_goes_on_after_a_kill() {
    for signal in ["INT", "KILL"] {
        let case = Case::new(|request| match request.before {
            0 => cut(&file(), &["ETag: \"one\""]).then(Duration::from_mins(1), b""),
            _ => rest(request, &file(), "\"one\""),
        });
        // Who runs the tests in the background may ignore SIGINT, and that is inherited.
        let mut command = case.world.command(&["env", "--default-signal=INT"]);
        command.args(["fetch", "kubectl", "--mirror", &case.server.base()]).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let third = file().len() as u64 / 3;
        while part(&case) != Some(third) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(
            std::process::Command::new("kill")
                .args(["-s", signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        assert!(child.wait().unwrap().code().is_none());
        assert_eq!(case.left(), ["BLOB.part", "BLOB.part.from"]);
        case.is_right();
        assert_eq!(case.asked(), ["GET".to_owned(), format!("GET bytes={third}-")]);
    }
}

#[test]
fn parts_that_are_of_no_use_start_anew() {
    let third = file().len() / 3;
    let whole = file();
    for (part, note, asked) in [
        // No note, a torn one, one of another place.
        (&whole[..third], None, "GET".to_owned()),
        (&whole[..third], Some("PLACE\n\"one\""), "GET".to_owned()),
        (&whole[..third], Some("http://elsewhere.example/kubectl\n\"one\"\n"), "GET".to_owned()),
        // More than there can be.
        (&[&whole[..], b"!"].concat(), Some("PLACE\n\"one\"\n"), "GET".to_owned()),
        // Other bytes than the server's, whatever it says: once more in one piece.
        (&other()[..third], Some("PLACE\n\"one\"\n"), format!("GET bytes={third}-,GET")),
        // All is there but for the name.
        (&whole, None, String::new()),
        (&other(), None, "GET".to_owned()),
    ] {
        let case = Case::new(|request| match request.headers.get("range") {
            None => Answer::raw("200 OK", &["ETag: \"one\"", &format!("Content-Length: {}", file().len())], &file()),
            Some(_) => rest(request, &file(), "\"one\""),
        });
        let blob = case.world.path(&case.world.cached(Item::Kubectl));
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(format!("{}.part", blob.display()), part).unwrap();
        if let Some(note) = note {
            let note = note.replace("PLACE", &place(1).replace("MIRROR1", &case.server.base()));
            fs::write(format!("{}.part.from", blob.display()), note).unwrap();
        }
        case.is_right();
        assert_eq!(case.asked().join(","), asked, "{} bytes, {note:?}", part.len());
    }
}

#[test]
fn mirrors_are_asked_in_their_order() {
    let lacks = Case::new(|_| Answer::status("404 Not Found"));
    let wrong = Server::start(|_| Answer::file(&other()));
    let broken = Server::start(|_| Answer::status("403 Forbidden"));
    let right = Server::start(|_| Answer::file(&file()));
    let unasked = Server::start(|_| Answer::file(&file()));
    let ran = lacks.fetch_from(&[&lacks.server, &wrong, &broken, &right, &unasked]);
    let (digest, locked) = (sha256_of(&other()), sha256_of(&file()));
    let mismatch =
        |place: &str| format!("{KUBECTL} from {place} has digest sha256:{digest}, and sha256:{locked} is locked");
    let warnings = format!(
        "warning: {}; it came from {from}\nwarning: {} answered with status 403; it came from {from}\n",
        mismatch(&place(2)),
        place(3),
        from = place(4),
    );
    // That a mirror lacks a file is nothing to warn of.
    let told = Ran { stderr: format!("{warnings}{}", done().stderr), ..done() };
    assert_eq!(ran, told);
    lacks.is_there();
    assert_eq!((lacks.asked().len(), right.log().len(), unasked.log().len()), (1, 1, 0));

    let case = Case::new(|_| Answer::status("404 Not Found"));
    let ran = case.fetch_from(&[&case.server, &wrong, &broken]);
    let error = format!(
        "no place gives {KUBECTL} as it is locked: there is no {}; {}; {} answered with status 403",
        place(1),
        mismatch(&place(2)),
        place(3)
    );
    assert_eq!(ran, Ran::failed(4, &error, OTHER));
    assert_eq!(case.left(), [""; 0]);

    let ran = case.fetch_from(&[&case.server, &broken]);
    let url = format!("https://{}", Item::Kubectl.place("1.35.1"));
    let error = format!(
        "cannot fetch {KUBECTL}: no place gives {url}: there is no {}; {} answered with status 403",
        place(1),
        place(2)
    );
    assert_eq!(ran, Ran::failed(1, &error, "access was refused: check the proxy settings and the mirror"));
}

#[test]
fn a_mirror_that_cannot_be_reached_is_passed_over() {
    let world = World::locked();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirrors = format!("http://{free},{}", world.path("mirror").display());
    let ran = world.must(&["fetch", "--mirror", &mirrors]);
    let warnings: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    for warning in &warnings {
        assert!(warning.contains("cannot be reached"), "{warning}");
    }
    // Told for those that were asked for at the same time, not for each file.
    assert!((1..=4).contains(&warnings.len()), "{warnings:?}");

    fs::remove_dir_all(world.path("cache")).unwrap();
    fs::remove_file(world.path("mirror").join(Item::Kubectl.place("1.35.1"))).unwrap();
    let ran = world.run(&["fetch", "kubectl", "--mirror", &mirrors]);
    let place = Item::Kubectl.place("1.35.1");
    let error = format!(
        "cannot fetch {KUBECTL}: no place gives https://{place}: http://{free}/{place} cannot be reached: error sending \
         request: client error (Connect): tcp connect error: Connection refused (os error 111); there is no \
         FOLDER/mirror/{place}"
    );
    assert_eq!(ran, Ran::failed(1, &error, "check the network and the proxy settings (HTTPS_PROXY), or give a mirror"));
}

#[test]
fn a_stall_limit_has_bounds() {
    let world = World::empty();
    for bad in ["0", "86401", "never"] {
        assert_eq!(world.run(&["--download-stall", bad, "lock"]).code, 2);
    }
}
