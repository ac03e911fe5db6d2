//! Probes by HTTP, among whom an upstream serves that does not speak it.

use super::{Mood, Upstream};

/// What any begins with.
const PROBE: &[u8] = b"GET ";

/// What one begins with that a server sends as it is configured in this world.
const OF_SERVER: &[u8] = b"GET /up HTTP/1.1\r\nHost: probed.test\r\n";

const WELL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const UNREADY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// Whether a request is a probe, and what becomes of it.
pub(super) enum Probed {
    /// It is none, or another than was configured.
    No,
    /// Nothing.
    Hangs,
    /// This is said.
    Answer(&'static [u8]),
}

impl Upstream {
    /// Takes a request that begins with `header` for a probe, if it is one.
    pub(super) fn probed(&self, header: &[u8]) -> Probed {
        let by_server = self.ways.idle.is_none();
        if !header.starts_with(if by_server { OF_SERVER } else { PROBE }) {
            return Probed::No;
        }
        let mood = *self.mood.borrow();
        if by_server && mood == Mood::Hangs {
            return Probed::Hangs;
        }
        self.probes.set(self.probes.get() + 1);
        Probed::Answer(match mood {
            Mood::Unready => UNREADY,
            Mood::Hiccups { one_in } if self.probes.get().is_multiple_of(one_in) => UNREADY,
            _ => WELL,
        })
    }
}
