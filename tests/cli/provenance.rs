//! What `build` writes of a node's image for others' tools: its bill of materials, and the statement of what went into it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::mirror::{self, Item};
use crate::world::{Ran, World, changed, must};

const NODE: &str = "worker-node-1";
const MATERIALS: &str = "build/worker-node-1/worker-node-1.spdx.json";
const STATEMENT: &str = "build/worker-node-1/worker-node-1.intoto.json";

fn load(world: &World, path: &str) -> Value {
    serde_json::from_str(&world.read(path)).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// With a program and an archive of container images of the user's own.
fn with_own_artifacts() -> World {
    let world = World::new();
    fs::write(world.path("crictl"), mirror::program("sleep")).unwrap();
    save(&world, "images.tar", &["registry.k8s.io/pause:3.10", "own/app:1.2"]);
    let own = [("binary, name: crictl", "crictl"), ("container-image", "images.tar")]
        .map(|(kind, path)| format!("  - {{kind: {kind}, path: {path}, sha256: {}}}\n", world.sha256(path)));
    world.edit("\nartifacts:\n", &format!("\nartifacts:\n{}", own.concat()));
    world.must(&["lock"]);
    world
}

/// An archive of one image, as `docker save` wrote them before it wrote OCI layouts.
fn save(world: &World, name: &str, tags: &[&str]) {
    let folder = world.path("saved");
    fs::create_dir(&folder).unwrap();
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {}});
    let manifest = json!([{"Config": "c.json", "RepoTags": tags, "Layers": ["layer.tar"]}]);
    fs::write(folder.join("c.json"), config.to_string()).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    fs::write(folder.join("layer.tar"), "layer").unwrap();
    must(Command::new("tar").arg("-C").arg(&folder).arg("-cf").arg(world.path(name)).args([
        "c.json",
        "manifest.json",
        "layer.tar",
    ]));
}

/// A row of what a package says, as a person would list it.
fn row(package: &Value) -> String {
    let or_none = |field| package[field].as_str().unwrap_or("-");
    let checksums: Vec<_> = list(package, "checksums")
        .iter()
        .map(|it| format!("{}={}", text(it, "algorithm"), text(it, "checksumValue")))
        .collect();
    let purls: Vec<_> = list(package, "externalRefs").iter().map(|it| text(it, "referenceLocator")).collect();
    [
        text(package, "SPDXID"),
        text(package, "name"),
        or_none("versionInfo"),
        text(package, "downloadLocation"),
        text(package, "licenseDeclared"),
        &checksums.join(" "),
        &purls.join(" "),
    ]
    .join(" | ")
}

#[test]
fn the_bill_of_materials_names_everything_in_the_node() {
    let world = with_own_artifacts();
    world.must(&["build", NODE]);
    let document = load(&world, MATERIALS);
    assert_eq!(faults(&document), [""; 0]);
    let payload = world.payload("build");
    let locked = |item: Item| {
        let place = item.place(item.version());
        (format!("https://{place}"), world.sha256(&format!("mirror/{place}")))
    };
    let [(kubelet, kubelet_sum), (containerd, containerd_sum), (runc, runc_sum), (cni, cni_sum), (base, base_sum)] =
        [Item::Kubelet, Item::Containerd, Item::Runc, Item::CniPlugins, Item::BaseImage].map(locked);
    let (crictl, images) = (world.sha256("crictl"), world.sha256("images.tar"));
    let version = env!("CARGO_PKG_VERSION");
    let id = |name: &str| {
        let of = |package: &&Value| package["name"] == name;
        text(list(&document, "packages").iter().find(of).unwrap(), "SPDXID").to_owned()
    };
    let (app, pause) = (id("docker.io/own/app"), id("registry.k8s.io/pause"));
    let (binary, archive) = (id("crictl"), id("images.tar"));
    let wanted = [
        format!(
            "SPDXRef-base-image | lab-trixie | - | {base} | NOASSERTION | SHA256={base_sum} | \
             pkg:generic/lab-trixie?checksum=sha256:{base_sum}&download_url={base}"
        ),
        format!(
            "{binary} | crictl | - | NOASSERTION | NOASSERTION | SHA256={crictl} | pkg:generic/crictl?checksum=sha256:{crictl}"
        ),
        format!(
            "SPDXRef-cni-plugins | cni-plugins | 1.9.0 | {cni} | Apache-2.0 | SHA256={cni_sum} | \
             pkg:golang/github.com/containernetworking/plugins@v1.9.0"
        ),
        format!(
            "SPDXRef-containerd | containerd | 2.2.5 | {containerd} | Apache-2.0 | SHA256={containerd_sum} | \
             pkg:golang/github.com/containerd/containerd/v2@v2.2.5"
        ),
        format!(
            "{archive} | images.tar | - | NOASSERTION | NOASSERTION | SHA256={images} | \
             pkg:generic/images.tar?checksum=sha256:{images}"
        ),
        format!("{app} | docker.io/own/app | 1.2 | NOASSERTION | NOASSERTION |  | pkg:docker/own/app@1.2"),
        format!(
            "{pause} | registry.k8s.io/pause | 3.10 | NOASSERTION | NOASSERTION |  | \
             pkg:docker/pause@3.10?repository_url=registry.k8s.io"
        ),
        format!(
            "SPDXRef-image | {NODE} | - | NOASSERTION | NOASSERTION | SHA256={} | ",
            world.sha256("build/worker-node-1/seed.iso")
        ),
        format!(
            "SPDXRef-kubelet | kubelet | 1.35.1 | {kubelet} | Apache-2.0 | SHA256={kubelet_sum} | \
             pkg:golang/k8s.io/kubernetes@v1.35.1#cmd/kubelet"
        ),
        format!("SPDXRef-nodebake | nodebake | {version} | NOASSERTION | Apache-2.0 |  | "),
        format!(
            "SPDXRef-payload | nodebake-payload-amd64 | - | NOASSERTION | NOASSERTION | SHA256={} | ",
            world.sha256(&payload)
        ),
        // Given by the cluster file: it may be anybody's.
        format!(
            "SPDXRef-runc | runc | 1.3.6 | {runc} | NOASSERTION | SHA256={runc_sum} | \
             pkg:generic/runc@1.3.6?checksum=sha256:{runc_sum}&download_url={runc}"
        ),
    ];
    assert_eq!(list(&document, "packages").iter().map(row).collect::<BTreeSet<_>>(), BTreeSet::from(wanted));
    let relation = |it: &Value| {
        [text(it, "spdxElementId"), text(it, "relationshipType"), text(it, "relatedSpdxElement")].join(" ")
    };
    let wanted = [
        "SPDXRef-DOCUMENT DESCRIBES SPDXRef-image".to_owned(),
        "SPDXRef-image DEPENDS_ON SPDXRef-payload".to_owned(),
        "SPDXRef-nodebake BUILD_TOOL_OF SPDXRef-image".to_owned(),
        "SPDXRef-nodebake BUILD_TOOL_OF SPDXRef-payload".to_owned(),
        "SPDXRef-image DEPENDS_ON SPDXRef-base-image".to_owned(),
        "SPDXRef-payload CONTAINS SPDXRef-cni-plugins".to_owned(),
        "SPDXRef-payload CONTAINS SPDXRef-containerd".to_owned(),
        "SPDXRef-payload CONTAINS SPDXRef-kubelet".to_owned(),
        "SPDXRef-payload CONTAINS SPDXRef-runc".to_owned(),
        format!("SPDXRef-payload CONTAINS {binary}"),
        format!("SPDXRef-payload CONTAINS {archive}"),
        format!("{archive} CONTAINS {app}"),
        format!("{archive} CONTAINS {pause}"),
    ];
    assert_eq!(list(&document, "relationships").iter().map(relation).collect::<Vec<_>>(), wanted);
    let mut rest = document.clone();
    for part in ["packages", "relationships", "documentNamespace"] {
        rest.as_object_mut().unwrap().remove(part).unwrap();
    }
    assert_eq!(
        rest,
        json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": NODE,
            "creationInfo": {"created": "2000-01-01T00:00:00Z", "creators": [format!("Tool: nodebake-{version}")]},
        })
    );
}

/// What is wrong with a document by the rules of SPDX 2.3 that its schema does not hold, and some that it does.
fn faults(document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |is_right: bool, what: String| {
        if !is_right {
            faults.push(what);
        }
    };
    let is_id = |id: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        id.strip_prefix("SPDXRef-").is_some_and(|rest| !rest.is_empty() && rest.chars().all(inner))
    };
    let namespace = text(document, "documentNamespace");
    check(url::Url::parse(namespace).is_ok_and(|url| url.fragment().is_none()), format!("namespace {namespace}"));
    let created = text(&document["creationInfo"], "created");
    check(created.len() == 20 && created.parse::<jiff::Timestamp>().is_ok(), format!("created {created}"));
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    for package in list(document, "packages") {
        let id = text(package, "SPDXID");
        check(is_id(id), format!("{id} is no identifier"));
        check(ids.insert(id), format!("{id} stands there twice"));
        check(package["filesAnalyzed"] == false, format!("{id} lists no files"));
        let from = text(package, "downloadLocation");
        check(from == "NOASSERTION" || url::Url::parse(from).is_ok(), format!("{id} is from {from}"));
        // As JSON has them: the specification's text writes OPERATING-SYSTEM.
        let purposes = ["APPLICATION", "ARCHIVE", "CONTAINER", "INSTALL", "OPERATING_SYSTEM"];
        let purpose = text(package, "primaryPackagePurpose");
        check(purposes.contains(&purpose), format!("{id} is for {purpose}"));
        let supplier = text(package, "supplier");
        check(supplier == "NOASSERTION" || supplier.starts_with("Organization: "), format!("{id} is of {supplier}"));
        for checksum in list(package, "checksums") {
            let digits = match text(checksum, "algorithm") {
                "SHA256" => 64,
                "SHA512" => 128,
                _ => 0,
            };
            let value = text(checksum, "checksumValue");
            let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            check(value.len() == digits && value.bytes().all(hex), format!("{id}: {checksum}"));
        }
        for reference in list(package, "externalRefs") {
            let kind = (text(reference, "referenceCategory"), text(reference, "referenceType"));
            check(kind == ("PACKAGE-MANAGER", "purl"), format!("{id}: {reference}"));
        }
    }
    let described = |it: &Value| it["spdxElementId"] == "SPDXRef-DOCUMENT" && it["relationshipType"] == "DESCRIBES";
    check(list(document, "relationships").iter().any(described), "nothing is described".to_owned());
    for relationship in list(document, "relationships") {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            check(ids.contains(text(relationship, end)), format!("{relationship} leads nowhere"));
        }
    }
    faults
}

#[test]
fn the_rules_would_find_a_fault() {
    let world = World::built();
    let right = load(&world, MATERIALS);
    assert_eq!(faults(&right), [""; 0]);
    let mut document = right.clone();
    document["packages"][1]["SPDXID"] = "SPDXRef-base_image".into();
    document["packages"][2]["downloadLocation"] = "files/runc".into();
    document["packages"][2]["checksums"][0]["algorithm"] = "SHA512".into();
    document["creationInfo"]["created"] = "2000-01-01".into();
    document["packages"][0]["primaryPackagePurpose"] = "OPERATING-SYSTEM".into();
    let lost = text(&right["packages"][1], "SPDXID");
    let found = faults(&document);
    assert!(found.iter().any(|fault| fault.contains(lost) && fault.ends_with("leads nowhere")), "{found:?}");
    assert_eq!(found.iter().filter(|fault| !fault.ends_with("leads nowhere")).count(), 5, "{found:?}");
}

#[test]
fn the_statement_tells_what_went_in_and_what_came_out() {
    let world = with_own_artifacts();
    world.must(&["build", NODE]);
    let version = env!("CARGO_PKG_VERSION");
    let payload = world.payload("build");
    let manifest = load(&world, "build/worker-node-1/manifest.json");
    let digest = |path: &str| json!({"sha256": world.sha256(path)});
    let upstream = |item: Item, purl: &str| {
        let place = item.place(item.version());
        let file = format!("mirror/{place}");
        json!({
            "name": format!("{} {} (amd64)", item.kind(), item.version()),
            "uri": purl.replace("SUM", &world.sha256(&file)).replace("URL", &format!("https://{place}")),
            "digest": digest(&file),
            "downloadLocation": format!("https://{place}"),
            "annotations": {"size": fs::metadata(world.path(&file)).unwrap().len().to_string(), "trust": item.trust()},
        })
    };
    let own = |kind: &str, path: &str| {
        json!({
            "name": format!("{kind} {path} (amd64)"),
            "uri": format!("pkg:generic/{path}?checksum=sha256:{}", world.sha256(path)),
            "digest": digest(path),
            "annotations": {
                "path": path,
                "size": fs::metadata(world.path(path)).unwrap().len().to_string(),
                "trust": "given",
            },
        })
    };
    assert_eq!(
        load(&world, STATEMENT),
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {"name": "seed.iso", "digest": digest("build/worker-node-1/seed.iso")},
                {"name": payload.replace("build/", ""), "digest": digest(&payload)},
            ],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "https://nodebake.dev/build/v1",
                    "externalParameters": {
                        "cluster": "seed",
                        "node": NODE,
                        "arch": "amd64",
                        "payloadPlace": "drive",
                        "time": "2000-01-01T00:00:00Z",
                    },
                    "internalParameters": {"instanceId": manifest["instanceId"]},
                    "resolvedDependencies": [
                        upstream(Item::BaseImage, "pkg:generic/lab-trixie?checksum=sha256:SUM&download_url=URL"),
                        upstream(Item::CniPlugins, "pkg:golang/github.com/containernetworking/plugins@v1.9.0"),
                        upstream(Item::Containerd, "pkg:golang/github.com/containerd/containerd/v2@v2.2.5"),
                        upstream(Item::Kubelet, "pkg:golang/k8s.io/kubernetes@v1.35.1#cmd/kubelet"),
                        upstream(Item::Runc, "pkg:generic/runc@1.3.6?checksum=sha256:SUM&download_url=URL"),
                        own("binary", "crictl"),
                        own("container-image", "images.tar"),
                        {"name": "cluster CA certificate", "digest": {"sha256": manifest["ca"]}},
                        {"name": "node certificate", "digest": digest(".nodebake/identities/worker-node-1/cert.pem")},
                    ],
                },
                "runDetails": {
                    "builder": {"id": format!("https://nodebake.dev/nodebake/{version}"), "version": {"nodebake": version}},
                    "byproducts": [
                        {"name": "manifest.json", "digest": digest("build/worker-node-1/manifest.json")},
                        {"name": "worker-node-1.spdx.json", "digest": digest(MATERIALS)},
                    ],
                },
            },
        })
    );
}

/// Digests as the lock has them, but for the client's, which is in no node.
fn locked(world: &World) -> BTreeSet<String> {
    let lock: Value = serde_yaml::from_str(&world.read("nodebake.lock")).unwrap();
    let artifacts = list(&lock, "artifacts").iter().filter(|entry| entry["kind"] != "kubectl");
    artifacts.map(|entry| entry["sha256"].as_str().or(entry["sha512"].as_str()).unwrap().to_owned()).collect()
}

#[test]
fn every_artifact_of_the_lock_is_in_both() {
    let world = with_own_artifacts();
    // Of which upstream publishes SHA-512 alone.
    mirror::debian(&world.path("mirror"), "20250814-2204", b"Debian");
    world.edit("image: lab-trixie", "image: debian-13");
    world.must(&["lock"]);
    world.must(&["build", NODE]);
    let locked = locked(&world);
    assert_eq!(locked.len(), 7);
    let document = load(&world, MATERIALS);
    assert_eq!(faults(&document), [""; 0]);
    let sums = list(&document, "packages").iter().flat_map(|package| list(package, "checksums"));
    let sums: BTreeSet<_> = sums.map(|sum| text(sum, "checksumValue").to_owned()).collect();
    assert_eq!(locked.difference(&sums).collect::<Vec<_>>(), [""; 0]);
    let statement = load(&world, STATEMENT);
    let inputs = list(&statement["predicate"]["buildDefinition"], "resolvedDependencies");
    let sums: BTreeSet<_> = inputs
        .iter()
        .flat_map(|it| it["digest"].as_object().unwrap().values())
        .map(|sum| sum.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(locked.difference(&sums).collect::<Vec<_>>(), [""; 0]);
    // The day of its release is its version.
    let base = list(&document, "packages").iter().find(|package| package["name"] == "debian-13").unwrap();
    assert_eq!(base["versionInfo"], "2025-08-14");
}

#[test]
fn another_node_or_image_has_another_namespace() {
    let world = World::built();
    world.must(&["build", "--self-contained", NODE]);
    let paths = [
        MATERIALS,
        "build/worker-node-1/worker-node-1.self-contained.spdx.json",
        "build/worker-node-2/worker-node-2.spdx.json",
    ];
    let namespaces: BTreeSet<_> =
        paths.iter().map(|path| text(&load(&world, path), "documentNamespace").to_owned()).collect();
    assert_eq!(namespaces.len(), paths.len(), "{namespaces:?}");
}

#[test]
fn of_one_image_for_one_drive_that_image_is_the_subject() {
    let world = World::locked();
    world.must(&["build", "--self-contained", NODE]);
    let at = |form: &str| format!("build/worker-node-1/worker-node-1.self-contained.{form}.json");
    let statement = load(&world, &at("intoto"));
    let (image, payload) = ("build/worker-node-1/self-contained.iso", world.payload("build"));
    assert_eq!(
        statement["subject"],
        json!([
            {"name": "self-contained.iso", "digest": {"sha256": world.sha256(image)}},
            {"name": payload.replace("build/", ""), "digest": {"sha256": world.sha256(&payload)}},
        ])
    );
    assert_eq!(statement["predicate"]["buildDefinition"]["externalParameters"]["payloadPlace"], "seed");
    let document = load(&world, &at("spdx"));
    assert_eq!(faults(&document), [""; 0]);
    let contains = json!({
        "spdxElementId": "SPDXRef-image",
        "relationshipType": "CONTAINS",
        "relatedSpdxElement": "SPDXRef-payload",
    });
    assert_eq!(list(&document, "relationships")[1], contains);
}

#[test]
fn of_a_golden_image_its_own_base_is_told() {
    let world = World::built();
    let (payload, digits) = (world.sha256(&world.payload("build")), "5".repeat(128));
    fs::write(world.path("workers.qcow2"), "a disk with the payload on it").unwrap();
    let stored = |file: &str, digest: &str| json!({"file": file, "digest": digest, "size": 29});
    let image = world.sha256("workers.qcow2");
    let golden = json!({
        "apiVersion": "nodebake/v1",
        "arch": "amd64",
        "base": format!("sha512:{digits}"),
        "payload": payload,
        "packages": [],
        "disk": 1 << 30,
        "qcow2": stored("workers.qcow2", &image),
        "raw": stored("workers.raw", &"0".repeat(64)),
    });
    fs::write(world.path("workers.json"), golden.to_string()).unwrap();
    let own = format!("\nartifacts:\n  - {{kind: base-image, path: workers.qcow2, sha256: {image}}}\n");
    world.edit("\nartifacts:\n", &own);
    world.must(&["lock"]);
    world.must(&["build", NODE]);
    let document = load(&world, MATERIALS);
    assert_eq!(faults(&document), [""; 0]);
    let relation = |it: &Value| {
        [text(it, "spdxElementId"), text(it, "relationshipType"), text(it, "relatedSpdxElement")].join(" ")
    };
    let told: Vec<_> = list(&document, "relationships").iter().map(relation).filter(|it| it.contains("base")).collect();
    let wanted = [
        "SPDXRef-image DEPENDS_ON SPDXRef-base-image",
        "SPDXRef-base-image DESCENDANT_OF SPDXRef-golden-base",
        "SPDXRef-base-image CONTAINS SPDXRef-payload",
    ];
    assert_eq!(told, wanted);
    let base = list(&document, "packages").iter().find(|package| package["SPDXID"] == "SPDXRef-golden-base").unwrap();
    assert_eq!(base["checksums"], json!([{"algorithm": "SHA512", "checksumValue": digits}]));
    let definition = &load(&world, STATEMENT)["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["payloadPlace"], "base-image");
    let inputs = list(definition, "resolvedDependencies");
    let origin = json!({"name": "base of the golden image", "digest": {"sha512": digits}});
    assert!(inputs.contains(&origin), "{inputs:?}");
}

/// Files of the user's own are told by their digests, but for those that may hold a secret: a guess of a password could be
/// tried against that.
#[test]
fn own_files_are_told_and_secrets_are_not() {
    let world = World::locked();
    let public = ["own/guest/sysctl.conf", "motd", "own.service"];
    let secret = ["own/user-data", "token", "puller"];
    fs::create_dir_all(world.path("own/guest")).unwrap();
    let template =
        |name: &str| fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/cloud-init/").to_owned() + name).unwrap();
    fs::write(world.path("own/guest/sysctl.conf"), template("guest/sysctl.conf")).unwrap();
    fs::write(world.path("own/user-data"), template("user-data") + "# hunter2\n").unwrap();
    fs::write(world.path("motd"), "welcome\n").unwrap();
    fs::write(world.path("own.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
    fs::write(world.path("token"), "hunter2\n").unwrap();
    world.write_key("puller", b"hunter2\n");
    world.edit(
        "  disk: 20GiB\n",
        "  disk: 20GiB\n  templates: own\n  files:\n    /etc/motd: {path: motd}\n    /etc/token: {path: token, mode: '0600'}\n  \
         units:\n    own.service: {path: own.service}\n  containerd:\n    registries:\n      docker.io: {mirrors: \
         ['https://mirror.example'], username: puller, passwordFile: puller}\n",
    );
    world.must(&["build", NODE]);
    let definition = &load(&world, STATEMENT)["predicate"]["buildDefinition"];
    let own: Vec<_> = list(definition, "resolvedDependencies").iter().skip(7).collect();
    let told = |path: &str, setting: &str| json!({"name": path, "digest": {"sha256": world.sha256(path)}, "annotations": {"setting": setting}});
    let withheld = |path: &str, setting: &str| {
        let why = "the digest of what may hold a secret";
        json!({"name": path, "annotations": {"setting": setting, "withheld": why}})
    };
    let wanted = [
        told("own/guest/sysctl.conf", "templates"),
        withheld("own/user-data", "templates"),
        told("motd", "files./etc/motd"),
        withheld("token", "files./etc/token"),
        told("own.service", "units.own.service"),
        withheld("puller", "containerd.registries.docker.io.passwordFile"),
    ];
    assert_eq!(own, wanted.iter().collect::<Vec<_>>());
    let both = world.read(STATEMENT) + &world.read(MATERIALS);
    let keys = [".nodebake/identities/worker-node-1/key.pem", "pki/ca-key.pem", "build/worker-node-1/user-data"];
    for path in secret.iter().chain(&keys) {
        assert!(!both.contains(&world.sha256(path)), "the digest of {path}");
    }
    assert!(!both.contains("hunter2"));
    // The search finds what is there.
    assert!(public.iter().all(|path| both.contains(&world.sha256(path))));

    // Another file is another input, and another seed.
    let before = world.tree("build");
    fs::write(world.path("motd"), "good bye\n").unwrap();
    world.must(&["build", NODE]);
    let wanted = ["manifest.json", "meta-data", "seed.iso", "worker-node-1.intoto.json", "worker-node-1.spdx.json"];
    assert_eq!(changed(&before, &world.tree("build")), wanted.map(|file| format!("build/worker-node-1/{file}")));
}

#[test]
fn verify_finds_what_is_wrong_or_missing() {
    let world = World::locked();
    world.must(&["fetch"]);
    world.must(&["build", NODE]);
    world.must(&["build", "--self-contained", NODE]);
    let verify = || {
        let Ran { code, stderr, .. } = world.run(&["verify", "--images", NODE]);
        (code, stderr.lines().filter(|line| !line.contains(": done (")).map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(verify(), (0, vec![]));
    let one_drive = "build/worker-node-1/worker-node-1.self-contained.intoto.json";
    let whole = [MATERIALS, STATEMENT, one_drive].map(|path| world.read(path));
    let other = whole[0].replace("\"Apache-2.0\"", "\"MIT\"");
    fs::write(world.path(MATERIALS), other).unwrap();
    fs::remove_file(world.path(STATEMENT)).unwrap();
    fs::write(world.path(one_drive), whole[2].replace("self-contained.iso", "seed.iso")).unwrap();
    let found = [
        format!("error: {STATEMENT}: not built"),
        format!("error: {MATERIALS}: content differs in packages[1].licenseDeclared"),
        format!("error: {one_drive}: content differs in subject[0].name"),
        String::new(),
        "hint: run `nodebake build`; run `nodebake build --self-contained`".to_owned(),
    ];
    assert_eq!(verify(), (4, found.to_vec()));
    // As it says.
    assert!(world.must(&["build", NODE]).stdout.ends_with("   made\n"));
    assert!(world.must(&["build", "--self-contained", NODE]).stdout.ends_with("   made\n"));
    assert_eq!([MATERIALS, STATEMENT, one_drive].map(|path| world.read(path)), whole);
    assert_eq!(verify(), (0, vec![]));
}
