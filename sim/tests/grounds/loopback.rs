//! The real loopback, or any transport of this process that takes loopback addresses.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use adit::transport::{Transport, tcp::Tcp};
use adit_sim::parity::{Case, Ending, Seat};

/// Longer than a loaded machine takes for anything here.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Plays `case` over the operating system's sockets.
pub fn ground(case: &Case) -> Ending {
    ground_of(case, Arc::new(Tcp), PATIENCE)
}

/// Plays `case` over `transport`, both sides on one thread.
pub fn ground_of(case: &Case, transport: Arc<dyn Transport>, patience: Duration) -> Ending {
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let seat = Seat {
        transport,
        address: home,
        listen: SocketAddr::new(home, 0),
    };
    let ([server, client], verdict) = case.software([seat.clone(), seat], patience);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let both = async {
        tokio::select! {
            biased;
            ending = verdict.settled() => ending,
            ((), ()) = async { tokio::join!(server, client) } => verdict.settled().await,
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, both)
}
