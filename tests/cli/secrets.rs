//! Keys are in the seed and in files of mode 0600, and nowhere else.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http;
use crate::output::verbs;
use crate::world::{Ran, World};

/// A private key, to be looked for.
pub(crate) struct Key {
    /// A part that no certificate shows.
    part: Vec<u8>,
    /// Its file, as a kubeconfig holds it in base64.
    pem: String,
}

impl Key {
    /// `None` for a file that a test has damaged.
    fn of_pem(pem: &str) -> Option<Self> {
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).ok()?;
        // PKCS#8 of an EC P-256 key has its private number there (RFC 5915, RFC 5958); an RSA key of 2048 bits has
        // its exponent and primes in the second half (RFC 8017, A.1.2).
        let middle = der.len() * 6 / 10;
        let part = if der.len() < 200 { &der[36..68] } else { &der[middle..middle + 48] };
        Some(Self { part: part.to_vec(), pem: pem.to_owned() })
    }

    /// Whether it is in there as it is, or in base64 once or twice, wherever groups of three begin and lines break.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        let joined: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let encoded = |part: &[u8], skip: usize| {
            let whole = (part.len() - skip) / 3 * 3;
            STANDARD.encode(&part[skip..skip + whole]).into_bytes()
        };
        let there = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        there(bytes, &self.part)
            || [self.part.as_slice(), self.pem.as_bytes()]
                .iter()
                .any(|part| (0..3).any(|skip| there(&joined, &encoded(part, skip))))
    }
}

/// Every private key in the files of a test, with the file's path.
pub(crate) fn keys(folder: &Path) -> Vec<(String, Key)> {
    let mut found = Vec::new();
    for part in ["pki", ".nodebake", "admin.kubeconfig"] {
        crate::world::walk(&folder.join(part), &mut |path| {
            let name = path.display().to_string();
            let text = || std::fs::read_to_string(path).unwrap();
            let key = match name.rsplit(['/', '-']).next() {
                Some("key.pem") => Key::of_pem(&text()),
                Some("admin.kubeconfig") => of_kubeconfig(&text()),
                _ => None,
            };
            found.extend(key.map(|key| (name, key)));
        });
    }
    found
}

fn of_kubeconfig(text: &str) -> Option<Key> {
    let file: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let data = file["users"][0]["user"]["client-key-data"].as_str()?;
    Key::of_pem(&String::from_utf8(STANDARD.decode(data).unwrap()).unwrap())
}

/// Paths of the files that hold a key.
fn holders(world: &World, key: &Key) -> Vec<String> {
    world.tree("").into_iter().filter(|(_, file)| key.is_in(&file.content)).map(|(name, _)| name).collect()
}

#[test]
fn keys_are_where_they_must_be_and_nowhere_else() {
    let world = World::built();
    world.must(&["kubeconfig"]);
    let folder = world.path("").display().to_string();
    let found: Vec<_> = keys(&world.path(""))
        .into_iter()
        .map(|(name, key)| (name.trim_start_matches(&folder).to_owned(), holders(&world, &key)))
        .collect();
    let row =
        |name: &str, holders: &[&str]| (name.to_owned(), holders.iter().map(ToString::to_string).collect::<Vec<_>>());
    let kept = |node| format!(".nodebake/identities/{node}/key.pem");
    let (one, two) = (kept("worker-node-1"), kept("worker-node-2"));
    let mut found = found;
    found.sort();
    assert_eq!(
        found,
        [
            row(&one, &[&one, "build/worker-node-1/seed.iso"]),
            row(&two, &[&two, "build/worker-node-2/seed.iso"]),
            row("admin.kubeconfig", &["admin.kubeconfig"]),
            row("pki/ca-key.pem", &["pki/ca-key.pem"]),
        ]
    );
}

#[test]
fn a_key_is_found_in_any_form() {
    let world = World::built();
    let pem = world.read(".nodebake/identities/worker-node-1/key.pem");
    let key = Key::of_pem(&pem).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(&body).unwrap();
    assert!(key.is_in(&der) && key.is_in(pem.as_bytes()) && key.is_in(body.as_bytes()));
    assert!(key.is_in(STANDARD.encode(&pem).as_bytes()));
    for shift in 1..3 {
        assert!(key.is_in(STANDARD.encode([&[0; 2][..shift], &der].concat()).as_bytes()));
    }
    let other = world.read(".nodebake/identities/worker-node-2/key.pem");
    assert!(!key.is_in(other.as_bytes()) && !key.is_in(b""));
}

/// Secrets of the user, of all sorts: each is in its place alone.
const PLANTED: [&str; 8] = [
    "plantedPassphrase",
    "plantedMirrorPassword",
    "plantedToken",
    "plantedRegistryPassword",
    "plantedSalt",
    "plantedCloudPassword",
    "plantedFileContent",
    "plantedBootstrapKey",
];

/// Which of them are in a text, as they are or in base64.
fn planted(text: &str) -> Vec<&'static str> {
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let encoded = |word: &str, skip: usize| STANDARD.encode(&word[skip..skip + (word.len() - skip) / 3 * 3]);
    let is_in = |word: &&&str| joined.contains(**word) || (0..3).any(|skip| joined.contains(&encoded(word, skip)));
    PLANTED.iter().filter(is_in).copied().collect()
}

/// A locked world that holds them all, and the address of its mirror with a password.
fn with_secrets() -> (World, String) {
    let world = World::locked();
    let hash = format!("$6$plantedSalt${}.", "0123456789".repeat(8) + "01234");
    let defaults = format!(
        "  consoleLogin: {{passwordHash: {hash}}}\n  \
           files: {{/etc/own.token: {{content: plantedFileContent, mode: \"0400\"}}, /etc/boot.key: {{path: boot.key, mode: \"0600\"}}}}\n  \
           cloudConfig: {{chpasswd: {{users: [{{name: own, password: plantedCloudPassword, type: text}}]}}}}\n  \
           containerd: {{registries: {{docker.io: {{username: puller, passwordFile: puller}}}}}}\n"
    );
    world.edit("\ndefaults:\n", &format!("\ndefaults:\n{defaults}"));
    world.edit(
        "  pki: pki\n",
        "  pki: pki\n  caKey: {path: pki/locked.pem, passphrase: {path: passphrase}}\n  kubeconfig: token.kubeconfig\n",
    );
    world.openssl(&[
        "pkey",
        "-in",
        "ca-key.pem",
        "-aes256",
        "-passout",
        "pass:plantedPassphrase",
        "-out",
        "locked.pem",
    ]);
    world.chmod("pki/locked.pem", 0o600);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ca = STANDARD.encode(world.read("pki/ca.pem"));
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"https://{free}\", certificate-authority-data: {ca}}}}}]\n\
         users:\n- name: u\n  user: {{token: plantedToken}}\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
    );
    for (name, text) in [
        ("passphrase", "plantedPassphrase\n"),
        ("puller", "plantedRegistryPassword\n"),
        ("boot.key", "plantedBootstrapKey\n"),
        ("token.kubeconfig", kubeconfig.as_str()),
    ] {
        world.write_key(name, text.as_bytes());
    }
    world.edit("https://10.0.0.4:6443", "https://nowhere.invalid:6443");
    world.chmod("nodebake.yaml", 0o600);
    let server = http::with_ranges(world.path("mirror"));
    (world, server.base().replace("http://", "http://puller:plantedMirrorPassword@"))
}

/// A run of each verb, as one would give it.
const RUNS: &[&[&str]] = &[
    &["init"],
    &["lock"],
    &["lock", "--check"],
    &["fetch"],
    &["fetch", "kubectl"],
    &["bundle", "export", "all.tar"],
    &["bundle", "import", "all.tar"],
    &["bundle", "import", "puller"],
    &["build", "--all"],
    &["build", "--all", "--self-contained"],
    &["render", "worker-node-1"],
    &["render", "worker-node-1", "user-data"],
    &["render", "worker-node-1", "root-password"],
    &["render", "worker-node-1", "/etc/own.token"],
    &["render", "worker-node-1", "nothing"],
    &["verify"],
    &["verify", "--images"],
    &["inspect", "build/worker-node-1/seed.iso"],
    &["inspect", "build/worker-node-1/seed.iso", "--digest"],
    &["inspect", "build/worker-node-1/seed.iso", "user-data"],
    &["inspect", "boot.key"],
    &["explain", "worker-node-1"],
    &["hosts"],
    &["doctor"],
    &["plan"],
    &["up"],
    &["start"],
    &["stop"],
    &["restart"],
    &["wait"],
    &["status"],
    &["status", "worker-node-1"],
    &["rebuild", "--all", "--yes"],
    &["evacuate", "nowhere", "--yes"],
    &["down", "--yes"],
    &["remove", "worker-node-1", "--yes"],
    &["image", "default"],
    &["gc"],
    &["identity", "list"],
    &["identity", "renew", "--all"],
    &["identity", "csr", "--all"],
    &["kubeconfig", "--out", "new.kubeconfig"],
];

/// The same of those that have no `-o`, and of what is taken in.
const MORE_RUNS: &[&[&str]] = &[
    &["identity", "import", "worker-node-1", "passphrase"],
    &["identity", "import", "worker-node-1", "build"],
    &["logs", "worker-node-1"],
    &["console", "worker-node-1"],
    &["schema"],
    &["completions", "bash"],
];

/// Runs a verb, all of whose outputs are looked through for planted secrets; those of keys are found by every run.
fn look_through(world: &World, mirror: &str, arguments: &[&str]) -> Ran {
    let mut command = world.command(&[]);
    let ran = world.run_command(command.env("NODEBAKE_MIRROR", mirror).args(arguments));
    assert_eq!(planted(&ran.stdout), [""; 0], "stdout of {arguments:?}: {ran:?}");
    assert_eq!(planted(&ran.stderr), [""; 0], "stderr of {arguments:?}: {ran:?}");
    ran
}

#[test]
fn no_output_of_any_verb_shows_a_secret() {
    let (world, mirror) = with_secrets();
    let of_run = |arguments: &[&str]| {
        let two = arguments.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        verbs()
            .into_keys()
            .find(|verb| *verb == two || *verb == arguments[0])
            .unwrap_or_else(|| panic!("{arguments:?}"))
    };
    let seen: BTreeSet<_> = RUNS.iter().chain(MORE_RUNS).map(|arguments| of_run(arguments)).collect();
    assert_eq!(seen, verbs().into_keys().collect(), "a verb is not looked through");
    let mut well = BTreeSet::new();
    for how in [&["-vv"][..], &["-vv", "--log-format", "json", "-o", "json"], &["-o", "yaml"]] {
        for arguments in RUNS {
            let ran = look_through(&world, &mirror, &[arguments, how].concat());
            if ran.code == 0 {
                well.insert(*arguments);
            }
        }
    }
    for how in [&["-vv"][..], &["--log-format", "json"]] {
        for arguments in MORE_RUNS {
            look_through(&world, &mirror, &[arguments, how].concat());
        }
    }
    // Else nothing was made that could have been shown.
    for arguments in [&["build", "--all"][..], &["identity", "renew", "--all"], &["verify", "--images"], &["fetch"]] {
        assert!(well.contains(arguments), "{arguments:?} never ended well");
    }
    // What is planted is there, and is found where it may be.
    let user_data = world.must(&["render", "worker-node-1", "user-data", "--show-secrets"]);
    assert_eq!(planted(&user_data.stdout), ["plantedCloudPassword"]);
    let seed = std::fs::read(world.path("build/worker-node-1/seed.iso")).unwrap();
    let seed = String::from_utf8_lossy(&seed);
    assert!(planted(&seed).len() >= 4, "{:?}", planted(&seed));
}

#[test]
fn no_error_shows_a_secret_of_a_file_that_is_wrong() {
    let (world, mirror) = with_secrets();
    let text = world.read("nodebake.yaml");
    let kubeconfig = world.read("token.kubeconfig");
    for (from, to) in [
        ("{passwordHash: ", "{passwordHsh: "),
        ("{passwordHash: $6$", "{passwordHash: 6"),
        ("consoleLogin: {passwordHash: ", "consoleLogin: {passwordHash: ["),
        ("consoleLogin: {passwordHash:", "consoleLogin: {passwordHash: {a: b}, other:"),
        ("content: plantedFileContent", "contnt: plantedFileContent"),
        ("files: {/etc/own.token", "files: {own.token"),
        ("password: plantedCloudPassword", "passwrd: plantedCloudPassword"),
        ("password: plantedCloudPassword", "password: [plantedCloudPassword]"),
        ("cloudConfig: {chpasswd", "cloudConfig: {chpasswrd"),
        ("cloudConfig: {chpasswd: {users: [", "cloudConfig: {chpasswd: {users: ["),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(world.path("nodebake.yaml"), text.replacen(from, to, 1)).unwrap();
        for arguments in [
            &["build", "--all"][..],
            &["explain", "worker-node-1"],
            &["doctor"],
            &["build", "--all", "--log-format", "json"],
        ] {
            look_through(&world, &mirror, arguments);
        }
    }
    std::fs::write(world.path("nodebake.yaml"), &text).unwrap();
    for (from, to) in [
        ("user: {token: plantedToken}", "user: {token: plantedToken"),
        ("user: {token: plantedToken}", "user: [{token: plantedToken}]"),
        ("user: {token: plantedToken}", "user: plantedToken"),
        ("{token: plantedToken}", "{token: {plantedToken: 1}}"),
        ("users:", "users: plantedToken\nusers:"),
    ] {
        assert!(kubeconfig.contains(from), "{from}");
        world.write_key("token.kubeconfig", kubeconfig.replacen(from, to, 1).as_bytes());
        for arguments in [&["status"][..], &["doctor"], &["up"], &["plan"]] {
            look_through(&world, &mirror, arguments);
        }
    }
    for bad in ["notThePassphrase plantedPassphrase", "plantedPassphrase2"] {
        world.write_key("passphrase", bad.as_bytes());
        look_through(&world, &mirror, &["identity", "renew", "--all"]);
    }
}
