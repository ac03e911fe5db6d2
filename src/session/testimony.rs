//! What a session's end says about its target. Pure.

use super::{
    core::Come,
    visitor_side::{Cause, Outcome},
};
use crate::{
    selector::roster::Report,
    time::Duration,
    wire::message::{RefuseCode, ResetCode},
};

/// What `outcome` says about the target, `waited` after it was asked; `None` where it says nothing: a client at its
/// limit, a server that stops, a visitor that left before it was served are not the target's fault. Nor is a connection
/// that had died in the pool: nobody was asked on it, so nothing is told of it at all. Whoever resets a session that it has
/// answered to the end wants to hear no more, and is well.
pub fn testimony(outcome: Outcome, come: Come, waited: Duration) -> Option<Report> {
    match outcome {
        Outcome::NotStarted { cause, .. } => match cause {
            Cause::Refused(RefuseCode::Unreachable | RefuseCode::UnknownUpstream) => {
                Some(Report::Refused(waited))
            }
            Cause::Refused(RefuseCode::Timeout) | Cause::Silent => Some(Report::TimedOut(waited)),
            Cause::Refused(RefuseCode::Overload | RefuseCode::Unknown(_)) => None,
            Cause::Broken => Some(Report::BrokeEarly(waited)),
        },
        Outcome::Reset(ResetCode::UpstreamReset) | Outcome::Broken => Some(match come.answered {
            true => Report::Ended,
            false => Report::Broke,
        }),
        Outcome::Completed | Outcome::VisitorGone | Outcome::HalfClosed => {
            come.served.then_some(Report::Ended)
        }
        Outcome::Reset(_) | Outcome::Aborted(_) => None,
    }
}

/// Why a target failed, in words, as `outcome` and the client's `refusal` tell, `waited` after it was asked.
pub fn words(outcome: Outcome, refusal: &str, waited: Duration) -> String {
    match outcome {
        Outcome::NotStarted { cause, .. } => match cause {
            Cause::Refused(_) if !refusal.is_empty() => refusal.to_owned(),
            Cause::Refused(code) => code.label().to_owned(),
            Cause::Silent => format!("the client did not answer within {} s", waited.as_secs().max(1)),
            Cause::Broken => {
                "the connection to the client broke before the upstream was connected".to_owned()
            }
        },
        _ => "sessions break after they have started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_target_did_is_told() {
        let waited = Duration::from_millis(7);
        let come = |served, answered| Come { served, answered };
        let check = |outcome, expected| {
            let told = testimony(outcome, come(true, false), waited);
            assert_eq!(told, expected, "{outcome:?}");
        };
        let not_started = |cause| Outcome::NotStarted {
            cause,
            ambiguous: true,
        };
        let refused = |code| not_started(Cause::Refused(code));
        check(refused(RefuseCode::Unreachable), Some(Report::Refused(waited)));
        check(
            refused(RefuseCode::UnknownUpstream),
            Some(Report::Refused(waited)),
        );
        check(refused(RefuseCode::Timeout), Some(Report::TimedOut(waited)));
        check(refused(RefuseCode::Overload), None);
        check(refused(RefuseCode::Unknown(99)), None);
        check(not_started(Cause::Silent), Some(Report::TimedOut(waited)));
        check(not_started(Cause::Broken), Some(Report::BrokeEarly(waited)));
        check(Outcome::Completed, Some(Report::Ended));
        check(Outcome::VisitorGone, Some(Report::Ended));
        check(Outcome::HalfClosed, Some(Report::Ended));
        check(Outcome::Broken, Some(Report::Broke));
        check(Outcome::Reset(ResetCode::UpstreamReset), Some(Report::Broke));
        check(Outcome::Reset(ResetCode::Shutdown), None);
        check(Outcome::Aborted(ResetCode::LinkSilent), None);
        let unserved = testimony(Outcome::VisitorGone, come(false, false), waited);
        assert_eq!(unserved, None);
        let reset = Outcome::Reset(ResetCode::UpstreamReset);
        assert_eq!(testimony(reset, come(true, true), waited), Some(Report::Ended));
    }
}
