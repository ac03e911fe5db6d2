//! What is known of a session, in words.

use std::fmt;

use super::session::{Exposure, Session};
use crate::{event::End, node::group_name, plan::who::Who};

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visit = &self.visit;
        write!(
            f,
            "{} asked {} at {:.3} s, {} up, {} down, reply {} + {} ms, {}",
            Who::Visitor(self.visitor),
            group_name(visit.group),
            self.opened.as_secs_f64(),
            visit.len,
            visit.reply_len,
            visit.when,
            visit.delay_ms,
            visit.manner,
        )?;
        if let Some(call) = visit.call {
            write!(f, ", {} over {}", spelt(&call.kind), spelt(&call.version))?;
        }
        match self.greeted {
            Some((at, greeting)) => write!(f, "; greeted at {:.3} s by {greeting}", at.as_secs_f64())?,
            None => f.write_str("; never greeted")?,
        }
        if let Some((at, how)) = &self.ended {
            let how = match how {
                End::Complete => "complete",
                End::Left => "left",
                End::Cut(why) | End::Broken(why) => why,
            };
            write!(f, "; ended at {:.3} s: {how}", at.as_secs_f64())?;
        }
        let seen = self
            .seen_by
            .iter()
            .map(|serial| format!("connection {serial:#x}"));
        list(f, "seen by", seen)?;
        list(
            f,
            "brought to",
            self.brought_to.iter().map(|n| Who::Upstream(*n).to_string()),
        )?;
        write!(f, "; {}", self.exposure)
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.server_died, "the server's death"),
            (self.server && !self.server_died, "the server's trouble"),
            (self.visitor, "its visitor's trouble"),
            (self.upstreams, "a service's trouble"),
            (self.worn, "more than a client's death"),
        ];
        let parts = parts.iter().filter(|(is_so, _)| *is_so);
        let clients = self
            .clients
            .iter()
            .map(|n| format!("trouble of {}", Who::Client(*n)));
        let all: Vec<_> = parts.map(|(_, what)| (*what).to_owned()).chain(clients).collect();
        match all.is_empty() {
            true => f.write_str("nothing befell it")?,
            false => write!(
                f,
                "befallen by {}, last at {:.3} s",
                all.join(", "),
                self.last.as_secs_f64()
            )?,
        }
        match self.sound_min {
            usize::MAX => Ok(()),
            least => write!(f, "; {least} in no trouble at least"),
        }
    }
}

/// A list with its heading, if there is anything in it.
fn list(f: &mut fmt::Formatter<'_>, heading: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<_> = items.collect();
    match items.is_empty() {
        true => Ok(()),
        false => write!(f, "; {heading} {}", items.join(", ")),
    }
}

/// A variant as plan files spell it.
fn spelt(variant: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(variant).unwrap_or_default();
    value.as_str().unwrap_or("something").to_owned()
}
