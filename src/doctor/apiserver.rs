//! The apiserver as anybody can ask it: whether it answers, whether nodes will trust it, and what time it has. Nothing is
//! sent before its certificate is known to be the cluster's, and no secret ever.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::finding::{Check, Finding, listed};
use super::{Case, Host};
use crate::config::{Config, Network};
use crate::identity::{BACKDATED, PeerCertificate};

/// How long a connection, and each answer on it, may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The most that is read of an answer, in bytes; /version takes less than 1 KiB.
const ANSWER: u64 = 64 << 10;
/// A certificate that ends so soon is told of.
pub(super) const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Clocks may differ by so much; an HTTP date has whole seconds and took its time to come.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// What came of asking.
#[derive(Debug)]
pub enum Probe {
    /// The name in cluster.apiServer has no address here.
    Unnamed(io::Error),
    /// Nobody took the connection.
    Unreached(io::Error),
    /// Somebody did, and does not speak TLS as an apiserver does.
    Other(String),
    /// An answer by TLS.
    Reached(Box<Answer>),
}

/// What a server told.
#[derive(Debug)]
pub struct Answer {
    /// Whether a node with the cluster's CA would trust it; none where ca.pem could not be used.
    pub trust: Option<Result<(), rustls::Error>>,
    /// What its certificate says, if that can be read.
    pub certificate: Option<PeerCertificate>,
    /// Its clock, as its answer has it, less ours when that came.
    pub skew: Option<SignedDuration>,
    /// Its version, where it tells anybody: `v1.35.1`.
    pub version: Option<String>,
}

/// Asks the apiserver of a cluster file.
pub fn probe(config: &Config) -> Probe {
    let (host, port) = host_and_port(&config.cluster.api_server);
    let listed = config.cluster.control_plane.iter().find(|known| known.name.to_string() == host);
    let addresses = match listed {
        // As the nodes' /etc/hosts has it.
        Some(known) => Ok(vec![SocketAddr::new(known.address.into(), port)]),
        None => (host, port).to_socket_addrs().map(Iterator::collect),
    };
    let stream = match addresses {
        Err(error) => return Probe::Unnamed(error),
        Ok(addresses) => connect(&addresses),
    };
    match stream {
        Err(error) => Probe::Unreached(error),
        Ok(stream) => {
            let ca = std::fs::read(config.cluster.pki.join("ca.pem")).unwrap_or_default();
            talk(stream, host, &ca).map_or_else(Probe::Other, |answer| Probe::Reached(Box::new(answer)))
        }
    }
}

/// Host and port of `https://HOST:PORT`, the form that the cluster file's reader lets pass; an IPv6 host without brackets.
fn host_and_port(url: &str) -> (&str, u16) {
    let authority = url.trim_start_matches("https://");
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "6443"));
    (host.trim_start_matches('[').trim_end_matches(']'), port.parse().unwrap_or(6443))
}

fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(address, LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn talk(mut stream: TcpStream, host: &str, ca: &[u8]) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    stream.set_read_timeout(Some(LIMIT)).and_then(|()| stream.set_write_timeout(Some(LIMIT))).map_err(|e| text(&e))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|e| text(&e))?;
    let witness = Arc::new(Witness::new(ca));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| text(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|e| text(&e))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|e| text(&e))?;
    }
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (der, trust) = seen.ok_or("it showed no certificate")?;
    let trusted = matches!(trust, Some(Ok(())));
    let told = if trusted { ask(&mut rustls::Stream::new(&mut connection, &mut stream), host) } else { None };
    let (skew, version) = told.unwrap_or_default();
    Ok(Answer { trust, certificate: PeerCertificate::read(&der).ok(), skew, version })
}

/// Asks for the version without saying who asks; the date stands in a refusal too. None if there is no answer.
fn ask(stream: &mut (impl io::Read + io::Write), host: &str) -> Option<(Option<SignedDuration>, Option<String>)> {
    let request = format!("GET /version HTTP/1.1\r\nHost: {host}\r\nUser-Agent: nodebake\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    let begin = Instant::now();
    // A server that ends without a farewell has still said all that was read before.
    let _ = stream.take(ANSWER).read_to_end(&mut bytes);
    // It wrote its date at some time while we waited.
    let now = Timestamp::now().checked_sub(begin.elapsed() / 2).ok()?;
    let answer = String::from_utf8_lossy(&bytes);
    Some((date(&answer).map(|date| date.duration_since(now)), version(&answer)))
}

/// The header `Date` of an answer (RFC 9110, 6.6.1).
fn date(answer: &str) -> Option<Timestamp> {
    let head = answer.split("\r\n\r\n").next()?;
    let value =
        head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("date"))?.1;
    jiff::fmt::rfc2822::parse(value.trim()).ok().map(|time| time.timestamp())
}

/// `gitVersion` of what /version answers.
fn version(answer: &str) -> Option<String> {
    let body = answer.strip_prefix("HTTP/1.1 200 ")?.split_once("\r\n\r\n")?.1;
    // Whole or in one chunk, with its length before it.
    let object = body.get(body.find('{')?..=body.rfind('}')?)?;
    let value: serde_json::Value = serde_json::from_str(object).ok()?;
    Some(value.get("gitVersion")?.as_str()?.to_owned())
}

/// Lets every certificate pass and notes what a strict client would have said of it.
#[derive(Debug)]
struct Witness {
    strict: Option<Arc<WebPkiServerVerifier>>,
    #[expect(clippy::type_complexity, reason = "the certificate in DER form, and the verdict")]
    seen: Mutex<Option<(Vec<u8>, Option<Result<(), rustls::Error>>)>>,
}

impl Witness {
    /// With the CA certificate in a PEM file.
    fn new(ca: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca).flatten() {
            // One that cannot be a root leaves us without a verdict.
            let _ = roots.add(certificate);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok();
        Self { strict, seen: Mutex::new(None) }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |strict: &Arc<WebPkiServerVerifier>| {
            strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map(|_| ())
        };
        let verdict = self.strict.as_ref().map(verify);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((end_entity.to_vec(), verdict));
        Ok(ServerCertVerified::assertion())
    }

    // That the server has the key of its certificate is verified as ever.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How the apiserver and this host stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vantage {
    /// The guests' packets leave through this machine: what it cannot reach, they cannot either.
    GuestsLeaveHere,
    /// The apiserver is to be on a network that is not up now.
    NotUp,
    /// Elsewhere.
    Apart,
}

fn vantage(case: Case, host: Option<&Host>) -> Vantage {
    let Some(host) = host.filter(|_| case.config.network.bridge.is_none()) else { return Vantage::Apart };
    let network = host.inventory.network.as_ref();
    let within = address(case).is_some_and(|address| case.config.network.cidr.contains(&address));
    if within && !network.is_some_and(|network| network.active) {
        return Vantage::NotUp;
    }
    let routed = network.is_none_or(|network| matches!(network.forward.as_deref(), Some("nat" | "route" | "open")));
    if host.info.local && routed { Vantage::GuestsLeaveHere } else { Vantage::Apart }
}

/// The apiserver's address, where the cluster file tells it.
fn address(case: Case) -> Option<Ipv4Addr> {
    let (name, _) = host_and_port(&case.config.cluster.api_server);
    let listed = case.config.cluster.control_plane.iter().find(|known| known.name.to_string() == name);
    listed.map(|known| known.address).or_else(|| name.parse().ok())
}

/// Whether the apiserver answers, and nodes will trust it.
pub(super) fn apiserver(case: Case, host: Option<&Host>, probe: Option<&Probe>) -> Vec<Finding> {
    judge(&case.config.cluster.api_server, case.now, vantage(case, host), probe)
}

fn judge(server: &str, now: Timestamp, vantage: Vantage, probe: Option<&Probe>) -> Vec<Finding> {
    const START: &str = "start the apiserver, or correct cluster.apiServer in the cluster file";
    let unreached = |found: String| match vantage {
        Vantage::GuestsLeaveHere => Finding::failure(Check::Apiserver, found, START),
        Vantage::NotUp => {
            Finding::skipped(Check::Apiserver, format!("{found}; it is in the workers' network, which is not active"))
        }
        Vantage::Apart => {
            let found = format!("{found} from here; whether the nodes reach it cannot be told");
            Finding::warning(
                Check::Apiserver,
                found,
                "see that the hypervisor's guests reach it; cluster.apiServer names it",
            )
        }
    };
    let finding = match probe {
        None => unreached(format!("{server} does not answer in time")),
        Some(Probe::Unnamed(error)) => {
            let found = format!("{server} has no address here: {error}");
            let fix =
                "see that the nodes' name servers know the name, or add it to cluster.controlPlane in the cluster file";
            Finding::warning(Check::Apiserver, found, fix)
        }
        Some(Probe::Unreached(error)) => unreached(format!("{server} cannot be reached: {error}")),
        Some(Probe::Other(problem)) => {
            let found = format!("what answers at {server} is no apiserver: {problem}");
            Finding::failure(Check::Apiserver, found, "correct cluster.apiServer in the cluster file")
        }
        Some(Probe::Reached(answer)) => return judge_certificate(server, now, answer),
    };
    vec![finding]
}

fn judge_certificate(server: &str, now: Timestamp, answer: &Answer) -> Vec<Finding> {
    let names = answer.certificate.as_ref().map_or_else(|| "nothing".to_owned(), |seen| listed(&seen.names));
    let failure = |found: String, fix: &str| vec![Finding::failure(Check::Apiserver, found, fix)];
    match &answer.trust {
        None => {
            let why = format!("{server} answers; without the CA its certificate cannot be judged");
            vec![Finding::skipped(Check::Apiserver, why)]
        }
        Some(Err(rustls::Error::InvalidCertificate(error))) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => failure(
                format!("the certificate of {server} is not signed by the CA in ca.pem: no node would trust it"),
                "put the CA of that cluster into the pki folder, or correct cluster.apiServer in the cluster file",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => failure(
                format!("the certificate of {server} is for {names}, and not for the name that nodes ask by"),
                "issue the apiserver a certificate with that name, or have cluster.apiServer name one of these",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => failure(
                format!("the certificate of {server} has expired"),
                "issue the apiserver a new certificate (kubeadm certs renew apiserver), and see that the clock here is right",
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => failure(
                format!("the certificate of {server} is not valid yet, by the clock here"),
                "set the clocks: timedatectl set-ntp true",
            ),
            other => failure(
                format!("no node would trust the certificate of {server}: {other}"),
                "issue the apiserver another certificate",
            ),
        },
        Some(Err(error)) => failure(
            format!("the certificate of {server} cannot be judged: {error}"),
            "issue the apiserver another certificate",
        ),
        Some(Ok(())) => vec![trusted(server, now, answer)],
    }
}

fn trusted(server: &str, now: Timestamp, answer: &Answer) -> Finding {
    match &answer.certificate {
        Some(seen) if seen.not_after.duration_since(now) < SOON => {
            let found = format!("the certificate of {server} ends soon, at {}", seen.not_after);
            Finding::warning(
                Check::Apiserver,
                found,
                "issue the apiserver a new certificate (kubeadm certs renew apiserver)",
            )
        }
        _ => Finding::ok(Check::Apiserver, format!("{server} answers, with a certificate of the cluster's CA")),
    }
}

/// Whether there is a way from the guests' network to the apiserver, as far as can be told without a guest.
pub(super) fn guest_route(case: Case, host: &Host, probe: Option<&Probe>) -> Vec<Finding> {
    let reached = matches!(probe, Some(Probe::Reached(_))) && host.info.local;
    if let Some(bridge) = &case.config.network.bridge {
        let why = format!("the nodes are on bridge {bridge} of the host; where that leads cannot be told");
        return vec![Finding::skipped(Check::GuestRoute, why)];
    }
    let forward = host.inventory.network.as_ref().map(|network| (network.forward.as_deref(), network.address));
    vec![judge_route(&case.config.network, address(case), forward, reached)]
}

/// `network` is the libvirt network's forward mode and its own address, where it is there already.
fn judge_route(
    network: &Network,
    apiserver: Option<Ipv4Addr>,
    found: Option<(Option<&str>, Option<ipnet::Ipv4Net>)>,
    reached: bool,
) -> Finding {
    const UNSEEN: &str = "whether a firewall lets them pass can only be told from a guest";
    let Some(apiserver) = apiserver else {
        return Finding::skipped(
            Check::GuestRoute,
            "the apiserver is named, and what its name is in the guests is not known here",
        );
    };
    if network.cidr.contains(&apiserver) {
        return Finding::ok(Check::GuestRoute, format!("{apiserver} is in the nodes' own network {}", network.cidr));
    }
    // A network that is not there yet becomes one with NAT.
    let (forward, own) = found.unwrap_or((Some("nat"), Some(network.gateway.into())));
    let through_host = own.is_none_or(|own| own.addr() == network.gateway);
    match forward {
        None if through_host => Finding::failure(
            Check::GuestRoute,
            format!("network {} is isolated: its host leads nobody to {apiserver}", network.name),
            format!(
                "use a network with <forward mode='nat'/>, or give network.gateway a router that leads there; virsh net-edit {}",
                network.name
            ),
        ),
        Some("nat" | "route" | "open") if through_host && reached => {
            Finding::ok(Check::GuestRoute, format!("through the host, which reaches {apiserver}; {UNSEEN}"))
        }
        _ => {
            let gateway = network.gateway;
            Finding::skipped(
                Check::GuestRoute,
                format!("nodes reach {apiserver} through {gateway}, and how that leads on cannot be seen from here"),
            )
        }
    }
}

/// Whether the apiserver's clock and ours agree. Guests begin with the host's, and certificates are valid from an hour ago.
pub(super) fn clock(probe: Option<&Probe>) -> Vec<Finding> {
    let skew = match probe {
        Some(Probe::Reached(answer)) => answer.skew,
        _ => None,
    };
    vec![skew.map_or_else(|| Finding::skipped(Check::Clock, "the apiserver told no time"), judge_clock)]
}

fn judge_clock(skew: SignedDuration) -> Finding {
    const SET: &str = "have both machines take their time from a server: timedatectl set-ntp true";
    let direction = if skew.is_negative() { "behind" } else { "ahead of" };
    let found = format!("the apiserver's clock is {} s {direction} the one here", skew.abs().as_secs());
    if skew <= -BACKDATED {
        let found = format!("{found}: to it the nodes' certificates would not be valid yet");
        return Finding::failure(Check::Clock, found, SET);
    }
    if skew.abs() > SKEW {
        return Finding::warning(Check::Clock, found, SET);
    }
    Finding::ok(
        Check::Clock,
        format!("the apiserver's clock and the one here differ by less than {} s", SKEW.as_secs() + 1),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::doctor::fixture::{Fixture, lines};

    const SERVER: &str = "https://10.0.0.4:6443";

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn answer(trust: Option<Result<(), rustls::Error>>, days: i64) -> Answer {
        let names = ["control-plane-1", "10.0.0.4"].map(str::to_owned).to_vec();
        let not_after = now() + SignedDuration::from_hours(days * 24);
        let certificate = Some(PeerCertificate { not_before: now(), not_after, names });
        Answer { trust, certificate, skew: None, version: None }
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port) in [
            ("https://10.0.0.4:6443", "10.0.0.4", 6443),
            ("https://control-plane-1:443", "control-plane-1", 443),
            ("https://[fd00::4]:6443", "fd00::4", 6443),
        ] {
            assert_eq!(host_and_port(url), (host, port));
        }
    }

    #[test]
    fn answers_tell_time_and_version() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDATE: Fri, 15 Jan 2027 08:00:00 GMT\r\n\r\n";
        let whole = format!("{head}{{\"major\": \"1\", \"gitVersion\": \"v1.35.1\"}}\n");
        let chunked = format!("{head}1e\r\n{{\"gitVersion\": \"v1.35.1\"}}\n\r\n0\r\n\r\n");
        let refused = whole.replace("200 OK", "401 Unauthorized");
        for (text, told) in [
            (whole.as_str(), Some("v1.35.1")),
            (&chunked, Some("v1.35.1")),
            (&refused, None),
            (head, None),
            (&whole.replace("gitVersion", "version"), None),
        ] {
            assert_eq!((version(text).as_deref(), date(text)), (told, Some(now())), "{text}");
        }
        assert_eq!((version("SSH-2.0\r\n"), date("Date: soon\r\n\r\n")), (None, None));
    }

    #[test]
    fn whoever_does_not_answer_is_told_by_where_we_stand() {
        let refused = || Probe::Unreached(io::ErrorKind::ConnectionRefused.into());
        let start = "start the apiserver, or correct cluster.apiServer in the cluster file";
        let found = "https://10.0.0.4:6443 cannot be reached: connection refused";
        let apart = "from here; whether the nodes reach it cannot be told | see that the hypervisor's guests reach it; \
                     cluster.apiServer names it";
        for (vantage, probe, wanted) in [
            (Vantage::GuestsLeaveHere, Some(refused()), format!("failure: {found} | {start}")),
            (Vantage::Apart, Some(refused()), format!("warning: {found} {apart}")),
            (
                Vantage::NotUp,
                Some(refused()),
                format!("skipped: {found}; it is in the workers' network, which is not active"),
            ),
            (Vantage::GuestsLeaveHere, None, format!("failure: {SERVER} does not answer in time | {start}")),
            (
                Vantage::GuestsLeaveHere,
                Some(Probe::Unnamed(io::ErrorKind::NotFound.into())),
                format!(
                    "warning: {SERVER} has no address here: entity not found | see that the nodes' name servers know the name, \
                     or add it to cluster.controlPlane in the cluster file"
                ),
            ),
            (
                Vantage::Apart,
                Some(Probe::Other("it speaks in tongues".to_owned())),
                format!(
                    "failure: what answers at {SERVER} is no apiserver: it speaks in tongues | correct cluster.apiServer in \
                     the cluster file"
                ),
            ),
        ] {
            assert_eq!(lines(judge(SERVER, now(), vantage, probe.as_ref())), [wanted]);
        }
    }

    #[test]
    fn where_we_stand_follows_from_the_network() {
        let stand = |edit: &dyn Fn(&mut Fixture)| {
            let mut fixture = Fixture::new();
            edit(&mut fixture);
            let mut stands = Vec::new();
            fixture.judge(|case, host| {
                stands = vec![vantage(case, Some(host)), vantage(case, None)];
                Vec::new()
            });
            assert_eq!(stands[1], Vantage::Apart);
            stands[0]
        };
        let elsewhere = |fixture: &mut Fixture| fixture.config.cluster.api_server = "https://192.0.2.7:6443".to_owned();
        assert_eq!(stand(&|_| ()), Vantage::GuestsLeaveHere);
        assert_eq!(stand(&|fixture| fixture.network().active = false), Vantage::NotUp);
        assert_eq!(stand(&|fixture| fixture.host.inventory.network = None), Vantage::NotUp);
        assert_eq!(stand(&|fixture| fixture.host.info.local = false), Vantage::Apart);
        assert_eq!(stand(&|fixture| fixture.network().forward = Some("bridge".to_owned())), Vantage::Apart);
        let off = |fixture: &mut Fixture| {
            elsewhere(fixture);
            fixture.network().active = false;
        };
        assert_eq!(stand(&off), Vantage::GuestsLeaveHere);
    }

    #[test]
    fn a_certificate_must_be_the_clusters_and_last() {
        use CertificateError as E;
        let bad = |error| Some(Err(rustls::Error::InvalidCertificate(error)));
        let of = format!("the certificate of {SERVER}");
        let renew = "issue the apiserver a new certificate (kubeadm certs renew apiserver)";
        for (answer, wanted) in [
            (answer(Some(Ok(())), 31), format!("ok: {SERVER} answers, with a certificate of the cluster's CA")),
            (answer(Some(Ok(())), 29), format!("warning: {of} ends soon, at 2027-02-13T08:00:00Z | {renew}")),
            (
                answer(bad(E::UnknownIssuer), 31),
                format!(
                    "failure: {of} is not signed by the CA in ca.pem: no node would trust it | put the CA of that cluster into \
                     the pki folder, or correct cluster.apiServer in the cluster file"
                ),
            ),
            (
                answer(bad(E::NotValidForName), 31),
                format!(
                    "failure: {of} is for control-plane-1 and 10.0.0.4, and not for the name that nodes ask by | issue the \
                     apiserver a certificate with that name, or have cluster.apiServer name one of these"
                ),
            ),
            (
                answer(bad(E::Expired), -1),
                format!("failure: {of} has expired | {renew}, and see that the clock here is right"),
            ),
            (
                answer(bad(E::NotValidYet), 31),
                format!("failure: {of} is not valid yet, by the clock here | set the clocks: timedatectl set-ntp true"),
            ),
            (answer(None, 31), format!("skipped: {SERVER} answers; without the CA its certificate cannot be judged")),
        ] {
            assert_eq!(lines(judge_certificate(SERVER, now(), &answer)), [wanted]);
        }
    }

    #[test]
    fn the_way_of_the_guests_is_told_as_far_as_it_is_known() {
        let network = Fixture::new().config.network;
        let own: Option<ipnet::Ipv4Net> = Some("10.0.0.1/24".parse().unwrap());
        let other: Option<ipnet::Ipv4Net> = Some("10.0.0.254/24".parse().unwrap());
        let (near, far): (Ipv4Addr, Ipv4Addr) = ([10, 0, 0, 4].into(), [192, 0, 2, 7].into());
        let through = "ok: through the host, which reaches 192.0.2.7; whether a firewall lets them pass can only be told from \
                       a guest";
        let unseen = "skipped: nodes reach 192.0.2.7 through 10.0.0.1, and how that leads on cannot be seen from here";
        for (address, found, reached, wanted) in [
            (None, None, true, "skipped: the apiserver is named, and what its name is in the guests is not known here"),
            (Some(near), Some((None, own)), false, "ok: 10.0.0.4 is in the nodes' own network 10.0.0.0/24"),
            (Some(far), None, true, through),
            (Some(far), Some((Some("nat"), own)), true, through),
            (Some(far), Some((Some("nat"), own)), false, unseen),
            (Some(far), Some((Some("bridge"), None)), true, unseen),
            (Some(far), Some((None, other)), true, unseen),
            (
                Some(far),
                Some((None, own)),
                true,
                "failure: network nodebake is isolated: its host leads nobody to 192.0.2.7 | use a network with <forward \
                 mode='nat'/>, or give network.gateway a router that leads there; virsh net-edit nodebake",
            ),
        ] {
            assert_eq!(lines(vec![judge_route(&network, address, found, reached)]), [wanted]);
        }
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let set = "have both machines take their time from a server: timedatectl set-ntp true";
        for (seconds, wanted) in [
            (0, "ok: the apiserver's clock and the one here differ by less than 6 s".to_owned()),
            (-5, "ok: the apiserver's clock and the one here differ by less than 6 s".to_owned()),
            (6, format!("warning: the apiserver's clock is 6 s ahead of the one here | {set}")),
            (7200, format!("warning: the apiserver's clock is 7200 s ahead of the one here | {set}")),
            (-3599, format!("warning: the apiserver's clock is 3599 s behind the one here | {set}")),
            (
                -3600,
                format!(
                    "failure: the apiserver's clock is 3600 s behind the one here: to it the nodes' certificates would not be \
                     valid yet | {set}"
                ),
            ),
        ] {
            assert_eq!(lines(vec![judge_clock(SignedDuration::from_secs(seconds))]), [wanted]);
        }
        assert_eq!(lines(clock(None)), ["skipped: the apiserver told no time"]);
    }
}
