//! cloud-init's modules, and which of them each key of `#cloud-config` needs (cloud-init's module reference, and the
//! properties of `cc_*` in its schema).

/// A stage of cloud-init, by the list of its modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// `cloud_init_modules`: as soon as the network is up.
    Init,
    /// `cloud_config_modules`.
    Config,
    /// `cloud_final_modules`: last in the boot.
    Final,
}

impl Stage {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 3] = [Self::Init, Self::Config, Self::Final];

    /// The key of its list.
    pub(super) fn list(self) -> &'static str {
        match self {
            Self::Init => "cloud_init_modules",
            Self::Config => "cloud_config_modules",
            Self::Final => "cloud_final_modules",
        }
    }
}

use Stage::{Config, Final, Init};

/// The modules that a node can need, in the stage and order of Ubuntu noble's /etc/cloud/cloud.cfg.
pub(super) const MODULES: [(Stage, &str); 39] = [
    (Init, "seed_random"),
    (Init, "bootcmd"),
    (Init, "write_files"),
    (Init, "disk_setup"),
    (Init, "mounts"),
    (Init, "set_hostname"),
    (Init, "ca_certs"),
    (Init, "rsyslog"),
    (Init, "users_groups"),
    (Init, "ssh"),
    (Init, "set_passwords"),
    (Config, "wireguard"),
    (Config, "ssh_import_id"),
    (Config, "keyboard"),
    (Config, "locale"),
    (Config, "grub_dpkg"),
    (Config, "apt_pipelining"),
    (Config, "apt_configure"),
    (Config, "ubuntu_pro"),
    (Config, "timezone"),
    (Config, "disable_ec2_metadata"),
    (Config, "runcmd"),
    (Config, "byobu"),
    (Final, "package_update_upgrade_install"),
    (Final, "fan"),
    (Final, "landscape"),
    (Final, "lxd"),
    (Final, "ubuntu_drivers"),
    (Final, "write_files_deferred"),
    (Final, "puppet"),
    (Final, "chef"),
    (Final, "ansible"),
    (Final, "mcollective"),
    (Final, "salt_minion"),
    (Final, "scripts_user"),
    (Final, "ssh_authkey_fingerprints"),
    (Final, "keys_to_console"),
    (Final, "phone_home"),
    (Final, "final_message"),
];

/// What may be said of a key in a cluster file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// It may be given.
    Given,
    /// It may be given where the image is Ubuntu's: its module runs nowhere else.
    Ubuntu,
    /// It may be given together with `ssh`: without that nobody listens.
    Ssh,
    /// It is refused, for this reason.
    Refused(&'static str),
}

use Rule::{Given, Refused, Ssh, Ubuntu};

const NAME: Rule = Refused("a node's name is its name in the cluster file");
const HOST_KEYS: Rule = Refused("nodebake gives the node its SSH host keys");
const COMPUTED: Rule = Refused("nodebake computes the lists of modules from the other keys");
const ONE_PART: Rule = Refused("there is no other user-data to merge with");
const DISK: Rule = Refused("nodebake grows the root file system");
const REBOOT: Rule = Refused("nodebake starts, stops and reboots the machine");
const ELSEWHERE: Rule = Refused("its module runs on neither Debian nor Ubuntu");

/// Every key that cloud-init knows, sorted: the modules that it needs, and whether a cluster file may give it.
pub(super) const KEYS: [(&str, &[&str], Rule); 98] = [
    ("allow_public_ssh_keys", &["ssh"], Ssh),
    ("ansible", &["ansible"], Given),
    ("apk_repos", &[], ELSEWHERE),
    ("apt", &["apt_configure"], Given),
    ("apt_pipelining", &["apt_pipelining"], Given),
    ("apt_reboot_if_required", &[], REBOOT),
    ("apt_update", &["package_update_upgrade_install"], Given),
    ("apt_upgrade", &["package_update_upgrade_install"], Given),
    ("authkey_hash", &["ssh_authkey_fingerprints"], Ssh),
    ("autoinstall", &[], Refused("it is for Ubuntu's installer, and the image is installed already")),
    ("bootcmd", &["bootcmd"], Given),
    ("byobu_by_default", &["byobu"], Given),
    ("ca-certs", &["ca_certs"], Given),
    ("ca_certs", &["ca_certs"], Given),
    ("chef", &["chef"], Given),
    ("chpasswd", &["set_passwords"], Given),
    ("cloud_config_modules", &[], COMPUTED),
    ("cloud_final_modules", &[], COMPUTED),
    ("cloud_init_modules", &[], COMPUTED),
    ("create_hostname_file", &[], NAME),
    ("device_aliases", &["disk_setup"], Given),
    ("disable_ec2_metadata", &["disable_ec2_metadata"], Given),
    ("disable_root", &["ssh"], Ssh),
    ("disable_root_opts", &["ssh"], Ssh),
    ("disk_setup", &["disk_setup"], Given),
    ("drivers", &["ubuntu_drivers"], Ubuntu),
    ("fan", &["fan"], Ubuntu),
    ("final_message", &["final_message"], Given),
    ("fqdn", &[], NAME),
    ("fs_setup", &["disk_setup"], Given),
    ("groups", &["users_groups"], Given),
    ("growpart", &[], DISK),
    ("grub-dpkg", &["grub_dpkg"], Given),
    ("grub_dpkg", &["grub_dpkg"], Given),
    ("hostname", &["set_hostname"], NAME),
    ("keyboard", &["keyboard"], Given),
    ("landscape", &["landscape"], Ubuntu),
    ("launch-index", &[], ONE_PART),
    ("locale", &["locale"], Given),
    ("locale_configfile", &["locale"], Given),
    ("lxd", &["lxd"], Ubuntu),
    ("manage_etc_hosts", &[], Refused("nodebake writes /etc/hosts; a template of your own replaces it")),
    ("manage_resolv_conf", &[], ELSEWHERE),
    ("mcollective", &["mcollective"], Given),
    ("merge_how", &[], ONE_PART),
    ("merge_type", &[], ONE_PART),
    ("migrate", &[], Refused("cloud-init has no such module since 24.1")),
    ("mount_default_fields", &["mounts"], Given),
    ("mounts", &["mounts"], Given),
    ("no_ssh_fingerprints", &["ssh_authkey_fingerprints"], Ssh),
    ("ntp", &[], Refused("the setting `ntp` names the time servers")),
    // Of cloud-init itself, not of a module.
    ("output", &[], Given),
    ("package_reboot_if_required", &[], REBOOT),
    ("package_update", &["package_update_upgrade_install"], Given),
    ("package_upgrade", &["package_update_upgrade_install"], Given),
    ("packages", &["package_update_upgrade_install"], Given),
    ("password", &["set_passwords"], Given),
    ("phone_home", &["phone_home"], Given),
    ("power_state", &[], REBOOT),
    ("prefer_fqdn_over_hostname", &[], NAME),
    ("preserve_hostname", &[], NAME),
    ("puppet", &["puppet"], Given),
    ("random_seed", &["seed_random"], Given),
    ("reporting", &[], Given),
    ("resize_rootfs", &[], DISK),
    ("resolv_conf", &[], ELSEWHERE),
    ("rh_subscription", &[], ELSEWHERE),
    ("rsyslog", &["rsyslog"], Given),
    // The first writes a script, the second runs it.
    ("runcmd", &["runcmd", "scripts_user"], Given),
    ("salt_minion", &["salt_minion"], Given),
    ("snap", &[], Refused("snapd does not run on a node")),
    ("spacewalk", &[], ELSEWHERE),
    ("ssh", &["keys_to_console"], Ssh),
    ("ssh_authorized_keys", &["ssh"], Ssh),
    ("ssh_deletekeys", &["ssh"], HOST_KEYS),
    ("ssh_fp_console_blacklist", &["keys_to_console"], Ssh),
    ("ssh_genkeytypes", &["ssh"], HOST_KEYS),
    ("ssh_import_id", &["ssh_import_id"], Ssh),
    ("ssh_key_console_blacklist", &["keys_to_console"], Ssh),
    ("ssh_keys", &["ssh"], HOST_KEYS),
    ("ssh_publish_hostkeys", &["ssh"], Ssh),
    ("ssh_pwauth", &["set_passwords"], Refused("SSH takes keys alone")),
    ("ssh_quiet_keygen", &["ssh"], HOST_KEYS),
    ("swap", &[], Refused("the setting `swap` gives the node its swap")),
    ("system_info", &[], Refused("it belongs to the image, not to user-data")),
    ("timezone", &["timezone"], Given),
    ("ubuntu_advantage", &["ubuntu_pro"], Ubuntu),
    ("ubuntu_pro", &["ubuntu_pro"], Ubuntu),
    ("updates", &[], Refused("cloud-init is off once the node is registered")),
    ("user", &["users_groups"], Given),
    // Ours come first.
    ("users", &["users_groups"], Given),
    ("vendor_data", &[], Refused("nodebake's own vendor-data starts first boot")),
    ("version", &[], Refused("it means nothing beside the other keys")),
    ("wireguard", &["wireguard"], Ubuntu),
    ("write_files", &["write_files"], Given),
    ("yum_repo_dir", &[], ELSEWHERE),
    ("yum_repos", &[], ELSEWHERE),
    ("zypper", &[], ELSEWHERE),
];
