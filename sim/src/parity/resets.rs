//! What tells a connection that failed from one that ended.
//!
//! Bytes that arrived before a reset may still be read or may be lost: a case takes any beginning of them. A reset
//! that arrives while the peer still connects fails the connecting, so nobody resets before the other is connected.

use std::pin::pin;

use adit::time::{self, Duration};

use super::{
    Case, Ending, Site, Talk, case,
    talk::{self, FITS},
};

pub(super) const CASES: &[Case] = &[
    case!(
        "a-drop-with-unread-bytes-resets-the-peer",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear(1).await?;
            drop(talk);
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(1000).await?;
            fails(&site, talk).await
        },
    ),
    case!(
        "writing-to-a-dropped-peer-fails",
        async |site: Site| {
            let (_door, talk) = site.serve().await?;
            drop(talk);
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.hear_end().await?;
            talk.say_to_failure().await?;
            site.meet.mark("failed");
            Ok(())
        },
    ),
    case!(
        "a-peer-that-ended-and-then-dropped-takes-no-more",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(10).await?;
            talk.end().await?;
            talk.hear(10).await?;
            drop(talk);
            site.meet.mark("dropped");
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.hear_to_end(10).await?;
            talk.say(10).await?;
            site.until("dropped").await?;
            talk.say_to_failure().await?;
            site.meet.mark("failed");
            Ok(())
        },
    ),
    case!(
        "a-blocked-reader-sees-a-reset",
        async |site: Site| {
            let (_door, talk) = site.serve().await?;
            site.until("reading").await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            let mut reading = pin!(talk.hear_failure());
            if !talk::waits(&mut reading).await {
                return Err("a read is over though nothing was sent".to_owned());
            }
            site.meet.mark("reading");
            reading.await?;
            site.meet.mark("failed");
            Ok(())
        },
    ),
    case!(
        "a-blocked-writer-sees-a-reset",
        async |site: Site| {
            let (_door, talk) = site.serve().await?;
            site.until("writing").await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
        async |site: Site| a_blocked_writer_fails(&site).await,
    ),
    case!(
        "a-blocked-writer-sees-its-reader-drop",
        async |site: Site| {
            let (_door, talk) = site.serve().await?;
            site.until("writing").await?;
            drop(talk);
            site.until("failed").await.map(drop)
        },
        async |site: Site| a_blocked_writer_fails(&site).await,
    ),
    case!(
        "a-client-s-reset-is-a-reset-too",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(10).await?;
            fails(&site, talk).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.hear(10).await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
    ),
    case!(
        "a-reset-overtakes-bytes-that-were-just-written",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            site.until("connected").await?;
            talk.say(FITS).await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let talk = site.call().await?;
            site.meet.mark("connected");
            fails(&site, talk).await
        },
    ),
    case!(
        "a-reset-passes-a-closed-window",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.fill().await?;
            talk.reset();
            site.meet.mark("reset");
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let talk = site.call().await?;
            site.until("reset").await?;
            fails(&site, talk).await
        },
    ),
    case!(
        "a-reset-with-bytes-unread-is-a-reset",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear(1).await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(1000).await?;
            fails(&site, talk).await
        },
    ),
    case!(
        "a-reset-while-idle-is-seen-by-the-next-read",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear(10).await?;
            talk.say(10).await?;
            site.until("idle").await?;
            talk.reset();
            site.meet.mark("reset");
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(10).await?;
            talk.hear(10).await?;
            site.meet.mark("idle");
            site.until("reset").await?;
            fails(&site, talk).await
        },
    ),
    case!(
        "after-a-reset-no-byte-is-read-and-none-is-taken",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            site.until("connected").await?;
            talk.say(10).await?;
            talk.reset();
            site.until("done").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            site.meet.mark("connected");
            talk.hear_failure().await?;
            for _ in 0..3 {
                // Linux tells the error once and then says that there is no more.
                if let Ok(n @ 1..) = talk.hear_once(100).await {
                    return Err(format!("{n} bytes were read after the reset"));
                }
            }
            talk.say_to_failure().await?;
            site.meet.mark("done");
            Ok(())
        },
    ),
    case!(
        "a-reset-after-the-peer-s-end-is-a-reset",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.hear_to_end(10).await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(10).await?;
            talk.end().await?;
            fails(&site, talk).await
        },
    ),
    case!(
        "a-reset-after-the-own-end-fails-the-peer-s-writes",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            talk.say(10).await?;
            talk.end().await?;
            site.until("heard").await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.hear_to_end(10).await?;
            site.meet.mark("heard");
            talk.say_to_failure().await?;
            site.meet.mark("failed");
            Ok(())
        },
    ),
    case!(
        "a-reset-leaves-other-connections-alone",
        async |site: Site| {
            let (mut door, mut first) = site.serve().await?;
            first.hear(10).await?;
            site.meet.mark("met");
            let second = site.accept(&mut door).await?;
            site.until("connected").await?;
            second.reset();
            site.until("failed").await?;
            first.exchange(40_000, 40_000).await
        },
        async |site: Site| {
            let mut first = site.call().await?;
            first.say(10).await?;
            site.until("met").await?;
            let second = site.call().await?;
            site.meet.mark("connected");
            fails(&site, second).await?;
            first.exchange(40_000, 40_000).await
        },
    ),
    case!(
        "a-reset-shows-without-reading",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            site.until("connected").await?;
            talk.say(10).await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            site.meet.mark("connected");
            shows(&site, &mut talk).await?;
            site.meet.mark("failed");
            Ok(())
        },
    ),
    case!(
        "a-reset-shows-behind-bytes-that-nobody-reads",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            shows(&site, &mut talk).await?;
            site.meet.mark("failed");
            Ok(())
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.fill().await?;
            talk.reset();
            site.until("failed").await.map(drop)
        },
    ),
    case!(
        "both-reset-at-once-and-meet-again",
        async |site: Site| {
            let (mut door, mut talk) = site.serve().await?;
            talk.hear(10).await?;
            site.meet.mark("server resets");
            site.until("client resets").await?;
            talk.reset();
            site.accept(&mut door).await?.exchange(1000, 1000).await
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            talk.say(10).await?;
            site.meet.mark("client resets");
            site.until("server resets").await?;
            talk.reset();
            site.call().await?.exchange(1000, 1000).await
        },
    ),
    case!(
        "a-sound-stream-does-not-look-broken",
        async |site: Site| {
            let (_door, mut talk) = site.serve().await?;
            sound(&mut talk, "fresh")?;
            talk.hear(1).await?;
            sound(&mut talk, "with bytes unread")?;
            talk.hear_to_end(999).await?;
            sound(&mut talk, "after the peer's end")?;
            talk.say(10).await?;
            talk.end().await?;
            sound(&mut talk, "after both ends")
        },
        async |site: Site| {
            let mut talk = site.call().await?;
            sound(&mut talk, "fresh")?;
            talk.say(1000).await?;
            talk.end().await?;
            sound(&mut talk, "after the own end")?;
            talk.hear_to_end(10).await?;
            sound(&mut talk, "after both ends")
        },
    ),
];

/// Hears that the connection is dead, and tells the other side.
async fn fails(site: &Site, mut talk: Talk) -> Ending {
    talk.hear_failure().await?;
    site.meet.mark("failed");
    Ok(())
}

/// Writes until nothing more is taken, tells the other side, and waits for the failure.
async fn a_blocked_writer_fails(site: &Site) -> Ending {
    let mut talk = site.call().await?;
    talk.fill().await?;
    let mut writing = pin!(talk.say_to_failure());
    if !talk::waits(&mut writing).await {
        return Err("the writer is not blocked".to_owned());
    }
    site.meet.mark("writing");
    writing.await?;
    site.meet.mark("failed");
    Ok(())
}

/// Waits until the stream looks broken, without reading it.
async fn shows(site: &Site, talk: &mut Talk) -> Ending {
    let broken = async {
        while !talk.stream().is_broken() {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    site.patiently("the stream to show that it is broken", broken)
        .await
}

fn sound(talk: &mut Talk, when: &str) -> Ending {
    if talk.stream().is_broken() {
        return Err(format!("looks broken {when}"));
    }
    Ok(())
}
