//! Bytes in flight: bounded, in order, complete, however they are written and read.

use adit::time::{self, Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Case, Ending, Site, Talk, case,
    talk::{FLIGHT_MAX, MUCH},
};

const BULK: u64 = 1 << 20;

pub(super) const CASES: &[Case] = &[
    case!(
        "a-writer-blocks-until-the-reader-reads",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            let more = site.until("full").await?;
            talk.hear_to_end(more + MUCH).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            let taken = talk.fill().await?;
            site.meet.tell("full", taken);
            // Blocked now; this write wakes when there is room again.
            talk.say(MUCH).await?;
            talk.end().await
        },
    ),
    case!(
        "one-write-takes-only-what-fits",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            let taken = site.until("full").await?;
            talk.hear_to_end(taken).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            let all = usize::try_from(FLIGHT_MAX).unwrap_or(usize::MAX);
            let taken = talk.say_once(all).await.map_err(|error| error.to_string())?;
            if taken == 0 || taken == all {
                return Err(format!("one write took {taken} of {all} bytes"));
            }
            site.meet.tell("full", taken as u64);
            talk.end().await
        },
    ),
    case!(
        "a-closed-window-reopens-under-tiny-reads",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            let more = site.until("full").await?;
            talk.hear_in_pieces(more + MUCH, 200).await?;
            talk.hear_end().await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            let taken = talk.fill().await?;
            site.meet.tell("full", taken);
            talk.say(MUCH).await?;
            talk.end().await
        },
    ),
    case!(
        "a-window-closes-and-reopens-many-times",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            for _ in 0..3 {
                let more = site.until("full").await?;
                site.meet.forget("full");
                talk.hear(more).await?;
                site.meet.mark("drained");
            }
            talk.hear_end().await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            for _ in 0..3 {
                let taken = talk.fill().await?;
                site.meet.tell("full", taken);
                site.until("drained").await?;
                site.meet.forget("drained");
            }
            talk.end().await
        },
    ),
    case!(
        "what-was-taken-outlives-a-drop",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            let taken = talk.fill().await?;
            drop(talk);
            site.meet.tell("dropped", taken);
            site.until("heard").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            let taken = site.until("dropped").await?;
            talk.hear_to_end(taken).await?;
            site.meet.mark("heard");
            Ok(())
        },
    ),
    case!(
        "both-directions-fill-and-drain",
        async |site: Site| {
            let (_door, talk) = site.serve().await?;
            fill_and_drain(&site, talk, "server full", "client full").await
        },
        async |site: Site| {
            let talk = site.call().await?;
            fill_and_drain(&site, talk, "client full", "server full").await
        },
    ),
    case!(
        "a-full-direction-does-not-stop-the-other",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            let taken = site.until("full").await?;
            talk.say(MUCH).await?;
            talk.end().await?;
            site.until("heard").await?;
            talk.hear_to_end(taken).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            let taken = talk.fill().await?;
            site.meet.tell("full", taken);
            talk.hear_to_end(MUCH).await?;
            site.meet.mark("heard");
            talk.end().await
        },
    ),
    case!(
        "bulk-passes-both-ways-at-once",
        async |site: Site| {
            let (_door, talk) = site.serve().await?;
            talk.exchange(BULK, BULK).await
        },
        async |site: Site| site.call().await?.exchange(BULK, BULK).await,
    ),
    case!(
        "two-tasks-share-one-stream",
        async |site: Site| {
            let (_door, talk) = site.serve().await?;
            two_tasks(talk).await
        },
        async |site: Site| two_tasks(site.call().await?).await,
    ),
    case!(
        "single-bytes-arrive-in-order",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear_to_end(3000).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say_in_pieces(3000, 1).await?;
            talk.end().await
        },
    ),
    case!(
        "an-empty-write-says-nothing",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear(10).await?;
            site.meet.mark("heard");
            talk.hear_to_end(10).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            empty_write(&site, &mut talk).await?;
            talk.say(10).await?;
            empty_write(&site, &mut talk).await?;
            site.until("heard").await?;
            empty_write(&site, &mut talk).await?;
            talk.say(10).await?;
            talk.end().await
        },
    ),
    case!(
        "an-empty-read-takes-nothing",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear(1).await?;
            let read = site
                .patiently("an empty read", talk.stream().read(&mut []))
                .await?;
            match read {
                Ok(0) => talk.hear_to_end(999).await,
                other => Err(format!("the empty read gave {other:?}")),
            }
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(1000).await?;
            talk.end().await
        },
    ),
    case!(
        "flushing-does-not-wait-for-the-reader",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            let taken = site.until("flushed").await?;
            talk.hear_to_end(taken + 10).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(10).await?;
            flush(&site, &mut talk).await?;
            let taken = talk.fill().await?;
            flush(&site, &mut talk).await?;
            site.meet.tell("flushed", taken);
            talk.end().await
        },
    ),
    case!(
        "a-read-that-was-given-up-loses-nothing",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            // Reads that are cut off at any moment, while the bytes come in.
            let mut heard = 0;
            while heard < MUCH {
                let read = time::within(Duration::from_micros(50), talk.hear_once(1000)).await;
                match read {
                    None => site.meet.mark("gave up"),
                    Some(Ok(0)) => return Err(format!("the end came after {heard} bytes")),
                    Some(Ok(n)) => heard += n as u64,
                    Some(Err(error)) => return Err(format!("reading after {heard} bytes: {error}")),
                }
            }
            talk.hear_end().await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            site.until("gave up").await?;
            talk.say_in_pieces(MUCH, 1000).await?;
            talk.end().await
        },
    ),
];

async fn fill_and_drain(site: &Site, mut talk: Talk, mine: &'static str, theirs: &'static str) -> Ending {
    let taken = talk.fill().await?;
    site.meet.tell(mine, taken);
    let coming = site.until(theirs).await?;
    talk.hear(coming).await?;
    talk.exchange(MUCH, MUCH).await
}

/// Hears in one task what the other side's other task says.
async fn two_tasks(talk: Talk) -> Ending {
    let (mut hearer, mut sayer) = talk.split();
    let hearing = tokio::task::spawn_local(async move { hearer.hear_to_end(MUCH).await });
    let saying = tokio::task::spawn_local(async move {
        sayer.say(MUCH).await?;
        sayer.end().await
    });
    hearing.await.map_err(|error| error.to_string())??;
    saying.await.map_err(|error| error.to_string())?
}

async fn empty_write(site: &Site, talk: &mut Talk) -> Ending {
    match site.patiently("an empty write", talk.stream().write(&[])).await? {
        Ok(0) => Ok(()),
        other => Err(format!("the empty write gave {other:?}")),
    }
}

async fn flush(site: &Site, talk: &mut Talk) -> Ending {
    let flushed = site.patiently("a flush", talk.stream().flush()).await?;
    flushed.map_err(|error| format!("flushing: {error}"))
}
