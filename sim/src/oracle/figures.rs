//! Invariant 46: what nodes count adds up.

use std::time::Duration;

use super::{
    Invariant, Model,
    rest::{Figure, Rest},
};
use crate::{
    event::End,
    payload::{GREETING_LEN, REPLY_LEN, REQUEST_LEN},
};

/// 46: at rest what a node counts in several places is the same in all of them, what both ends count is the same at both, and
/// bytes are those that passed.
pub struct Figures;

impl Invariant for Figures {
    fn number(&self) -> u8 {
        46
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let off = |(_, is, (least, most)): &&Figure| is < least || is > most;
        let all = rest.figures.iter();
        if let Some((what, is, (least, most))) = all.clone().find(off) {
            return Some(match least == most {
                true => format!("{is} {what} are counted, there should be {least}"),
                false => format!("{is} {what} are counted, there should be {least} to {most}"),
            });
        }
        completed(model, rest)
            .or_else(|| bytes(model, rest))
            .or_else(|| starts(model, rest))
    }
}

/// Whether clients say that more sessions were completed than visitors had. What servers ask of them besides is no session.
fn completed(model: &Model, rest: &Rest) -> Option<String> {
    // A request is no session there: connections are kept, or not. And a probe by HTTP is a session to a client.
    if model.plan.web.is_some() || model.plan.knobs.probe_http {
        return None;
    }
    let tries = model
        .sessions
        .values()
        .map(|session| session.seen_by.len().max(1));
    let (is, most) = (rest.completed_at_clients, tries.sum::<usize>() as u64);
    (is > most).then(|| format!("clients say that {is} sessions were completed, visitors had {most}"))
}

/// Whether no less is counted than what came to visitors who got everything, and no more than what upstreams may have said.
fn bytes(model: &Model, rest: &Rest) -> Option<String> {
    if model.plan.web.is_some() {
        return None;
    }
    let (mut least, mut most) = ((0, 0), (0, 0));
    for session in model.sessions.values() {
        let visit = &session.visit;
        let up = REQUEST_LEN as u64 + visit.len;
        let down = (GREETING_LEN + REPLY_LEN) as u64 + visit.reply_len;
        // A try that reaches no service may have taken its bytes as well.
        let times = session.seen_by.len().max(session.brought_to.len()).max(1) as u64;
        most = (most.0 + times * up, most.1 + times * down);
        let whole = session
            .ended
            .as_ref()
            .is_some_and(|(_, how)| *how == End::Complete);
        // Its last bytes may have died with the server, before they were passed on and counted: it was told nothing.
        if whole && !session.exposure.server {
            least = (least.0 + up, least.1 + down);
        }
    }
    // Each connection begins with a greeting, whoever it was for.
    most.1 += GREETING_LEN as u64 * model.served.len() as u64;
    let (up, down) = rest.bytes;
    let off = [("up", up, least.0, most.0), ("down", down, least.1, most.1)];
    let off = off
        .into_iter()
        .find(|(_, is, least, most)| is < least || is > most);
    off.map(|(way, is, least, most)| {
        format!("{is} bytes {way} are counted, there should be {least} to {most}")
    })
}

/// Whether starts are shown to take less time than they did at least: from when a visitor was accepted until its upstream
/// accepted it, over all tries.
fn starts(model: &Model, rest: &Rest) -> Option<String> {
    let knobs = &model.plan.knobs;
    // Requests count otherwise, and a forwarder's streams are older than their visitors.
    if model.plan.web.is_some() || model.plan.forward.is_some() || knobs.tail_one_in > 0 {
        return None;
    }
    // The first packets of a visitor are on their way before it is accepted.
    let accepted_within = Duration::from_millis(3 * knobs.latency_ms.1 + 10);
    let took = model.sessions.values().filter_map(|session| {
        let (_, greeting) = session.greeted?;
        let exposure = &session.exposure;
        let ill = exposure.server || exposure.visitor || exposure.clients.contains(&greeting.upstream.into());
        let served = model.served.get(&greeting.serial).filter(|_| !ill)?;
        Some(served.accepted.saturating_sub(session.opened + accepted_within))
    });
    let least = took.sum::<Duration>().as_secs_f64();
    (rest.start_seconds < least).then(|| {
        format!(
            "starts are shown to have taken {:.3} s together, they took {least:.3} s at least",
            rest.start_seconds
        )
    })
}
