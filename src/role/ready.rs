//! Whether a server is ready: whether visitors of its entries would be served.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    admin::Readiness,
    config::ServerConfig,
    entry::{self, Kind},
    env::{Env, StopPhase},
    id::{EntryName, GroupName},
    plugin,
    probe::mutant,
    registry::groups::Found,
    selector::group::{Group, Unusable},
    target::Tunnel,
};

/// A group that visitors of an entry are sent to.
struct Part {
    entry: EntryName,
    group: Arc<Group<Tunnel>>,
}

/// A server is ready while its entries' groups serve visitors: all of them, or any, as configured. `found` are the groups
/// that each entry leads to.
pub(super) fn readiness(env: &Env, config: &ServerConfig, found: &[BTreeMap<GroupName, Found>]) -> Readiness {
    let mut parts = Vec::new();
    for (entry, found) in config.entries.iter().zip(found) {
        let needed = found.iter().filter(|(group, _)| needs(config, entry, group));
        parts.extend(needed.map(|(_, found)| Part {
            entry: entry.name.clone(),
            group: Arc::clone(&found.group),
        }));
    }
    let (stop, needs) = (env.stop.clone(), config.ready);
    Readiness::new(move || {
        if stop.phase() > StopPhase::Running && !mutant!("ready-while-draining") {
            return Err("draining".to_owned());
        }
        needs.judge(parts.iter().map(Part::check))
    })
}

/// Whether visitors of `entry` are sent to `group`. Rules that redirect send nobody to theirs.
fn needs(config: &ServerConfig, entry: &entry::Options, group: &GroupName) -> bool {
    let Kind::Http(options) = &entry.kind else {
        return true;
    };
    let redirects = |plugin: &plugin::Options| matches!(plugin, plugin::Options::Redirect(_));
    let mut leading = config.rules.iter().filter(|rule| rule.group == *group);
    let led_to = leading.any(|rule| !rule.plugins.iter().any(redirects));
    led_to || options.falls_back && entry.group == *group
}

impl Part {
    fn check(&self) -> Result<(), String> {
        let (entry, group) = (&self.entry, self.group.name());
        self.group.check().map_err(|reason| match reason {
            Unusable::NoTarget => format!("entry {entry}: group {group} has no target"),
            Unusable::AllFail(None) => format!("entry {entry}: all targets of group {group} fail"),
            Unusable::AllFail(Some(cause)) => {
                format!("entry {entry}: all targets of group {group} fail: {cause}")
            }
        })
    }
}
