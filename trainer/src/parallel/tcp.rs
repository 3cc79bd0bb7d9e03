//! Workers that are processes, on one machine or several, each connected to each other by TCP.
//!
//! A message is a header of 16 bytes and its content: `ADP1`, what it is (one byte, then three zeros), and its length (eight bytes,
//! least first). Whoever reads knows how much may come, and believes no length beyond that. Nothing is encrypted and nobody has to
//! prove who they are: the network has to be one's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::transport::{Transport, failed, gone};
use crate::error::Result;

const MAGIC: [u8; 4] = *b"ADP1";
const HEADER: usize = 16;
/// What the system takes from a writer without a reader, wherever this runs; more is written by a thread of its own.
const SMALL: usize = 8 << 10;
/// The longest reason for giving up.
const LONGEST_REASON: usize = 1 << 16;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers of a step and the like.
    Data = 1,
    /// Why a worker gives up.
    Abort = 2,
    /// A worker asks the first to be taken in.
    Hello = 3,
    /// It is, and these are the others.
    Welcome = 4,
    /// It is not, for this reason.
    Refusal = 5,
    /// A worker connects to another.
    Greeting = 6,
}

/// A message cannot be read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection.
    Io(std::io::Error),
    /// It is none of ours, or not the one that is due.
    Strange(String),
    /// The other gives up.
    Abort(String),
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes a message.
pub(super) fn write(mut stream: &TcpStream, kind: Kind, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = kind as u8;
    header[8..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    if bytes.len() <= SMALL {
        // One packet instead of two.
        let mut whole = Vec::with_capacity(HEADER + bytes.len());
        whole.extend_from_slice(&header);
        whole.extend_from_slice(bytes);
        return stream.write_all(&whole);
    }
    stream.write_all(&header)?;
    stream.write_all(bytes)
}

/// Reads a message of this kind and of at most `most` bytes.
pub(super) fn read(
    mut stream: &TcpStream,
    kind: Kind,
    into: &mut Vec<u8>,
    most: usize,
) -> Result<(), Broken> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let (magic, rest) = header.split_at(4);
    let (what, length) = rest.split_at(4);
    if magic != MAGIC || what[1..] != [0; 3] {
        return Err(Broken::Strange("what it sent is no message".to_owned()));
    }
    let length = length
        .iter()
        .rev()
        .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    let most = match what[0] {
        of if of == kind as u8 => most,
        of if of == Kind::Abort as u8 || of == Kind::Refusal as u8 => LONGEST_REASON,
        of => {
            return Err(Broken::Strange(format!(
                "it sent a message of kind {of}, {} was due",
                kind as u8
            )));
        }
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length <= most)
        .ok_or_else(|| {
            Broken::Strange(format!("it sent {length} bytes, {most} at most were due"))
        })?;
    into.clear();
    into.resize(length, 0);
    stream.read_exact(into)?;
    if what[0] == kind as u8 {
        Ok(())
    } else {
        Err(Broken::Abort(String::from_utf8_lossy(into).into_owned()))
    }
}

/// One of several processes.
#[derive(Debug)]
pub struct Tcp {
    rank: usize,
    /// To each worker; none to this one.
    connections: Vec<Option<TcpStream>>,
    timeout: Duration,
}

impl Tcp {
    /// Worker `rank` with a connection to each other one. A worker that says nothing for `timeout` is taken for dead.
    pub(super) fn new(
        rank: usize,
        connections: Vec<Option<TcpStream>>,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        for stream in connections.iter().flatten() {
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
        }
        Ok(Self {
            rank,
            connections,
            timeout,
        })
    }

    fn to(&self, rank: usize) -> Result<&TcpStream> {
        let connection = self.connections.get(rank).and_then(Option::as_ref);
        connection.ok_or_else(|| gone(rank))
    }

    fn sent(&self, to: usize, bytes: &[u8]) -> Result<()> {
        write(self.to(to)?, Kind::Data, bytes).map_err(|error| self.lost(to, &error))
    }

    fn received(&self, from: usize, into: &mut Vec<u8>, most: usize) -> Result<()> {
        match read(self.to(from)?, Kind::Data, into, most) {
            Ok(()) => Ok(()),
            Err(Broken::Io(error)) => Err(self.lost(from, &error)),
            Err(Broken::Strange(problem)) => Err(failed(from, problem)),
            Err(Broken::Abort(reason)) => Err(failed(from, format!("it gave up: {reason}"))),
        }
    }

    fn lost(&self, rank: usize, error: &std::io::Error) -> crate::error::Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                let seconds = self.timeout.as_secs();
                failed(rank, format!("it said nothing for {seconds} seconds"))
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                gone(rank)
            }
            _ => failed(rank, format!("the connection is lost: {error}")),
        }
    }
}

impl Transport for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn workers(&self) -> usize {
        self.connections.len()
    }

    fn exchange(
        &self,
        sent: Option<(usize, &[u8])>,
        from: Option<usize>,
        received: &mut Vec<u8>,
        most: usize,
    ) -> Result<()> {
        let (sent, from) = match (sent, from) {
            (None, None) => return Ok(()),
            (Some((to, bytes)), None) => return self.sent(to, bytes),
            (None, Some(from)) => return self.received(from, received, most),
            (Some(sent), Some(from)) => (sent, from),
        };
        let (to, bytes) = sent;
        if bytes.len() <= SMALL {
            let sent = self.sent(to, bytes);
            // What the other had to say before it went tells more than that it went.
            return self.received(from, received, most).and(sent);
        }
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| self.sent(to, bytes));
            let received = self.received(from, received, most);
            if received.is_err() && !sending.is_finished() {
                // The step is lost, and who is to read the rest may be the one that is lost.
                let _ = self.to(to)?.shutdown(Shutdown::Write);
            }
            let sent = sending.join();
            received.and(sent.unwrap_or_else(|_| Err(gone(to))))
        })
    }

    fn abort(&self, reason: &str) {
        let mut end = reason.len().min(LONGEST_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        for stream in self.connections.iter().flatten() {
            // Who does not listen any more finds out by itself.
            let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
            let _ = write(stream, Kind::Abort, &reason.as_bytes()[..end]);
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

#[cfg(test)]
impl Tcp {
    /// Sends to all others what is no message.
    pub(super) fn babble(&self, bytes: &[u8]) {
        for mut stream in self.connections.iter().flatten() {
            stream.write_all(bytes).unwrap();
        }
    }
}
