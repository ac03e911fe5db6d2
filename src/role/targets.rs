//! Keeps a group in step with a list of candidates: addresses as they are, names as they resolve.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use actix::Addr;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    candidates::{Candidate, Place},
    env::Env,
    probe::{audit, audit_eq, mutant},
    selector::actor::{Joined, Left, Selector},
    session::names::Answers,
    target::Target,
    time::{self, Duration},
};

/// How long a resolved name is believed. Longer sends visitors where a service was; shorter costs questions.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long a question to the resolver may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Questions under way at once.
const RESOLVING_MAX: usize = 16;

/// Follows `list` for ever: whoever comes joins `selector`, whoever goes leaves it. Names are asked for now and then,
/// and when somebody asks.
pub async fn follow(
    env: Env,
    selector: Addr<Selector<SocketAddr>>,
    mut list: watch::Receiver<Arc<Vec<Candidate>>>,
    answers: Answers,
) {
    let mut names = Names::default();
    let mut present = Present::default();
    loop {
        let candidates = Arc::clone(&list.borrow_and_update());
        answers.begin();
        let again = names.is_any(&candidates);
        if again {
            // Whose address is known needs not wait for those that have to be asked for.
            update(&selector, &mut present, names.addresses(&candidates)).await;
            names.resolve(&env, &candidates).await;
            names.check(&candidates);
        }
        update(&selector, &mut present, names.addresses(&candidates)).await;
        audit_eq!(
            present.addresses,
            names.addresses(&candidates),
            "the group is what the list comes to before anybody is told so"
        );
        answers.end(names.failure.as_deref());
        tokio::select! {
            biased;
            () = changed(&mut list) => {}
            () = answers.asked() => {}
            () = time::sleep(RESOLVE_INTERVAL), if again && !mutant!("name-resolved-once") => {}
        }
    }
}

/// Waits for another list: for ever where nobody has one to give.
async fn changed(list: &mut watch::Receiver<Arc<Vec<Candidate>>>) {
    if list.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The targets of the group, with their weights.
#[derive(Debug, Default)]
struct Present {
    addresses: BTreeMap<SocketAddr, u32>,
    /// The same, by what the selector was told.
    #[cfg(feature = "mutants")]
    told: BTreeMap<SocketAddr, u32>,
}

/// Tells `selector` who comes and who goes, and waits until it has published them.
async fn update(
    selector: &Addr<Selector<SocketAddr>>,
    present: &mut Present,
    wanted: BTreeMap<SocketAddr, u32>,
) {
    // A weight is part of a target: another weight is another target.
    let goes = |(a, w): &(&SocketAddr, &u32)| wanted.get(a) != Some(w);
    for (address, _) in present.addresses.iter().filter(goes) {
        if !mutant!("unlisted-target-stays") {
            #[cfg(feature = "mutants")]
            present.told.remove(address);
            selector.do_send(Left(*address));
        }
    }
    let comes = |(a, w): &(&SocketAddr, &u32)| match present.addresses.get(a) {
        Some(weight) if weight != *w => !mutant!("candidate-with-new-weight-lost"),
        known => known.is_none(),
    };
    for (address, weight) in wanted.iter().filter(comes) {
        let mut target = Target::new(*address);
        target.weight = *weight;
        #[cfg(feature = "mutants")]
        present.told.insert(*address, *weight);
        // A selector that has ended publishes nothing any more.
        let _ = selector.send(Joined(Arc::new(target))).await;
    }
    #[cfg(feature = "mutants")]
    audit_eq!(
        present.told,
        wanted,
        "the selector was told of who is wanted, and of nobody else"
    );
    if mutant!("relisted-target-forgotten") {
        present.addresses.extend(wanted);
    } else {
        present.addresses = wanted;
    }
}

/// What names have resolved to.
#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<String, Vec<SocketAddr>>,
    /// Names that do not resolve, and somebody was told.
    failing: BTreeSet<String>,
    /// What the last question said that was answered by no address.
    failure: Option<String>,
}

impl Names {
    fn is_any(&self, candidates: &[Candidate]) -> bool {
        candidates.iter().any(|one| matches!(one.place, Place::Name(_)))
    }

    /// Asks for every name anew. One that does not resolve keeps the addresses it had.
    async fn resolve(&mut self, env: &Env, candidates: &[Candidate]) {
        let names: BTreeSet<_> = candidates
            .iter()
            .filter_map(|one| match &one.place {
                Place::Name(name) => Some(name.clone()),
                Place::Address(_) => None,
            })
            .collect();
        self.known.retain(|name, _| names.contains(name));
        self.failing.retain(|name| names.contains(name));
        let mut answers = stream::iter(names)
            .map(|name| async move {
                let answer = time::within(RESOLVE_TIMEOUT, env.resolve(&name)).await;
                (name, answer)
            })
            .buffered(RESOLVING_MAX);
        self.failure = None;
        while let Some((name, answer)) = answers.next().await {
            let error = match answer {
                Some(Ok(addresses)) => {
                    if self.failing.remove(&name) {
                        info!(%name, "resolved again");
                    }
                    self.known.insert(name, addresses);
                    continue;
                }
                Some(Err(error)) => error.to_string(),
                None => format!("no answer within {RESOLVE_TIMEOUT:?}"),
            };
            if self.failing.insert(name.clone()) {
                let kept = self.known.get(&name).map_or(0, Vec::len);
                warn!(%name, error, kept, "not resolved: what it was stays");
            }
            if self.known.contains_key(&name) && mutant!("failed-lookup-drops-addresses") {
                self.known.remove(&name);
            }
            self.failure = Some(format!("{name}: {error}"));
        }
    }

    /// What holds behind a round of questions: of each name an answer or a failure is known, and of no other.
    fn check(&self, candidates: &[Candidate]) {
        let is_listed = |name: &String| {
            candidates
                .iter()
                .any(|one| matches!(&one.place, Place::Name(listed) if listed == name))
        };
        audit!(
            self.known.keys().chain(&self.failing).all(is_listed),
            "nothing is remembered of a name that is not listed"
        );
        audit!(
            candidates.iter().all(|one| match &one.place {
                Place::Name(name) => self.known.contains_key(name) || self.failing.contains(name),
                Place::Address(_) => true,
            }),
            "each name was asked for"
        );
        audit_eq!(
            self.failure.is_some(),
            !self.failing.is_empty(),
            "a name that does not resolve says why"
        );
    }

    /// Every address that `candidates` come to, with its weight; the largest where there are several.
    fn addresses(&self, candidates: &[Candidate]) -> BTreeMap<SocketAddr, u32> {
        let mut all = BTreeMap::new();
        for Candidate { place, weight } in candidates {
            let addresses = match place {
                Place::Address(address) => std::slice::from_ref(address),
                Place::Name(name) => self.known.get(name).map_or(&[][..], Vec::as_slice),
            };
            for address in addresses {
                let one = all.entry(*address).or_insert(*weight);
                *one = (*one).max(*weight);
            }
        }
        all
    }
}
