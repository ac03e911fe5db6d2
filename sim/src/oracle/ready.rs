//! Invariant 53: a server says that it is ready while every group of its entries and rules is usable, a client while it is
//! registered, and neither otherwise.

use std::{collections::BTreeMap, time::Duration};

use super::{Invariant, Model, group_bit};
use crate::{
    event::Event,
    fault::{AnyAct, Trouble, process::Stop},
    plan::who::Who,
};

/// Between two looks, and how long a node takes to answer once it is asked.
const LOOK: Duration = Duration::from_millis(200);

/// How long a node may take to know that it is to stop, where its machine is slow.
const HEARD: Duration = Duration::from_secs(1);

/// One node.
#[derive(Default)]
struct Node {
    /// Whether its figures say that it is ready, and since when.
    shown: bool,
    since: Duration,
    /// Who was told what last: when it asked, and when it heard.
    told: Option<(Who, bool, Duration, Duration)>,
    /// When it was told to stop: it is not ready any more.
    leaves: Option<Duration>,
}

/// Every node that is watched.
#[derive(Default)]
pub struct Ready(BTreeMap<Who, Node>);

fn troubles(trouble: &Trouble, who: Who) -> bool {
    match who {
        Who::Client(n) => trouble.server || trouble.clients.contains(&n),
        _ => trouble.server,
    }
}

/// Whether the figures of `who` say that it is ready.
fn is_shown(model: &Model, who: Who) -> bool {
    match who {
        Who::Client(n) => model.sight.linked & group_bit(n) != 0,
        _ => {
            let all = (0..model.plan.groups()).fold(0, |all, group| all | group_bit(group));
            model.sight.usable & all == all
        }
    }
}

impl Node {
    fn look(&mut self, model: &Model, who: Who) -> Option<String> {
        let shown = is_shown(model, who);
        if shown != self.shown {
            (self.shown, self.since) = (shown, model.now);
        }
        let (stranger, ready, asked, heard) = self.told.filter(|(.., heard)| model.now > *heard + LOOK)?;
        self.told = None;
        if let Some(since) = self.leaves.filter(|since| ready && asked > *since + HEARD) {
            return Some(format!(
                "{stranger} was told at {heard:?} that {who} is ready, and it was told to stop at {since:?}"
            ));
        }
        let is_steady = asked > self.since + LOOK;
        let away = self.leaves.is_some() || model.was_troubled(asked, |trouble| troubles(trouble, who));
        (is_steady && ready != shown && !(away && shown)).then(|| {
            format!("{stranger} was told {ready} at {heard:?} when it asked whether {who} is ready, which is {shown}")
        })
    }
}

impl Invariant for Ready {
    fn number(&self) -> u8 {
        53
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::FaultBegins { nth, .. } | Event::FaultMisses { nth, .. } => {
                if let Some(AnyAct::Stop(Stop { who })) = model.plan.faults.get(*nth).map(|fault| &fault.act)
                {
                    let begins = matches!(event, Event::FaultBegins { .. });
                    self.0.entry(*who).or_default().leaves = begins.then_some(model.now);
                }
            }
            Event::Boots { host, .. } => self.0.entry(*host).or_default().leaves = None,
            Event::Ready {
                stranger,
                of,
                ready,
                asked_ms,
            } => {
                let asked = model.now.saturating_sub(Duration::from_millis(*asked_ms));
                self.0.entry(*of).or_default().told = Some((*stranger, *ready, asked, model.now));
            }
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let watched = |who: &Who| matches!(who, Who::Server | Who::Client(_));
        let mut nodes = self.0.iter_mut().filter(|(who, _)| watched(who));
        nodes.find_map(|(who, node)| node.look(model, *who))
    }
}
