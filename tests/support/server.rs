//! A small HTTP/1.1 server whose answers can be spoilt at any byte, which is why it stands on sockets and on no library: one
//! thread a connection, `GET` and `HEAD`, keep-alive, and an end that closes every connection and joins every thread.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::repository::Content;

const MAX_HEAD_BYTES: u64 = 64 * 1024;
const IDLE: Duration = Duration::from_secs(60);

/// A request without body.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `HEAD`, as a rule.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of a name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The path, still escaped.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// The query, or nothing.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// How the body of a reply is sent.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Close the connection after this many bytes of the body.
    pub cut_after: Option<u64>,
    /// Send nothing more after this many bytes of the body, and keep the connection.
    pub stall_after: Option<u64>,
    /// Flip a bit of the byte at this offset of the body.
    pub corrupt_at: Option<u64>,
    /// Send zeros from this offset of the body on.
    pub zero_from: Option<u64>,
    /// Announce this length, whatever is sent; the connection is closed after it.
    pub announce: Option<u64>,
    /// Bytes that may be sent over all connections together; when they are used up, nothing more is sent.
    pub allowance: Option<Arc<Allowance>>,
    /// Send pieces of so many bytes with such a pause between them.
    pub trickle: Option<(usize, Duration)>,
    /// Announce no length; the body ends by chunked coding.
    pub chunked: bool,
    /// Close before the status line.
    pub hang_up: bool,
}

/// Counts the bytes of bodies, and stops them when there have been enough.
#[derive(Debug, Default)]
pub struct Allowance {
    sent: AtomicU64,
    /// Never more than this; 0 is no limit.
    limit: AtomicU64,
    dry: AtomicBool,
    /// How often it was reset: what began before a reset ends there.
    resets: AtomicU64,
}

impl Allowance {
    /// Bytes sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Whether somebody waits for bytes that may not be sent.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.dry.load(Ordering::SeqCst)
    }

    /// Begins to count anew, and sends no more than `limit` bytes from now on; 0 is no limit. Bodies that are being sent end.
    pub fn reset(&self, limit: u64) {
        self.resets.fetch_add(1, Ordering::SeqCst);
        self.sent.store(0, Ordering::SeqCst);
        self.limit.store(limit, Ordering::SeqCst);
        self.dry.store(false, Ordering::SeqCst);
    }

    /// Takes up to `bytes` bytes of what may be sent.
    fn take(&self, bytes: usize) -> usize {
        let bytes = bytes as u64;
        let mut taken = 0;
        // The closure always gives a value, so the update always happens.
        let _ = self
            .sent
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |sent| {
                let limit = match self.limit.load(Ordering::SeqCst) {
                    0 => u64::MAX,
                    limit => limit,
                };
                taken = bytes.min(limit.saturating_sub(sent));
                Some(sent + taken)
            });
        if taken == 0 {
            self.dry.store(true, Ordering::SeqCst);
        }
        usize::try_from(taken).unwrap_or(usize::MAX)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers other than length and connection.
    pub headers: Vec<(String, String)>,
    /// Where the body comes from.
    pub body: Content,
    /// First byte of the content that is sent.
    pub start: u64,
    /// Number of bytes sent.
    pub length: u64,
    /// How it is sent.
    pub manner: Manner,
}

impl Reply {
    /// A reply with a body from memory.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len() as u64;
        Self {
            status,
            headers: Vec::new(),
            body: Content::Memory(body.into()),
            start: 0,
            length,
            manner: Manner::default(),
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A listening server; dropping it ends it.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    stopping: AtomicBool,
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Connection>>,
}

struct Connection {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Server {
    /// Listens on 127.0.0.1; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the port is taken.
    pub fn start(
        port: u16,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            stopping: AtomicBool::new(false),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let listener = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&socket, &shared)
        });
        Ok(Self {
            address,
            shared,
            listener: Some(listener),
        })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.next.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees the flag. If this fails, it is gone already.
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
        let open = std::mem::take(
            &mut *self
                .shared
                .open
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for connection in open.into_values() {
            drop(connection.stream.shutdown(Shutdown::Both));
            drop(connection.thread.join());
        }
    }
}

fn accept(socket: &TcpListener, shared: &Arc<Shared>) {
    for stream in socket.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(other) = stream.try_clone() else {
            continue;
        };
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is held until the thread is in the map, so that it cannot remove itself before.
        let thread = thread::spawn({
            let shared = Arc::clone(shared);
            move || {
                // A client that goes away in the middle is no concern of the server's.
                drop(serve(&stream, &shared));
                drop(stream.shutdown(Shutdown::Both));
                shared
                    .open
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&number);
            }
        });
        open.insert(
            number,
            Connection {
                stream: other,
                thread,
            },
        );
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let reply = (shared.handler)(&request);
        if !send(stream, &request, &reply, &shared.stopping)? {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = reader.take(MAX_HEAD_BYTES);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut headers = Vec::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None if line.trim_end().is_empty() => {
                return Ok(Some(Request {
                    method,
                    target,
                    headers,
                }));
            }
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Sends a reply and says whether the connection may go on.
fn send(
    stream: &TcpStream,
    request: &Request,
    reply: &Reply,
    stopping: &AtomicBool,
) -> io::Result<bool> {
    let manner = &reply.manner;
    if manner.hang_up {
        return Ok(false);
    }
    let mut out = io::BufWriter::with_capacity(64 * 1024, stream);
    write!(
        out,
        "HTTP/1.1 {} {}\r\n",
        reply.status,
        phrase(reply.status)
    )?;
    for (name, value) in &reply.headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    if manner.chunked {
        out.write_all(b"Transfer-Encoding: chunked\r\n\r\n")?;
    } else {
        let length = manner.announce.unwrap_or(reply.length);
        write!(out, "Content-Length: {length}\r\n\r\n")?;
    }
    if request.method == "HEAD" {
        out.flush()?;
        return Ok(true);
    }
    let mut body = open(&reply.body, reply.start)?.take(reply.length);
    let resets = || {
        let allowance = manner.allowance.as_ref();
        allowance.map(|allowance| allowance.resets.load(Ordering::SeqCst))
    };
    let begun = resets();
    let mut sent = 0;
    let mut buffer = vec![0; manner.trickle.map_or(64 * 1024, |(piece, _)| piece.max(1))];
    loop {
        let stop_at = manner
            .cut_after
            .into_iter()
            .chain(manner.stall_after)
            .min()
            .unwrap_or(u64::MAX);
        let room = usize::try_from(stop_at.saturating_sub(sent))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if room == 0 {
            out.flush()?;
            while manner.stall_after == Some(stop_at)
                && !stopping.load(Ordering::SeqCst)
                && is_open(stream)
            {
                thread::sleep(Duration::from_millis(20));
            }
            return Ok(false);
        }
        let room = match &manner.allowance {
            None => room,
            Some(allowance) => loop {
                if resets() != begun {
                    return Ok(false);
                }
                match allowance.take(room) {
                    0 => {
                        out.flush()?;
                        if stopping.load(Ordering::SeqCst) || !is_open(stream) {
                            return Ok(false);
                        }
                        thread::sleep(Duration::from_millis(2));
                    }
                    room => break room,
                }
            },
        };
        let read = body.read(&mut buffer[..room])?;
        if let Some(allowance) = &manner.allowance {
            // What the file did not have was not sent.
            let unused = (room - read) as u64;
            allowance.sent.fetch_sub(unused, Ordering::SeqCst);
        }
        if read == 0 {
            break;
        }
        let piece = &mut buffer[..read];
        if let Some(from) = manner.zero_from {
            let from = usize::try_from(from.saturating_sub(sent)).unwrap_or(usize::MAX);
            piece[from.min(read)..].fill(0);
        }
        if let Some(at) = manner
            .corrupt_at
            .and_then(|at| at.checked_sub(sent))
            .and_then(|at| usize::try_from(at).ok())
            && let Some(byte) = piece.get_mut(at)
        {
            *byte ^= 1;
        }
        if manner.chunked {
            write!(out, "{read:x}\r\n")?;
            out.write_all(piece)?;
            out.write_all(b"\r\n")?;
        } else {
            out.write_all(piece)?;
        }
        sent += read as u64;
        if let Some((_, pause)) = manner.trickle {
            out.flush()?;
            thread::sleep(pause);
            if stopping.load(Ordering::SeqCst) {
                return Ok(false);
            }
        }
    }
    if manner.chunked {
        out.write_all(b"0\r\n\r\n")?;
    }
    out.flush()?;
    Ok(sent == reply.length && manner.announce.is_none())
}

/// False once the client has closed its side.
fn is_open(stream: &TcpStream) -> bool {
    if stream
        .set_read_timeout(Some(Duration::from_millis(1)))
        .is_err()
    {
        return false;
    }
    match stream.peek(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ),
    }
}

fn open(content: &Content, start: u64) -> io::Result<Box<dyn Read + '_>> {
    match content {
        Content::Memory(bytes) => {
            let start = usize::try_from(start)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            Ok(Box::new(&bytes[start..]))
        }
        Content::File(path) => Ok(Box::new(open_file(path, start)?)),
    }
}

fn open_file(path: &PathBuf, start: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    Ok(file)
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}
