//! One connection: one call at a time, written by whoever has it, its answer read by the wire's thread.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::{ClientConnection, StreamOwned};

use super::{answer::AnswerReader, route::Route};
use crate::{
    clock::Clock,
    producer::call::{Call, Delivered},
};

/// A connection that could not be opened or broke.
pub(crate) type Broken = String;

/// What a connection is doing.
#[derive(Debug, Default)]
enum Phase {
    /// Nothing; it is opened again later.
    #[default]
    Down,
    /// Not yet open.
    Opening(Socket),
    /// Open and free.
    Idle(Socket),
    /// A call is on its way.
    Busy(Socket, Box<Exchange>),
    /// It broke with the call on its way, and nobody was told yet.
    Failed(Box<Exchange>, Broken),
}

/// A call under way.
#[derive(Debug)]
struct Exchange {
    call: Box<Call>,
    send_us: u64,
    written: usize,
}

/// What has happened on a connection.
#[derive(Debug)]
pub(crate) enum Happened {
    /// Nothing that matters to others.
    Nothing,
    /// It is open and free.
    Opened,
    /// It was lost while it was free, or could not be opened.
    Lost(Broken),
    /// A call has come to its end; the connection is free when `open`.
    Delivered { delivered: Box<Delivered>, open: bool },
}

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Socket {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut tls.sock,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }

    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write_vectored(parts),
            Self::Tls(tls) => tls.write_vectored(parts),
        }
    }

    /// Sends what TLS has encrypted and kept.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Whether the connection is complete, TLS's greeting included.
    fn is_open(&mut self) -> io::Result<bool> {
        if let Some(error) = self.tcp().take_error()? {
            return Err(error);
        }
        if let Err(error) = self.tcp().peer_addr() {
            return if error.kind() == ErrorKind::NotConnected { Ok(false) } else { Err(error) };
        }
        let Self::Tls(tls) = self else { return Ok(true) };
        while tls.conn.is_handshaking() {
            match tls.conn.complete_io(&mut tls.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A connection and the answer that it is reading.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    phase: Phase,
    reader: AnswerReader,
    since_us: u64,
}

impl Connection {
    /// Begins to open it.
    pub(crate) fn open(
        &mut self,
        route: &Route,
        address: SocketAddr,
        registry: &Registry,
        token: Token,
        now_us: u64,
    ) -> Result<(), Broken> {
        let text = |error: io::Error| error.to_string();
        let mut tcp = TcpStream::connect(address).map_err(text)?;
        registry.register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE).map_err(text)?;
        let socket = match &route.tls {
            None => Socket::Plain(tcp),
            Some((config, server)) => {
                let tls =
                    ClientConnection::new(Arc::clone(config), server.clone()).map_err(|error| error.to_string())?;
                Socket::Tls(Box::new(StreamOwned::new(tls, tcp)))
            }
        };
        self.phase = Phase::Opening(socket);
        self.since_us = now_us;
        Ok(())
    }

    /// Whether it has to be opened.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down)
    }

    /// Whether it is being opened.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening(_))
    }

    /// Whether its call has failed and nobody was told.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed(..))
    }

    /// Whether a call has been under way, or the connection opening, since before `then_us`.
    pub(crate) fn waits_since_before(&self, then_us: u64) -> bool {
        match &self.phase {
            Phase::Opening(_) => self.since_us < then_us,
            Phase::Busy(_, exchange) => exchange.send_us < then_us,
            _ => false,
        }
    }

    /// Starts a call on a free connection: the clock is read, and the next thing is the write. What cannot be written at
    /// once is written when the socket says so. A connection that breaks here says so at the next [`Connection::proceed`]:
    /// the result tells whether that is needed.
    pub(crate) fn start(&mut self, call: Box<Call>, clock: Clock) -> Result<(), ()> {
        let exchange = Box::new(Exchange { call, send_us: clock.now_us(), written: 0 });
        match std::mem::take(&mut self.phase) {
            Phase::Idle(socket) => {
                self.reader.reset();
                self.phase = Phase::Busy(socket, exchange);
                self.write().map_err(|_| ())
            }
            // It was lost between being handed out and now.
            _ => {
                self.phase = Phase::Failed(exchange, "the connection was closed".to_owned());
                Err(())
            }
        }
    }

    /// Writes until everything is written or the socket takes no more.
    fn write(&mut self) -> Result<(), ()> {
        let Phase::Busy(socket, exchange) = &mut self.phase else { return Ok(()) };
        let result = write_all(socket, exchange);
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                self.fail(error.to_string());
                Err(())
            }
        }
    }

    /// Breaks the connection: its call has failed for this reason.
    fn fail(&mut self, why: Broken) {
        self.phase = match std::mem::take(&mut self.phase) {
            Phase::Busy(_, exchange) | Phase::Failed(exchange, _) => Phase::Failed(exchange, why),
            Phase::Opening(_) | Phase::Idle(_) | Phase::Down => Phase::Down,
        };
    }

    /// Takes the connection down, whatever it does: what it did is over.
    pub(crate) fn give_up(&mut self, why: Broken, timeout: bool, clock: Clock) -> Happened {
        match std::mem::take(&mut self.phase) {
            Phase::Busy(_, exchange) | Phase::Failed(exchange, _) => failed(*exchange, why, timeout, clock),
            Phase::Opening(_) | Phase::Idle(_) => Happened::Lost(why),
            Phase::Down => Happened::Nothing,
        }
    }

    /// Goes on after the socket has said that it can be read or written, or after a failed start.
    pub(crate) fn proceed(&mut self, clock: Clock) -> Happened {
        match std::mem::take(&mut self.phase) {
            Phase::Down => Happened::Nothing,
            Phase::Failed(exchange, why) => failed(*exchange, why, false, clock),
            Phase::Opening(mut socket) => match socket.is_open() {
                Ok(true) => {
                    // Calls are one write each; waiting to fill a packet would only make them late.
                    let _ = socket.tcp().set_nodelay(true);
                    self.phase = Phase::Idle(socket);
                    Happened::Opened
                }
                Ok(false) => {
                    self.phase = Phase::Opening(socket);
                    Happened::Nothing
                }
                Err(error) => Happened::Lost(error.to_string()),
            },
            Phase::Idle(mut socket) => match socket.read(&mut [0; 64]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.phase = Phase::Idle(socket);
                    Happened::Nothing
                }
                Ok(0) => Happened::Lost("the endpoint closed the connection".to_owned()),
                Ok(_) => Happened::Lost("the endpoint spoke without being asked".to_owned()),
                Err(error) => Happened::Lost(error.to_string()),
            },
            Phase::Busy(mut socket, mut exchange) => {
                if let Err(error) = write_all(&mut socket, &mut exchange) {
                    return failed(*exchange, error.to_string(), false, clock);
                }
                self.read(socket, exchange, clock)
            }
        }
    }

    /// Reads until the answer is complete or the socket has no more.
    fn read(&mut self, mut socket: Socket, exchange: Box<Exchange>, clock: Clock) -> Happened {
        loop {
            let ended = match socket.read(self.reader.space()) {
                Ok(0) => true,
                Ok(bytes) => {
                    self.reader.advance(bytes);
                    false
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.phase = Phase::Busy(socket, exchange);
                    return Happened::Nothing;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // A peer that ends without TLS's farewell has still ended.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => true,
                Err(error) => return failed(*exchange, error.to_string(), false, clock),
            };
            match self.reader.answer(ended) {
                Ok(Some(answer)) => {
                    let ack_us = clock.now_us();
                    let open = !answer.closes && !ended;
                    let result = Ok((answer.status, answer.body.to_vec()));
                    if open {
                        self.phase = Phase::Idle(socket);
                    }
                    let Exchange { call, send_us, .. } = *exchange;
                    return Happened::Delivered {
                        delivered: Box::new(Delivered { call, send_us, ack_us, result }),
                        open,
                    };
                }
                Ok(None) if ended => {
                    let why = match self.reader.is_empty() {
                        true => "the endpoint closed the connection",
                        false => "the connection ended within the answer",
                    };
                    return failed(*exchange, why.to_owned(), false, clock);
                }
                Ok(None) => {}
                Err(error) => return failed(*exchange, error.to_string(), false, clock),
            }
        }
    }
}

fn failed(exchange: Exchange, why: Broken, timeout: bool, clock: Clock) -> Happened {
    let Exchange { call, send_us, .. } = exchange;
    let delivered = Delivered { call, send_us, ack_us: clock.now_us(), result: Err((why, timeout)) };
    Happened::Delivered { delivered: Box::new(delivered), open: false }
}

fn write_all(socket: &mut Socket, exchange: &mut Exchange) -> io::Result<()> {
    let (head, body) = (exchange.call.head(), exchange.call.body());
    while exchange.written < head.len() + body.len() {
        let from_body = exchange.written.saturating_sub(head.len());
        let parts = [IoSlice::new(&head[exchange.written.min(head.len())..]), IoSlice::new(&body[from_body..])];
        match socket.write(&parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(bytes) => exchange.written += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    match socket.flush() {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}
