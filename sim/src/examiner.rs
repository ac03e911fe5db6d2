//! Strangers that ask no more than anybody may: an HTTP entry, what its rules and plugins have to answer, and nodes, whether
//! they are ready.

use std::{io, net::SocketAddr, time::Duration};

use adit::transport::Stream;
use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    event::{Event, Oddity},
    node::{ADMIN_PORT, PUBLIC_PORT},
    plan::who::Who,
    stranger::Stranger,
    web::examined::{Expects, QUESTIONS, Question},
};

/// How long an answer may take. Who waits for longer asks something else.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at whether a node is ready.
const WATCHED: Duration = Duration::from_millis(700);

/// Between two questions, in ms.
const PAUSE_MS: std::ops::Range<u64> = 100..900;

/// A bucket that was left alone for so long is full again.
const FULL_AGAIN: Duration = Duration::from_millis(1_700);

/// An answer: its head in small letters, and its body.
struct Answer {
    head: String,
    body: String,
}

impl Stranger {
    /// Asks so many questions, one after another.
    pub(crate) async fn examine(&self, rng: &mut ChaCha8Rng, questions: u32) {
        let mut limited_until = Duration::ZERO;
        let mut again = None;
        for _ in 0..questions {
            // Once more, as soon as a limit has forgotten what came before.
            let pause = match again {
                Some(_) => FULL_AGAIN + Duration::from_millis(50),
                None => Duration::from_millis(rng.random_range(PAUSE_MS)),
            };
            adit::time::sleep(pause).await;
            let drawn = QUESTIONS.choose(rng).expect("there are some");
            let question = again.take().unwrap_or(drawn);
            let began = self.oracle.now();
            let mut answers = Vec::new();
            let asked = self.ask(question, &mut answers);
            // What breaks off says nothing.
            let _ = adit::time::within(PATIENCE, asked).await;
            let wrong = answers
                .iter()
                .find_map(|one| question.judge(&one.head, &one.body));
            if let Some(what) = wrong {
                self.odd(what);
            }
            if let Expects::Rate(burst, each_second) = question.expects {
                again = rng.random_bool(0.5).then_some(question);
                let full = began > limited_until + FULL_AGAIN;
                let took = self.oracle.now() - began;
                self.judge_rate(&answers, (burst, each_second), full, took);
                // What was not answered may be asked of it much later.
                let open = answers.len() < question.times;
                limited_until = self.oracle.now() + if open { 3 * PATIENCE } else { Duration::ZERO };
            }
        }
    }

    /// Asks a node again and again whether it is ready.
    pub(crate) async fn watch(&self, of: Who) {
        let place = SocketAddr::new(self.node.addresses[&of.to_string()], ADMIN_PORT);
        loop {
            adit::time::sleep(WATCHED).await;
            let asked = self.oracle.now();
            let answer = adit::time::within(PATIENCE, async {
                let mut line = self.sockets.connect(place).await?;
                line.write_all(b"GET /readyz HTTP/1.1\r\nHost: adit\r\nConnection: close\r\n\r\n")
                    .await?;
                read(&mut line).await
            });
            let Some(Ok(answer)) = answer.await else { continue };
            let status = answer.head.get(9..12).unwrap_or_default().to_owned();
            match &status[..] {
                "200" | "503" => self.oracle.tell(Event::Ready {
                    stranger: self.node.who,
                    of,
                    ready: status == "200",
                    asked_ms: (self.oracle.now() - asked).as_millis() as u64,
                }),
                _ => self.odd(format!("/readyz is answered with {}", answer.head)),
            }
        }
    }

    fn odd(&self, what: String) {
        self.oracle.tell(Event::Odd {
            place: self.node.who,
            session: None,
            what: Oddity::WrongHead(what),
        });
    }

    /// Whether as many came through as a limit allows, and the first at least where nothing came before.
    fn judge_rate(&self, answers: &[Answer], (burst, each_second): (u32, u32), full: bool, took: Duration) {
        let is_limited = |answer: &Answer| answer.head.starts_with("http/1.1 429");
        let through = answers.iter().filter(|answer| !is_limited(answer)).count();
        let most = f64::from(burst) + f64::from(each_second) * took.as_secs_f64() + 1.0;
        if through as f64 > most {
            self.odd(format!("{through} came through within {took:?}, {most:.1} may"));
        }
        let held = answers.iter().take(burst as usize).position(is_limited);
        if let Some(n) = held.filter(|_| full) {
            self.odd(format!(
                "the limit let {n} through, and {burst} may come after a pause"
            ));
        }
    }

    /// Asks a question as often as it says, over one connection as long as it lasts.
    async fn ask(&self, question: &Question, answers: &mut Vec<Answer>) -> io::Result<()> {
        let entry = SocketAddr::new(self.server, PUBLIC_PORT);
        let mut line = self.sockets.connect(entry).await?;
        for n in 0..question.times {
            if n > 0
                && answers
                    .last()
                    .is_some_and(|one| one.head.contains("connection: close"))
            {
                line = self.sockets.connect(entry).await?;
            }
            // Who is answered early may not take the rest.
            let _ = line.write_all(&question.bytes()).await;
            answers.push(read(&mut line).await?);
        }
        Ok(())
    }
}

/// Reads one answer.
async fn read(line: &mut Box<dyn Stream>) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let (head, mut body) = loop {
        if line.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            break (head.to_lowercase(), body.as_bytes().to_vec());
        }
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    while body.len() < length {
        if line.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { head, body })
}
