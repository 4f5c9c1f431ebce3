//! Ways to a server: proxies, CA certificates of one's own, upstream after the mirrors.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use crate::http;
use crate::mirror::Item;
use crate::world::{Ran, World};

/// What is asked of something, first lines of requests.
type Log = Arc<Mutex<Vec<String>>>;

fn listen(serve: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The lines of a request's head.
fn head(stream: &mut impl Read) -> Option<Vec<String>> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.extend(byte);
    }
    Some(String::from_utf8(bytes).ok()?.lines().map(ToOwned::to_owned).collect())
}

/// A proxy for http and https that knows one server, whatever it is asked for.
fn proxy(server: SocketAddr) -> (SocketAddr, Log) {
    let log = Log::default();
    let noted = Arc::clone(&log);
    let address = listen(move |mut client| {
        let lines = head(&mut client)?;
        noted.lock().unwrap().push(lines[0].clone());
        let mut server = TcpStream::connect(server).ok()?;
        let mut words = lines[0].split(' ');
        if words.next()? == "CONNECT" {
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
        } else {
            let path = words.next()?.splitn(4, '/').nth(3)?.to_owned();
            server.write_all(format!("GET /{path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        }
        let (mut back, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
        std::thread::spawn(move || io::copy(&mut back, &mut to).and_then(|_| to.shutdown(std::net::Shutdown::Both)));
        io::copy(&mut client, &mut server).ok().map(drop)
    });
    (address, log)
}

/// A CA with a server's certificate for some names: the CA in PEM form, and what the server needs.
fn authority(names: &[&str]) -> (String, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let server = server.signed_by(&server_key, &Issuer::new(params, key)).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], PrivateKeyDer::Pkcs8(server_key.serialize_der().into()))
        .unwrap();
    (ca.pem(), Arc::new(config))
}

/// Serves HOST/PATH of a folder over https, as if it were every host; or a redirect for everything.
fn https(config: Arc<rustls::ServerConfig>, folder: PathBuf, redirect: Option<String>) -> SocketAddr {
    listen(move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let lines = head(&mut stream)?;
        let host = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("host: ").map(ToOwned::to_owned))?;
        let path = lines[0].split(' ').nth(1)?;
        let answer = match (&redirect, fs::read(Path::new(&folder).join(format!("{host}{path}")))) {
            (Some(location), _) => {
                format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
            }
            (None, Ok(bytes)) => {
                [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).as_bytes(), &bytes].concat()
            }
            (None, Err(_)) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        };
        stream.write_all(&answer).ok()?;
        stream.conn.send_close_notify();
        stream.flush().ok()
    })
}

/// Runs `fetch kubectl` with this environment.
fn fetch(world: &World, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = world.command(&[]);
    command.env_remove("NODEBAKE_MIRROR").envs(environment.iter().copied()).args(["fetch", "kubectl"]).args(arguments);
    world.run_command(&mut command)
}

#[test]
fn proxies_of_the_environment_are_used_but_for_hosts_that_need_none() {
    let world = World::locked();
    let server = http::serve(world.path("mirror"));
    let (proxy, log) = proxy(server);
    let through = format!("http://{proxy}");
    let place = Item::Kubectl.place("1.35.1");
    let fetched = |environment: &[(&str, &str)], mirror: &str| {
        fs::remove_dir_all(world.path("cache")).unwrap_or_default();
        let ran = fetch(&world, environment, &["--mirror", mirror]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "build/kubectl\n"), "{ran:?}");
        std::mem::take(&mut *log.lock().unwrap())
    };
    // Only the proxy knows this host.
    let asked = [format!("GET http://mirror.example/some/where/{place} HTTP/1.1")];
    assert_eq!(fetched(&[("HTTP_PROXY", &through)], "http://mirror.example/some/where"), asked);
    assert_eq!(fetched(&[("http_proxy", &through)], "http://mirror.example/some/where"), asked);
    let near = format!("http://{server}/some/where");
    assert_eq!(fetched(&[("HTTP_PROXY", &through), ("NO_PROXY", "127.0.0.1,localhost")], &near), [""; 0]);
    assert_eq!(fetched(&[("HTTPS_PROXY", &through)], &near), [""; 0]);
    assert_eq!(fetched(&[("HTTP_PROXY", &through)], &near), [format!("GET {near}/{place} HTTP/1.1")]);
}

#[test]
fn upstream_is_asked_after_the_mirrors_where_that_is_wanted() {
    let world = World::locked();
    let (ca, server) = authority(&["dl.k8s.io"]);
    fs::write(world.path("ca-bundle.pem"), ca).unwrap();
    // The proxy leads every host to a server with the files that upstream has.
    let (proxy, log) = proxy(https(server, world.path("mirror"), None));
    let through = format!("http://{proxy}");
    let environment = [("HTTPS_PROXY", through.as_str())];
    fs::create_dir(world.path("empty")).unwrap();
    let place = Item::Kubectl.place("1.35.1");
    let text = world.read("nodebake.yaml");
    let with = |download: &str| {
        fs::write(world.path("nodebake.yaml"), format!("{text}\ndownload:\n{download}")).unwrap();
    };

    with("  mirrors: [empty]\n  caFile: ca-bundle.pem\n");
    let lacks = format!("the mirror lacks https://{place}: there is no FOLDER/empty/{place}");
    let hint = format!(
        "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://{place}` in its folder"
    );
    assert_eq!(fetch(&world, &environment, &[]), Ran::failed(1, &lacks, &hint));
    assert_eq!(*log.lock().unwrap(), [""; 0]);

    // Without the CA the server proves nothing, and no later try would change that.
    with("  mirrors: [empty]\n  fallback: true\n");
    let untrusted = format!(
        "cannot fetch kubectl 1.35.1 (amd64): no place gives https://{place}: there is no FOLDER/empty/{place}; \
         https://{place} cannot be trusted: error sending request: client error (Connect): invalid peer certificate: \
         UnknownIssuer"
    );
    let hint = "give the server's CA certificate in a PEM file as download.caFile in the cluster file";
    assert_eq!(fetch(&world, &environment, &[]), Ran::failed(1, &untrusted, hint));
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["CONNECT dl.k8s.io:443 HTTP/1.1"]);

    with("  mirrors: [empty]\n  fallback: true\n  caFile: ca-bundle.pem\n");
    assert_eq!(fetch(&world, &environment, &[]).code, 0);
    assert_eq!(*log.lock().unwrap(), ["CONNECT dl.k8s.io:443 HTTP/1.1"]);
    let digest = world.sha256(&format!("mirror/{place}"));
    assert_eq!(world.sha256("build/kubectl"), digest);
}

#[test]
fn what_is_encrypted_is_never_sent_on_in_the_clear() {
    let world = World::locked();
    let (ca, config) = authority(&["127.0.0.1"]);
    fs::write(world.path("ca-bundle.pem"), ca).unwrap();
    let text = world.read("nodebake.yaml");
    fs::write(world.path("nodebake.yaml"), format!("{text}\ndownload:\n  caFile: ca-bundle.pem\n")).unwrap();
    let plain = format!("http://{}/some/where", http::serve(world.path("mirror")));
    let server = https(config, world.path("mirror"), Some(plain.clone()));
    let ran = fetch(&world, &[], &["--mirror", &format!("https://{server}")]);
    let error = format!(
        "cannot fetch kubectl 1.35.1 (amd64): https://{server}/{} redirects to where it must not: error following \
         redirect: {plain} is not encrypted, and the address before it was",
        Item::Kubectl.place("1.35.1")
    );
    assert_eq!(ran, Ran::failed(1, &error, ""));
}

#[test]
fn a_ca_file_that_is_none_is_told_before_anything_is_asked() {
    let world = World::locked();
    let text = world.read("nodebake.yaml");
    fs::write(world.path("nodebake.yaml"), format!("{text}\ndownload:\n  caFile: ca-bundle.pem\n")).unwrap();
    let refused = |why: &str| {
        let error = format!("no CA certificates can be read from FOLDER/ca-bundle.pem: {why}");
        Ran::failed(2, &error, "download.caFile in the cluster file must name a PEM file of CA certificates")
    };
    assert_eq!(world.run(&["fetch"]), refused("No such file or directory (os error 2)"));
    fs::write(world.path("ca-bundle.pem"), "none\n").unwrap();
    assert_eq!(world.run(&["fetch"]), refused("it holds no certificate in PEM form"));
    assert_eq!(world.run(&["build", "--all"]), refused("it holds no certificate in PEM form"));
    assert!(!world.path("cache").exists());
}
