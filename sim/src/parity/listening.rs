//! Listeners: what they hold, what is left when they go, and the port they free.

use std::{collections::BTreeSet, net::SocketAddr, pin::pin};

use adit::{
    time::{self, Duration},
    transport::Listener,
};

use super::{Case, Ending, Site, Talk, case, connects::refused, talk};

pub(super) const CASES: &[Case] = &[
    case!(
        "a-listener-says-which-port-it-took",
        async |site: Site| {
            let first = site.listen().await?;
            let any = SocketAddr::new(site.listen.ip(), 0);
            let second = site.listen_at(any).await?;
            let (one, other) = (first.local_addr().port(), second.local_addr().port());
            if one == 0 || other == 0 || one == other {
                return Err(format!("the ports are {one} and {other}"));
            }
            if site.listen.port() != 0 && site.listen.port() != one {
                return Err(format!("{one} was taken instead of {}", site.listen.port()));
            }
            let mut doors = [first, second];
            site.meet.tell("second", u64::from(other));
            for (number, door) in (1..).zip(&mut doors) {
                let mut talk = site.accept(door).await?;
                if talk.meet().await? != number {
                    return Err("a connection came to the wrong listener".to_owned());
                }
                talk.hear_end().await?;
            }
            Ok(())
        },
        async |site: Site| {
            let port = u16::try_from(site.until("second").await?).unwrap_or(0);
            let doors = [site.address().await?, SocketAddr::new(site.reach, port)];
            for (number, address) in (1..).zip(doors) {
                let mut talk = site.call_at(address).await?;
                talk.introduce(number).await?;
                talk.end().await?;
                talk.hear_end().await?;
            }
            Ok(())
        },
    ),
    case!(
        "a-bound-port-cannot-be-bound",
        async |site: Site| {
            let mut door = site.listen().await?;
            let again = SocketAddr::new(site.listen.ip(), door.local_addr().port());
            let bound = site
                .patiently("a second listener", site.transport.listen(again))
                .await?;
            match bound {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(format!("{:?}: {error}", error.kind())),
                Ok(_) => return Err("two listeners have one port".to_owned()),
            }
            // The attempt harmed nobody.
            site.accept(&mut door).await?.exchange(10, 10).await
        },
        async |site: Site| site.call().await?.exchange(10, 10).await,
    ),
    case!(
        "accepted-streams-outlive-their-listener",
        async |site: Site| {
            let (door, mut talk) = site.serve().await?;
            drop(door);
            site.meet.mark("gone");
            site.until("refused").await?;
            talk.say(10).await?;
            talk.exchange(1000, 1000).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            site.until("gone").await?;
            refused(&site).await?;
            site.meet.mark("refused");
            talk.hear(10).await?;
            talk.exchange(1000, 1000).await
        },
    ),
    case!(
        "a-dropped-listener-resets-who-was-not-accepted",
        async |site: Site| {
            let door = site.listen().await?;
            site.until("connected").await?;
            drop(door);
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let (mut silent, mut speaking) = (site.call().await?, site.call().await?);
            speaking.say(10).await?;
            site.meet.mark("connected");
            silent.hear_failure().await?;
            speaking.hear_failure().await?;
            site.meet.mark("failed");
            Ok(())
        },
    ),
    case!(
        "a-freed-port-can-be-bound-at-once",
        async |site: Site| {
            for _ in 0..5 {
                let (door, talk) = site.serve().await?;
                talk.exchange(10, 10).await?;
                site.until("over").await?;
                site.meet.forget("over");
                let again = SocketAddr::new(site.listen.ip(), door.local_addr().port());
                drop(door);
                drop(site.listen_at(again).await?);
                site.meet.mark("freed");
            }
            Ok(())
        },
        async |site: Site| {
            for _ in 0..5 {
                site.call().await?.exchange(10, 10).await?;
                site.meet.unpublish();
                site.meet.mark("over");
                site.until("freed").await?;
                site.meet.forget("freed");
            }
            Ok(())
        },
    ),
    case!(
        "a-port-is-free-beside-an-open-connection",
        async |site: Site| {
            let (door, old) = site.serve().await?;
            let _door = takes_over(&site, door).await?;
            old.exchange(1000, 1000).await
        },
        async |site: Site| {
            let old = site.call().await?;
            meets_the_next(&site).await?;
            old.exchange(1000, 1000).await
        },
    ),
    case!(
        "a-port-is-free-beside-half-closed-connections",
        async |site: Site| {
            let (mut door, mut ended) = site.serve().await?;
            ended.end().await?;
            let mut left = site.accept(&mut door).await?;
            left.hear_end().await?;
            site.until("halves").await?;
            let _door = takes_over(&site, door).await?;
            ended.hear_to_end(1000).await?;
            left.say(1000).await?;
            left.end().await
        },
        async |site: Site| {
            let mut ended = site.call().await?;
            ended.hear_end().await?;
            let mut left = site.call().await?;
            left.end().await?;
            site.meet.mark("halves");
            meets_the_next(&site).await?;
            ended.say(1000).await?;
            ended.end().await?;
            left.hear_to_end(1000).await
        },
    ),
    case!(
        "a-port-is-free-after-the-server-closed-first",
        async |site: Site| {
            let (mut door, talk) = site.serve().await?;
            drop(talk);
            site.until("closed").await?;
            // Another whose peer never closes at all.
            drop(site.accept(&mut door).await?);
            site.until("ended").await?;
            takes_over(&site, door).await.map(drop)
        },
        async |site: Site| {
            site.call().await?.hear_end().await?;
            site.meet.mark("closed");
            let mut kept = site.call().await?;
            kept.hear_end().await?;
            site.meet.mark("ended");
            meets_the_next(&site).await
        },
    ),
    case!(
        "a-new-listener-leaves-alone-what-is-still-being-sent",
        async |site: Site| {
            let (door, mut talk) = site.serve().await?;
            let taken = talk.fill().await?;
            drop(talk);
            let _door = takes_over(&site, door).await?;
            site.meet.tell("dropped", taken);
            site.until("heard").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            meets_the_next(&site).await?;
            talk.hear_to_end(site.until("dropped").await?).await?;
            site.meet.mark("heard");
            Ok(())
        },
    ),
    case!(
        "a-port-is-free-after-connections-were-reset",
        async |site: Site| {
            let (mut door, talk) = site.serve().await?;
            site.until("connected").await?;
            talk.reset();
            site.until("failed").await?;
            site.accept(&mut door).await?.hear_failure().await?;
            takes_over(&site, door).await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            site.meet.mark("connected");
            talk.hear_failure().await?;
            site.meet.mark("failed");
            site.call().await?.reset();
            meets_the_next(&site).await
        },
    ),
    case!(
        "an-accept-that-was-given-up-loses-nobody",
        async |site: Site| {
            let mut door = site.listen().await?;
            let mut seen = BTreeSet::new();
            let accepting = async {
                while seen.len() < 30 {
                    // Given up at any moment, also in the one between waking and being polled.
                    let accepted = time::within(Duration::from_micros(50), door.accept()).await;
                    site.meet.mark("gave up");
                    if let Some(accepted) = accepted {
                        let (stream, _) = accepted.map_err(|error| error.to_string())?;
                        seen.insert(site.talk(stream).meet().await?);
                    }
                }
                Ending::Ok(())
            };
            site.patiently("30 connections", accepting).await?
        },
        async |site: Site| {
            site.until("gave up").await?;
            for number in 0..30 {
                let mut talk = site.call().await?;
                talk.introduce(number).await?;
                talk.hear_end().await?;
            }
            Ok(())
        },
    ),
    case!(
        "an-acceptor-wakes-for-who-comes",
        async |site: Site| {
            let mut door = site.listen().await?;
            let mut accepting = pin!(site.accept(&mut door));
            if !talk::waits(&mut accepting).await {
                return Err("somebody was accepted before anybody came".to_owned());
            }
            site.meet.mark("accepting");
            accepting.await?.exchange(10, 10).await
        },
        async |site: Site| {
            site.until("accepting").await?;
            site.call().await?.exchange(10, 10).await
        },
    ),
    case!(
        "a-reset-in-the-queue-does-not-harm-the-listener",
        async |site: Site| {
            let mut door = site.listen().await?;
            site.until("connected").await?;
            // The one that was reset may be skipped, or accepted and found dead.
            loop {
                let mut talk = site.accept(&mut door).await?;
                if talk.meet().await.is_ok() {
                    return talk.exchange(10, 10).await;
                }
            }
        },
        async |site: Site| {
            site.call().await?.reset();
            let mut talk = site.call().await?;
            talk.introduce(7).await?;
            site.meet.mark("connected");
            talk.exchange(10, 10).await
        },
    ),
];

/// Drops `door`, listens on the same port at once, and serves one connection there.
async fn takes_over(site: &Site, door: Box<dyn Listener>) -> Result<Box<dyn Listener>, String> {
    let again = SocketAddr::new(site.listen.ip(), door.local_addr().port());
    drop(door);
    let mut door = site.listen_at(again).await?;
    site.meet.mark("taken over");
    site.accept(&mut door).await?.exchange(1000, 1000).await?;
    Ok(door)
}

/// The client's part in [`takes_over`].
async fn meets_the_next(site: &Site) -> Ending {
    site.until("taken over").await?;
    let talk: Talk = site.call().await?;
    talk.exchange(1000, 1000).await
}
