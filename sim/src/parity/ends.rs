//! How a stream ends: in one direction, in both, and when it is dropped.

use std::pin::pin;

use super::{
    Case, Ending, Site, Talk, case,
    talk::{self, FITS, MUCH},
};

pub(super) const CASES: &[Case] = &[
    case!(
        "the-end-follows-all-bytes",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(MUCH).await?;
            talk.end().await
        },
        async |site: Site| site.call().await?.hear_to_end(MUCH).await,
    ),
    case!(
        "after-the-end-stays-the-end",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(10).await?;
            talk.end().await?;
            talk.hear_end().await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.hear_to_end(10).await?;
            for _ in 0..3 {
                talk.hear_end().await?;
            }
            talk.end().await
        },
    ),
    case!(
        "a-server-goes-on-after-the-client-ended",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear_to_end(1000).await?;
            talk.say(MUCH).await?;
            talk.end().await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(1000).await?;
            talk.end().await?;
            talk.hear_to_end(MUCH).await
        },
    ),
    case!(
        "a-client-goes-on-after-the-server-ended",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(1000).await?;
            talk.end().await?;
            talk.hear_to_end(MUCH).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.hear_to_end(1000).await?;
            talk.say(MUCH).await?;
            talk.end().await
        },
    ),
    case!(
        "both-ends-cross-and-both-arrive",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear(1).await?;
            both_end(&site, talk, "server ends", "client ends").await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(1).await?;
            both_end(&site, talk, "client ends", "server ends").await
        },
    ),
    case!(
        "ending-twice-is-fine",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.end().await?;
            talk.end().await?;
            talk.hear_to_end(10).await?;
            site.meet.mark("heard");
            Ok(())
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.hear_end().await?;
            talk.say(10).await?;
            talk.end().await?;
            talk.end().await?;
            site.until("heard").await?;
            // Now that both directions have ended, once more.
            talk.end().await
        },
    ),
    case!(
        "a-write-after-the-own-end-is-a-broken-pipe",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear_to_end(10).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(10).await?;
            talk.end().await?;
            match talk.say_once(10).await {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => talk.hear_end().await,
                other => Err(format!("the write gave {other:?}")),
            }
        },
    ),
    case!(
        "a-drop-with-nothing-unread-is-a-clean-end",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear(10).await?;
            talk.say(10).await?;
            drop(talk);
            site.until("the end").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(10).await?;
            talk.hear_to_end(10).await?;
            talk.hear_end().await?;
            site.meet.mark("the end");
            Ok(())
        },
    ),
    case!(
        "bytes-and-an-immediate-drop-arrive-completely",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(MUCH).await?;
            drop(talk);
            site.until("heard").await.map(drop)
        },
        async |site: Site| {
            site.call().await?.hear_to_end(MUCH).await?;
            site.meet.mark("heard");
            Ok(())
        },
    ),
    case!(
        "bytes-and-the-end-wait-for-a-late-reader",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(FITS).await?;
            talk.end().await?;
            drop(talk);
            site.meet.mark("dropped");
            site.until("heard").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            site.until("dropped").await?;
            talk.hear_to_end(FITS).await?;
            site.meet.mark("heard");
            Ok(())
        },
    ),
    case!(
        "a-reply-outlives-the-drop-after-a-half-close",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear_to_end(1000).await?;
            talk.say(MUCH).await?;
            drop(talk);
            site.until("heard").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(1000).await?;
            talk.end().await?;
            talk.hear_to_end(MUCH).await?;
            site.meet.mark("heard");
            Ok(())
        },
    ),
    case!(
        "both-drop-at-once-and-meet-again",
        async |site: Site| {
            let (mut door, mut talk) = site.serve().await?;
            talk.hear(10).await?;
            talk.say(10).await?;
            site.meet.mark("server drops");
            site.until("client drops").await?;
            drop(talk);
            site.accept(&mut door).await?.exchange(1000, 1000).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(10).await?;
            talk.hear(10).await?;
            site.meet.mark("client drops");
            site.until("server drops").await?;
            drop(talk);
            site.call().await?.exchange(1000, 1000).await
        },
    ),
    case!(
        "a-drop-with-a-read-under-way-is-a-clean-end",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            {
                let mut reading = pin!(talk.hear(1));
                if !talk::waits(&mut reading).await {
                    return Err("a read is over though nothing was sent".to_owned());
                }
            }
            drop(talk);
            site.until("the end").await.map(drop)
        },
        async |site: Site| {
            site.call().await?.hear_end().await?;
            site.meet.mark("the end");
            Ok(())
        },
    ),
    case!(
        "a-reader-wakes-at-the-end",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            site.until("reading").await?;
            talk.end().await?;
            talk.hear_end().await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            {
                let mut reading = pin!(talk.hear_end());
                if !talk::waits(&mut reading).await {
                    return Err("a read is over though nothing was sent".to_owned());
                }
                site.meet.mark("reading");
                reading.await?;
            }
            talk.end().await
        },
    ),
];

async fn both_end(site: &Site, mut talk: Talk, mine: &'static str, theirs: &'static str) -> Ending {
    site.meet.mark(mine);
    site.until(theirs).await?;
    talk.end().await?;
    talk.hear_end().await?;
    talk.hear_end().await
}
