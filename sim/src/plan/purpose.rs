//! Random numbers of a plan, by what they are for.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a generator is for: each purpose has a stream of its own, so that more draws for one, or one fault
/// less, shift nothing in another.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Which families of faults take part.
    Swarm,
    /// Hosts and knobs.
    Knobs,
    /// The schedule of one family of faults.
    Family(u64),
    /// The operations of one visitor.
    Visitor(usize),
    /// The deeds of strangers.
    Strangers,
    /// Latency and loss on the way from one host to another.
    Path(usize, usize),
    /// The order in which hosts get their turn.
    Turns,
    /// Which kind of world it is.
    World,
    /// What is asked by HTTP.
    Web,
    /// Which candidates are far away.
    Far,
    /// How it is asked: how slowly, and with which lies.
    Asking,
    /// Visits that come in crowds, and those that last.
    Crowds,
    /// What some requests by HTTP have besides what all have.
    Extras,
    /// How short timeouts are, and which visits outlast them.
    Patience,
    /// Whoever takes the server's place.
    Impostor,
    /// How the server's groups choose, and what they keep ready.
    Choice,
    /// When a disk is full.
    Disk,
    /// Which clients have several upstreams.
    Offers,
    /// Which service ails to the end.
    Ailing,
    /// Who is alone in its group.
    Lone,
    /// Which service fails again and again.
    Relapses,
    /// Whether request follows upon request for minutes.
    Steady,
    /// Which client loses its registration, and how.
    Strained,
    /// Whether nothing goes wrong.
    Still,
    /// Who goes on holding a connection on which it asks nothing.
    Lingering,
    /// Who says nothing at first.
    Mute,
    /// Who asks what rules and plugins have to answer.
    Examined,
    /// Who watches a server.
    Watched,
    /// Whether everybody is far away from everybody.
    Distant,
    /// Whether there is a second server, and what happens to it.
    SecondServer,
    /// The habits of one life of one host: short reads, balking, yields.
    Habits(u64),
    /// The randomness of one life of one host.
    Node(u64),
}

impl Purpose {
    /// The generator of this purpose under `seed`.
    pub fn rng(self, seed: u64) -> ChaCha8Rng {
        let stream = match self {
            Self::Swarm => 1,
            Self::Knobs => 2,
            Self::Strangers => 3,
            Self::Turns => 4,
            Self::World => 5,
            Self::Web => 6,
            Self::Far => 7,
            Self::Asking => 8,
            Self::Crowds => 9,
            Self::Extras => 10,
            Self::Patience => 20,
            Self::Impostor => 21,
            Self::Choice => 22,
            Self::Disk => 23,
            Self::Offers => 30,
            Self::Ailing => 31,
            Self::Lone => 32,
            Self::Steady => 33,
            Self::Relapses => 34,
            Self::SecondServer => 35,
            Self::Strained => 36,
            Self::Lingering => 37,
            Self::Still => 38,
            Self::Mute => 39,
            Self::Examined => 40,
            Self::Watched => 41,
            Self::Distant => 42,
            Self::Family(n) => 0x100 + n,
            Self::Visitor(n) => 0x1_0000 + n as u64,
            Self::Habits(n) => 0x10_0000 + n,
            Self::Node(n) => 0x100_0000 + n,
            Self::Path(from, to) => 0x1000_0000 + ((from as u64) << 12) + to as u64,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        rng
    }
}
