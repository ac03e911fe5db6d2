//! Invariants 27, 28 and 32: visitors are served, in time, to the end.

use std::time::Duration;

use super::{
    Class, Invariant, Model,
    bytes::TRIES_MAX,
    excuse::{Excuse, Excuses, Judgement},
    session::Session,
    silence::{outlasts, was_mute_too_long},
    web,
};
use crate::{
    event::{End, Event},
    payload::{GREETING_LEN, Greeting, REPLY_LEN, REQUEST_LEN},
    plan::who::Who,
};

/// How long a session may take beyond what its visit asks for and the start deadline.
const MARGIN: Duration = Duration::from_secs(10);

/// How long a connection on which nothing passes any more may go unnoticed: keepalive of the product (25 s) or
/// of the kernel (30 s), what is sent again, and a margin.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How much later an upstream may accept a connection than a client has it: only then it is known whom a visitor came to.
const ACCEPTED: Duration = Duration::from_millis(100);

/// 27: a visit fails only if something befell it that excuses it: what does, the function says.
pub struct Success {
    judge: fn(&Model, &Session) -> Judgement,
    excuses: Excuses,
    /// Those that broke just now, and why.
    broken: Vec<(Duration, u64, String)>,
}

impl Success {
    /// Judges as the function does.
    pub fn new(judge: fn(&Model, &Session) -> Judgement) -> Self {
        Self {
            judge,
            excuses: Excuses::new(),
            broken: Vec::new(),
        }
    }
}

impl Invariant for Success {
    fn number(&self) -> u8 {
        27
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Ends {
            session: id,
            how: End::Broken(why) | End::Cut(why),
        } = event
        else {
            return None;
        };
        let session = model.sessions.get(id)?;
        let judgement = (self.judge)(model, session);
        if judgement.is_err() && session.greeted.is_none() {
            self.broken.push((model.now, *id, why.clone()));
            return None;
        }
        take_down(&mut self.excuses, judgement, (*id, session, why))
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let place = self
            .broken
            .iter()
            .position(|(at, ..)| model.now > *at + ACCEPTED)?;
        let (_, id, why) = self.broken.swap_remove(place);
        let session = model.sessions.get(&id)?;
        take_down(
            &mut self.excuses,
            (self.judge)(model, session),
            (id, session, &why),
        )
    }

    fn excuses(&self) -> Option<&Excuses> {
        Some(&self.excuses)
    }
}

/// Counts the excuse of a session that broke, or says what should have let it succeed.
pub fn take_down(
    excuses: &mut Excuses,
    judgement: Judgement,
    (id, session, why): (u64, &Session, &str),
) -> Option<String> {
    match judgement {
        Ok(excuse) => {
            let refused = excuse == Excuse::Server && session.greeted.is_none() && why.contains("refused");
            let excuse = if refused { Excuse::NobodyThere } else { excuse };
            *excuses.entry(excuse.name()).or_default() += 1;
            None
        }
        Err(missing) => Some(format!(
            "session {id} broke ({why}) although {missing}: {session}"
        )),
    }
}

/// Whether what a session rides on that is served already has been touched. Whatever befalls others is not its concern.
pub fn touched(session: &Session, greeting: Greeting) -> Judgement {
    match session
        .exposure
        .touched
        .clients
        .contains(&greeting.upstream.into())
    {
        true => Ok(Excuse::Carried),
        false => Err("it was being served, and nothing that it rode on was troubled"),
    }
}

/// What excuses any session, whatever it asks for.
pub fn excused_by_all(model: &Model, session: &Session) -> Option<Excuse> {
    let exposure = &session.exposure;
    let greeted = session.greeted.is_some();
    let server = match greeted && model.candidates.is_none() {
        true => exposure.touched.server,
        false => exposure.server,
    };
    let all = [
        (server, Excuse::Server),
        (exposure.visitor, Excuse::Visitor),
        (!model.takes_part(session), Excuse::Outside),
        (greeted && outlasts(model, session).is_some(), Excuse::Silence),
        (was_mute_too_long(model, session), Excuse::Silence),
    ];
    all.into_iter()
        .find_map(|(befell, excuse)| befell.then_some(excuse))
}

/// How long somebody has to have been well until whoever waits is served: rounds of tries are no more than 2 s apart.
const WELL_AGAIN: Duration = Duration::from_secs(6);

/// Whether somebody was well again while there was time to be served.
fn was_well_again(model: &Model, session: &Session) -> bool {
    let since = session.exposure.sound_since;
    since.is_some_and(|since| model.now >= since + WELL_AGAIN)
}

/// How long a visitor waits for a group without targets, and how much later it may be seen to leave.
const EMPTY_GROUP: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(500));

/// How long a target has to have been there for whoever waits to have been told.
const TOLD: Duration = Duration::from_secs(1);

/// Whether it was turned away for want of a target although one came while it waited.
fn has_waited_in_vain(model: &Model, session: &Session) -> bool {
    let (least, margin) = EMPTY_GROUP;
    let exchange = Duration::from_millis(model.plan.knobs.exchange_ms());
    let lived = model.now - session.opened;
    let waited = (least..least + margin + exchange).contains(&lived);
    let since = session.exposure.sound_since;
    let came = since.is_some_and(|since| since > session.opened && model.now >= since + TOLD + exchange);
    // Whoever finds somebody does not wait for a target, but for those that are tried.
    let empty = session.exposure.found == Some(0);
    waited && empty && came && session.seen_by.is_empty()
}

/// Why a broken session of the tunnel has an excuse, or has none.
///
/// # Errors
/// What should have let it succeed.
pub fn judge(model: &Model, session: &Session) -> Judgement {
    let exposure = &session.exposure;
    let knobs = &model.plan.knobs;
    if let Some(excuse) = excused_by_all(model, session) {
        return Ok(excuse);
    }
    if let Some((_, greeting)) = session.greeted {
        return touched(session, greeting);
    }
    if model.has_met_the_lost(session) {
        return Ok(Excuse::Lost);
    }
    if exposure.busy >= knobs.sessions_max {
        return Ok(Excuse::TurnedAway);
    }
    if has_waited_in_vain(model, session) {
        return Err("a target came while it waited for one");
    }
    if exposure.sound_min == 0 && !was_well_again(model, session) {
        return Ok(Excuse::NobodyLeft);
    }
    if exposure.crowd >= knobs.pool_max {
        return Ok(Excuse::Crowd);
    }
    if model.was_shut_out(session) {
        return Ok(Excuse::Door);
    }
    // A start may be too slow for an untroubled client, again and again.
    if knobs.is_slow() {
        return Ok(Excuse::Slow);
    }
    if exposure.clients.is_empty() {
        // It may be refused by a client that is lost for good, and have no second try.
        return match !model.outside.clients.is_empty() && model.is_cautious() {
            true => Ok(Excuse::Lost),
            false => Err("nothing was troubled and a client was registered"),
        };
    }
    // Each of them may have been tried, and left the start unanswered.
    if exposure.clients.len() >= TRIES_MAX {
        return Ok(Excuse::Tries);
    }
    // Whom it was started on is not to be seen from outside before it has sent its header; and a try that
    // may not be repeated is lost with its client.
    if Model::reads_first(session) || model.is_cautious() || exposure.upstreams {
        return Ok(Excuse::Carried);
    }
    let started_in_trouble = model
        .started_on(session)
        .any(|upstream| exposure.clients.contains(&upstream));
    match started_in_trouble || model.perhaps_started_in_trouble(session) {
        true => Ok(Excuse::Carried),
        false => Err("a sound client was registered throughout and no troubled one had started it"),
    }
}

/// 40: a client turns nobody away while its service can be reached, by whichever door.
pub struct Reached;

impl Invariant for Reached {
    fn number(&self) -> u8 {
        40
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        // Of those that waited in vain some are sessions that a server, or the client itself, gave up for their silence.
        let Event::TurnsAway {
            client: Who::Client(client),
            refused,
            ..
        } = event
        else {
            return None;
        };
        let excused = model.trouble().clients.contains(client);
        (!excused && *refused > 0).then(|| {
            format!(
                "{} turned {refused} away at once although its service was there",
                Who::Client(*client)
            )
        })
    }
}

/// 28: no session hangs.
pub struct NoHang;

impl Invariant for NoHang {
    fn number(&self) -> u8 {
        28
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let hung = model.open.iter().find_map(|id| {
            let session = model.sessions.get(id)?;
            let exposed = if session.was_exposed() {
                SILENCE_MAX
            } else {
                Duration::ZERO
            };
            let takes = takes(model, session) + web::takes_more(model);
            let due = session.exposure.last.max(session.opened) + takes + MARGIN + exposed;
            (model.now > due).then_some((id, session))
        });
        let (id, session) = hung?;
        Some(format!("session {id} hangs: {session}"))
    }
}

/// What a session carries besides the bodies.
const HEADERS_LEN: u64 = (GREETING_LEN + REQUEST_LEN + REPLY_LEN) as u64;

/// What a visit asks for, at most: its start, its pace, its upstream's thinking, and its bytes on a slow way.
pub(super) fn takes(model: &Model, session: &Session) -> Duration {
    let (visit, knobs) = (&session.visit, &model.plan.knobs);
    let pieces = visit.len / visit.piece.max(1) as u64 + 1;
    let reads = visit.reply_len / 1_024 + 1;
    // A window a round trip, over three ways, each way.
    let mut window = knobs.kernel_buffer.clamp(1, 32 * 1024) as u64;
    if knobs.has_links() {
        window = window.min(knobs.window.into());
    }
    let rounds = (visit.len + visit.reply_len + HEADERS_LEN) / window + 8;
    let round = 6 * (knobs.latency_ms.1 + 1) * if knobs.tail_one_in > 0 { 4 } else { 1 };
    Duration::from_millis(
        knobs.start_timeout_ms
            + visit.mute_ms
            + visit.delay_ms
            + visit.stall_ms
            + visit.hold_ms
            + visit.call.map_or(0, |call| call.extras.takes_ms())
            + pieces * visit.piece_pause_ms
            + reads * visit.read_pause_ms
            + rounds * round,
    )
}

/// How much longer than its own pace a session may take while another stalls.
const BESIDE_MARGIN: Duration = Duration::from_secs(3);

/// 11: while one session of a client stalls, the others are served as if it were not there.
pub struct Beside;

impl Invariant for Beside {
    fn number(&self) -> u8 {
        11
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        if !model.plan.knobs.has_links() || model.plan.knobs.is_slow() {
            return None;
        }
        let running = || {
            let open = model
                .open
                .iter()
                .filter_map(|id| Some((id, model.sessions.get(id)?)));
            open.filter_map(|(id, session)| Some((id, session, session.greeted?)))
        };
        let stalls = |session: &Session| session.visit.stall_ms + session.visit.hold_ms > 0;
        let start = Duration::from_millis(model.plan.knobs.start_timeout_ms);
        let late = running().find(|(_, session, (since, greeting))| {
            let due = *since + takes(model, session).saturating_sub(start) + BESIDE_MARGIN;
            let beside = |(_, other, (_, by)): (_, &Session, (_, Greeting))| {
                stalls(other) && by.upstream == greeting.upstream
            };
            let alone = session.was_exposed() || stalls(session) || !running().any(beside);
            // A service that hangs is not the tunnel's to answer for.
            model.now > due && !alone && !model.has_met_the_lost(session)
        });
        let (id, session, _) = late?;
        Some(format!("session {id} is held up while another stalls: {session}"))
    }
}

/// 32: no visitor waits for its start longer than the deadline.
pub struct StartDeadline;

impl Invariant for StartDeadline {
    fn number(&self) -> u8 {
        32
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let knobs = &model.plan.knobs;
        let round = Duration::from_millis(12 * 10 * (knobs.latency_ms.1 + 1));
        let deadline = Duration::from_millis(knobs.start_timeout_ms) + Duration::from_secs(2) + round;
        let late = model.open.iter().find_map(|id| {
            let session = model.sessions.get(id)?;
            let exposure = &session.exposure;
            let begins = session.opened + Duration::from_millis(session.visit.mute_ms);
            let waits = session.greeted.is_none() && model.now > begins + deadline;
            // A service that hangs is not the tunnel's to answer for.
            let hangs = || model.has_met_the_lost(session);
            let excused = exposure.server || exposure.visitor || !exposure.clients.is_empty() || hangs();
            (waits && !excused).then_some((id, session))
        });
        let (id, session) = late?;
        Some(format!("session {id} still waits: {session}"))
    }
}
