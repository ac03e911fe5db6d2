//! What an HTTP entry is made of: routes of the rules, and the groups they lead to.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use actix::Addr;

use super::StartError;
use crate::{
    config::{RuleConfig, ServerConfig},
    entry::{
        self,
        http::{
            self, Timeouts,
            access::AccessLog,
            gateway::{Gateway, Route, Service},
            record::Books,
        },
        tcp::Slots,
    },
    env::{Env, Stop},
    id::GroupName,
    plugin::{self, Chain},
    pool::conn::ConnPool,
    registry::{actor::Registry, groups::Found},
    rules::{Conditions, Matcher},
    session::{first_bytes::ReplayBudget, open::Opener, way::Ways},
};

/// What all entries of a server share.
pub(super) struct House<'a> {
    pub(super) env: &'a Env,
    pub(super) config: &'a ServerConfig,
    pub(super) registry: &'a Addr<Registry>,
    pub(super) pool: &'a Addr<ConnPool>,
    pub(super) budget: &'a ReplayBudget,
    pub(super) slots: &'a Slots,
    pub(super) closed: &'a Stop,
}

/// The plugins of each rule. What they count is counted over all entries.
///
/// # Errors
/// [`StartError::Plugin`]: they were not checked.
pub(super) fn chains(env: &Env, rules: &[RuleConfig]) -> Result<Vec<Chain>, StartError> {
    let chain = |rule: &RuleConfig| plugin::build(&rule.plugins, env.entropy.bytes());
    Ok(rules.iter().map(chain).collect::<Result<_, _>>()?)
}

impl House<'_> {
    /// The gateway of `entry`, whose groups are `found`.
    ///
    /// # Errors
    /// [`StartError::AccessLog`].
    pub(super) fn gateway(
        &self,
        entry: &entry::Options,
        options: &http::Options,
        found: BTreeMap<GroupName, Found>,
        chains: &[Chain],
    ) -> Result<Gateway, StartError> {
        let services = found.into_iter().map(|(name, found)| {
            let session = options.groups.get(&name).copied().unwrap_or(entry.session);
            let opener = Opener {
                env: self.env.clone(),
                entry: entry.name.clone(),
                options: session,
                ways: Ways::new(self.env, self.pool, self.registry.clone().recipient(), &session),
                registry: self.registry.clone(),
                reports: found.selector.recipient(),
                budget: self.budget.clone(),
                traffic: (self.env.metrics.entry_traffic).join(entry.name.as_str(), name.as_str()),
                slots: Arc::clone(&self.slots.upstream_connections),
                next: Arc::clone(&self.slots.next),
            };
            let strategy = self.config.groups.get(&name).map(|group| group.balance);
            let waiting_max = self.config.limits.waiting;
            let service = Service::new(found.group, strategy.unwrap_or_default(), waiting_max, opener);
            (name, Arc::new(service))
        });
        let route = |(rule, plugins): (&RuleConfig, &Chain)| {
            let route = Route {
                name: rule.name.clone(),
                group: rule.group.clone(),
                speech: rule.speech,
                timeouts: Timeouts {
                    connect: rule.connect.or(options.timeouts.connect),
                    first_byte: rule.first_byte.unwrap_or(options.timeouts.first_byte),
                    request_body: rule.request_body.unwrap_or(options.timeouts.request_body),
                    idle: rule.idle.unwrap_or(options.timeouts.idle),
                },
                plugins: plugins.clone(),
                pages: rule.pages.over(&options.pages),
                figures: OnceLock::new(),
            };
            let route = Arc::new(route);
            let of_route = |conditions: &Conditions| (conditions.clone(), Arc::clone(&route));
            rule.conditions.iter().map(of_route).collect::<Vec<_>>()
        };
        let fallback = Route {
            name: "none".to_owned(),
            group: entry.group.clone(),
            speech: None,
            timeouts: options.timeouts,
            plugins: Chain::default(),
            pages: options.pages.clone(),
            figures: OnceLock::new(),
        };
        let log = options.access.as_ref().map(|access| {
            AccessLog::open(access, self.env).map_err(|error| StartError::AccessLog {
                entry: entry.name.clone(),
                output: access.output.clone(),
                error,
            })
        });
        Ok(Gateway {
            env: self.env.clone(),
            closed: self.closed.clone(),
            traffic: self.env.metrics.entry_traffic.join(entry.name.as_str(), ""),
            rules: Matcher::new(self.config.rules.iter().zip(chains).flat_map(route).collect()),
            fallback: options.falls_back.then(|| Arc::new(fallback)),
            services: services.collect(),
            books: Arc::new(Books {
                env: self.env.clone(),
                entry: entry.name.clone(),
                log: log.transpose()?,
            }),
            pages: options.pages.clone(),
            server_timing: options.server_timing,
            via: options.via,
        })
    }
}
