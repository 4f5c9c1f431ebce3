//! A guest as the hypervisor sees it: its definition and the logs that it fills.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::lab::Lab;

/// One worker's machine.
pub struct Guest<'a> {
    lab: &'a Lab,
    pub name: String,
    /// Its serial console.
    pub console: PathBuf,
    /// What its first boot reports.
    pub first_boot: PathBuf,
}

/// One line of a first-boot report, read without nodebake's own reader.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    pub boot: String,
    pub stage: String,
    pub state: String,
    pub uptime: f64,
}

impl<'a> Guest<'a> {
    /// The logs are where the domain's definition says.
    pub fn new(lab: &'a Lab, name: &str) -> Self {
        let xml = lab.virsh(&["dumpxml", "--inactive", name]);
        let document = roxmltree::Document::parse(&xml).unwrap();
        let attribute = |element: &str, parent: &str, attribute: &str| {
            let found = document.descendants().find(|node| {
                node.has_tag_name(element) && node.parent().is_some_and(|above| above.has_tag_name(parent))
            });
            let value = found.and_then(|node| node.attribute(attribute)).map(|path| lab.outside(path));
            value.unwrap_or_else(|| panic!("{name} has no {parent}/{element}: {xml}"))
        };
        let (console, first_boot) = (attribute("log", "serial", "file"), attribute("source", "channel", "path"));
        Self { lab, name: name.to_owned(), console, first_boot }
    }

    /// UUID, MAC and the path of the root disk.
    pub fn identity(&self) -> [String; 3] {
        let xml = self.lab.virsh(&["dumpxml", "--inactive", &self.name]);
        let document = roxmltree::Document::parse(&xml).unwrap();
        let first = |name: &str| document.descendants().find(|node| node.has_tag_name(name)).unwrap();
        let disk = first("disk").children().find(|node| node.has_tag_name("source")).unwrap();
        [
            first("uuid").text().unwrap().to_owned(),
            first("mac").attribute("address").unwrap().to_owned(),
            disk.attribute("file").unwrap().to_owned(),
        ]
    }

    /// All that was reported so far.
    pub fn reports(&self) -> Vec<Report> {
        let text = fs::read_to_string(&self.first_boot).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Boots whose audit is done, in their order, as the console tells.
    pub fn audited(&self) -> Vec<String> {
        const SIGN: &str = "lab-audit: done ";
        let text = String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned();
        let found = text.match_indices(SIGN).filter_map(|(at, _)| text.get(at + SIGN.len()..at + SIGN.len() + 36));
        found.map(ToOwned::to_owned).collect()
    }

    /// Waits for the audit of the boot after those of `known`.
    pub fn next_audit(&self, known: &[String]) -> String {
        let what = format!("the audit of {}", self.name);
        self.lab.wait(&what, &[self.console.clone(), self.first_boot.clone()], || {
            self.audited().into_iter().find(|boot| !known.contains(boot))
        })
    }

    /// Waits for a report of a stage, from the first line on.
    pub fn wait_for_stage(&self, stage: &str) {
        self.lab.wait(&format!("{stage} of {}", self.name), &[self.console.clone(), self.first_boot.clone()], || {
            self.reports().iter().any(|report| report.stage == stage).then_some(())
        });
    }

    /// Presses the power button, and waits until the machine is off.
    pub fn shut_down(&self) {
        self.lab.virsh(&["shutdown", "--mode", "acpi", &self.name]);
        self.lab.wait(&format!("{} to go off", self.name), std::slice::from_ref(&self.console), || {
            (self.lab.virsh(&["domstate", &self.name]).trim() == "shut off").then_some(())
        });
    }
}
