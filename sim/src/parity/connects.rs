//! How connections begin: refused, queued, in order, given up.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::pin,
};

use adit::transport::Stream;

use super::{
    Case, Ending, Site, case,
    talk::{self, FITS},
};

pub(super) const CASES: &[Case] = &[
    case!(
        "a-port-without-listener-refuses",
        async |site: Site| {
            drop(site.listen().await?);
            site.meet.mark("gone");
            site.until("refused").await?;
            // And when somebody listens there again, connecting works.
            let mut door = site.listen_at(port_of(&site).await?).await?;
            site.meet.mark("back");
            site.accept(&mut door).await?.exchange(10, 10).await
        },
        async |site: Site| {
            site.until("gone").await?;
            refused(&site).await?;
            site.meet.mark("refused");
            site.until("back").await?;
            site.call().await?.exchange(10, 10).await
        },
    ),
    case!(
        "connecting-succeeds-before-accepting",
        async |site: Site| {
            let mut door = site.listen().await?;
            site.until("connected").await?;
            site.accept(&mut door).await?.exchange(10, 10).await
        },
        async |site: Site| {
            let talk = site.call().await?;
            site.meet.mark("connected");
            talk.exchange(10, 10).await
        },
    ),
    case!(
        "bytes-and-the-end-arrive-before-accepting",
        async |site: Site| {
            let mut door = site.listen().await?;
            site.until("gone").await?;
            site.accept(&mut door).await?.hear_to_end(FITS).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(FITS).await?;
            drop(talk);
            site.meet.mark("gone");
            Ok(())
        },
    ),
    // Their order is that in which the handshakes are over. On a way whose delay varies more than threefold it
    // could differ from that of the connecting.
    case!(
        "connections-are-accepted-in-their-order",
        async |site: Site| {
            let mut door = site.listen().await?;
            site.until("connected").await?;
            for number in 0..20 {
                let mut talk = site.accept(&mut door).await?;
                let came = talk.meet().await?;
                if came != number {
                    return Err(format!("number {came} came where {number} was due"));
                }
                talk.exchange(1000, 1000).await?;
            }
            Ok(())
        },
        async |site: Site| {
            let mut talks = Vec::new();
            for number in 0..20 {
                let mut talk = site.call().await?;
                talk.introduce(number).await?;
                talks.push(talk);
            }
            site.meet.mark("connected");
            for talk in talks {
                talk.exchange(1000, 1000).await?;
            }
            Ok(())
        },
    ),
    case!(
        "a-burst-of-connections-waits-to-be-accepted",
        async |site: Site| {
            let mut door = site.listen().await?;
            site.until("connected").await?;
            let mut seen = BTreeSet::new();
            for _ in 0..BURST {
                let mut talk = site.accept(&mut door).await?;
                seen.insert(talk.meet().await?);
                talk.hear_to_end(100).await?;
            }
            if seen != (0..BURST).collect() {
                return Err(format!("not every connection was met, only {seen:?}"));
            }
            site.meet.mark("heard");
            Ok(())
        },
        async |site: Site| {
            let mut talks = Vec::new();
            for number in 0..BURST {
                let mut talk = site.call().await?;
                talk.introduce(number).await?;
                talk.say(100).await?;
                talk.end().await?;
                talks.push(talk);
            }
            site.meet.mark("connected");
            site.until("heard").await.map(drop)
        },
    ),
    case!(
        "simultaneous-connections-keep-their-bytes-apart",
        async |site: Site| {
            let mut door = site.listen().await?;
            let mut tasks = Vec::new();
            for _ in 0..30 {
                let mut talk = site.accept(&mut door).await?;
                tasks.push(tokio::task::spawn_local(async move {
                    talk.meet().await?;
                    talk.exchange(40_000, 40_000).await
                }));
            }
            all(tasks).await
        },
        async |site: Site| {
            let mut tasks = Vec::new();
            for number in 0..30 {
                let site = site.clone();
                tasks.push(tokio::task::spawn_local(async move {
                    let mut talk = site.call().await?;
                    talk.introduce(number).await?;
                    talk.exchange(40_000, 40_000).await
                }));
            }
            all(tasks).await
        },
    ),
    case!(
        "connections-come-and-go-for-a-long-time",
        async |site: Site| {
            let mut door = site.listen().await?;
            for _ in 0..LONG {
                site.accept(&mut door).await?.exchange(10, 10).await?;
            }
            site.until("done").await.map(drop)
        },
        async |site: Site| {
            for _ in 0..LONG {
                site.call().await?.exchange(10, 10).await?;
            }
            site.meet.mark("done");
            Ok(())
        },
    ),
    case!(
        "a-peer-that-leaves-at-once-was-still-there",
        async |site: Site| {
            let mut door = site.listen().await?;
            for _ in 0..20 {
                drop(site.accept(&mut door).await?);
            }
            site.until("done").await.map(drop)
        },
        async |site: Site| {
            for _ in 0..20 {
                site.call().await?.hear_end().await?;
            }
            site.meet.mark("done");
            Ok(())
        },
    ),
    case!(
        "the-peer-s-address-is-the-other-end",
        async |site: Site| {
            let mut door = site.listen().await?;
            let mut ports = BTreeSet::new();
            for _ in 0..2 {
                let accepted = site.patiently("a connection", door.accept()).await?;
                let (stream, peer) = accepted.map_err(|error| error.to_string())?;
                peer_is(stream.as_ref(), peer)?;
                if peer.ip() != site.reach || peer.port() == 0 {
                    return Err(format!("the peer is {peer}, not at {}", site.reach));
                }
                ports.insert(peer.port());
                site.talk(stream).hear(10).await?;
            }
            if ports.len() != 2 {
                return Err("two connections have one address".to_owned());
            }
            site.meet.mark("heard");
            Ok(())
        },
        async |site: Site| {
            let address = site.address().await?;
            let mut talks = Vec::new();
            for _ in 0..2 {
                let mut talk = site.call().await?;
                peer_is(talk.stream().as_ref(), address)?;
                talk.say(10).await?;
                talks.push(talk);
            }
            site.until("heard").await.map(drop)
        },
    ),
    case!(
        "a-connect-that-was-given-up-leaves-nothing-open",
        async |site: Site| {
            let mut door = site.listen().await?;
            // Either it never comes, or it is over: in no case does it hang.
            loop {
                let mut talk = site.accept(&mut door).await?;
                match talk.hear_once(1).await {
                    Ok(1) => {
                        drop(door);
                        site.meet.mark("met");
                        talk.hear(9).await?;
                        talk.hear_end().await?;
                        break;
                    }
                    Err(error) if error.kind() == ErrorKind::TimedOut => {
                        return Err("a connection hangs that nobody holds".to_owned());
                    }
                    _ => {}
                }
            }
            // Nor does it hold the port.
            site.listen_at(port_of(&site).await?).await.map(drop)
        },
        async |site: Site| {
            let address = site.address().await?;
            for _ in 0..3 {
                let mut connecting = pin!(site.transport.connect(address));
                talk::waits(&mut connecting).await;
            }
            let mut talk = site.call().await?;
            talk.say(10).await?;
            site.until("met").await?;
            talk.end().await
        },
    ),
];

/// Connections of a burst: more than a small backlog holds, fewer than any sound one.
const BURST: u64 = 100;

/// Connections one after the other: enough to wear out what none of them gives back.
const LONG: u64 = 300;

/// The server's own address, with the port that it published.
async fn port_of(site: &Site) -> Result<SocketAddr, String> {
    Ok(SocketAddr::new(site.listen.ip(), site.meet.port().await))
}

/// Connects, and must be refused.
pub(super) async fn refused(site: &Site) -> Ending {
    let address = site.address().await?;
    match site
        .patiently("a refusal", site.transport.connect(address))
        .await?
    {
        Ok(_) => Err(format!("{address} was connected to, and nobody listens there")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(format!("instead of a refusal: {:?}: {error}", error.kind())),
    }
}

fn peer_is(stream: &dyn Stream, expected: SocketAddr) -> Ending {
    match stream.peer_addr() {
        Some(peer) if peer == expected => Ok(()),
        other => Err(format!("the peer is {other:?}, not {expected}")),
    }
}

async fn all(tasks: Vec<tokio::task::JoinHandle<Ending>>) -> Ending {
    for task in tasks {
        task.await
            .map_err(io::Error::from)
            .map_err(|error| error.to_string())??;
    }
    Ok(())
}
