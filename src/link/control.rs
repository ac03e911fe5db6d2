//! Moves the frames of a control connection between its socket and its actor.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use actix::{Message, Recipient};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::framed::{Framed, FramedError, Input};
use crate::{
    env::{Env, Task},
    probe::mutant,
    wire::message,
};

/// Frames that may wait to be written. A link that takes none of so many is as good as dead.
const OUTBOX_LEN: usize = 256;

/// A control connection as its actor holds it.
pub struct Line<M> {
    outbox: Option<mpsc::Sender<M>>,
    pump: Option<Task>,
}

impl<M: message::Message + 'static> Line<M> {
    /// Starts moving frames; what comes in goes to `inbox`, and the end to `closed`.
    pub fn open<In: message::Message + 'static>(
        env: &Env,
        framed: Framed,
        inbox: Recipient<Came<In>>,
        closed: Recipient<Closed>,
    ) -> Self {
        let (outbox, queued) = mpsc::channel(OUTBOX_LEN);
        let pump = env.spawn(run(framed, queued, inbox, closed));
        Self {
            outbox: Some(outbox),
            pump: Some(pump),
        }
    }

    /// Queues a message. `false`: the peer takes nothing any more. On a connection that is over nothing waits: [`Closed`] is on
    /// its way, and knows why.
    pub fn say(&self, message: M) -> bool {
        let said = self.outbox.as_ref().map(|outbox| outbox.try_send(message));
        match said {
            Some(Err(TrySendError::Closed(_))) => !mutant!("closed-control-connection-taken-for-full"),
            Some(Err(TrySendError::Full(_))) => false,
            Some(Ok(())) | None => true,
        }
    }

    /// Ends the connection once what is queued is written.
    pub fn close(&mut self) {
        self.outbox = None;
        if let Some(pump) = self.pump.take() {
            pump.detach();
        }
    }

    /// Ends the connection at once: what is queued would never be taken.
    pub fn cut(&mut self) {
        self.outbox = None;
        self.pump = None;
    }
}

/// Event: a message came in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Came<M: Send>(pub M);

/// Event: the connection is no more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Closed(pub &'static str);

/// Reads and writes until either side ends.
async fn run<In, Out>(
    mut framed: Framed,
    mut outbox: mpsc::Receiver<Out>,
    inbox: Recipient<Came<In>>,
    closed: Recipient<Closed>,
) where
    In: message::Message + 'static,
    Out: message::Message,
{
    framed.expect_prompt_reader();
    framed.deliver_pongs();
    let cause = loop {
        // One message at a time is under way to the actor: a peer that talks too fast waits in its socket.
        match poll_fn(|cx| poll_one(&mut framed, &mut outbox, cx)).await {
            Ok(Some(came)) => {
                if inbox.send(Came(came)).await.is_err() {
                    break "actor_gone";
                }
            }
            Ok(None) => break "left",
            Err(error) => break error.label(),
        }
    };
    closed.do_send(Closed(cause));
}

/// `None` when this side has said its last word.
fn poll_one<In: message::Message, Out: message::Message>(
    framed: &mut Framed,
    outbox: &mut mpsc::Receiver<Out>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<In>, FramedError>> {
    loop {
        if let Poll::Ready(Err(error)) = framed.poll_flush(cx) {
            return Poll::Ready(Err(error.into()));
        }
        if framed.is_flushed() {
            match outbox.poll_recv(cx) {
                Poll::Ready(Some(message)) => {
                    framed.queue(0, &message);
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => {}
            }
        }
        match framed.poll_input(cx) {
            Poll::Ready(Ok(Input::Head(head))) => match head.message()? {
                Some(message) => return Poll::Ready(Ok(Some(message))),
                None => continue,
            },
            Poll::Ready(Ok(Input::Body(_))) => return Poll::Ready(Err(FramedError::Unexpected)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // Reading may have queued an answer to a PING.
            Poll::Pending if framed.is_flushed() => return Poll::Pending,
            Poll::Pending => match framed.poll_flush(cx) {
                Poll::Ready(Ok(())) => continue,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::ToClient;

    #[test]
    fn who_has_gone_is_not_taken_for_one_that_does_not_read() {
        let (outbox, queued) = mpsc::channel(1);
        let line = Line {
            outbox: Some(outbox),
            pump: None,
        };
        assert!(line.say(ToClient::Ping));
        assert!(!line.say(ToClient::Ping), "one waits already");
        drop(queued);
        assert!(line.say(ToClient::Ping));
    }
}
