//! What a shelf does whatever comes, against a model of every connection.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{super::Mode, *};
use crate::{
    pool::{address::Raw, conn::Conn, park::Park},
    time,
};

/// Where a connection is, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Parked,
    Given,
    Gone,
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Take(u8, Option<u16>),
    Arrive(u8),
    Fail(u8, usize),
    /// Of all connections there were, this one is given back, dies, is hung up or speaks, if it can.
    Return(prop::sample::Index),
    Die(prop::sample::Index),
    HangUp(prop::sample::Index),
    Speak(prop::sample::Index),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..3u8;
    let which = any::<prop::sample::Index>;
    prop_oneof![
        2 => key.clone().prop_map(Step::Add),
        1 => key.clone().prop_map(Step::Remove),
        6 => (key.clone(), prop::option::of(0..3000u16)).prop_map(|(key, patience)| Step::Take(key, patience)),
        8 => key.clone().prop_map(Step::Arrive),
        1 => (key, 1..4usize).prop_map(|(key, count)| Step::Fail(key, count)),
        4 => which().prop_map(Step::Return),
        2 => which().prop_map(Step::Die),
        1 => which().prop_map(Step::HangUp),
        1 => which().prop_map(Step::Speak),
        4 => (0..40_000u32).prop_map(Step::Wait),
    ]
}

/// Every connection, taker and order there was.
struct Model {
    shelf: Shelf<u8>,
    options: Options,
    caps: Caps,
    now: Instant,
    rng: ChaCha8Rng,
    present: BTreeSet<u8>,
    conns: Vec<(u8, Place)>,
    waiting: BTreeMap<Ticket, u8>,
    /// When each order is void.
    ordered: BTreeMap<u8, VecDeque<Instant>>,
    tickets: Ticket,
}

impl Model {
    fn new(options: Options, caps: Caps) -> Self {
        Self {
            shelf: Shelf::new(options, caps),
            options,
            caps,
            now: time::now(),
            rng: ChaCha8Rng::seed_from_u64(1),
            present: BTreeSet::new(),
            conns: Vec::new(),
            waiting: BTreeMap::new(),
            ordered: BTreeMap::new(),
            tickets: 0,
        }
    }

    fn in_place(&self, index: prop::sample::Index, place: Place) -> Option<(usize, ConnId)> {
        let number = (!self.conns.is_empty()).then(|| index.index(self.conns.len()))?;
        (self.conns[number].1 == place).then_some((number, ConnId::new(number as u64)))
    }

    fn apply(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Add(key) => {
                self.present.insert(key);
                self.shelf.add(now, key);
            }
            Step::Remove(key) => {
                self.present.remove(&key);
                self.ordered.remove(&key);
                self.shelf.remove(&key);
            }
            Step::Take(key, patience) => {
                let deadline = patience.map(|ms| now + Duration::from_millis(ms.into()));
                self.waiting.insert(self.tickets, key);
                let parked = self.conns.contains(&(key, Place::Parked));
                let hit = self.shelf.handle_take(now, &key, self.tickets, deadline);
                assert!(parked || !hit, "a hit without a parked connection");
                self.drain();
                assert!(
                    deadline.is_some() || !self.waiting.contains_key(&self.tickets),
                    "who does not wait is answered at once"
                );
                self.tickets += 1;
            }
            Step::Arrive(key) => {
                if self
                    .ordered
                    .get_mut(&key)
                    .is_some_and(|orders| orders.pop_front().is_some())
                {
                    let conn = ConnId::new(self.conns.len() as u64);
                    self.conns.push((key, Place::Parked));
                    assert!(self.shelf.handle_arrived(now, &key, conn, &mut self.rng));
                }
            }
            Step::Fail(key, count) => {
                if let Some(orders) = self.ordered.get_mut(&key) {
                    orders.drain(..count.min(orders.len()));
                }
                self.shelf.handle_order_failed(now, &key, count);
            }
            Step::Return(index) => {
                if let Some((number, conn)) = self.in_place(index, Place::Given) {
                    self.conns[number].1 = Place::Parked;
                    self.shelf.handle_parked(now, conn, &mut self.rng);
                }
            }
            Step::Die(index) => {
                let parked = self.in_place(index, Place::Parked);
                if let Some((number, conn)) = parked.or(self.in_place(index, Place::Given)) {
                    self.conns[number].1 = Place::Gone;
                    self.shelf.handle_gone(now, conn);
                }
            }
            Step::HangUp(index) => {
                if let Some((number, conn)) = self.in_place(index, Place::Parked) {
                    self.conns[number].1 = Place::Gone;
                    self.shelf.handle_hung_up(now, conn);
                }
            }
            Step::Speak(index) => {
                if let Some((_, conn)) = self.in_place(index, Place::Parked) {
                    self.shelf.handle_spoke(now, conn);
                }
            }
            Step::Wait(ms) => self.wait(Duration::from_millis(ms.into())),
        }
        self.drain();
        self.check();
    }

    /// Lets time pass, stopping wherever the shelf wants to be woken.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut looks = 0;
        while let Some(due) = self.shelf.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            for orders in self.ordered.values_mut() {
                orders.retain(|void| *void > self.now);
            }
            self.shelf.handle_timeout(self.now);
            self.drain();
            self.check();
            looks += 1;
            assert!(looks < 10_000, "the shelf never rests");
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(action) = self.shelf.poll_action() {
            match action {
                Action::Give(ticket, conn) => {
                    let key = self.waiting.remove(&ticket).expect("a taker is answered once");
                    let place = &mut self.conns[usize::try_from(conn.value()).expect("it is small")];
                    assert_eq!(
                        *place,
                        (key, Place::Parked),
                        "given once, to its own target's taker"
                    );
                    place.1 = Place::Given;
                }
                Action::Refuse(ticket) => {
                    self.waiting.remove(&ticket).expect("a taker is answered once");
                }
                Action::Order(key, count) => {
                    assert!(
                        self.present.contains(&key),
                        "an order for a target that is not there"
                    );
                    assert!((1..=self.caps.per_event).contains(&count));
                    let void = self.now + ORDER_TIMEOUT;
                    self.ordered
                        .entry(key)
                        .or_default()
                        .extend(std::iter::repeat_n(void, count));
                }
                Action::Retire(conn) => {
                    let place = &mut self.conns[usize::try_from(conn.value()).expect("it is small")].1;
                    assert_eq!(*place, Place::Parked, "what is retired was parked");
                    *place = Place::Gone;
                }
            }
        }
    }

    fn count(&self, key: u8, place: Place) -> usize {
        self.conns.iter().filter(|conn| **conn == (key, place)).count()
    }

    fn check(&self) {
        let all: usize = (0..3).map(|key| self.count(key, Place::Parked)).sum();
        assert_eq!(
            self.shelf.parked(),
            all,
            "every connection is parked, given or gone"
        );
        for key in 0..3 {
            let parked = self.count(key, Place::Parked);
            let ordered = self.ordered.get(&key).map_or(0, VecDeque::len);
            let waits = self.waiting.values().any(|waiter| *waiter == key);
            assert!(!waits || parked == 0, "somebody waits while one is parked");
            assert!(ordered <= self.caps.outstanding);
            if self.caps.single_use {
                assert!(parked <= self.options.max, "{parked} are parked");
            }
            let standing = self.shelf.standings(self.now).find(|(at, _)| **at == key);
            assert_eq!(standing.is_some(), self.present.contains(&key));
            match standing {
                Some((_, standing)) => {
                    assert_eq!((standing.parked, standing.ordered), (parked, ordered));
                    assert!(standing.mark.is_none() || parked == 0);
                }
                None => assert!(parked == 0 && !waits, "something is left of a removed target"),
            }
        }
    }

    /// The end: nobody comes any more.
    fn finish(&mut self) {
        self.wait(Duration::from_secs(10));
        assert!(self.waiting.is_empty(), "a taker waits for ever");
        for key in 0..3 {
            self.apply(Step::Remove(key));
        }
        assert_eq!((self.shelf.parked(), self.shelf.poll_timeout()), (0, None));
        assert!(self.shelf.held.is_empty() && self.shelf.due.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn nothing_is_lost_and_nothing_given_twice(
        steps in prop::collection::vec(step(), 1..120),
        min in 0..4usize,
        spare in 0..6usize,
        dynamic: bool,
        ages: bool,
        single_use: bool,
    ) {
        let options = Options {
            mode: if dynamic { Mode::Dynamic } else { Mode::Fixed },
            min,
            max: min + spare,
            max_age: ages.then_some(Duration::from_secs(30)),
            ..Options::default()
        };
        let caps = if single_use { Raw::CAPS } else { Conn::CAPS };
        let mut model = Model::new(options, caps);
        for step in steps {
            model.apply(step);
        }
        model.finish();
    }
}
