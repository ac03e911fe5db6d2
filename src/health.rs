//! `adit health`: asks a running node whether it is ready. For images that have no other program to ask with.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
};

use adit::time::Duration;
use anyhow::{Context, bail};

/// How long a node on the same machine may take for each step.
const PATIENCE: Duration = Duration::from_secs(2);
/// More of an answer is not read: the first line is enough.
const ANSWER_LEN_MAX: u64 = 1024;

/// Asks the node whose admin address is `admin`.
///
/// # Errors
/// It is not ready, does not answer, or is not there.
pub fn ask(admin: &str) -> anyhow::Result<()> {
    let addresses: Vec<SocketAddr> = admin
        .to_socket_addrs()
        .with_context(|| format!("{admin}: expected an address like `127.0.0.1:7500`"))?
        .collect();
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return talk(stream, admin).with_context(|| format!("asking {admin}")),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("cannot connect to {admin}")),
        None => bail!("no address for {admin}"),
    }
}

fn talk(mut stream: TcpStream, host: &str) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    // A node that is cut off in the middle of its answer has said enough before.
    let read = stream.take(ANSWER_LEN_MAX).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    match answer.lines().next().and_then(|line| line.split(' ').nth(1)) {
        Some("200") => Ok(()),
        Some(status) => match answer.split_once("\r\n\r\n").map(|(_, body)| body.trim()) {
            None | Some("") => bail!("not ready: status {status}"),
            // It says itself that it is not ready, and why.
            Some(reason) => bail!("{reason}"),
        },
        None => {
            read?;
            bail!("no answer")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn asked(answer: &'static str) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let node = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let len = stream.read(&mut request).unwrap();
            assert!(request[..len].starts_with(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let result = ask(&address);
        node.join().unwrap();
        result
    }

    #[test]
    fn only_200_is_ready() {
        assert!(asked("HTTP/1.1 200 OK\r\n\r\nready").is_ok());
        let draining = asked("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert!(format!("{draining:#}").contains("not ready: status 503"));
        let why = "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: draining\n";
        assert!(format!("{:#}", asked(why).unwrap_err()).ends_with(": not ready: draining"));
        assert!(asked("").is_err());
        assert!(ask("127.0.0.1").is_err(), "a port is needed");
    }

    #[test]
    fn nobody_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = ask(&address).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot connect to "),
            "{error:#}"
        );
    }
}
