use std::{
    collections::BTreeSet, net::SocketAddr, sync::atomic::AtomicBool, sync::atomic::Ordering::Relaxed,
};

use tokio::{sync::mpsc, task::LocalSet};

use super::*;
use crate::{
    env::Stop,
    id::GroupName,
    prober::{
        self, Scoring,
        probe::{Probe, ProbeFailure},
    },
    selector::{Options, Switching, setup::Alone},
    transport::BoxFuture,
};

/// Everybody answers within 5 ms but one, while it is down.
struct OneDown {
    who: SocketAddr,
    down: Arc<AtomicBool>,
}

impl Probe<SocketAddr> for OneDown {
    fn probe(
        &self,
        target: Arc<Target<SocketAddr>>,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<Duration, ProbeFailure>> {
        let down = target.reach == self.who && self.down.load(Relaxed);
        let answer = Duration::from_millis(5);
        Box::pin(async move {
            if down {
                Err(ProbeFailure::Refused)
            } else {
                Ok(answer)
            }
        })
    }
}

/// Waits until the active set has `n` members.
async fn members(group: &Group<SocketAddr>, n: usize) {
    let reached = async {
        while group.active().targets().len() != n {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    let seen = || group.active().targets().len();
    assert!(
        time::within(Duration::from_secs(20), reached).await.is_some(),
        "{n} members, not {}",
        seen()
    );
}

#[tokio::test]
async fn a_group_is_probed_judged_and_published() {
    let judged = async {
        let (_, stop) = Stop::channel();
        let env = Env::production(stop);
        let group = Group::new(GroupName::new("g").unwrap());
        let address = |n| SocketAddr::from(([127, 0, 0, n], 1));
        let down = Arc::new(AtomicBool::new(false));
        let probe = OneDown {
            who: address(1),
            down: Arc::clone(&down),
        };
        let setup = Setup {
            selector: Options {
                evaluation_interval: Duration::from_millis(200),
                switching: Switching {
                    hold_off: Duration::from_millis(10),
                    ..Switching::default()
                },
                ..Options::default()
            },
            probing: prober::Options {
                interval: Duration::from_millis(10),
                ..prober::Options::default()
            },
            scoring: Scoring::default(),
            probe: Some(Arc::new(probe)),
            alone: Alone::Always,
            best_only: false,
            warm: None,
            serves: None,
        };
        let selector = Selector::new(&env, Arc::clone(&group), setup).start();
        for n in 1..=3 {
            selector.do_send(Joined(Arc::new(Target::new(address(n)))));
        }
        members(&group, 3).await;
        down.store(true, Relaxed);
        members(&group, 2).await;
        down.store(false, Relaxed);
        members(&group, 3).await;
        let cost = group.active().targets()[0].gauges.cost();
        assert!(cost.is_some_and(|cost| cost < Duration::from_secs(1)), "{cost:?}");

        let status = selector.send(ReadStatus).await.unwrap();
        assert_eq!(status.targets.len(), 3);
        assert_eq!(status.targets[0].standing.name.as_ref(), "127.0.0.1:1");
        let journal = selector.send(ReadJournal).await.unwrap();
        let lines: Vec<_> = journal.iter().map(Decision::to_string).collect();
        for said in ["removed 127.0.0.1:1: failing", "added 127.0.0.1:1: recovered"] {
            assert!(lines.iter().any(|line| line.starts_with(said)), "{lines:#?}");
        }
        selector.do_send(Left(address(2)));
        members(&group, 2).await;
        // Whoever owned the group drops it: nothing may go on by itself.
        let weak = selector.downgrade();
        drop(selector);
        let ended = async {
            while weak.upgrade().is_some_and(|left| left.connected()) {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(time::within(Duration::from_secs(20), ended).await.is_some());
    };
    LocalSet::new().run_until(judged).await;
}

/// Says whom it is asked about; everybody answers.
struct Asked(mpsc::UnboundedSender<SocketAddr>);

impl Probe<SocketAddr> for Asked {
    fn probe(
        &self,
        target: Arc<Target<SocketAddr>>,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<Duration, ProbeFailure>> {
        // The test may have ended.
        let _ = self.0.send(target.reach);
        Box::pin(async { Ok(Duration::from_millis(1)) })
    }
}

#[tokio::test]
async fn who_is_alone_is_probed_only_where_that_is_asked_for() {
    let probed = async {
        let (_, stop) = Stop::channel();
        let env = Env::production(stop);
        let (asked, mut said) = mpsc::unbounded_channel();
        let group = |alone| {
            let setup = Setup {
                probing: prober::Options {
                    interval: Duration::from_millis(5),
                    ..prober::Options::default()
                },
                probe: Some(Arc::new(Asked(asked.clone()))),
                alone,
                ..Setup::default()
            };
            Selector::new(&env, Group::new(GroupName::new("g").unwrap()), setup).start()
        };
        let address = |n| SocketAddr::from(([127, 0, 0, n], 1));
        let joins = |n| Joined(Arc::new(Target::new(address(n))));
        // Waits until `who` was asked often enough for a member, and says who else was asked meanwhile.
        let mut besides = async |who: u8| {
            let (mut times, mut others) = (0, BTreeSet::new());
            while times < 20 {
                match said.recv().await.unwrap() {
                    of if of == address(who) => times += 1,
                    of => drop(others.insert(of)),
                }
            }
            others
        };
        let (quiet, eager) = (group(Alone::Failing), group(Alone::Always));
        quiet.do_send(joins(1));
        eager.do_send(joins(9));
        assert_eq!(besides(9).await, BTreeSet::new());
        quiet.do_send(joins(2));
        besides(1).await;
        besides(2).await;
        quiet.do_send(Left(address(1)));
        quiet.send(ReadStatus).await.unwrap();
        // What was asked before is said before.
        besides(9).await;
        assert_eq!(besides(9).await, BTreeSet::new());
        quiet.do_send(joins(3));
        besides(2).await;
        besides(3).await;
    };
    let limit = Duration::from_secs(20);
    assert!(
        time::within(limit, LocalSet::new().run_until(probed))
            .await
            .is_some()
    );
}

#[tokio::test]
async fn who_stood_by_and_left_is_named_no_more() {
    let judged = async {
        let (_, stop) = Stop::channel();
        let group = Group::new(GroupName::new("g").unwrap());
        let setup = Setup {
            selector: Options {
                active_set_size: Some(1),
                ..Options::default()
            },
            ..Setup::default()
        };
        let selector = Selector::new(&Env::production(stop), Arc::clone(&group), setup).start();
        let address = |n| SocketAddr::from(([127, 0, 0, n], 1));
        for n in 1..=2 {
            selector.do_send(Joined(Arc::new(Target::new(address(n)))));
        }
        let named = async || {
            // Its answer comes behind what was sent before.
            selector.send(ReadStatus).await.unwrap();
            let active = group.active();
            active.reserve().iter().map(|one| one.reach).collect::<Vec<_>>()
        };
        assert_eq!(named().await, [address(2)]);
        selector.do_send(Left(address(2)));
        assert_eq!(named().await, []);
    };
    LocalSet::new().run_until(judged).await;
}
