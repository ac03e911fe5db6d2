//! Packets: what they say, when they are sent again, and those that the router makes itself.

use std::{net::SocketAddr, time::Duration};

use turmoil_net::{NetstatState, Packet, TcpFlags, TcpSegment, Transport, netstat};

use super::book::Ends;

/// The first wait before a packet is sent again, and before a SYN is (RFC 6298; Linux's `TCP_RTO_MIN` and
/// `TCP_TIMEOUT_INIT`). Each further wait is twice as long.
const RETRANSMIT_FIRST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// The longest such wait. Linux goes to 120 s; a run is too short to wait that long.
const RETRANSMIT_MAX: Duration = Duration::from_millis(3_200);

/// The sending end and the segment of a TCP packet.
pub fn tcp_of(packet: &mut Packet) -> Option<(Ends, &mut TcpSegment)> {
    let (src, dst) = (packet.src, packet.dst);
    match &mut packet.payload {
        Transport::Tcp(segment) => {
            let ends = Ends {
                local: SocketAddr::new(src, segment.src_port),
                peer: SocketAddr::new(dst, segment.dst_port),
            };
            Some((ends, segment))
        }
        Transport::Udp(_) => None,
    }
}

/// Whether the software that connects from here still waits for it.
pub fn still_connecting(ends: Ends) -> bool {
    netstat(ends.local.ip()).entries.iter().any(|entry| {
        entry.local == ends.local
            && entry.peer == Some(ends.peer)
            && entry.state == Some(NetstatState::SynSent)
    })
}

/// How far `edge` lies beyond `from`; 0 when it does not.
pub fn distance(from: u32, edge: u32) -> usize {
    let ahead = edge.wrapping_sub(from);
    if ahead > u32::MAX / 2 { 0 } else { ahead as usize }
}

/// The wait before a packet is sent for the `nth` time again.
pub fn retransmit_wait(nth: u32, syn: bool) -> Duration {
    let first = if syn {
        RETRANSMIT_FIRST.1
    } else {
        RETRANSMIT_FIRST.0
    };
    (first * (1 << nth.min(8))).min(RETRANSMIT_MAX)
}

/// When what was first sent at `since` is sent again, at `mended` or after.
pub fn sent_again(since: Duration, mended: Duration, syn: bool) -> Duration {
    let mut at = since;
    let mut nth = 0;
    while at < mended {
        at += retransmit_wait(nth, syn);
        nth += 1;
    }
    at
}

/// The flags as a number, for the trace.
pub fn bits(flags: TcpFlags) -> u8 {
    u8::from(flags.syn) | u8::from(flags.ack) << 1 | u8::from(flags.fin) << 2 | u8::from(flags.rst) << 3
}

fn segment(from: SocketAddr, to: SocketAddr, ack: u32, flags: TcpFlags, window: u16) -> Packet {
    Packet {
        src: from.ip(),
        dst: to.ip(),
        ttl: 64,
        payload: Transport::Tcp(TcpSegment {
            src_port: from.port(),
            dst_port: to.port(),
            seq: 0,
            ack,
            flags,
            window,
            payload: Default::default(),
        }),
    }
}

/// A reset.
pub fn reset(from: SocketAddr, to: SocketAddr) -> Packet {
    let flags = TcpFlags {
        rst: true,
        ..TcpFlags::default()
    };
    segment(from, to, 0, flags, 0)
}

/// An acknowledgement that announces a window.
pub fn announce(ends: Ends, ack: u32, window: u16) -> Packet {
    let flags = TcpFlags {
        ack: true,
        ..TcpFlags::default()
    };
    segment(ends.local, ends.peer, ack, flags, window)
}
