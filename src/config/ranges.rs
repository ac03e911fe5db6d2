//! Ranges of ports: one element of `entries` or `upstreams` becomes one for each port, each with a group of its own.
//!
//! The port stands behind the names: the entry `media` on port 30000 is `media-30000`, and leads to the group
//! `media-30000` if `media` is its group. An upstream gets the same endings, so the two sides meet port by port.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    ConfigError, DEFAULT_GROUP,
    file::{AuthRuleKeys, EntryKeys, UpstreamKeys},
    load::Source,
    tree::KeyPath,
    value::Kind,
};
use crate::candidates;

/// The most ports of one range. Each is a listener.
const PORTS_MAX: usize = 1024;

/// Elements, with their place in the file.
pub(super) type Placed<T> = Vec<(usize, T)>;

/// The groups that ranges lead to, by the group that the file names.
pub(super) type RangeGroups = BTreeMap<String, Vec<String>>;

/// The entries, one for each port.
///
/// # Errors
/// A range that is none, or stands where none may.
pub(super) fn entries(
    keys: Vec<EntryKeys>,
    source: &Source,
) -> Result<(Placed<EntryKeys>, RangeGroups), ConfigError> {
    let (mut all, mut groups) = (Vec::new(), RangeGroups::new());
    for (index, keys) in keys.into_iter().enumerate() {
        let at = KeyPath::new("entries").index(index);
        let wrong = |message: String| source.key_error(&at.key("listen"), message);
        let listen = keys.listen.clone().unwrap_or_default();
        let Some((host, ports)) = split(listen.trim()).map_err(wrong)? else {
            all.push((index, keys));
            continue;
        };
        if keys.kind.unwrap_or_default() == Kind::Http {
            return Err(wrong("a range of ports is for entries of `kind: tcp`".to_owned()));
        }
        let group = keys.group.clone().unwrap_or_else(|| DEFAULT_GROUP.to_owned());
        for port in ports {
            let own = ending(&group, port);
            groups.entry(group.clone()).or_default().push(own.clone());
            let one = EntryKeys {
                name: keys.name.as_deref().map(|name| ending(name, port)),
                listen: Some(format!("{host}:{port}")),
                group: Some(own),
                ..keys.clone()
            };
            all.push((index, one));
        }
    }
    Ok((all, groups))
}

/// Whoever may serve a group may serve the groups that its ranges lead to.
pub(super) fn widen(rules: &mut [AuthRuleKeys], groups: &RangeGroups) {
    for names in rules.iter_mut().filter_map(|rule| rule.groups.as_mut()) {
        let more: Vec<_> = names
            .iter()
            .filter_map(|name| groups.get(name))
            .flatten()
            .cloned()
            .collect();
        names.extend(more);
    }
}

/// The upstreams, one for each port.
///
/// # Errors
/// A range that is none, or several that do not fit together.
pub(super) fn upstreams(
    keys: Vec<UpstreamKeys>,
    client_group: &str,
    source: &Source,
) -> Result<Placed<UpstreamKeys>, ConfigError> {
    let mut all = Vec::new();
    for (index, keys) in keys.into_iter().enumerate() {
        let at = KeyPath::new("upstreams").index(index);
        let Some((ports, targets)) = targets(&keys, &at, source)? else {
            all.push((index, keys));
            continue;
        };
        let group = keys.group.clone().unwrap_or_else(|| client_group.to_owned());
        for (place, port) in ports.enumerate() {
            let one = UpstreamKeys {
                name: keys.name.as_deref().map(|name| ending(name, port)),
                group: Some(ending(&group, port)),
                targets: Some(targets.iter().map(|target| target.at(place)).collect()),
                ports: None,
                ..keys.clone()
            };
            all.push((index, one));
        }
    }
    Ok(all)
}

/// The ports at the server, and the targets that have as many.
type RangeTargets = (RangeInclusive<u16>, Vec<Target>);

/// One element of `targets` with a range.
struct Target {
    host: String,
    ports: RangeInclusive<u16>,
    weight: u32,
}

impl Target {
    /// What it is for the port at this place of the range.
    fn at(&self, place: usize) -> String {
        let port = usize::from(*self.ports.start()) + place;
        format!("{}:{port} weight={}", self.host, self.weight)
    }
}

/// The ports at the server, and the targets that have as many; `None` if there is no range.
fn targets(keys: &UpstreamKeys, at: &KeyPath, source: &Source) -> Result<Option<RangeTargets>, ConfigError> {
    let (at_ports, at_targets) = (at.key("ports"), at.key("targets"));
    let mut found = Vec::new();
    let mut single = None;
    for (index, text) in keys.targets.iter().flatten().enumerate() {
        let wrong = |message: String| source.key_error(&at_targets.index(index), message);
        let (address, weight) = candidates::split_weight(text.trim()).map_err(wrong)?;
        match split(address).map_err(wrong)? {
            Some((host, ports)) => found.push(Target {
                host: host.to_owned(),
                ports,
                weight,
            }),
            None => single = single.or(Some(index)),
        }
    }
    let ports = match &keys.ports {
        Some(text) => Some(
            range(text.trim())
                .and_then(|range| {
                    range.ok_or_else(|| format!("expected ports like `30000-30010`, found {text:?}"))
                })
                .map_err(|message| source.key_error(&at_ports, message))?,
        ),
        None => found.first().map(|target| target.ports.clone()),
    };
    let Some(ports) = ports else {
        return Ok(None);
    };
    if let Some(index) = single {
        let message = format!("expected a range of {} ports", ports.len());
        return Err(source.key_error(&at_targets.index(index), message));
    }
    for (index, target) in found.iter().enumerate() {
        let at = at_targets.index(index);
        if target.ports.len() != ports.len() {
            let message = format!(
                "expected a range of {} ports, found {}",
                ports.len(),
                target.ports.len()
            );
            return Err(source.key_error(&at, message));
        }
        if keys.ports.is_none() && target.ports != ports {
            let message = "the ranges differ: say in `ports` which ports the server has";
            return Err(source.key_error(&at, message));
        }
    }
    Ok(Some((ports, found)))
}

fn ending(name: &str, port: u16) -> String {
    format!("{name}-{port}")
}

/// The host and the ports of an address that ends with a range; `None` if it does not. Without a host it is empty.
fn split(address: &str) -> Result<Option<(&str, RangeInclusive<u16>)>, String> {
    let (host, ports) = address.rsplit_once(':').unwrap_or(("", address));
    Ok(range(ports)?.map(|ports| (host, ports)))
}

/// `FIRST-LAST`; `None` for anything that is no two numbers.
fn range(text: &str) -> Result<Option<RangeInclusive<u16>>, String> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((first, last)) = text
        .split_once('-')
        .filter(|(first, last)| number(first) && number(last))
    else {
        return Ok(None);
    };
    let malformed = || format!("expected ports from 1 to 65535, the lower one first, found {text:?}");
    let first: u16 = first.parse().map_err(|_| malformed())?;
    let last: u16 = last.parse().map_err(|_| malformed())?;
    if first == 0 || first > last {
        return Err(malformed());
    }
    let ports = first..=last;
    match ports.len() > PORTS_MAX {
        true => Err(format!(
            "expected at most {PORTS_MAX} ports, found {}",
            ports.len()
        )),
        false => Ok(Some(ports)),
    }
}
