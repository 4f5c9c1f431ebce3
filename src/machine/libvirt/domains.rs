//! Domains: looking them up, whether they are ours, and changing what they do.

use std::sync::PoisonError;
use std::thread::sleep;
use std::time::Instant;

use uuid::Uuid;
use virt::domain::Domain;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::sys;

use super::{Libvirt, POLL, Result, SCHEMA_LIMIT, found, missing};
use crate::machine::mark::Mark;
use crate::machine::{DomainInfo, DomainState, MachineError, check_held, check_set_aside, domain_xml};

impl Libvirt {
    /// Defines a domain whose XML fits libvirt's schema. One at a time: libxml2 makes its table of XML Schema's types
    /// when it first needs one, and lets a second thread of the daemon see it half made ("Error type 'int' is not
    /// exported by type library"). Other clients may meet ours in the same way, so that complaint, which tells
    /// nothing of our XML, is no answer yet.
    pub(super) fn define_valid(&self, xml: &str) -> std::result::Result<Domain, VirtError> {
        let _one = self.defining.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        let unread =
            |error: &VirtError| error.code().is(ErrorNumber::InternalError) && error.message().contains("RelaxNG");
        loop {
            match self.connection.define_domain_xml_flags(xml, sys::VIR_DOMAIN_DEFINE_VALIDATE) {
                Err(error) if unread(&error) && begin.elapsed() < SCHEMA_LIMIT => sleep(POLL),
                result => return result,
            }
        }
    }

    pub(super) fn find_domain(&self, uuid: Uuid) -> Result<Option<Domain>> {
        found(self.connection.lookup_domain_by_uuid(uuid)).map_err(self.failed(format!("look up domain {uuid}")))
    }

    /// A domain with a mark of ours; whatever changes a domain goes through here.
    pub(super) fn ours(&self, uuid: Uuid) -> Result<Domain> {
        let domain = self.find_domain(uuid)?.ok_or_else(|| missing("domain", &uuid))?;
        self.check_ours(&domain)?;
        Ok(domain)
    }

    pub(super) fn check_ours(&self, domain: &Domain) -> Result<()> {
        let Some(info) = self.describe_domain(domain)? else { return Ok(()) };
        match info.mark {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(MachineError::Foreign { kind: "domain", name: info.name }),
            Err(source) => Err(MachineError::Mark { name: info.name, source }),
        }
    }

    /// A domain with a mark of ours, or one that we take over.
    pub(super) fn held(&self, uuid: Uuid) -> Result<Domain> {
        let domain = self.find_domain(uuid)?.ok_or_else(|| missing("domain", &uuid))?;
        self.check_held(&domain)?;
        Ok(domain)
    }

    pub(super) fn check_held(&self, domain: &Domain) -> Result<()> {
        match self.describe_domain(domain)? {
            Some(info) => check_held(&info),
            None => Ok(()),
        }
    }

    /// A domain that is off and that we take over.
    pub(super) fn set_aside(&self, uuid: Uuid) -> Result<(Domain, DomainInfo)> {
        let domain = self.find_domain(uuid)?.ok_or_else(|| missing("domain", &uuid))?;
        let info = self.describe_domain(&domain)?.ok_or_else(|| missing("domain", &uuid))?;
        check_set_aside(&info)?;
        Ok((domain, info))
    }

    pub(super) fn state(domain: &Domain) -> std::result::Result<DomainState, VirtError> {
        use virt::domain::DomainState as V;
        // Not Domain::state(): in virt 0.5 it drops the error.
        Ok(match domain.info()?.state.known() {
            Some(V::Running | V::Blocked) => DomainState::Running,
            Some(V::Paused | V::PMSuspended) => DomainState::Paused,
            Some(V::Shutdown) => DomainState::ShuttingDown,
            Some(V::Shutoff) => DomainState::ShutOff,
            Some(V::Crashed) => DomainState::Crashed,
            Some(V::NoState) | None => DomainState::Unknown,
        })
    }

    /// Whether a domain has a file of UEFI variables, and libvirt can make it anew (8.1 and later; before, it stays).
    pub(super) fn can_reset_nvram(&self, domain: &Domain) -> std::result::Result<bool, VirtError> {
        const SINCE: u32 = 8_001_000;
        let uefi = domain_xml::is_uefi(&domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?);
        Ok(uefi && self.connection.lib_version()? >= SINCE)
    }

    /// `None` if the domain went away meanwhile.
    pub(super) fn describe_domain(&self, domain: &Domain) -> Result<Option<DomainInfo>> {
        let name = domain.name().map_err(self.failed("name a domain"))?;
        let uuid = domain.uuid().map_err(self.failed(format!("identify domain {name:?}")))?;
        let details = || {
            // Without the flag for secrets: ours hold none, and a user who may only read has no right to it.
            let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
            Ok((Self::state(domain)?, domain.autostart()?, xml))
        };
        let details = found(details()).map_err(self.failed(format!("describe domain {name:?}")))?;
        Ok(details.map(|(state, autostart, xml)| {
            let mark = Mark::from_domain_xml(&xml);
            DomainInfo { name, uuid, state, autostart, mark, xml }
        }))
    }

    /// Does `change` unless `reached` already; a failure counts only if the state is still not reached after it.
    pub(super) fn until(
        &self,
        domain: &Domain,
        action: &str,
        reached: impl Fn(DomainState) -> bool,
        change: impl FnOnce() -> std::result::Result<(), VirtError>,
    ) -> Result<()> {
        let named = || format!("{action} domain {:?}", domain.name().unwrap_or_default());
        if reached(Self::state(domain).map_err(self.failed(named()))?) {
            return Ok(());
        }
        match change() {
            Ok(()) => Ok(()),
            Err(_) if Self::state(domain).is_ok_and(reached) => Ok(()),
            Err(error) => Err(self.failed(named())(error)),
        }
    }

    /// Replaces or removes the element of a namespace in the metadata of the definition and, if it runs, of the running
    /// machine.
    pub(super) fn set_metadata(&self, uuid: Uuid, element: Option<&str>, prefix: &str, namespace: &str) -> Result<()> {
        self.put_metadata(&self.ours(uuid)?, element, prefix, namespace)
    }

    pub(super) fn put_metadata(
        &self,
        domain: &Domain,
        element: Option<&str>,
        prefix: &str,
        namespace: &str,
    ) -> Result<()> {
        let failed = || self.failed(format!("mark domain {:?}", domain.name().unwrap_or_default()));
        let set = |flags| {
            let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
            domain.set_metadata(kind, element, Some(prefix), Some(namespace), flags)
        };
        let active = Self::state(domain).map_err(failed())?.is_active();
        if active && set(sys::VIR_DOMAIN_AFFECT_CONFIG | sys::VIR_DOMAIN_AFFECT_LIVE).is_ok() {
            return Ok(());
        }
        // Off, or it went off between the two calls.
        set(sys::VIR_DOMAIN_AFFECT_CONFIG).map_err(failed())
    }

    /// The running machine and the definition, as far as their drive holds a seed of ours: each with the drive emptied,
    /// and the flag that stands for it.
    pub(super) fn holders_of_seed(domain: &Domain) -> std::result::Result<Vec<(String, u32)>, VirtError> {
        let mut holders = Vec::new();
        if Self::state(domain)?.is_active() {
            holders.push((domain.xml_desc(0)?, sys::VIR_DOMAIN_AFFECT_LIVE));
        }
        holders.push((domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?, sys::VIR_DOMAIN_AFFECT_CONFIG));
        let emptied = |(xml, flag): (String, u32)| domain_xml::emptied_drive(&xml).map(|(drive, _)| (drive, flag));
        Ok(holders.into_iter().filter_map(emptied).collect())
    }

    /// The running machine first: whoever reads the definition and finds the drive empty knows that both are.
    pub(super) fn empty_drive(domain: &Domain, how: u32) -> std::result::Result<(), VirtError> {
        for (drive, holder) in Self::holders_of_seed(domain)? {
            domain.update_device_flags(&drive, holder | how)?;
        }
        Ok(())
    }
}
