//! Ends a selector whose choice is no longer in force, though sessions that were started with it still run.

use actix::{ActorContext, Context, Handler, Message};

use super::{super::target::Reach, Selector};
use crate::pool::actor::Remove;

/// The choice is no longer in force: nothing is probed or kept warm for it any more. Sessions that run go on, and visitors
/// on their way still see who was active.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

impl<R: Reach> Handler<Retire> for Selector<R> {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) {
        if let Some(warm) = &self.setup.warm {
            for key in self.active.keys() {
                warm.remove.do_send(Remove(key.clone()));
            }
        }
        ctx.stop();
    }
}
