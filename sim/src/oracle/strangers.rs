//! Invariants 6, 15 and 45: nobody gets in who does not belong here, and nobody takes another's place.

use std::time::Duration;

use super::{Invariant, Model};
use crate::{
    event::Event,
    plan::{Deed, Millis, who::Who},
    stranger::patience,
};

/// How long the server may think about nonsense.
const THINKING_MS: Millis = 2_000;

/// How long an HTTP entry keeps a connection on which nothing is asked, and one on which nothing was ever asked, and how much
/// later it looks.
const IDLE_MS: Millis = 60_000 + 5_000;
const SILENT_MS: Millis = 10_000 + 5_000;

/// How long the holder of a contested id has to answer, as docs/protocol.md has it.
const CONTEST_MS: Millis = 1_000;

/// What stranger `who` does, and since when.
fn deed(model: &Model, who: Who) -> Option<(Deed, Millis)> {
    let Who::Stranger(n) = who else {
        return None;
    };
    model
        .plan
        .strangers
        .get(n)
        .map(|intrusion| (intrusion.deed, intrusion.at_ms))
}

/// Whether something was done to the server, or to everybody's way to it, since `from_ms`.
fn server_was_troubled(model: &Model, from_ms: Millis) -> bool {
    model.was_troubled(Duration::from_millis(from_ms), |trouble| trouble.server)
}

/// 6: a registration cannot be taken over from one who lives.
pub struct Fencing;

impl Invariant for Fencing {
    fn number(&self) -> u8 {
        6
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Pretended { stranger, proxies } = event else {
            return None;
        };
        let (Deed::DuplicateId { client, .. }, at_ms) = deed(model, *stranger)? else {
            return None;
        };
        let from = Duration::from_millis(at_ms);
        let away = model.was_troubled(from, |trouble| {
            trouble.server || trouble.clients.contains(&client)
        });
        // On such a way an answer may come too late.
        let far = model.plan.knobs.exchange_ms() + 200 > CONTEST_MS;
        (*proxies > 0 && !away && !far).then(|| {
            format!(
                "{stranger} took the place of {}, who was there",
                Who::Client(client)
            )
        })
    }
}

/// 15: nobody is registered who has not proved to be one of us, and nonsense is turned away at once.
pub struct Admission;

impl Invariant for Admission {
    fn number(&self) -> u8 {
        15
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Pretended { stranger, proxies } => {
                let (deed, _) = deed(model, *stranger)?;
                let why = match deed {
                    Deed::WrongToken => "with a wrong token",
                    Deed::OverReaches { .. } => "in a group that it may not serve",
                    _ => return None,
                };
                (*proxies > 0).then(|| format!("{stranger} was given work, {why}"))
            }
            Event::Knocked {
                stranger,
                shut_after_ms,
                ..
            } => {
                let (deed, at_ms) = deed(model, *stranger)?;
                let knobs = &model.plan.knobs;
                let waits = match deed {
                    Deed::HugeHeader | Deed::HugeBody | Deed::UnknownFrame | Deed::WrongVersion => 0,
                    // Eight bytes, one a second.
                    Deed::Slowloris => 8_000 + knobs.handshake_timeout_ms,
                    Deed::Lingers { asks: true } => IDLE_MS,
                    Deed::Lingers { asks: false } => SILENT_MS,
                    _ => knobs.handshake_timeout_ms,
                };
                let most = waits + THINKING_MS + 4 * knobs.exchange_ms();
                // A stranger leaves before a long handshake is over.
                let waited = u128::from(most) < patience(deed).as_millis();
                let late = shut_after_ms.map_or(waited, |after| after > most);
                (late && !server_was_troubled(model, at_ms)).then(|| {
                    format!(
                        "the door was shut in the face of {stranger} after {shut_after_ms:?} ms, not {most}"
                    )
                })
            }
            _ => None,
        }
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let most = model.plan.clients.len() + model.shams();
        let registered = model.sight.registered;
        (registered > most).then(|| format!("{registered} clients are registered, there are {most}"))
    }
}

/// How much longer than a handshake may take a client may stay with who proves nothing, in ms.
const LEAVES_MS: Millis = 1_500;

/// 45: a client is registered with nobody who has not proved to be its server, and stays with none for longer than a
/// handshake may take.
pub struct Lured;

impl Invariant for Lured {
    fn number(&self) -> u8 {
        45
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Deceived {
            client: client @ Who::Client(n),
            lured,
            stayed_ms,
        } = event
        else {
            return None;
        };
        if let Some(what) = lured {
            return Some(format!("{client} has met an impostor, and {what}"));
        }
        let knobs = &model.plan.knobs;
        let most = knobs.handshake_timeout_ms + LEAVES_MS + 4 * knobs.exchange_ms();
        let from = model.now.saturating_sub(Duration::from_millis(*stayed_ms));
        let is_hampered = model.was_troubled_besides_impostors(from, *n);
        (*stayed_ms > most && !is_hampered).then(|| {
            format!("{client} has stayed with an impostor for {stayed_ms} ms, at most {most} are allowed")
        })
    }
}
