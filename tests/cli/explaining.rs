//! `nodebake explain`: what the settings of a node are, and which layer said so.

use std::fs;

use crate::world::{Ran, World};

/// Two nodes, of which the first is in a group; the lines are counted from 1.
const CLUSTER_FILE: &str = "\
apiVersion: nodebake/v1
cluster: {name: seed, apiServer: 'https://10.0.0.4:6443', clusterDNS: [10.96.0.10], pki: pki}
versions: {kubernetes: 1.35.1, containerd: 2.2.1, runc: 1.2.8, cniPlugins: 1.9.0}
image: ubuntu-24.04
network: {cidr: 10.0.0.0/24, gateway: 10.0.0.1, nameservers: [10.0.0.1]}
defaults:
  cpus: 3
  memory: 1536MiB
  ntp: [10.0.0.1, ntp.example]
  consoleLogin:
    passwordHash: HASH
  kubelet:
    config:
      maxPods: 110
      evictionHard: {memory.available: 100Mi, nodefs.available: '10%'}
      featureGates: {}
  containerd:
    registries:
      docker.io: {mirrors: [https://mirror.example], username: puller, passwordFile: puller.txt}
  files:
    /etc/own.conf:
      content: |
        colour = blue
    /etc/own.key: {content: b3BlbnNza, mode: '0600'}
    /etc/gone: {content: ''}
  units:
    own.service: {path: own.service, enabled: true}
  cloudConfig:
    chpasswd: {users: [{name: ops, password: b3BlbnNza}]}
    timezone: Europe/Berlin
    write_files: [{path: /etc/x, token: b3BlbnNza}]
  modules: [nf_tables]
  sysctls:
    net.core.somaxconn: 1024
  labels: {example.com/pool: general, empty: ''}
groups:
  large:
    memory: 16GiB
    kubelet: {config: {maxPods: 200, evictionHard: {nodefs.available: null}}}
    files: {/etc/gone: null}
    modules: [br_netfilter]
    taints: [{key: example.com/large, effect: NoSchedule}]
nodes:
  - name: a
    address: 10.0.0.36
    group: large
    cpus: 8
    labels: {example.com/pool: large}
    proxy: {http: 'http://10.0.0.1:3128'}
  - {name: b, address: 10.0.0.37, arch: arm64, swap: 2GiB}
";

fn world() -> World {
    let world = World::empty();
    let hash = format!("$6$b3BlbnNza${}", "a".repeat(86));
    fs::write(world.path("nodebake.yaml"), CLUSTER_FILE.replace("HASH", &hash)).unwrap();
    world
}

#[test]
fn every_setting_is_told_with_the_layer_that_gave_it() {
    let text = r#"FIELD                                             VALUE                                          FROM
arch                                              amd64                                          built in
cpus                                              8                                              the node, nodebake.yaml:47
memory                                            16GiB                                          group large, nodebake.yaml:38
disk                                              20GiB                                          built in
firmware                                          -                                              built in
secureBoot                                        -                                              built in
diskDriver.cache                                  writeback                                      built in
diskDriver.discard                                unmap                                          built in
dataDisks                                         -                                              built in
nics                                              -                                              built in
domainXml                                         -                                              built in
ntp                                               10.0.0.1, ntp.example                          defaults, nodebake.yaml:9
proxy.http                                        http://10.0.0.1:3128                           the node, nodebake.yaml:49
ssh                                               -                                              built in
consoleLogin.passwordHash                         (secret)                                       defaults, nodebake.yaml:11
kubelet.config.apiVersion                         "kubelet.config.k8s.io/v1beta1"                built in
kubelet.config.authentication.anonymous.enabled   false                                          built in
kubelet.config.authentication.webhook.enabled     true                                           built in
kubelet.config.authentication.x509.clientCAFile   "/etc/kubernetes/pki/ca.pem"                   built in
kubelet.config.authorization.mode                 "Webhook"                                      built in
kubelet.config.cgroupDriver                       "systemd"                                      built in
kubelet.config.clusterDNS                         ["10.96.0.10"]                                 built in
kubelet.config.clusterDomain                      "cluster.local"                                built in
kubelet.config.containerRuntimeEndpoint           "unix:///var/run/containerd/containerd.sock"   built in
kubelet.config.evictionHard.memory.available      "100Mi"                                        defaults, nodebake.yaml:15
kubelet.config.evictionHard.nodefs.available      -                                              group large, nodebake.yaml:39
kubelet.config.featureGates                       {}                                             defaults, nodebake.yaml:16
kubelet.config.kind                               "KubeletConfiguration"                         built in
kubelet.config.maxPods                            200                                            group large, nodebake.yaml:39
kubelet.config.resolvConf                         "/run/systemd/resolve/resolv.conf"             built in
kubelet.config.runtimeRequestTimeout              "15m"                                          built in
kubelet.config.tlsCertFile                        "/etc/kubernetes/pki/a.pem"                    built in
kubelet.config.tlsPrivateKeyFile                  "/etc/kubernetes/pki/a-key.pem"                built in
containerd.registries.docker.io.fallback          false                                          built in
containerd.registries.docker.io.mirrors           https://mirror.example                         defaults, nodebake.yaml:19
containerd.registries.docker.io.passwordFile      puller.txt                                     defaults, nodebake.yaml:19
containerd.registries.docker.io.username          puller                                         defaults, nodebake.yaml:19
files./etc/gone                                   -                                              group large, nodebake.yaml:40
files./etc/own.conf.content                       "colour = blue\n"                              defaults, nodebake.yaml:22
files./etc/own.conf.group                         root                                           built in
files./etc/own.conf.mode                          0644                                           built in
files./etc/own.conf.owner                         root                                           built in
files./etc/own.key.content                        (secret)                                       defaults, nodebake.yaml:24
files./etc/own.key.group                          root                                           built in
files./etc/own.key.mode                           0600                                           defaults, nodebake.yaml:24
files./etc/own.key.owner                          root                                           built in
units.own.service.enabled                         true                                           defaults, nodebake.yaml:27
units.own.service.path                            own.service                                    defaults, nodebake.yaml:27
cloudConfig.chpasswd.users                        (secret)                                       defaults, nodebake.yaml:29
cloudConfig.timezone                              "Europe/Berlin"                                defaults, nodebake.yaml:30
cloudConfig.write_files                           [{"path":"/etc/x","token":"(secret)"}]         defaults, nodebake.yaml:31
modules.br_netfilter                              loaded                                         group large, nodebake.yaml:41
modules.nf_tables                                 loaded                                         defaults, nodebake.yaml:32
modules.overlay                                   loaded                                         built in
sysctls.net.bridge.bridge-nf-call-ip6tables       1                                              built in
sysctls.net.bridge.bridge-nf-call-iptables        1                                              built in
sysctls.net.core.somaxconn                        1024                                           defaults, nodebake.yaml:34
sysctls.net.ipv4.ip_forward                       1                                              built in
labels.empty                                      ""                                             defaults, nodebake.yaml:35
labels.example.com/pool                           large                                          the node, nodebake.yaml:48
taints.example.com/large:NoSchedule               ""                                             group large, nodebake.yaml:42
swap                                              -                                              built in
templates                                         -                                              built in
keepSeed                                          false                                          built in
hypervisors                                       -                                              built in
antiAffinity                                      false                                          built in
"#;
    let ran = world().run(&["explain", "a"]);
    assert_eq!(ran, Ran::ok(text, ""));
}

#[test]
fn one_setting_and_those_below_it_can_be_asked_for() {
    let world = world();
    for (node, field, wanted) in [
        ("a", "cpus", "cpus    8       the node, nodebake.yaml:47"),
        ("b", "cpus", "cpus    3       defaults, nodebake.yaml:7"),
        ("b", "arch", "arch    arm64   the node, nodebake.yaml:50"),
        ("b", "disk", "disk    20GiB   built in"),
        ("b", "swap", "swap    2GiB    the node, nodebake.yaml:50"),
        ("b", "sysctls.vm.swappiness", "sysctls.vm.swappiness   -       built in"),
        ("b", "kubelet.config.cgroupDriver", "kubelet.config.cgroupDriver   \"systemd\"   built in"),
    ] {
        let ran = world.run(&["explain", node, field]);
        let rows: Vec<_> = ran.stdout.lines().skip(1).collect();
        assert_eq!((ran.code, rows, ran.stderr.as_str()), (0, vec![wanted], ""), "{field}");
    }
    let ran = world.run(&["explain", "a", "kubelet.config.evictionHard"]);
    let text = r#"FIELD                                          VALUE     FROM
kubelet.config.evictionHard.memory.available   "100Mi"   defaults, nodebake.yaml:15
kubelet.config.evictionHard.nodefs.available   -         group large, nodebake.yaml:39
"#;
    assert_eq!(ran, Ran::ok(text, ""));
}

#[test]
fn what_is_not_there_is_an_error() {
    let world = world();
    let hint = "`nodebake hosts` lists the nodes";
    let ran = world.run(&["explain", "c"]);
    assert_eq!(ran, Ran::failed(2, "the cluster file has no node c; did you mean a?", hint));
    let hint = "`nodebake explain NODE` lists all that are set; there are arch, cpus, memory, disk, firmware, secureBoot, diskDriver, dataDisks, nics, domainXml, ntp, proxy, ssh, \
                consoleLogin, kubelet, containerd, files, units, cloudConfig, modules, sysctls, labels, taints, swap, \
                templates, keepSeed, hypervisors, antiAffinity";
    for (field, problem) in [
        ("memroy", "nodes have no field \"memroy\"; did you mean memory?"),
        ("proxy.htpps", "nodes have no field \"proxy.htpps\"; did you mean proxy.https?"),
        ("ntp.0", "nodes have no field \"ntp.0\""),
        ("address", "nodes have no field \"address\""),
        ("labels.", "nodes have no field \"labels.\"; did you mean labels?"),
    ] {
        assert_eq!(world.run(&["explain", "a", field]), Ran::failed(2, problem, hint), "{field}");
    }
}

/// A key that moved is read where it stood, and said to be old by every run.
#[test]
fn what_stands_in_a_former_place_is_told_with_its_line() {
    let world = World::empty();
    let text = CLUSTER_FILE.replace("HASH", &format!("$6$b3BlbnNza${}", "a".repeat(86)));
    let text = text.replace("  ntp: [10.0.0.1, ntp.example]\n", "").replace("image:", "ntp: [10.0.0.9]\nimage:");
    fs::write(world.path("nodebake.yaml"), text).unwrap();
    let warning = "warning: nodebake.yaml:4:1: ntp: is defaults.ntp now; it is read here until nodebake 0.3\n";
    let row = "FIELD   VALUE      FROM\nntp     10.0.0.9   defaults, nodebake.yaml:4\n";
    assert_eq!(world.run(&["explain", "a", "ntp"]), Ran::ok(row, warning));
}
