//! The hosts that tests of several hypervisors stand on are what they pretend to be: each is reached in three ways and
//! by nobody else, they share a network, and they fail as a test wants it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nodebake::digest::Digest;
use nodebake::machine::{Hypervisor, MachineError, PoolSpec, Reading, VolumeName, VolumeSpec};

use crate::daemon::in_network;
use crate::hosts::{BRIDGE, Host, Hosts, POOL, WAYS, Way, make_authority, make_client};
use crate::world::World;

/// For how long what never ends is waited for.
const AT_LEAST: Duration = Duration::from_secs(2);

/// What libvirt takes for an ISO 9660 file system, with a text in it.
fn iso(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    bytes[32768..32774].copy_from_slice(b"\x01CD001");
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn make_pool(hypervisor: &dyn Hypervisor) {
    hypervisor.create_pool(&PoolSpec { name: "vms".to_owned(), path: POOL.to_owned() }).unwrap();
}

fn upload(hypervisor: &dyn Hypervisor, bytes: &[u8]) -> Result<VolumeName, MachineError> {
    let digest = Digest::of(bytes);
    let spec = VolumeSpec { name: VolumeName::Payload(digest), size: bytes.len() as u64, digest };
    hypervisor.upload("vms", &spec, &mut Reading::new(&bytes), &|_| ())?;
    Ok(spec.name)
}

fn volumes(hypervisor: &dyn Hypervisor) -> Vec<String> {
    hypervisor.volumes("vms").unwrap().into_iter().map(|volume| volume.name).collect()
}

/// What is told of a host that cannot be opened, with the client's folder shown as CLIENT and without its URI.
fn refused(hosts: &Hosts, uri: &str, client: &Path) -> String {
    let error = hosts.open(uri).err().unwrap();
    let source = std::error::Error::source(&error).unwrap();
    format!("{error}: {source}").replace(uri, "URI").replace(client.to_str().unwrap(), "CLIENT")
}

#[test]
fn each_way_leads_to_the_host_that_is_meant() {
    let Some(hosts) = Hosts::start(3) else { return };
    for host in &hosts.each {
        assert_eq!(host.run(&["hostname"]), format!("{}\n", host.name));
        make_pool(&*host.daemon.open());
        let mut names = Vec::new();
        for way in WAYS {
            let hypervisor = hosts.open(&host.uri(way)).unwrap();
            let bytes = iso(&format!("{way:?} to {}", host.name));
            let name = upload(&*hypervisor, &bytes).unwrap();
            assert!(hypervisor.read_volume("vms", &name, 0, bytes.len()).unwrap() == bytes, "{way:?}");
            names.push(name.to_string());
        }
        names.sort();
        for way in WAYS {
            assert_eq!(volumes(&*hosts.open(&host.uri(way)).unwrap()), names, "{way:?}");
        }
    }
    // The path is the same on every host, and none of this machine's.
    assert!(!Path::new(POOL).exists());
}

#[test]
fn the_program_reaches_a_host_as_any_client_does() {
    let Some(hosts) = Hosts::start(1) else { return };
    let world = World::locked();
    let nothing = world.must(&["status"]);
    world.edit("uri: test:///default", "uri: URI");
    let text = world.read("nodebake.yaml");
    let client = hosts.client();
    let client: Vec<_> = client.iter().map(String::as_str).collect();
    for way in WAYS {
        fs::write(world.path("nodebake.yaml"), text.replace("uri: URI", &format!("uri: {}", hosts.each[0].uri(way))))
            .unwrap();
        assert_eq!(world.run_command(world.command(&client).arg("status")), nothing, "{way:?}");
    }
}

#[test]
fn strangers_are_refused() {
    let Some(hosts) = Hosts::start(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [authority, other] = ["authority", "other"].map(|name| folder.path().join(name));
    make_authority(&authority);
    make_client(&authority, &other);
    fs::write(other.join("known_hosts"), "").unwrap();
    let denied = "no permission to use libvirt at URI";
    let silent = "libvirt does not answer at URI";
    let cases = [
        (
            Way::Ssh,
            &["key", "key.pub"][..],
            format!(
                "{denied}: Cannot recv data: root@10.0.0.11: Permission denied (publickey).: Connection reset by peer"
            ),
        ),
        (
            Way::Ssh,
            &["known_hosts"],
            format!(
                "{silent}: Cannot recv data: No ED25519 host key is known for 10.0.0.11 and you have requested strict \
                 checking.\r\nHost key verification failed.: Connection reset by peer"
            ),
        ),
        (
            Way::Tls,
            &["cacert.pem", "clientcert.pem", "clientkey.pem"],
            format!("{denied}: authentication failed: Failed to verify peer's certificate"),
        ),
        (
            Way::Tls,
            &["clientcert.pem", "clientkey.pem"],
            format!("{silent}: Unable to read TLS confirmation: Input/output error"),
        ),
    ];
    for (number, (way, files, expected)) in cases.into_iter().enumerate() {
        let client = folder.path().join(number.to_string());
        fs::create_dir(&client).unwrap();
        for entry in fs::read_dir(hosts.client_folder()).unwrap() {
            let name = entry.unwrap().file_name();
            let from = if files.iter().any(|file| **file == name) { other.clone() } else { hosts.client_folder() };
            fs::copy(from.join(&name), client.join(&name)).unwrap();
        }
        // libvirt looks at a client's own certificate first, by the authorities that the client knows.
        let mut authorities = fs::read(client.join("cacert.pem")).unwrap();
        authorities.extend(fs::read(other.join("cacert.pem")).unwrap());
        fs::write(client.join("cacert.pem"), authorities).unwrap();
        assert_eq!(refused(&hosts, &hosts.each[0].uri_with(way, &client), &client), expected, "{files:?}");
    }
}

/// What one host hears from another, and from where.
fn hear(from: &Host, listener: &TcpListener, to: SocketAddr) -> io::Result<(String, SocketAddr)> {
    let mut stream = in_network(&from.daemon.inner(), || TcpStream::connect_timeout(&to, AT_LEAST))?;
    let (mut accepted, peer) = listener.accept()?;
    accepted.write_all(b"hello")?;
    drop(accepted);
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok((text, SocketAddr::new(peer.ip(), 0)))
}

#[test]
fn hosts_share_a_network_until_it_is_cut() {
    let Some(hosts) = Hosts::start(2) else { return };
    let [one, two] = &hosts.each[..] else { unreachable!() };
    let to = SocketAddr::from((two.address, 7000));
    let listener = two.daemon.listen(to);
    let heard = || hear(one, &listener, to).map_err(|error| error.kind());
    let hello = Ok(("hello".to_owned(), SocketAddr::from((one.address, 0))));
    assert_eq!(heard(), hello);
    two.cut();
    assert!(heard().is_err());
    two.mend();
    assert_eq!(heard(), hello);
    two.silence();
    assert_eq!(heard(), Err(io::ErrorKind::TimedOut));
    two.speak();
    assert_eq!(heard(), hello);
}

/// What stands for a guest here: something else behind the same bridge, with an address.
const GUEST: &str = "ip netns add guest
ip link add port type veth peer name eth0 netns guest
ip link set port master br-nodes up
ip -n guest address add $0/24 dev eth0
ip -n guest link set eth0 up";

#[test]
fn guests_of_all_hosts_share_a_network() {
    let Some(hosts) = Hosts::start(2) else { return };
    let addresses = ["10.0.0.35", "10.0.0.36"];
    for (host, address) in hosts.each.iter().zip(addresses) {
        host.run(&["sh", "-e", "-c", GUEST, address]);
    }
    for (host, address) in hosts.each.iter().zip(addresses.iter().rev()) {
        host.run(&["ip", "netns", "exec", "guest", "ping", "-q", "-c", "1", "-w", "10", address]);
    }
    // And libvirt leads a machine to that bridge.
    let one = &hosts.each[0];
    let xml = format!(
        "<domain type='qemu'><name>one</name><memory unit='MiB'>32</memory><os><type>hvm</type></os><devices>\
         <interface type='bridge'><source bridge='{BRIDGE}'/><target dev='nic'/></interface></devices></domain>"
    );
    fs::write(one.daemon.folder.path().join("one.xml"), xml).unwrap();
    one.run(&["virsh", "-q", "create", one.daemon.folder.path().join("one.xml").to_str().unwrap()]);
    let links: Vec<serde_json::Value> =
        serde_json::from_str(&one.run(&["ip", "-j", "link", "show", "master", BRIDGE])).unwrap();
    let mut names: Vec<_> = links.iter().map(|link| link["ifname"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["nic", "port", "uplink"]);
}

#[test]
fn daemons_fail_one_by_one() {
    let Some(mut hosts) = Hosts::start(2) else { return };
    make_pool(&*hosts.each[0].daemon.open());
    let name = upload(&*hosts.each[0].daemon.open(), &iso("kept")).unwrap();
    let answers = |hosts: &Hosts, host: &Host| {
        for way in WAYS {
            let hypervisor = hosts.open(&host.uri(way)).unwrap();
            assert_eq!(hypervisor.pool("vms").unwrap().is_some(), host.name == "host1", "{way:?}");
        }
    };
    let [one, two] = &hosts.each[..] else { unreachable!() };
    one.stop();
    let socket = format!("Failed to connect socket to '{}'", one.daemon.uri.split_once('=').unwrap().1);
    let far = "/var/run/libvirt/libvirt-sock";
    for (way, expected) in [
        (Way::Unix, format!("{socket}: Connection refused")),
        (
            Way::Ssh,
            format!(
                "End of file while reading data: virt-ssh-helper: cannot connect to '{far}': Failed to connect socket \
                 to '{far}': Connection refused: Input/output error"
            ),
        ),
        (Way::Tls, "unable to connect to server at '10.0.0.11:16514': Connection refused".to_owned()),
    ] {
        let told = refused(&hosts, &one.uri(way), &hosts.client_folder());
        assert_eq!(told, format!("libvirt does not answer at URI: {expected}"));
    }
    answers(&hosts, two);
    one.start();
    answers(&hosts, one);

    one.freeze();
    let (opened, each_opened) = mpsc::channel();
    std::thread::scope(|scope| {
        for way in WAYS {
            let (hosts, uri, opened) = (&hosts, one.uri(way), opened.clone());
            scope.spawn(move || opened.send(hosts.open(&uri).map(|_| way)).unwrap());
        }
        assert!(matches!(each_opened.recv_timeout(AT_LEAST), Err(mpsc::RecvTimeoutError::Timeout)));
        answers(&hosts, two);
        one.thaw();
        for _ in WAYS {
            each_opened.recv().unwrap().unwrap();
        }
    });

    hosts.each[0].crash();
    answers(&hosts, &hosts.each[1]);
    hosts.each[0].boot();
    answers(&hosts, &hosts.each[0]);
    assert_eq!(volumes(&*hosts.each[0].daemon.open()), [name.to_string()]);
}

#[test]
fn a_host_is_full() {
    let Some(hosts) = Hosts::start(1) else { return };
    hosts.each[0].small_pool(1 << 20);
    let hypervisor = hosts.open(&hosts.each[0].uri(Way::Tls)).unwrap();
    make_pool(&*hypervisor);
    upload(&*hypervisor, &iso("fits")).unwrap();
    let large = [iso("large"), vec![1; 1 << 20]].concat();
    let full = upload(&*hypervisor, &large).unwrap_err().to_string();
    let volume = VolumeName::Payload(Digest::of(&large));
    let left = (1 << 20) - iso("fits").len();
    assert_eq!(full, format!("storage pool \"vms\" has {left} bytes left, {volume} needs {}", large.len()));
}

#[test]
fn a_call_ends_when_the_host_is_out_of_reach() {
    let Some(hosts) = Hosts::start(2) else { return };
    let [one, two] = &hosts.each[..] else { unreachable!() };
    std::thread::scope(|scope| {
        for (host, way) in [(one, Way::Tls), (two, Way::Ssh)] {
            let hypervisor = hosts.open(&host.uri(way)).unwrap();
            assert_eq!(hypervisor.domains().unwrap(), []);
            host.silence();
            // Without a word from anybody it would not end by itself.
            scope.spawn(move || {
                let error = hypervisor.domains().unwrap_err();
                assert!(matches!(error, MachineError::Lost { .. }), "{way:?}: {error}");
            });
        }
    });
}
