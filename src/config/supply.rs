//! Where files come from, and the user's own among them: `download`, `artifacts` and `proxy`.

use std::path::{Path, PathBuf};

use url::Url;

use super::scalar;
use super::value::{Fields, Placed, Value};
use super::{Arch, Download, Given, Location, Proxy};
use crate::artifacts::{Algorithm, Checksum, Kind};

/// Reads `download`.
pub(super) fn download(value: &Value<'_>, folder: &Path) -> Option<Download> {
    let fields = value.fields(&["mirrors", "fallback", "caFile"])?;
    let mirrors =
        fields.get("mirrors").and_then(|_| fields.list("mirrors", "http(s) bases or folders", scalar::mirror(folder)));
    let fallback = fields.optional("fallback", "true or false", scalar::boolean);
    let ca_file = fields.optional("caFile", "the path of a PEM file with CA certificates", scalar::path(folder));
    let fallback = fallback.is_some_and(|fallback| fallback.value);
    if fallback && mirrors.is_none() {
        value.report("fallback means something only beside mirrors");
    }
    Some(Download {
        mirrors: mirrors.unwrap_or_default().into_iter().map(|mirror| mirror.value).collect(),
        fallback,
        ca_file: ca_file.map(|path| path.value),
    })
}

/// Reads `proxy`.
pub(super) fn proxy(value: &Value<'_>) -> Option<Proxy> {
    const PROXY: &str = "the address of a proxy such as http://10.0.0.1:3128";
    let fields = value.fields(&["http", "https", "no"])?;
    let http = fields.optional("http", PROXY, scalar::proxy);
    let https = fields.optional("https", PROXY, scalar::proxy);
    let no = fields.get("no").and_then(|_| fields.list("no", "hosts, domains or networks", scalar::no_proxy));
    if !value.is_layer() && fields.get("http").is_none() && fields.get("https").is_none() {
        value.report("expected http, https or both, found neither");
    }
    Some(Proxy {
        http: http.map(|url| url.value),
        https: https.map(|url| url.value),
        no: no.unwrap_or_default().into_iter().map(|host| host.value).collect(),
    })
}

/// Reads `artifacts`; `arch` is that of `defaults`.
pub(super) fn artifacts(value: &Value<'_>, folder: &Path, arch: Arch) -> Vec<Given> {
    let items = value.items("files with kind, url or path, and sha256 or sha512").unwrap_or_default();
    let mut all: Vec<(Given, Value<'_>)> = Vec::new();
    for item in items {
        let Some(given) = artifact(&item, folder, arch) else { continue };
        if let Some((_, first)) = all.iter().find(|(other, _)| other.is_same_place(&given)) {
            let what = given.name.as_ref().map_or_else(|| given.kind.to_string(), ToString::to_string);
            item.report(format!("{what} ({}) is given already in line {}", given.arch, first.line()));
        }
        all.push((given, item));
    }
    all.into_iter().map(|(given, _)| given).collect()
}

fn artifact(value: &Value<'_>, folder: &Path, arch: Arch) -> Option<Given> {
    let fields = value.fields(&["kind", "name", "arch", "url", "path", "sha256", "sha512"])?;
    let kind = fields.required("kind", "what it is, such as binary", scalar::kind);
    let own = fields.optional("arch", "amd64 or arm64", scalar::arch);
    let name = fields.optional("name", "a program's name such as crictl", scalar::program);
    let from = location(value, &fields, folder);
    let checksum = checksum(value, &fields);
    let (kind, from) = (kind?.value, from?);
    if let Some(name) = name.as_ref().filter(|_| kind != Kind::Binary) {
        value.report(format!("{kind} takes its name from its file, so {:?} has no place here", name.value));
    }
    let name = match kind {
        Kind::Binary => Some(fields.must("name", "the program's name in the nodes").and(name)?.value),
        Kind::Package | Kind::ContainerImage => Some(file_name(value, kind, &from)?),
        _ => None,
    };
    Some(Given { kind, name, arch: own.map_or(arch, |arch| arch.value), from, checksum: checksum? })
}

/// What a package or container image is called: as its file.
fn file_name(value: &Value<'_>, kind: Kind, from: &Location) -> Option<String> {
    scalar::file_name(kind, &from.file_name()).map_err(|problem| value.report(problem)).ok()
}

fn location(value: &Value<'_>, fields: &Fields<'_>, folder: &Path) -> Option<Location> {
    let url = fields.optional("url", "the http(s) address of a file", scalar::file_url);
    let path = fields.optional("path", "the path of a file", scalar::path(folder));
    match (fields.get("url").is_some(), fields.get("path").is_some()) {
        (true, true) => value.report("url and path are both given; one of them says where the file is"),
        (false, false) => value.report("missing key: url or path"),
        _ => {}
    }
    let url = url.map(|Placed { value, .. }: Placed<Url>| Location::Url(value));
    url.or_else(|| path.map(|Placed { value, .. }: Placed<PathBuf>| Location::Path(value)))
}

fn checksum(value: &Value<'_>, fields: &Fields<'_>) -> Option<Checksum> {
    let sha256 = fields.optional("sha256", "64 hexadecimal digits", scalar::digest(Algorithm::Sha256));
    let sha512 = fields.optional("sha512", "128 hexadecimal digits", scalar::digest(Algorithm::Sha512));
    match (fields.get("sha256").is_some(), fields.get("sha512").is_some()) {
        (true, true) => value.report("sha256 and sha512 are both given; one is enough"),
        (false, false) => value.report("missing key: sha256 or sha512, which is how a file is known"),
        _ => {}
    }
    sha256.or(sha512).map(|digest| digest.value)
}
