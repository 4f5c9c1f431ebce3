//! Certificates through their life: listed, renewed, asked for elsewhere, taken in; and the key that signs them, wherever it
//! is locked away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use nix::sys::signal::Signal;

use crate::identities::provide;
use crate::machines::with_machines;
use crate::sitting::Sitting;
use crate::world::{Ran, World, must, new_authority};

const NODE: &str = "worker-node-1";

/// One field of a certificate of the pki folder, in openssl's words.
fn field(world: &World, file: &str, which: &str) -> String {
    let printed = world.openssl(&["x509", "-in", file, "-noout", which, "-dateopt", "iso_8601", "-nameopt", "RFC2253"]);
    printed.trim().split_once('=').unwrap().1.to_owned()
}

fn end(world: &World, file: &str) -> String {
    field(world, file, "-enddate").replace(' ', "T")
}

fn serial(world: &World, file: &str) -> String {
    field(world, file, "-serial").to_lowercase()
}

fn kept(node: &str) -> String {
    format!("../.nodebake/identities/{node}/cert.pem")
}

/// Runs the program so many days from now.
fn later(world: &World, days: u32, arguments: &[&str]) -> Ran {
    world.run_command(world.command(&["faketime", "-f", &format!("+{days}d")]).args(arguments))
}

/// The cells of a table's rows.
fn cells(table: &str) -> Vec<Vec<String>> {
    let row =
        |line: &str| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
    table.lines().map(row).collect()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

#[test]
fn what_there_is_is_listed() {
    let world = World::new();
    provide(&world, "worker-node-2", "10.0.0.37", "100");
    let ca = "C=DE, O=Kubernetes, OU=CA, CN=Kubernetes CA";
    let head = row(&["NAME", "KIND", "STATE", "DAYS", "ENDS", "SERIAL"]);
    let missing = row(&[NODE, "-", "missing", "-", "-", "-"]);
    let brought = |state: &str, days: &str| {
        row(&["worker-node-2", "brought along", state, days, &end(&world, "worker-node-2.pem"), "1267"])
    };
    let authority = |days: &str| row(&[ca, "CA", "valid", days, &end(&world, "ca.pem"), &serial(&world, "ca.pem")]);
    let ran = world.must(&["identity", "list"]);
    assert_eq!(ran.stderr, "");
    assert_eq!(cells(&ran.stdout), [head.clone(), missing.clone(), brought("valid", "99"), authority("3649")]);
    assert!(!world.path(".nodebake").exists(), "looking makes nothing");

    world.must(&["identity", "renew", NODE]);
    world.must(&["kubeconfig"]);
    let ran = world.must(&["identity", "list", "-o", "wide"]);
    let issued = end(&world, &kept(NODE));
    let number = serial(&world, &kept(NODE));
    let rows = cells(&ran.stdout);
    assert_eq!(rows[0][6..], row(&["NAMES", "ISSUER", "BEGINS", "ROTATES", "FILE"]));
    let begins = field(&world, &kept(NODE), "-startdate").replace(' ', "T");
    let folder = world.path("").display().to_string();
    let file = format!(".nodebake/identities/{NODE}/cert.pem");
    let first = [
        NODE,
        "issued",
        "valid",
        "364",
        &issued,
        &number,
        "worker-node-1, 10.0.0.36",
        ca,
        &begins,
        "-",
        &format!("FOLDER/{file}"),
    ];
    assert_eq!(rows[1], row(&first));
    assert_eq!(rows[3][..3], row(&["kubernetes-admin", "administrator", "valid"]));
    assert_eq!(rows[3][6..8], row(&["-", ca]));

    // Programs read the same; of the nodes that they name.
    let ran = world.must(&["identity", "list", NODE, "-o", "json"]);
    let wanted = json!({
        "apiVersion": "nodebake/v1",
        "cluster": "seed",
        "identities": [{
            "name": NODE, "kind": "issued", "state": "valid", "serial": number,
            "names": ["worker-node-1", "10.0.0.36"], "issuer": ca, "notBefore": begins, "notAfter": issued,
            "daysLeft": 364, "rotates": [], "requested": false, "file": format!("FOLDER/{file}"), "problems": [],
        }],
    });
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), wanted, "{folder}");
    let yaml = world.must(&["identity", "list", NODE, "-o", "yaml"]).stdout;
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), wanted);

    // Near the end, and past it.
    let brought_end = end(&world, "worker-node-2.pem");
    let soon = format!(
        "warning: the certificate of worker-node-2 ends soon, at {brought_end}; `nodebake identity csr worker-node-2` asks for \
         another, `nodebake rebuild worker-node-2` brings it to the machine\n"
    );
    let ran = later(&world, 80, &["identity", "list", "worker-node-2"]);
    let rows = [head.clone(), brought("near its end", "19")];
    assert_eq!((ran.code, cells(&ran.stdout), ran.stderr), (7, rows.to_vec(), soon));
    let ran = later(&world, 400, &["identity", "list"]);
    let states: Vec<_> = cells(&ran.stdout).into_iter().map(|row| row[2..4].join(" ")).collect();
    assert_eq!(states, ["STATE DAYS", "expired -36", "expired -301", "expired -36", "valid 3249"]);
    let admin = cells(&ran.stdout)[3][4].clone();
    let said = format!(
        "warning: the certificate of worker-node-1 expired at {issued}; `nodebake rebuild worker-node-1` gives its machine \
         another\n\
         warning: the certificate of worker-node-2 expired at {brought_end}; `nodebake identity csr worker-node-2` asks for \
         another, `nodebake rebuild worker-node-2` brings it to the machine\n\
         warning: the certificate of kubernetes-admin expired at {admin}; `nodebake kubeconfig` writes another\n"
    );
    assert_eq!((ran.code, ran.stderr), (7, said));
    let ran = later(&world, 3600, &["identity", "list", "-o", "json"]);
    let warned = format!(
        "warning: the CA {ca} ends soon, at {}; replace it in time (kubernetes.io: manual rotation of CA certificates)\n",
        end(&world, "ca.pem")
    );
    assert_eq!((ran.code, ran.stderr.ends_with(&warned)), (7, true), "{}", ran.stderr);

    // Of no use: said, and no matter of time.
    let (foreign, key) = new_authority("3650");
    fs::write(world.path("pki/ca.pem"), foreign).unwrap();
    world.write_key("pki/ca-key.pem", &key);
    let ran = world.must(&["identity", "list"]);
    let states: Vec<_> = cells(&ran.stdout).into_iter().map(|row| row[2].clone()).collect();
    assert_eq!(states, ["STATE", "foreign", "foreign", "foreign", "valid"]);
    let why = "not signed with the key of the CA in ca.pem";
    let said = ["worker-node-1", "worker-node-2", "kubernetes-admin"]
        .map(|name| format!("warning: the certificate of {name} is of no use: {why}\n"));
    assert_eq!(ran.stderr, said.concat());
    let unknown = Ran::failed(
        2,
        "the cluster file has no node worker-node-3; did you mean worker-node-1?",
        "`nodebake hosts` lists the nodes",
    );
    for verb in [&["list"][..], &["csr"], &["renew"]] {
        assert_eq!(world.run(&[&["identity"], verb, &["worker-node-3"]].concat()), unknown, "{verb:?}");
    }
}

#[test]
fn what_rotates_is_told_so() {
    let world = World::new();
    world.edit("  disk: 20GiB\n", "  disk: 20GiB\n  kubelet: {config: {rotateCertificates: true}}\n");
    world.must(&["identity", "renew", "--all"]);
    let ends = end(&world, &kept(NODE));
    let said = format!(
        "warning: the certificate of worker-node-1 ends soon, at {ends}; its kubelet rotates what it shows the apiserver, but \
         not what it serves with; `nodebake rebuild worker-node-1` gives its machine another\n"
    );
    let ran = later(&world, 350, &["identity", "list", NODE]);
    assert_eq!((ran.code, ran.stderr), (7, said));
    world.edit("{rotateCertificates: true}", "{rotateCertificates: true, serverTLSBootstrap: true}");
    let said = format!("the certificate of worker-node-1 ends soon, at {ends}; its kubelet rotates it\n");
    let ran = later(&world, 350, &["identity", "list", NODE]);
    assert_eq!((ran.code, ran.stderr), (0, said));
    let document: Value = serde_json::from_str(&world.must(&["identity", "list", NODE, "-o", "json"]).stdout).unwrap();
    assert_eq!(document["identities"][0]["rotates"], json!(["client", "server"]));
}

#[test]
fn an_identity_is_renewed_before_its_time() {
    let world = World::built();
    let before = serial(&world, &kept(NODE));
    let ran = world.must(&["identity", "renew", NODE]);
    let said = format!(
        "worker-node-1: issued another certificate, valid until {}; `nodebake rebuild worker-node-1` brings it to the machine\n",
        end(&world, &kept(NODE))
    );
    assert_eq!(ran, Ran::ok("", said));
    assert_ne!(serial(&world, &kept(NODE)), before);
    // It goes into the seed, and nobody else's does.
    let other = world.sha256("build/worker-node-2/seed.iso");
    let ran = world.must(&["build", "--all"]);
    assert_eq!(ran.stderr, "");
    let manifest: Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    assert_eq!(manifest["certificate"]["serial"], serial(&world, &kept(NODE)).as_str());
    assert_eq!(world.sha256("build/worker-node-2/seed.iso"), other);

    // All or none: one of them was brought along.
    provide(&world, "worker-node-2", "10.0.0.37", "365");
    let (first, before) = (serial(&world, &kept(NODE)), world.tree(".nodebake"));
    let hint =
        "have another one signed where it came from (`nodebake identity csr worker-node-2`), or remove it and its key";
    let error = "the certificate of worker-node-2 was not issued by nodebake: FOLDER/pki/worker-node-2.pem";
    assert_eq!(world.run(&["identity", "renew", "--all"]), Ran::failed(2, error, hint));
    assert_eq!((serial(&world, &kept(NODE)), world.tree(".nodebake")), (first, before));
    let usage = world.run(&["identity", "renew"]);
    assert_eq!((usage.code, usage.stdout.as_str()), (2, ""), "{usage:?}");
}

#[test]
fn whoever_signs_elsewhere_gets_a_request() {
    let world = World::locked();
    fs::rename(world.path("pki/ca-key.pem"), world.path("pki/signer-key.pem")).unwrap();
    let ran = world.must(&["identity", "csr", NODE]);
    let said = "worker-node-1: wrote build/worker-node-1.csr; its key stays in \
                FOLDER/.nodebake/identities/worker-node-1/csr-key.pem, and `nodebake identity import worker-node-1 FILE` takes \
                in what is signed\n";
    assert_eq!(ran, Ran::ok("", said));
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode("build/worker-node-1.csr"), mode(".nodebake/identities/worker-node-1/csr-key.pem")),
        (0o644, 0o600)
    );
    let ran = world.must(&["identity", "list", NODE]);
    let out =
        "worker-node-1: a request is out; `nodebake identity import worker-node-1 FILE` takes in what is signed\n";
    assert_eq!(ran.stderr, out);
    let hint = "put the CA's key at FOLDER/pki/ca-key.pem, or a certificate made elsewhere at \
                FOLDER/pki/worker-node-1.pem with its key worker-node-1-key.pem beside it, or have one signed: `nodebake \
                identity csr worker-node-1`";
    let error = "there is no certificate for worker-node-1, and no FOLDER/pki/ca-key.pem to issue one";
    // The payload is nobody's, and is made.
    world.run(&["build", NODE]);
    assert_eq!(world.run(&["build", NODE]), Ran::failed(2, error, hint));

    let sign = |out: &str| {
        world.openssl(&[
            "x509",
            "-req",
            "-in",
            "../build/worker-node-1.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "signer-key.pem",
            "-set_serial",
            "4711",
            "-copy_extensions",
            "copy",
            "-days",
            "300",
            "-out",
            out,
        ]);
    };
    sign("../signed.pem");
    let ran = world.must(&["identity", "import", NODE, "signed.pem"]);
    let said = format!(
        "worker-node-1: took in its certificate, valid until {}: FOLDER/pki/worker-node-1/cert.pem\n",
        end(&world, "../signed.pem")
    );
    assert_eq!(ran, Ran::ok("", said));
    let ran = world.must(&["build", NODE]);
    assert!(!ran.stderr.contains("issued"), "{ran:?}");
    let manifest: Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let certificate = &manifest["certificate"];
    assert_eq!((&certificate["serial"], &certificate["broughtAlong"]), (&json!("1267"), &json!(true)));
    // The key is where it must be.
    let place = world.must(&["status", NODE, "-o", "json"]).stdout;
    let place: Value = serde_json::from_str(&place).unwrap();
    assert_eq!(place["nodes"][0]["secrets"][1]["what"], "FOLDER/pki/worker-node-1/key.pem");

    // Another one goes in only with leave.
    world.must(&["identity", "csr", NODE]);
    sign("../signed.pem");
    let standing = Ran::failed(
        2,
        "there is another certificate of worker-node-1 already: FOLDER/pki/worker-node-1/cert.pem",
        "add --replace if it is to go",
    );
    assert_eq!(world.run(&["identity", "import", NODE, "signed.pem"]), standing);
    assert_eq!(world.must(&["identity", "import", NODE, "signed.pem", "--replace"]).stdout, "");
    let files = world.tree("pki/worker-node-1").into_iter().map(|(name, file)| (name, file.mode & 0o7777));
    let wanted = [("", 0o700), ("/cert.pem", 0o600), ("/key.pem", 0o600)];
    let wanted = wanted.map(|(name, mode)| (format!("pki/worker-node-1{name}"), mode));
    assert_eq!(files.collect::<Vec<_>>(), wanted);
    let nowhere = Ran::failed(1, "cannot read nowhere.pem: No such file or directory (os error 2)", "check the path");
    assert_eq!(world.run(&["identity", "import", NODE, "nowhere.pem"]), nowhere);
}

/// Locks the CA's key of a world away: encrypted, with the passphrase "a secret".
fn encrypt(world: &World) {
    world.openssl(&["pkey", "-in", "ca-key.pem", "-aes256", "-passout", "pass:a secret", "-out", "locked.pem"]);
    world.write_key("pki/ca-key.pem", world.read("pki/locked.pem").as_bytes());
    fs::remove_file(world.path("pki/locked.pem")).unwrap();
}

/// Files that hold a text.
fn holders(world: &World, text: &str) -> Vec<String> {
    let holds = |content: &[u8]| content.windows(text.len()).any(|window| window == text.as_bytes());
    world.tree("").into_iter().filter(|(_, file)| holds(&file.content)).map(|(name, _)| name).collect()
}

#[test]
fn the_terminal_is_asked_for_a_passphrase_once_and_shows_none() {
    let world = World::locked();
    encrypt(&world);
    world.must(&["fetch"]);
    let nobody = Ran::failed(
        2,
        "FOLDER/pki/ca-key.pem is encrypted, and there is no terminal to ask for its passphrase",
        "have cluster.caKey.passphrase in the cluster file say where it comes from: path, command, env or fd",
    );
    for verb in [&["identity", "renew", NODE][..], &["kubeconfig"]] {
        assert_eq!(world.run(verb), nobody, "{verb:?}");
    }
    assert!(!world.path(".nodebake").exists() && !world.path("admin.kubeconfig").exists());
    // Nothing to sign: nothing to ask for.
    for verb in [&["identity", "list"][..], &["identity", "csr", NODE], &["status"], &["render", NODE]] {
        assert_eq!(world.run(verb).code, 0, "{verb:?}");
    }

    let folder = world.path("").display().to_string();
    let question = format!("Passphrase of the CA's key ({folder}pki/ca-key.pem): ");
    let mut session = Sitting::start(&world, &["identity", "renew", "--all"]);
    assert_eq!(session.until(&question), question);
    assert!(session.is_raw());
    // A slip; then with a letter taken back, and a line.
    session.press("no secret\r");
    assert_eq!(session.until(&question), format!("\r\n{question}"));
    session.press("nonsense\u{15}a sec\u{e4}\u{7f}ret\r");
    let said = session.until("machine\r\n") + &session.until("machine\r\n");
    assert!(!said.contains("secret") && said.starts_with("\r\nworker-node-1: issued another"), "{said}");
    assert_eq!(session.end(), (0, false));

    // Three slips, Ctrl-C, and an end of it.
    let mut session = Sitting::start(&world, &["identity", "renew", NODE]);
    for _ in 0..3 {
        session.until(&question);
        session.press("no\r");
    }
    let wrong =
        "error: FOLDER/pki/ca-key.pem cannot be used: the passphrase is not its own\r\n".replace("FOLDER/", &folder);
    assert!(session.until("counts\r\n").contains(&wrong));
    assert_eq!(session.end(), (2, false));
    for (key, why) in [("\u{3}", "given up"), ("\u{4}", "unexpected end of file")] {
        let mut session = Sitting::start(&world, &["identity", "renew", NODE]);
        session.until(&question);
        session.press(key);
        let wanted = format!("error: asking for a passphrase: {why}\r\n");
        assert_eq!(session.until(&wanted), format!("\r\n{wanted}"));
        assert_eq!(session.end(), (1, false));
    }
    // Ended amidst the question, it gives the terminal back.
    let mut session = Sitting::start(&world, &["identity", "renew", NODE]);
    session.until(&question);
    session.signal(Signal::SIGTERM);
    assert_eq!(session.end(), (-15, false));
    assert_eq!(holders(&world, "a secret"), [""; 0]);
}

#[test]
fn a_key_is_fetched_from_where_the_cluster_file_says() {
    let world = World::locked();
    let plain = world.read("pki/ca-key.pem");
    encrypt(&world);
    let set = |from: &str, to: &str| world.edit(&format!("  pki: pki\n{from}"), &format!("  pki: pki\n{to}"));
    let renewed = |ran: &Ran| (ran.code, ran.stderr.starts_with("worker-node-1: issued another certificate"));

    // Its passphrase, from a pipe that the caller opened.
    let said = "  caKey: {passphrase: {fd: 3}}\n";
    set("", said);
    fs::write(world.path("passphrase"), "a secret\n").unwrap();
    let script = "exec 3<passphrase; exec \"$0\" \"$@\"";
    let ran = world.run_command(world.command(&["sh", "-c", script]).args(["identity", "renew", NODE]));
    assert_eq!(renewed(&ran), (0, true), "{ran:?}");
    let script = "cat passphrase | { exec 3<&0; \"$0\" \"$@\"; }";
    let ran = world.run_command(world.command(&["sh", "-c", script]).args(["identity", "renew", NODE]));
    assert_eq!(renewed(&ran), (0, true), "{ran:?}");
    fs::remove_file(world.path("passphrase")).unwrap();

    // From the environment; where it is not set, that is told.
    let next = "  caKey: {passphrase: {env: PASSPHRASE}}\n";
    set(said, next);
    let hint = "cluster.caKey in the cluster file says where it comes from";
    let unset = Ran::failed(2, "the variable PASSPHRASE is of no use: it is not set", hint);
    assert_eq!(world.run(&["identity", "renew", NODE]), unset);
    let with = |name: &str, value: &str| {
        world.run_command(world.command(&[]).env(name, value).args(["identity", "renew", NODE]))
    };
    assert_eq!(renewed(&with("PASSPHRASE", "a secret")), (0, true));
    let wrong = Ran::failed(
        2,
        "FOLDER/pki/ca-key.pem cannot be used: the passphrase is not its own",
        "cluster.caKey.passphrase in the cluster file says where the passphrase comes from; its first line counts",
    );
    assert_eq!(with("PASSPHRASE", "another"), wrong);

    // The whole key from the environment, or from a program of the cluster file's folder, which may talk meanwhile.
    fs::remove_file(world.path("pki/ca-key.pem")).unwrap();
    let said = "  caKey: {env: CA_KEY}\n";
    set(next, said);
    assert_eq!(renewed(&with("CA_KEY", &plain)), (0, true));
    let next = "  caKey: {command: [./vault, show]}\n";
    set(said, next);
    let key = format!("echo \"unlocking $1\" >&2\ncat <<END\n{plain}END\n");
    fs::write(world.path("vault"), format!("#!/bin/sh\n{key}")).unwrap();
    world.chmod("vault", 0o755);
    let mut command = world.command(&[]);
    let ran = world.run_command(
        command.current_dir("/").args(["--config"]).arg(world.path("nodebake.yaml")).args(["identity", "renew", NODE]),
    );
    assert_eq!(
        (ran.code, ran.stderr.starts_with("unlocking show\nworker-node-1: issued another")),
        (0, true),
        "{ran:?}"
    );
    // It is not asked where nothing is signed: the nodes have what they need.
    world.must(&["identity", "renew", "--all"]);
    let ran = world.must(&["build", "--all"]);
    assert!(!ran.stderr.contains("unlocking"), "{ran:?}");
    fs::write(world.path("vault"), "#!/bin/sh\nexit 3\n").unwrap();
    let failed =
        Ran::failed(2, "the output of FOLDER/./vault is of no use: FOLDER/./vault failed (exit status: 3)", hint);
    assert_eq!(world.run(&["identity", "renew", NODE]), failed);
    fs::remove_file(world.path("vault")).unwrap();
    let missing = "the output of FOLDER/./vault is of no use: FOLDER/./vault cannot be started: No such file or directory (os \
                   error 2)";
    assert_eq!(world.run(&["kubeconfig"]), Ran::failed(2, missing, hint));
    // Nothing of it was written anywhere.
    let line = plain.lines().nth(5).unwrap();
    assert_eq!((holders(&world, line), holders(&world, "a secret")), (vec![], vec![]));
}

#[test]
fn a_chain_goes_where_it_belongs() {
    let world = World::locked();
    // The CA becomes one below a root.
    let (root, key) = new_authority("3650");
    fs::write(world.path("pki/root.pem"), &root).unwrap();
    world.write_key("pki/root-key.pem", &key);
    let extensions =
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
    fs::write(world.path("pki/ext"), extensions).unwrap();
    world.openssl(&["req", "-new", "-key", "ca-key.pem", "-subj", "/CN=middle", "-out", "csr"]);
    world.openssl(&[
        "x509",
        "-req",
        "-in",
        "csr",
        "-CA",
        "root.pem",
        "-CAkey",
        "root-key.pem",
        "-set_serial",
        "1",
        "-extfile",
        "ext",
        "-days",
        "3000",
        "-out",
        "middle.pem",
    ]);
    let middle = world.read("pki/middle.pem");
    let chain = format!("{middle}{}", String::from_utf8(root).unwrap());
    fs::write(world.path("pki/ca.pem"), &chain).unwrap();
    world.must(&["build", NODE]);
    let shown = |path: &str| world.must(&["render", NODE, path]).stdout;
    assert_eq!(shown("/etc/kubernetes/pki/ca.pem"), chain);
    let presented = shown("/etc/kubernetes/pki/worker-node-1.pem");
    assert!(presented.ends_with(&middle) && presented.matches("BEGIN CERTIFICATE").count() == 2, "{presented}");
    fs::write(world.path("pki/node.pem"), &presented).unwrap();
    for purpose in ["sslclient", "sslserver"] {
        let verify = ["verify", "-purpose", purpose, "-CAfile", "root.pem", "-untrusted", "node.pem", "node.pem"];
        assert_eq!(world.openssl(&verify), "node.pem: OK\n");
    }
    // The same cluster as with the CA alone.
    let id = |world: &World| world.must(&["status", NODE, "-o", "json"]).stdout;
    let before = id(&world);
    fs::write(world.path("pki/ca.pem"), &middle).unwrap();
    assert_eq!(id(&world), before);
}

#[test]
fn status_tells_of_certificates_that_end() {
    let world = World::built();
    with_machines(&world);
    let ends = end(&world, &kept(NODE));
    let machine = "the certificate that the machine of worker-node-1 was made with";
    let warned = format!("warning: {machine} ends soon, at {ends}; `nodebake rebuild worker-node-1`\n");
    assert_eq!(world.must(&["status"]).stderr, "");
    let ran = later(&world, 340, &["status", NODE]);
    assert_eq!((ran.code, ran.stderr), (7, warned));
    let ran = later(&world, 366, &["status", "-o", "json"]);
    let said = format!("warning: {machine} expired at {ends}; `nodebake rebuild worker-node-1`\n");
    assert_eq!((ran.code, ran.stderr), (7, said));
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["nodes"][0]["certificate"]["state"], "expired");

    // What the manifest says of it is what counts: of a machine that was made elsewhere, or before.
    let path = "build/worker-node-1/manifest.json";
    let mut manifest: Value = serde_json::from_str(&world.read(path)).unwrap();
    let write = |manifest: &Value| fs::write(world.path(path), manifest.to_string()).unwrap();
    for (rotates, note, code) in [
        (json!(["client"]), "; its kubelet rotates what it shows the apiserver, but not what it serves with", 7),
        (json!(["server"]), "; its kubelet rotates what it serves with, but not what it shows the apiserver", 7),
        (json!(["client", "server"]), "; its kubelet rotates it", 0),
    ] {
        manifest["certificate"]["rotates"] = rotates;
        write(&manifest);
        let (warning, remedy) = if code == 7 { ("warning: ", "; `nodebake rebuild worker-node-1`") } else { ("", "") };
        let said = format!("{warning}{machine} ends soon, at {ends}{note}{remedy}\n");
        let ran = later(&world, 340, &["status"]);
        assert_eq!((ran.code, ran.stderr), (code, said));
    }
    manifest["certificate"]["rotates"] = json!([]);
    manifest["certificate"]["broughtAlong"] = json!(true);
    write(&manifest);
    let said =
        format!("warning: {machine} ends soon, at {ends}; bring another, then `nodebake rebuild worker-node-1`\n");
    assert_eq!(later(&world, 340, &["status"]).stderr, said);
    // A manifest of an earlier nodebake.
    manifest["certificate"] = json!({"serial": "1267", "notAfter": ends});
    write(&manifest);
    let said = format!("warning: {machine} ends soon, at {ends}; `nodebake rebuild worker-node-1`\n");
    assert_eq!(later(&world, 340, &["status"]).stderr, said);
    assert_eq!(world.must(&["status"]).stderr, "");
}

#[test]
fn a_kubelet_that_rotates_finds_its_first_pair() {
    let world = World::new();
    world.edit("  disk: 20GiB\n", "  disk: 20GiB\n  kubelet: {config: {rotateCertificates: true}}\n");
    let kubeconfig = world.must(&["render", NODE, "/etc/kubernetes/kubelet.kubeconfig"]).stdout;
    let kubeconfig: Value = serde_yaml::from_str(&kubeconfig).unwrap();
    let current = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    assert_eq!(kubeconfig["users"][0]["user"], json!({"client-certificate": current, "client-key": current}));
    // The script that makes it, in a mount namespace that is gone with it.
    let script = world.must(&["render", NODE, "/usr/local/lib/nodebake/certificates"]).stdout;
    fs::write(world.path("certificates"), script).unwrap();
    let run = "set -eu; mount -t tmpfs none /etc; mkdir -p /etc/kubernetes/pki; mount -t tmpfs none /var/lib
        pki=/var/lib/kubelet/pki
        first() { printf 'certificate 1\\n' >/etc/kubernetes/pki/worker-node-1.pem; printf 'key 1\\n' >/etc/kubernetes/pki/worker-node-1-key.pem; }
        show() { echo \"$1: $(cat $pki/kubelet-client-current.pem | tr '\\n' ' ')\"; }
        first; umask 022
        sh certificates; show made
        stat -c '%a %F' /var/lib/kubelet $pki $pki/kubelet-client-current.pem $(readlink $pki/kubelet-client-current.pem)
        ls $pki | wc -l
        # As the kubelet does it.
        printf 'rotated\\n' >$pki/kubelet-client-2027-01-01-00-00-00.pem
        ln -sf $pki/kubelet-client-2027-01-01-00-00-00.pem $pki/kubelet-client-current.pem
        sh certificates; show 'first boot again'
        printf 'certificate 2\\n' >/etc/kubernetes/pki/worker-node-1.pem; printf 'key 2\\n' >/etc/kubernetes/pki/worker-node-1-key.pem
        sh certificates; show rebuilt
        # Cut before the pair has its name: done again.
        rm $(readlink $pki/kubelet-client-current.pem); echo half >$pki/left.new
        sh certificates; show cut
        ls $pki | grep -c updated || true";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", run]).current_dir(world.path(""));
    let printed = String::from_utf8(must(command.stdin(Stdio::null()))).unwrap();
    let wanted = "made: certificate 1 key 1 \n\
                  750 directory\n755 directory\n777 symbolic link\n600 regular file\n2\n\
                  first boot again: rotated \nrebuilt: certificate 2 key 2 \ncut: certificate 2 key 2 \n0\n";
    assert_eq!(printed, wanted);
}
