//! The part that a client plays, and how it is configured for it.

use adit::{
    backoff,
    candidates::Candidate,
    config::{ClientConfig, Drain, Logging, UpstreamConfig},
    id::{ClientId, GroupName, UpstreamName},
};

use super::{
    ADMIN_PORT, CONTROL_PORT, SECOND_CONTROL_PORT, TOKEN, UPSTREAM, any, group_name, link_options, millis,
    token,
};
use crate::{
    plan::{Plan, knobs::Knobs, who::Who},
    upstream,
};

/// What a client is called, and what it serves.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its client id.
    pub id: String,
    /// The group it serves.
    pub group: usize,
    /// Where its service is, `host:port` each.
    pub doors: Vec<String>,
    /// The group of each further upstream, and where it is.
    pub further: Vec<(usize, String)>,
    /// Its secret.
    pub token: String,
    /// Whether it registers with the second server, too.
    pub second_server: bool,
}

impl Part {
    /// The part of a client of that plan.
    pub fn of(plan: &Plan, client: usize) -> Self {
        let door = |n: usize| format!("{}:{}", Who::Upstream(client), upstream::port(n));
        let doors = if plan.knobs.spare_doors { 2 } else { 1 };
        let further = plan.offers_of(client).zip(upstream::DOORS.len()..);
        Self {
            id: Who::Client(client).to_string(),
            group: plan.clients[client],
            doors: (0..doors).map(door).collect(),
            further: further.map(|(group, n)| (group, door(n))).collect(),
            token: TOKEN.to_owned(),
            second_server: plan.second_server,
        }
    }

    pub(super) fn config(&self, knobs: &Knobs) -> anyhow::Result<ClientConfig> {
        let upstream = |name: &str, group: usize, doors: &[String]| -> anyhow::Result<UpstreamConfig> {
            Ok(UpstreamConfig::new(
                UpstreamName::new(name)?,
                GroupName::new(&group_name(group))?,
                doors.iter().map(|door| Candidate::at(door)).collect(),
            ))
        };
        let mut upstreams = vec![upstream(UPSTREAM, self.group, &self.doors)?];
        for (n, (group, door)) in self.further.iter().enumerate() {
            upstreams.push(upstream(
                &format!("further-{}", n + 1),
                *group,
                std::slice::from_ref(door),
            )?);
        }
        let mut servers = vec![format!("{}:{CONTROL_PORT}", Who::Server)];
        let second = format!("{}:{SECOND_CONTROL_PORT}", Who::SecondServer);
        servers.extend(self.second_server.then_some(second));
        Ok(ClientConfig {
            client_id: ClientId::new(&self.id)?,
            // Its upstreams have groups of their own.
            group: GroupName::new("nobody-s")?,
            servers,
            token: token(&self.token)?,
            upstreams,
            link: link_options(knobs),
            backoff: backoff::Options {
                base: millis(knobs.backoff_base_ms),
                cap: millis(knobs.backoff_cap_ms),
                ..backoff::Options::default()
            },
            admin: Some(any(ADMIN_PORT)),
            metrics: None,
            drain: Drain {
                delay: millis(knobs.drain_delay_ms),
                timeout: millis(knobs.drain_timeout_ms),
            },
            logging: Logging::default(),
        })
    }
}
