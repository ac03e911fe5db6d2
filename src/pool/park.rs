//! What a pool asks of the connections it keeps.

use tokio::sync::oneshot;

use super::sizing::Caps;
use crate::{id::ConnId, time::Instant};

/// A kind of connection that may wait until someone wants it.
pub trait Park: Sized + Send + 'static {
    /// What this kind allows, whatever the options say.
    const CAPS: Caps;

    /// What a taker gets.
    type Loan: Send + 'static;

    /// The pool's end of a kept connection; dropping it closes the connection once it is parked.
    type Hold: Unpin + 'static;

    /// The pool's end, and the task that watches the connection until it dies, is let go, or is given for good.
    fn keep(
        self,
        id: ConnId,
        report: impl Fn(Report<Self::Loan>) + Send + 'static,
    ) -> (Self::Hold, impl Future<Output = ()> + Send + 'static);

    /// Gives a parked connection to a taker.
    fn lend(hold: &Self::Hold, taker: Taker<Self::Loan>) -> Lent<Self::Loan>;
}

/// Someone who wants a connection.
#[derive(Debug)]
pub struct Taker<L> {
    /// Where the connection goes; dropped when there is none.
    pub reply: oneshot::Sender<L>,
    /// Until when to wait for one; `None` is not at all.
    pub patience: Option<Instant>,
    /// One was parked when it came.
    pub hit: bool,
}

/// What became of a parked connection and its taker.
#[derive(Debug)]
pub enum Lent<L> {
    /// They meet, or will; where a connection is used once, its task has the last word.
    Done,
    /// The taker has left: the connection was not used.
    TakerGone,
    /// The connection is no more: the taker wants another one.
    ConnGone(Taker<L>),
}

/// What a connection's task tells its pool.
#[derive(Debug)]
pub enum Report<L> {
    /// Ready for the next taker.
    Parked(ConnId),
    /// Its peer spoke although nobody had asked.
    Spoke(ConnId),
    /// Its taker has it, for good; whether it had been parked when the taker came.
    Given(ConnId, bool),
    /// No more.
    Gone {
        /// Which.
        conn: ConnId,
        /// Why, for metrics.
        cause: &'static str,
        /// Its peer ended it while nobody used it.
        hung_up: bool,
        /// Who was to have it, and gets another one.
        taker: Option<Taker<L>>,
    },
}
