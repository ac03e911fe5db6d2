//! Which lanes a fault is drawn on. Read from how a plan file spells it, so that a new kind of fault is drawn
//! too: its fields name hosts as those of the others do.

use serde_json::Value;

use crate::{
    fault::{AnyAct, Family},
    plan::{Plan, who::Who},
    upstream,
};

/// The hosts of a fault.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// To which it happens.
    pub at: Vec<Who>,
    /// At the other ends of the ways that it affects.
    pub beside: Vec<Who>,
}

impl Touch {
    /// The hosts of `act`.
    pub fn of(plan: &Plan, act: &AnyAct) -> Self {
        let spelt = serde_json::to_value(act).unwrap_or_default();
        // One variant, its fields inside.
        let fields = spelt.as_object().and_then(|variant| variant.values().next());
        let fields = fields.cloned().unwrap_or_default();
        let who = |value: &Value| value.as_str().and_then(|name| name.parse::<Who>().ok());
        let all =
            |value: &Value| -> Vec<Who> { value.as_array().into_iter().flatten().filter_map(who).collect() };
        if let [one, other] = all(&fields["between"])[..] {
            // Most ways end at the server; the lane at the other end tells them apart.
            let (at, beside) = if one == Who::Server {
                (other, one)
            } else {
                (one, other)
            };
            return Self::new([at], [beside]);
        }
        if fields["clients"].is_array() {
            return Self::new(all(&fields["clients"]), [Who::Server]);
        }
        if let Some(one) = who(&fields["flow"]["who"]) {
            let to_service = fields["flow"]["port"] == upstream::PORT;
            let peer = match one {
                Who::Client(n) if to_service => Who::Upstream(n),
                _ => Who::Server,
            };
            return Self::new([one], [peer]);
        }
        if let Some(one) = who(&fields["who"]) {
            let cut_off = act.family() == Family::Partition;
            return Self::new([one], if cut_off { peers(plan, one) } else { Vec::new() });
        }
        let upstream = fields["upstream"].as_u64().and_then(|n| usize::try_from(n).ok());
        if let Some(n) = upstream {
            return Self::new([Who::Upstream(n)], []);
        }
        // It names nobody: those it troubles, then.
        let trouble = act.troubles();
        let server = trouble.server.then_some(Who::Server);
        let clients = trouble.clients.into_iter().map(Who::Client);
        let visitors = trouble.visitors.into_iter().map(Who::Visitor);
        Self::new(server.into_iter().chain(clients).chain(visitors), [])
    }

    fn new(at: impl IntoIterator<Item = Who>, beside: impl IntoIterator<Item = Who>) -> Self {
        Self {
            at: at.into_iter().collect(),
            beside: beside.into_iter().collect(),
        }
    }
}

/// Whom a host talks to.
fn peers(plan: &Plan, who: Who) -> Vec<Who> {
    match who {
        Who::Server => plan
            .hosts()
            .into_iter()
            .filter(|who| matches!(who, Who::Client(_) | Who::Visitor(_)))
            .collect(),
        Who::Client(n) => vec![Who::Server, Who::Upstream(n)],
        Who::Upstream(n) => vec![Who::Client(n)],
        Who::SecondServer => (0..plan.clients.len()).map(Who::Client).collect(),
        Who::Visitor(_) | Who::Stranger(_) => vec![Who::Server],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::Dice,
        plan::{Purpose, draw},
    };

    fn check(spelt: &str, at: &[Who], beside: &[Who]) {
        let plan = (draw::scenario("calm").unwrap().draw)(1);
        let act: AnyAct = serde_json::from_str(spelt).unwrap();
        let touch = Touch {
            at: at.to_vec(),
            beside: beside.to_vec(),
        };
        assert_eq!(Touch::of(&plan, &act), touch, "{spelt}");
    }

    #[test]
    fn faults_are_drawn_where_they_happen() {
        use Who::{Client, Server, Upstream, Visitor};
        check(r#"{"crash":{"who":"client-2"}}"#, &[Client(1)], &[]);
        check(
            r#"{"cut":{"between":["server","client-1"],"both":true}}"#,
            &[Client(0)],
            &[Server],
        );
        check(
            r#"{"clog":{"between":["client-1","upstream-1"],"both":true}}"#,
            &[Client(0)],
            &[Upstream(0)],
        );
        check(
            r#"{"split":{"clients":["client-1","client-3"]}}"#,
            &[Client(0), Client(2)],
            &[Server],
        );
        check(
            r#"{"isolate":{"who":"client-3"}}"#,
            &[Client(2)],
            &[Server, Upstream(2)],
        );
        check(
            r#"{"reset-flow":{"flow":{"who":"client-1","port":3000,"nth":4},"both":true}}"#,
            &[Client(0)],
            &[Upstream(0)],
        );
        check(
            r#"{"reset-flow":{"flow":{"who":"visitor-1","port":8080,"nth":4},"both":true}}"#,
            &[Visitor(0)],
            &[Server],
        );
        check(r#"{"ail":{"upstream":1,"mood":"hangs"}}"#, &[Upstream(1)], &[]);
        check(r#"{"fail-accepts":{}}"#, &[Server], &[]);
    }

    #[test]
    fn every_fault_that_is_drawn_has_a_lane() {
        let plan = (draw::scenario("chaos").unwrap().draw)(1);
        let hosts = plan.hosts();
        let mut rng = Purpose::Family(0).rng(1);
        for family in Family::ALL {
            for _ in 0..200 {
                let mut dice = Dice {
                    rng: &mut rng,
                    clients: plan.clients.len(),
                    visitors: plan.visitors.len(),
                };
                let act = AnyAct::draw(*family, &mut dice);
                let Touch { at, beside } = Touch::of(&plan, &act);
                assert!(!at.is_empty(), "{act}");
                assert!(at.iter().chain(&beside).all(|who| hosts.contains(who)), "{act}");
                assert!(!at.iter().any(|who| beside.contains(who)), "{act}");
            }
        }
    }
}
