//! Asking anew what names come to: whoever was sent where nobody is asks, and one task answers all of them.
//!
//! A round of questions is the answer to everybody who asked before it began, so there is one question under way
//! for each name, however many ask.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::probe::{audit, audit_eq, mutant};

/// Where to ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Names {
    wanted: Arc<Notify>,
    rounds: watch::Receiver<Rounds>,
}

/// Where is answered.
#[derive(Debug)]
pub struct Answers {
    wanted: Arc<Notify>,
    rounds: watch::Sender<Rounds>,
}

/// Somebody has asked.
#[derive(Debug)]
pub struct Question {
    /// The round that answers it, or a later one.
    round: u64,
    rounds: watch::Receiver<Rounds>,
}

/// One visitor's asking: once, when somebody cannot be reached.
#[derive(Debug)]
pub struct Asking<'a> {
    names: Option<&'a Names>,
    question: Option<Question>,
    heard: bool,
    failure: Option<Arc<str>>,
}

impl<'a> Asking<'a> {
    /// Nothing was asked yet; where there are no `names`, nothing ever is.
    pub fn new(names: Option<&'a Names>) -> Self {
        Self {
            names,
            question: None,
            heard: false,
            failure: None,
        }
    }

    /// Asks, if nothing was asked yet.
    pub fn ask(&mut self) {
        if let (None, Some(names)) = (&self.question, self.names) {
            self.question = Some(names.ask());
        }
    }

    /// Whether there is an answer that was not heard yet.
    pub fn may_help(&self) -> bool {
        self.names.is_some() && !self.heard
    }

    /// Hears the answer; asks, if nothing was asked yet.
    pub async fn hear(&mut self) {
        self.ask();
        if let Some(question) = &mut self.question {
            self.failure = question.answered().await;
        }
        self.heard = true;
    }

    /// Why a name did not resolve.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.clone()
    }
}

/// How many rounds there were.
#[derive(Clone, Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    /// Why a name did not resolve in the last one.
    failure: Option<Arc<str>>,
}

/// Both ends of the asking.
pub fn channel() -> (Names, Answers) {
    let wanted = Arc::new(Notify::new());
    let (sender, rounds) = watch::channel(Rounds::default());
    let names = Names {
        wanted: Arc::clone(&wanted),
        rounds,
    };
    let answers = Answers {
        wanted,
        rounds: sender,
    };
    (names, answers)
}

impl Names {
    /// Asks. What is found out reaches the group, whether the question is waited for or not.
    pub fn ask(&self) -> Question {
        // A round that is under way may have had its answer before there was a reason to ask.
        let mut round = self.rounds.borrow().begun + 1;
        if mutant!("name-not-asked-again") {
            round = 0;
        } else {
            self.wanted.notify_one();
        }
        Question {
            round,
            rounds: self.rounds.clone(),
        }
    }
}

impl Question {
    /// Waits until the group knows the answer; at once where nobody answers any more. Says why a name did not resolve.
    pub async fn answered(&mut self) -> Option<Arc<str>> {
        let round = self.round;
        let rounds = self.rounds.wait_for(|rounds| rounds.ended >= round).await;
        rounds.ok()?.failure.clone()
    }
}

impl Answers {
    /// Waits until somebody has asked since the last round began.
    pub async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// A round begins.
    pub fn begin(&self) {
        self.rounds.send_modify(|rounds| {
            audit_eq!(rounds.begun, rounds.ended, "one round is under way at a time");
            rounds.begun += 1;
        });
    }

    /// It has ended, and the group knows what came of it. `failure` says why a name did not resolve, if one did not.
    pub fn end(&self, failure: Option<&str>) {
        self.rounds.send_modify(|rounds| {
            audit!(rounds.ended < rounds.begun, "only a round that has begun ends");
            rounds.ended = rounds.begun;
            rounds.failure = failure.map(Arc::from);
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_question_is_answered_by_a_round_that_began_after_it() {
        let (names, answers) = channel();
        answers.begin();
        let mut late = names.ask();
        answers.end(None);
        assert!(
            late.answered().now_or_never().is_none(),
            "asked too late for that one"
        );
        assert!(answers.asked().now_or_never().is_some());
        let mut another = names.ask();
        answers.begin();
        answers.end(Some("no such host"));
        for question in [&mut late, &mut another] {
            let answer = question.answered().now_or_never();
            assert_eq!(answer.unwrap().as_deref(), Some("no such host"));
        }
    }

    #[test]
    fn many_questions_are_one_round() {
        let (names, answers) = channel();
        let questions: Vec<_> = (0..100).map(|_| names.ask()).collect();
        assert!(answers.asked().now_or_never().is_some());
        assert!(answers.asked().now_or_never().is_none());
        drop(answers);
        for mut question in questions {
            assert_eq!(
                question.answered().now_or_never(),
                Some(None),
                "nobody is left to answer"
            );
        }
    }
}
