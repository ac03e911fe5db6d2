//! One data link at the client: every stream that the server opens on it is a session.

use std::sync::Arc;

use tracing::debug;

use super::serve::{Held, Registration, over, serve_stream};
use crate::link::{carrier::Carrier, data_link::DataLink, framed::Framed, mux::Side, pump};

/// Serves an open data link until it ends. Once its registration has ended, it takes no more sessions, and ends with
/// the last of those it has.
pub async fn run(registration: Arc<Registration>, framed: Framed) {
    let _open = Held::new(&registration.unfinished);
    let (env, mut ended) = (&registration.env, registration.ended.clone());
    let link = DataLink::new(Side::Acceptor, registration.link.mux(), &env.metrics);
    let accept = |stream| {
        let (registration, carrier) = (Arc::clone(&registration), Carrier::Mux(stream));
        let serve = async move { serve_stream(&registration, carrier).await };
        // Its session ends with the stream, and the stream with the link.
        env.spawn(serve).detach();
    };
    let stream = framed.into_stream();
    let pump = pump::run(Arc::clone(&link), stream, Arc::clone(&env.metrics), accept);
    let mut pump = std::pin::pin!(pump);
    let why = tokio::select! {
        biased;
        why = &mut pump => why,
        () = over(&mut ended) => {
            link.leave();
            pump.await
        }
    };
    debug!(reason = why.label(), "data link ended");
    env.metrics.data_links_lost.inc(why.label());
}
