//! Units and drop-ins of the user's own, and what becomes of the image's.

use std::collections::BTreeMap;

use super::bundle::{Content, GuestFile};
use super::error::{RenderError, Said, UNITS};
use super::own::{self, Own};
use crate::config::{Config, Node, OwnUnit};

/// What the cluster file says of units.
#[derive(Default)]
pub(super) struct Units {
    /// Units, drop-ins, and the links by which units start or cannot.
    pub(super) files: Vec<Own>,
    /// Units of the image that first boot enables: what their [Install] says is known there alone.
    pub(super) enable: Vec<String>,
    /// Units that first boot starts, since the boot under way was laid out without them.
    pub(super) start: Vec<String>,
    /// Units that cannot start.
    pub(super) masked: Vec<String>,
}

/// Targets that come when the machine goes, or when it is in trouble: not part of any boot.
const NOT_OF_A_BOOT: [&str; 16] = [
    "emergency.target",
    "exit.target",
    "final.target",
    "halt.target",
    "hibernate.target",
    "hybrid-sleep.target",
    "kexec.target",
    "poweroff.target",
    "reboot.target",
    "rescue.target",
    "shutdown.target",
    "sleep.target",
    "soft-reboot.target",
    "suspend-then-hibernate.target",
    "suspend.target",
    "umount.target",
];

/// Looks at every entry of `settings.units`.
pub(super) fn units(config: &Config, node: &Node) -> Result<Units, RenderError> {
    let mut units = Units::default();
    for (name, unit) in &node.settings.units {
        let said = Said::new(config, node, &["units", name]);
        let failed = |problem: String| RenderError::Setting { node: node.name.clone(), said: said.clone(), problem };
        let at =
            |path: &str, content| Own { file: GuestFile::new(format!("{UNITS}{path}"), content), said: said.clone() };
        if let Some(body) = &unit.body {
            units.files.push(at(name, Content::Public(own::read(body, node, &said)?, 0o644)));
        }
        match (unit.enabled, &unit.body) {
            (Some(_), _) if name.contains('/') => return Err(failed("a drop-in cannot be enabled".to_owned())),
            (Some(true), _) => {
                let Some(text) = text(node, name, unit, &said)? else {
                    units.enable.push(name.clone());
                    units.start.push(name.clone());
                    continue;
                };
                let install = Install::read(&text).map_err(&failed)?;
                let (links, name) = install.links(name).map_err(&failed)?;
                units.files.extend(links.into_iter().map(|(path, target)| at(&path, Content::Link(target))));
                if install.is_of_a_boot() {
                    units.start.push(name);
                }
            }
            (Some(false), None) => {
                units.files.push(at(name, Content::Link("/dev/null".to_owned())));
                units.masked.push(name.clone());
            }
            (Some(false) | None, _) => {}
        }
    }
    Ok(units)
}

/// Whether the cluster file wants a unit that nodebake would mask.
pub(super) fn wants(node: &Node, unit: &str) -> bool {
    let wanted = |unit: &OwnUnit| unit.body.is_some() || unit.enabled.is_some();
    node.settings.units.get(unit).is_some_and(wanted)
}

/// What a unit of the user's own says, or the template that it is an instance of; none for a unit of the image's.
fn text(node: &Node, name: &str, unit: &OwnUnit, said: &Said) -> Result<Option<String>, RenderError> {
    let template = || node.settings.units.get(&template_of(name)?)?.body.as_ref();
    let Some(body) = unit.body.as_ref().or_else(template) else { return Ok(None) };
    own::read(body, node, said).map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// `own@.service` of `own@instance.service`.
fn template_of(name: &str) -> Option<String> {
    let (stem, rest) = name.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{stem}@.{kind}"))
}

/// What a unit's [Install] section says (systemd.unit(5)), by setting.
struct Install(BTreeMap<String, Vec<String>>);

/// The settings of [Install] that make links to the unit: the folder of each beside the other unit.
const WANTED: [(&str, &str); 3] = [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")];

impl Install {
    fn read(text: &str) -> Result<Self, String> {
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut is_install = false;
        // A line that ends in a backslash goes on in the next.
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if line.starts_with('[') {
                is_install = line == "[Install]";
            } else if let Some((name, value)) = line.split_once('=')
                && is_install
                && !line.starts_with(['#', ';'])
            {
                let values = settings.entry(name.trim().to_owned()).or_default();
                // An empty value takes back what was said before.
                if value.trim().is_empty() {
                    values.clear();
                }
                values.extend(value.split_whitespace().map(String::from));
            }
        }
        if let Some(value) = settings.values().flatten().find(|value| value.contains(['%', '/', '"'])) {
            return Err(format!("cannot be enabled: {value:?} in its [Install] section is no plain name of a unit"));
        }
        if settings.get("Also").is_some_and(|also| !also.is_empty()) {
            return Err(
                "cannot be enabled: its [Install] section has Also=; give each unit `enabled` of its own".to_owned()
            );
        }
        Ok(Self(settings))
    }

    fn of(&self, setting: &str) -> impl Iterator<Item = &String> {
        self.0.get(setting).into_iter().flatten()
    }

    /// Path below /etc/systemd/system and target of each link that enables the unit, and the name by which it starts.
    fn links(&self, name: &str) -> Result<(Vec<(String, String)>, String), String> {
        let template = template_of(name);
        let unit = match (&template, self.of("DefaultInstance").next()) {
            (Some(template), Some(instance)) if template == name => name.replacen('@', &format!("@{instance}"), 1),
            (Some(template), None) if template == name => {
                return Err(format!(
                    "cannot be enabled: it is a template; enable an instance, {}",
                    name.replacen('@', "@NAME", 1)
                ));
            }
            _ => name.to_owned(),
        };
        let target = format!("{UNITS}{}", template.unwrap_or_else(|| name.to_owned()));
        let wanted = WANTED.iter().flat_map(|(setting, folder)| self.of(setting).map(move |by| (by, folder)));
        let wanted = wanted.map(|(by, folder)| format!("{by}.{folder}/{unit}"));
        let links: Vec<_> = wanted.chain(self.of("Alias").cloned()).map(|path| (path, target.clone())).collect();
        if links.is_empty() {
            return Err(
                "cannot be enabled: its [Install] section says neither WantedBy= nor RequiredBy= nor Alias=".to_owned()
            );
        }
        Ok((links, unit))
    }

    /// Whether something of every boot brings it in.
    fn is_of_a_boot(&self) -> bool {
        let mut by = WANTED.iter().flat_map(|(setting, _)| self.of(setting));
        by.any(|by| !NOT_OF_A_BOOT.contains(&by.as_str()))
    }
}
