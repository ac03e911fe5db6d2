//! The engines of the simulation, each with two hosts on it.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use adit_sim::{
    engine::{
        Engine,
        packets::{NetOptions, Packets},
        stock::Stock,
    },
    parity::{Case, Ending, Seat},
    plan::Millis,
    trace::{Detail, Recorder},
};

const SEED: u64 = 1;

/// Simulated time that anything due may take: far more than the round trips of any wait in a case.
const PATIENCE: Duration = Duration::from_secs(30);
/// Simulated time after which a case hangs.
const DURATION: Duration = Duration::from_secs(600);
/// Simulated time between two looks at the verdict.
const LOOK: Duration = Duration::from_millis(10);

/// The main engine over an even network, with the buffers of a desktop.
pub fn main_engine(case: &Case) -> Ending {
    packets(case, (2, 2), 1500, 64 << 10)
}

/// The main engine over an uneven network, with the buffers of a very small machine.
pub fn main_engine_strained(case: &Case) -> Ending {
    packets(case, (10, 25), 576, 8 << 10)
}

/// The second engine.
pub fn stock(case: &Case) -> Ending {
    let mut engine = Stock::new(SEED, (2, 2), &names(), Recorder::new(Detail::Nothing));
    ground(case, &mut engine)
}

fn packets(case: &Case, latency_ms: (Millis, Millis), mtu: u32, buffer: usize) -> Ending {
    let options = NetOptions {
        latency_ms,
        tail_one_in: 0,
        mtu,
        buffer,
        retry_budget: None,
    };
    let mut engine = Packets::new(SEED, options, &names(), Recorder::new(Detail::Nothing));
    ground(case, &mut engine)
}

fn names() -> [String; 2] {
    ["server", "client"].map(str::to_owned)
}

/// Plays `case` between the first two hosts of `engine`.
fn ground(case: &Case, engine: &mut dyn Engine) -> Ending {
    let seats = [0, 1].map(|host| Seat {
        transport: engine.transport(host),
        address: engine.address(host),
        listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    });
    let (software, verdict) = case.software(seats, PATIENCE);
    for (host, software) in software.into_iter().enumerate() {
        // A case needs one life of each host.
        let once = Cell::new(Some(software));
        let life = move || {
            let software = once.take();
            Box::pin(async move {
                if let Some(software) = software {
                    software.await;
                }
            }) as _
        };
        engine.install(host, Rc::new(life));
    }
    while engine.now() < DURATION {
        if let Some(ending) = verdict.ending() {
            return ending;
        }
        engine.run_until(engine.now() + LOOK);
    }
    Err(format!("ran for {DURATION:?}"))
}
