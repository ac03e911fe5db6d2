//! The part that a client plays, and how it is configured for it.

use adit::{
    backoff,
    candidates::Candidate,
    config::{ClientConfig, Drain, Logging, UpstreamConfig},
    id::{ClientId, GroupName, UpstreamName},
};

use super::{CONTROL_PORT, UPSTREAM, group_name, link_options, millis, token};
use crate::plan::{knobs::Knobs, who::Who};

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
}

impl Part {
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
        Ok(ClientConfig {
            client_id: ClientId::new(&self.id)?,
            // Its upstreams have groups of their own.
            group: GroupName::new("nobody-s")?,
            servers: vec![format!("{}:{CONTROL_PORT}", Who::Server)],
            token: token(&self.token)?,
            upstreams,
            link: link_options(knobs),
            backoff: backoff::Options {
                base: millis(knobs.backoff_base_ms),
                cap: millis(knobs.backoff_cap_ms),
                ..backoff::Options::default()
            },
            admin: None,
            metrics: None,
            drain: Drain {
                timeout: millis(knobs.drain_timeout_ms),
                ..Drain::default()
            },
            logging: Logging::default(),
        })
    }
}
