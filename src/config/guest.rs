//! The texts of a cluster file that mean something inside a node, and what makes them valid. Every error is the text of a
//! problem.

use std::path::Path;

use super::names::dns_label;
use super::problem::quoted;
use super::scalar::{self, unknown_word};
use super::settings::{PasswordHash, TaintEffect};

/// Folders of the guest that are nodebake's alone.
const OWNED: &[&str] = &["/opt/nodebake", "/etc/kubernetes/pki", "/usr/local/lib/nodebake", "/var/lib/nodebake"];

/// The folder of cloud-init's own state, which sealing a node clears.
const CLOUD_INIT: &[&str] = &["/var/lib/cloud"];

/// Folders that are empty at every boot, or no files of a disk.
const FLEETING: &[&str] = &["/dev", "/proc", "/run", "/sys", "/tmp", "/var/run"];

/// The path of a file in the guest: absolute, without detours, outside of what nodebake owns.
pub(super) fn path(text: &str) -> Result<String, String> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(format!("{} is not the full path of a file in the node, starting with /", quoted(text)));
    };
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!(
            "{} is not the plain path of a file: no \".\", \"..\", \"//\" or \"/\" at its end",
            quoted(text)
        ));
    }
    // Linux: PATH_MAX with the NUL, NAME_MAX.
    if text.len() > 4095 || rest.split('/').any(|part| part.len() > 255) {
        return Err(format!("{} is too long for a path", quoted(text)));
    }
    let within = |folders: &'static [&str]| folders.iter().find(|folder| Path::new(text).starts_with(folder));
    if let Some(folder) = within(OWNED) {
        return Err(format!("{} is in {folder}, which is nodebake's own", quoted(text)));
    }
    if let Some(folder) = within(CLOUD_INIT) {
        return Err(format!("{} is in {folder}, which is cloud-init's own", quoted(text)));
    }
    if let Some(folder) = within(FLEETING) {
        return Err(format!("{} is in {folder}, where nothing outlasts a boot", quoted(text)));
    }
    Ok(text.to_owned())
}

/// Folders that hold the system itself, or what first boot puts there whether a disk is mounted yet or not.
const SYSTEM: &[&str] =
    &["/bin", "/boot", "/etc", "/lib", "/lib64", "/opt/cni", "/sbin", "/usr", "/var/lib/dpkg", "/var/lib/systemd"];

/// Where a data disk may be mounted: a folder that neither is the system's nor holds what nodebake relies upon.
pub(super) fn mount_path(text: &str) -> Result<String, String> {
    path(text)?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)) {
        return Err(format!("{} is not a path to mount at: letters, digits and \"/._-\"", quoted(text)));
    }
    let taken = SYSTEM.iter().find(|folder| Path::new(text).starts_with(folder));
    let hidden = OWNED.iter().chain(CLOUD_INIT).find(|folder| Path::new(folder).starts_with(text));
    match taken.or(hidden) {
        Some(folder) => Err(format!("a disk mounted at {} would hide what the system has in {folder}", quoted(text))),
        None => Ok(text.to_owned()),
    }
}

/// Permission bits: four octal digits, as chmod(1) takes them.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8).ok().filter(|_| octal) {
        Some(mode) if text.len() == 4 => Ok(mode),
        Some(mode) => Err(format!("{} is not four octal digits, did you mean \"{mode:04o}\"?", quoted(text))),
        None => Err(format!("{} is not a mode such as \"0644\": four octal digits", quoted(text))),
    }
}

/// A user or group of the guest, by its name (as useradd(8) takes it) or its number.
pub(super) fn account(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    let name = text.strip_suffix('$').unwrap_or(text);
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    // The highest number stands for "no change" (chown(2)).
    let number = text.parse::<u32>().is_ok_and(|number| number < u32::MAX && number.to_string() == text);
    if number || (starts && text.len() <= 32 && name.bytes().all(inner)) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is neither the name of a user or group nor its number", quoted(text)))
}

/// What units may be called behind their last dot; scopes are never written.
const UNIT_TYPES: &[&str] =
    &["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice"];

/// The path of a unit, `own.service`, or of a drop-in, `kubelet.service.d/50-own.conf`, below /etc/systemd/system.
pub(super) fn unit(text: &str) -> Result<String, String> {
    let Some((folder, file)) = text.split_once('/') else {
        return unit_name(text).map(|()| text.to_owned());
    };
    let wrong = || format!("{} is not a drop-in such as kubelet.service.d/50-own.conf", quoted(text));
    let of = folder.strip_suffix(".d").ok_or_else(wrong)?;
    // Also those of all units of a type, `service.d/`.
    if !UNIT_TYPES.contains(&of) {
        unit_name(of)?;
    }
    let name = file.strip_suffix(".conf").ok_or_else(wrong)?;
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_unit_byte) || file.len() > 255 {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// systemd.unit(5): a prefix of letters, digits and `:-_.\`, for an instance `@` and more of them, and a type; at most 255.
fn unit_name(text: &str) -> Result<(), String> {
    let (prefix, kind) = text.rsplit_once('.').unwrap_or((text, ""));
    if !UNIT_TYPES.contains(&kind) {
        let types = UNIT_TYPES.join(", .");
        return Err(format!("{} is not a unit's name such as own.service: it ends in none of .{types}", quoted(text)));
    }
    if prefix.is_empty() || prefix.starts_with(['@', '.']) || !prefix.bytes().all(is_unit_byte) || text.len() > 255 {
        return Err(format!(
            "{} is not a unit's name such as own.service: at most 255 letters, digits and \":-_.\\@\"",
            quoted(text)
        ));
    }
    Ok(())
}

fn is_unit_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b)
}

/// A kernel parameter as sysctl(8) names it, `vm.max_map_count` or `net/ipv4/conf/eth0.1/forwarding`.
pub(super) fn sysctl(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@".contains(&b);
    let parts = || text.split(['.', '/']);
    if text.bytes().all(inner) && !text.starts_with('-') && parts().count() > 1 && parts().all(|part| !part.is_empty())
    {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a kernel parameter such as vm.max_map_count", quoted(text)))
}

/// A kernel module; the kernel's names are at most 55 bytes long (`MODULE_NAME_LEN`).
pub(super) fn module(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if text.bytes().all(inner) && text.len() <= 55 && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a kernel module such as nf_tables", quoted(text)))
}

/// The key of a label or taint: Kubernetes' qualified name, `NAME` or `DOMAIN/NAME`.
pub(super) fn qualified_name(text: &str) -> Result<String, String> {
    let (domain, name) = text.split_once('/').map_or((None, text), |(domain, name)| (Some(domain), name));
    if domain.is_some_and(|domain| !scalar::is_domain(domain)) {
        return Err(format!("{} does not start with a DNS domain in lowercase before its \"/\"", quoted(text)));
    }
    if !is_label_word(name) {
        return Err(format!("{} is not a key such as example.com/pool: {WORD}", quoted(text)));
    }
    Ok(text.to_owned())
}

const WORD: &str = "at most 63 letters, digits and \"-_.\", the first and last a letter or digit";

fn is_label_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63 && text.bytes().all(inner) && text.starts_with(ends) && text.ends_with(ends)
}

/// The value of a label or taint; it may be empty.
pub(super) fn label_value(text: &str) -> Result<String, String> {
    if text.is_empty() || is_label_word(text) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not the value of a label or taint: {WORD}", quoted(text)))
}

/// What a taint does.
pub(super) fn taint_effect(text: &str) -> Result<TaintEffect, String> {
    let known = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
    let found = known.into_iter().find(|effect| effect.to_string() == text);
    found.ok_or_else(|| unknown_word(text, &["NoSchedule", "PreferNoSchedule", "NoExecute"]))
}

/// A password as crypt(5) writes it, by one of the methods that it does not advise against. No problem quotes it.
pub(super) fn password_hash(text: &str) -> Result<PasswordHash, String> {
    const MEANT: &str = "meant is what `mkpasswd` or `openssl passwd -6` prints";
    let Some((method, rest)) = text.strip_prefix('$').and_then(|text| text.split_once('$')) else {
        return Err(format!("this is not a password's hash, {MEANT}"));
    };
    let base64 = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b));
    let hash_of = |length: usize, text: &str| text.len() == length && base64(text);
    let whole = match method {
        "y" | "gy" => match rest.split('$').collect::<Vec<_>>()[..] {
            [settings, salt, hash] => {
                !settings.is_empty() && base64(settings) && salt.len() <= 86 && base64(salt) && hash_of(43, hash)
            }
            _ => false,
        },
        "7" => rest
            .split_once('$')
            .is_some_and(|(salt, hash)| (11..=97).contains(&salt.len()) && base64(salt) && hash_of(43, hash)),
        "2a" | "2b" | "2x" | "2y" => rest.split_once('$').is_some_and(|(cost, hash)| {
            cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit()) && hash_of(53, hash)
        }),
        "5" => sha_crypt(rest, 43),
        "6" => sha_crypt(rest, 86),
        "1" | "md5" | "3" | "sha1" => return Err(format!("this hash is of a method too weak to be of use, {MEANT}")),
        _ => return Err(format!("this hash is of no method that crypt(5) knows, {MEANT}")),
    };
    if whole {
        return Ok(PasswordHash::new(text.to_owned()));
    }
    Err(format!("this hash is not a whole one of its method; was it copied whole? {MEANT}"))
}

/// `[rounds=N$]SALT$HASH` with so many characters of hash.
fn sha_crypt(text: &str, length: usize) -> bool {
    let after_rounds = |text: &str| {
        let (rounds, rest) = text.strip_prefix("rounds=")?.split_once('$')?;
        (!rounds.is_empty() && rounds.bytes().all(|b| b.is_ascii_digit()) && !rounds.starts_with('0'))
            .then(|| rest.to_owned())
    };
    let rest = after_rounds(text).unwrap_or_else(|| text.to_owned());
    let Some((salt, hash)) = rest.split_once('$') else { return false };
    let inner = |b: u8| b.is_ascii_graphic() && !b":".contains(&b);
    (1..=16).contains(&salt.len())
        && salt.bytes().all(inner)
        && hash.len() == length
        && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b))
}

/// The host of a registry as image names begin with it, with a port if any; or `_default` for all others.
pub(super) fn registry(text: &str) -> Result<String, String> {
    if text == "_default" {
        return Ok(text.to_owned());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0') && port.parse::<u16>().is_ok();
    if scalar::host_of(host).is_ok() && port.is_none_or(port_fits) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a registry's host such as docker.io or registry.example:5000, or _default", quoted(text)))
}

/// The user of a registry; RFC 7617: no colon.
pub(super) fn registry_user(text: &str) -> Result<String, String> {
    if text.contains(':') {
        return Err("a colon is no part of a user's name; the password stands in a file of its own".to_owned());
    }
    Ok(text.to_owned())
}

/// A base URL of a registry's mirror.
pub(super) fn registry_mirror(text: &str) -> Result<String, String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err("the address of a registry's mirror starts with http:// or https://".to_owned());
    }
    scalar::mirror_url(text)
}

/// The name of a group of nodes.
pub(super) fn group(text: &str) -> Result<String, String> {
    dns_label("group's name", text, 63).map_err(|error| error.to_string())
}

/// The size of a swap file.
pub(super) fn swap(text: &str) -> Result<u64, String> {
    scalar::bounded(text, 64 << 20, 1 << 40)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// What is taken as it is, and what is refused with these problems, after the text itself.
    fn check<T>(parse: impl Fn(&str) -> Result<T, String>, good: &[&str], bad: &[(&str, &str)]) {
        for text in good {
            assert_eq!(parse(text).map(|_| ()), Ok(()), "{text:?}");
        }
        for (text, problem) in bad {
            assert_eq!(parse(text).map(|_| ()), Err(format!("{}{problem}", quoted(text))), "{text:?}");
        }
    }

    #[test]
    fn paths() {
        let plain = " is not the plain path of a file: no \".\", \"..\", \"//\" or \"/\" at its end";
        check(
            path,
            &["/etc/own.conf", "/a", "/opt/nodebaked/x", "/etc/kubernetes/own", "/etc/...", "/srv/a b/ü"],
            &[
                ("etc/own", " is not the full path of a file in the node, starting with /"),
                ("/", plain),
                ("/etc/", plain),
                ("/etc//own", plain),
                ("/etc/./own", plain),
                ("/opt/x/../nodebake", plain),
                ("/opt/nodebake", " is in /opt/nodebake, which is nodebake's own"),
                ("/etc/kubernetes/pki/ca.pem", " is in /etc/kubernetes/pki, which is nodebake's own"),
                ("/usr/local/lib/nodebake/x", " is in /usr/local/lib/nodebake, which is nodebake's own"),
                ("/var/lib/nodebake/x", " is in /var/lib/nodebake, which is nodebake's own"),
                ("/var/lib/cloud/x", " is in /var/lib/cloud, which is cloud-init's own"),
                ("/run/x", " is in /run, where nothing outlasts a boot"),
                ("/proc/sys/vm/x", " is in /proc, where nothing outlasts a boot"),
                (&format!("/{}", "a".repeat(256)), " is too long for a path"),
                (&"/abc".repeat(1024), " is too long for a path"),
            ],
        );
    }

    #[test]
    fn modes() {
        assert_eq!(["0644", "0600", "4755", "0000"].map(mode), [0o644, 0o600, 0o4755, 0].map(Ok));
        let meant = " is not a mode such as \"0644\": four octal digits";
        let bad = [
            ("644", " is not four octal digits, did you mean \"0644\"?"),
            ("00644", meant),
            ("0888", meant),
            ("u=rw", meant),
            ("+644", meant),
        ];
        check(mode, &[], &bad);
    }

    #[test]
    fn accounts() {
        let neither = " is neither the name of a user or group nor its number";
        let bad = ["Root", "-a", "1a", "a b", "a:b", "01", "-1", "4294967295", "$", &"a".repeat(33)];
        check(
            account,
            &["root", "_apt", "systemd-network", "host$", "0", "4294967294"],
            &bad.map(|text| (text, neither)),
        );
    }

    #[test]
    fn units() {
        let drop_in = " is not a drop-in such as kubelet.service.d/50-own.conf";
        let bytes = " is not a unit's name such as own.service: at most 255 letters, digits and \":-_.\\@\"";
        let kind = " is not a unit's name such as own.service: it ends in none of .service, .socket, .device, .mount, \
                            .automount, .swap, .target, .path, .timer, .slice";
        check(
            unit,
            &[
                "own.service",
                "own@.service",
                "own@a.b.service",
                "mnt-a\\x2db.mount",
                "kubelet.service.d/50-own.conf",
                "service.d/a.conf",
                "own-.service.d/a.conf",
            ],
            &[
                ("own", kind),
                ("own.conf", kind),
                ("own.scope", kind),
                ("service", kind),
                (".service", bytes),
                ("@a.service", bytes),
                ("a b.service", bytes),
                (&format!("{}.service", "a".repeat(248)), bytes),
                ("a.service/x.conf", drop_in),
                ("a.service.d/x", drop_in),
                ("a.service.d/.conf", drop_in),
                ("a.service.d/../x.conf", drop_in),
                ("a.service.d/a/x.conf", drop_in),
            ],
        );
        assert_eq!(unit("../a.d/x.conf"), Err(format!("\"../a.d/x.conf\"{drop_in}")));
        assert!(unit("a.b.d/x.conf").unwrap_err().starts_with("\"a.b\" is not a unit's name"));
    }

    #[test]
    fn kernel_names() {
        let unknown = " is not a kernel parameter such as vm.max_map_count";
        let bad = ["swappiness", "vm..x", ".vm", "vm.", "-vm.x", "vm.x y", "vm.*", "vm.x=1"];
        check(sysctl, &["vm.max_map_count", "net/ipv4/conf/eth0.1/forwarding"], &bad.map(|text| (text, unknown)));
        let unknown = " is not a kernel module such as nf_tables";
        let bad = ["a b", "-a", "a.ko", "a/b", &"a".repeat(56)];
        check(module, &["nf_tables", "br-netfilter", "8021q", &"a".repeat(55)], &bad.map(|text| (text, unknown)));
    }

    #[test]
    fn labels() {
        let name = " is not a key such as example.com/pool: at most 63 letters, digits and \"-_.\", the first and last a \
                            letter or digit";
        let domain = " does not start with a DNS domain in lowercase before its \"/\"";
        check(
            qualified_name,
            &["a", "A.b_c-9", "example.com/pool", &"a".repeat(63)],
            &[
                ("", name),
                ("-a", name),
                ("a.", name),
                ("a b", name),
                ("example.com/", name),
                ("a/b/c", name),
                (&"a".repeat(64), name),
                ("/a", domain),
                ("Example.com/a", domain),
            ],
        );
        let value = " is not the value of a label or taint: at most 63 letters, digits and \"-_.\", the first and last \
                             a letter or digit";
        let bad = ["-", "a/b", "a b", "_a", &"a".repeat(64)];
        check(label_value, &["", "a", "1.2-3_4"], &bad.map(|text| (text, value)));
        check(taint_effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"], &[]);
        assert_eq!(
            taint_effect("noschedule").unwrap_err(),
            "\"noschedule\" is not known, did you mean \"NoSchedule\"?"
        );
    }

    #[test]
    fn password_hashes() {
        let b64 = |length: usize| "aZ09./".chars().cycle().take(length).collect::<String>();
        for good in [
            format!("$y$j9T${}${}", b64(22), b64(43)),
            format!("$gy$j9T${}${}", b64(22), b64(43)),
            format!("$7$CU..../....{}${}", b64(20), b64(43)),
            format!("$2b$05${}", b64(53)),
            format!("$5$rounds=5000$salt${}", b64(43)),
            format!("$6$salt${}", b64(86)),
            format!("$6$rounds=656000${}${}", b64(16), b64(86)),
        ] {
            assert_eq!(password_hash(&good).unwrap().expose(), good);
        }
        let meant = "meant is what `mkpasswd` or `openssl passwd -6` prints";
        let whole = format!("this hash is not a whole one of its method; was it copied whole? {meant}");
        for bad in [
            format!("$y$j9T${}", b64(43)),
            format!("$y$j9T${}${}", b64(22), b64(42)),
            format!("$2b$5${}", b64(53)),
            format!("$6$salt${}", b64(85)),
            format!("$6$salt${}!", b64(85)),
            format!("$6${}${}", b64(17), b64(86)),
            format!("$6$rounds=0$salt${}", b64(86)),
            format!("$6$a:b${}", b64(86)),
            "$6$".to_owned(),
        ] {
            assert_eq!(password_hash(&bad).map(|_| ()), Err(whole.clone()), "{bad}");
        }
        for bad in ["", "secret", "*", "!", "aaQSqAReePlq6", "$6"] {
            let problem = format!("this is not a password's hash, {meant}");
            assert_eq!(password_hash(bad).map(|_| ()), Err(problem), "{bad}");
        }
        let weak = format!("this hash is of a method too weak to be of use, {meant}");
        assert_eq!(password_hash("$1$salt$hash").map(|_| ()), Err(weak));
        let unknown = format!("this hash is of no method that crypt(5) knows, {meant}");
        assert_eq!(password_hash("$argon2id$v=19$m$a$b").map(|_| ()), Err(unknown));
    }

    #[test]
    fn mount_paths() {
        check(
            mount_path,
            &["/data", "/var/lib/containerd", "/var/lib/kubelet", "/srv/a_b-c.d"],
            &[
                ("data", " is not the full path of a file in the node, starting with /"),
                ("/run/x", " is in /run, where nothing outlasts a boot"),
                ("/opt/nodebake/x", " is in /opt/nodebake, which is nodebake's own"),
                ("/a b", " is not a path to mount at: letters, digits and \"/._-\""),
            ],
        );
        for (path, folder) in [
            ("/usr/local", "/usr"),
            ("/opt/cni/bin", "/opt/cni"),
            ("/var/lib", "/var/lib/nodebake"),
            ("/opt", "/opt/nodebake"),
        ] {
            let wanted = format!("a disk mounted at {path:?} would hide what the system has in {folder}");
            assert_eq!(mount_path(path), Err(wanted));
        }
    }

    #[test]
    fn registries() {
        let host = " is not a registry's host such as docker.io or registry.example:5000, or _default";
        let bad = ["https://docker.io", "docker.io/library", "Docker.io", "a:0", "a:x", "a:70000", "me@a", "1.2.3"];
        check(
            registry,
            &["docker.io", "localhost:5000", "10.0.0.9:5000", "[fd00::1]:5000", "[fd00::1]", "_default"],
            &bad.map(|text| (text, host)),
        );
        check(registry_mirror, &["https://m", "http://10.0.0.1:5000/v2/hub"], &[]);
        assert_eq!(
            registry_mirror("mirror.example").unwrap_err(),
            "the address of a registry's mirror starts with http:// or https://"
        );
    }
}
