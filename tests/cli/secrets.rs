//! Keys are in the seed and in files of mode 0600, and nowhere else.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::World;

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
