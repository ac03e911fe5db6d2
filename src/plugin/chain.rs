//! The plugins of one rule, in their order.

use std::{fmt, sync::Arc};

use http::{HeaderValue, request, response};

use super::{Decision, Plugin, Proof, Visit};

/// The plugins of one rule: requests pass them first to last, responses last to first. Cheap to clone.
#[derive(Clone, Default)]
pub struct Chain {
    plugins: Arc<[Arc<dyn Plugin>]>,
}

/// What a chain remembers of one request until its response. Begin each request with a fresh one.
#[derive(Debug, Default)]
pub struct Memo {
    /// How many plugins the request has passed. A response is shown to these alone: what turned a request away, and
    /// what stands behind that, never knew of it.
    passed: usize,
    /// The user whose password was right.
    pub(super) user: Option<String>,
    /// The user whose password is being checked.
    pub(super) claimed: Option<String>,
    /// The id of the request.
    pub(super) request_id: Option<HeaderValue>,
    /// The origin whose pages may read the response, or `*`.
    pub(super) origin: Option<HeaderValue>,
}

impl Memo {
    /// The check that the chain asked for was passed: the request has passed the plugin that asked.
    pub fn verified(&mut self, _proof: Proof) {
        self.passed += 1;
        self.user = self.claimed.take().or(self.user.take());
    }

    /// The user that the plugin `basic_auth` let in, for logs.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The id that the plugin `request_id` gave this request, for logs.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref()?.to_str().ok()
    }
}

impl Chain {
    /// A chain of these plugins.
    pub fn new(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        Self {
            plugins: plugins.into(),
        }
    }

    /// Whether it does nothing at all.
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Shows a request to the plugins that have not passed it yet, until one of them decides otherwise.
    ///
    /// After [`Decision::Verify`] the check has to be run, and the proof given to the memo, before this is called
    /// again. Without the proof the same plugin is asked anew.
    pub fn request(&self, request: &mut request::Parts, visit: &Visit, memo: &mut Memo) -> Decision {
        while let Some(plugin) = self.plugins.get(memo.passed) {
            match plugin.request(request, visit, memo) {
                Decision::Pass => memo.passed += 1,
                decision => return decision,
            }
        }
        Decision::Pass
    }

    /// Shows a response to the plugins that have passed its request. Refusals, answers and errors made here are
    /// responses too: a browser may only read them if `cors` has seen them.
    pub fn response(&self, memo: &Memo, response: &mut response::Parts) {
        for plugin in self.plugins.iter().take(memo.passed).rev() {
            plugin.response(memo, response);
        }
    }

    /// The longest body of a request, in bytes. A longer one that says so is refused by the chain; one that does not
    /// say how long it is has to be cut off with 413 by whoever moves it.
    pub fn body_limit(&self) -> Option<u64> {
        self.plugins.iter().filter_map(|plugin| plugin.body_limit()).min()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.plugins.iter().map(|plugin| plugin.name()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::plugin::{
        Check, Refusal,
        testing::{request, response, visit},
    };

    /// Notes that it was asked, and decides as it is told.
    struct Noted {
        name: &'static str,
        decide: Decide,
        body_limit: Option<u64>,
    }

    impl Plugin for Noted {
        fn name(&self) -> &'static str {
            self.name
        }

        fn request(&self, request: &mut request::Parts, _: &Visit, _: &mut Memo) -> Decision {
            let note = HeaderValue::from_static(self.name);
            request.headers.append("seen", note);
            (self.decide)()
        }

        fn response(&self, _: &Memo, response: &mut response::Parts) {
            let note = HeaderValue::from_static(self.name);
            response.headers.append("seen", note);
        }

        fn body_limit(&self) -> Option<u64> {
            self.body_limit
        }
    }

    type Decide = fn() -> Decision;

    fn chain(plugins: &[(&'static str, Decide)]) -> Chain {
        let noted = |(name, decide): &(&'static str, Decide)| -> Arc<dyn Plugin> {
            Arc::new(Noted {
                name,
                decide: *decide,
                body_limit: None,
            })
        };
        Chain::new(plugins.iter().map(noted).collect())
    }

    fn pass() -> Decision {
        Decision::Pass
    }

    fn refuse() -> Decision {
        Refusal::new("b", StatusCode::FORBIDDEN, "no").into()
    }

    fn ask(work: fn() -> bool) -> Decision {
        let refusal = Refusal::new("b", StatusCode::UNAUTHORIZED, "who?");
        Decision::Verify(Box::new(Check::new(work, refusal)))
    }

    fn seen(headers: &http::HeaderMap) -> Vec<&str> {
        headers
            .get_all("seen")
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect()
    }

    fn answered(chain: &Chain, memo: &Memo) -> Vec<String> {
        let mut answer = response(&[]);
        chain.response(memo, &mut answer);
        seen(&answer.headers).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn requests_go_in_and_responses_come_out_in_reverse() {
        let chain = chain(&[("a", pass), ("b", pass), ("c", pass)]);
        let (mut asked, mut memo) = (request("GET /", &[]), Memo::default());
        assert!(matches!(
            chain.request(&mut asked, &visit(), &mut memo),
            Decision::Pass
        ));
        assert_eq!(seen(&asked.headers), ["a", "b", "c"]);
        assert_eq!(answered(&chain, &memo), ["c", "b", "a"]);
        assert_eq!(format!("{chain:?}"), r#"["a", "b", "c"]"#);
        assert!(Chain::default().is_empty() && !chain.is_empty());
    }

    #[test]
    fn a_refusal_is_seen_by_those_before_it() {
        let chain = chain(&[("a", pass), ("b", refuse), ("c", pass)]);
        let (mut asked, mut memo) = (request("GET /", &[]), Memo::default());
        let decision = chain.request(&mut asked, &visit(), &mut memo);
        assert!(matches!(decision, Decision::Refuse(refusal) if refusal.plugin == "b"));
        assert_eq!(seen(&asked.headers), ["a", "b"]);
        assert_eq!(answered(&chain, &memo), ["a"]);
    }

    #[test]
    fn a_check_that_is_passed_goes_on_behind_who_asked() {
        let chain = chain(&[("a", pass), ("b", || ask(|| true)), ("c", pass)]);
        let (mut asked, mut memo) = (request("GET /", &[]), Memo::default());
        let Decision::Verify(check) = chain.request(&mut asked, &visit(), &mut memo) else {
            panic!("it asks for a check");
        };
        memo.verified(check.run().unwrap());
        assert!(matches!(
            chain.request(&mut asked, &visit(), &mut memo),
            Decision::Pass
        ));
        assert_eq!(seen(&asked.headers), ["a", "b", "c"]);
        assert_eq!(answered(&chain, &memo), ["c", "b", "a"]);
    }

    #[test]
    fn without_a_proof_nothing_goes_on() {
        let chain = chain(&[("a", pass), ("b", || ask(|| false)), ("c", pass)]);
        let (mut asked, mut memo) = (request("GET /", &[]), Memo::default());
        let Decision::Verify(check) = chain.request(&mut asked, &visit(), &mut memo) else {
            panic!("it asks for a check");
        };
        assert_eq!(check.run().unwrap_err().status, 401);
        let again = chain.request(&mut asked, &visit(), &mut memo);
        assert!(matches!(again, Decision::Verify(_)));
        assert_eq!(seen(&asked.headers), ["a", "b", "b"]);
        assert_eq!(answered(&chain, &memo), ["a"]);
    }

    #[test]
    fn the_strictest_body_limit_counts() {
        let limited = |body_limit| -> Arc<dyn Plugin> {
            Arc::new(Noted {
                name: "limited",
                decide: pass,
                body_limit,
            })
        };
        let check = |limits: &[Option<u64>], expected| {
            let chain = Chain::new(limits.iter().map(|limit| limited(*limit)).collect());
            assert_eq!(chain.body_limit(), expected);
        };
        check(&[], None);
        check(&[None], None);
        check(&[Some(5), None, Some(3)], Some(3));
    }
}
