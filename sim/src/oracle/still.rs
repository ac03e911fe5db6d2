//! Invariant 51: where nothing goes wrong nothing is tried again, lost, denied or refused.

use super::{Invariant, Model, rest::Rest};

/// 51: in a world without faults and strangers nothing is done in vain.
pub struct Still;

impl Invariant for Still {
    fn number(&self) -> u8 {
        51
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        let still = plan.faults.is_empty() && plan.strangers.is_empty();
        if !still || knobs.is_slow() || !knobs.leaves_time_to_probe() {
            return None;
        }
        let (what, count) = rest.vain.first()?;
        Some(format!("nothing went wrong, and there are {count} {what}"))
    }
}
